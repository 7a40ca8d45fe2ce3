"""Documents with tokens that the subject has no embedding for, such as padding that is written out."""

import pytest
from transformers import PreTrainedTokenizerFast

from autointerp.config import CorpusConfig
from autointerp.corpus import DocumentCounts, cut_shards, long_text
from autointerp.corpus import blocks as blocks_module
from autointerp.errors import CorpusError
from autointerp.records import BlockShard, Document
from autointerp.records.corpus import Rejection, TokenizedDocument
from tests.corpus.small_tokenizers import bytelevel_tokenizer

TEXT = "a river flows past the old town"
CONFIG = CorpusConfig(block_length=16, min_block_tokens=4)


def with_padding() -> tuple[PreTrainedTokenizerFast, int]:
    """A tokenizer to which padding was added after training, and the rows of the model that was not resized."""
    tokenizer = bytelevel_tokenizer(eos_token="</s>")
    n_rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == n_rows
    return tokenizer, n_rows


def cut(documents: list[Document] | list[TokenizedDocument]) -> tuple[list[BlockShard], DocumentCounts]:
    counts = DocumentCounts()
    tokenizer, n_rows = with_padding()
    return list(cut_shards(documents, tokenizer, CONFIG, counts=counts, n_embedded=n_rows)), counts


def test_a_text_with_a_token_that_has_no_embedding_written_out_is_left_out_and_counted() -> None:
    shards, counts = cut([Document("good", TEXT), Document("bad", f"{TEXT} [PAD] and on"), Document("end", TEXT)])
    assert [shard.document_ids for shard in shards] == [("good", "end")]
    assert counts.rejections == (
        Rejection(
            "with a token that has no embedding", 1, "bad has '[PAD]' (257), and the subject's embedding 257 rows"
        ),
    )


def test_of_a_long_text_no_block_is_taken_if_its_end_has_such_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_text, "PART_CHARACTERS", 64)
    monkeypatch.setattr(blocks_module, "_CHARACTERS_PER_CALL", 64)
    shards, counts = cut([Document("long", f"{TEXT} " * 20 + "[PAD]"), Document("good", TEXT)])
    assert [shard.document_ids for shard in shards] == [("good",)]
    assert counts.n_rejected == 1


def test_tokens_made_elsewhere_that_have_no_embedding_are_left_out_too() -> None:
    shards, counts = cut([TokenizedDocument("bad", (70, 71, 257, 72, 73)), TokenizedDocument("good", (70, 71, 72, 73))])
    assert [shard.document_ids for shard in shards] == [("good",)]
    assert counts.n_rejected == 1


def test_a_corpus_in_which_every_text_has_such_a_token_is_told_as_that() -> None:
    with pytest.raises(CorpusError, match=r"can read no document of the corpus: a has '\[PAD\]' \(257\)"):
        cut([Document("a", f"{TEXT}[PAD]"), Document("b", "[PAD]")])


def test_a_token_around_each_block_must_have_an_embedding() -> None:
    tokenizer = bytelevel_tokenizer(unk_token="<unk>")
    n_rows = len(tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    shards = cut_shards([Document("a", TEXT)], tokenizer, CONFIG, prepend_bos=True, n_embedded=n_rows)
    with pytest.raises(CorpusError, match=r"no embedding for '<s>' \(257\), which stands around each block"):
        next(shards)
