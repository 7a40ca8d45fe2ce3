"""Documents with tokens that the subject has no embedding for, such as padding that is written out."""

from collections.abc import Callable, Iterable
from itertools import chain, count

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autointerp.config import CorpusConfig
from autointerp.corpus import DocumentCounts, cut_shards, long_text
from autointerp.corpus import blocks as blocks_module
from autointerp.errors import CorpusError
from autointerp.records import BlockShard, Document
from autointerp.records.corpus import Rejection, TokenizedDocument
from tests.corpus.small_tokenizers import bytelevel_tokenizer

TEXT = "a river flows past the old town"
CONFIG = CorpusConfig(block_length=16, min_block_tokens=4)
STREAM = CONFIG.model_copy(update={"kind": "huggingface", "path": "owner/data"})


def with_padding() -> tuple[PreTrainedTokenizerFast, int]:
    """A tokenizer to which padding was added after training, and the rows of the model that was not resized."""
    tokenizer = bytelevel_tokenizer(eos_token="</s>")
    n_rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == n_rows
    return tokenizer, n_rows


def cut(
    documents: Iterable[Document | TokenizedDocument], config: CorpusConfig = CONFIG
) -> tuple[list[BlockShard], DocumentCounts]:
    counts = DocumentCounts()
    tokenizer, n_rows = with_padding()
    return list(cut_shards(documents, tokenizer, config, counts=counts, n_embedded=n_rows)), counts


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


def test_a_long_text_is_tokenized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_text, "PART_CHARACTERS", 64)
    monkeypatch.setattr(long_text, "OVERLAP_CHARACTERS", 0)
    monkeypatch.setattr(blocks_module, "_CHARACTERS_PER_CALL", 64)
    text, parts = f"{TEXT} " * 20, []
    tokenize = long_text._tokenize

    def counting(tokenizer: PreTrainedTokenizerBase, text: str, start: int, n_characters: int) -> long_text._Part:
        part = tokenize(tokenizer, text, start, n_characters)
        parts.append((part.start, part.end))
        return part

    monkeypatch.setattr(long_text, "_tokenize", counting)
    (shard,), counts = cut([Document("long", text)])
    assert len(parts) == len(set(parts)) > 2
    assert bytes(token for row, n in zip(shard.token_ids, shard.n_tokens, strict=True) for token in row[:n].tolist())
    assert (int(shard.counted.sum()), counts.n_documents) == (len(text) // 16 * 16, 1)


def test_the_first_tokens_are_compared_once_though_their_documents_are_rejected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compared: list[str] = []

    def share_found(shown: str, text: str) -> float:
        compared.append(text)
        return 1.0

    monkeypatch.setattr(blocks_module, "share_found", share_found)
    cut([*(Document(f"bad{number}", f"{TEXT}[PAD]") for number in range(200)), Document("good", TEXT)])
    assert len(compared) == 1
    strange = [TokenizedDocument(f"bad{number}", (*range(120, 160), 257)) for number in range(9)]
    cut([*strange, TokenizedDocument("good", (70, 71, 72, 73))])
    assert len([message for message in caplog.messages if "read as" in message]) == 1


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        (lambda number: Document(str(number), "no"), r"has 4 tokens \(the longest of 10\d\d\d has 2\)"),
        (lambda number: Document(str(number), f"{TEXT}[PAD]"), r": 0 has '\[PAD\]' \(257\)"),
        (lambda number: Document(str(number), "[PAD]" if number % 2 else "no"), r"has 4 tokens"),
        (lambda number: TokenizedDocument(str(number), (70, 71)), r"has 4 tokens \(the longest of 10000 has 2\)"),
        (lambda number: TokenizedDocument(str(number), (257,)), r": 0 has '\[PAD\]' \(257\)"),
    ],
)
def test_a_stream_of_which_no_document_will_do_is_not_read_for_ever(
    documents: Callable[[int], Document | TokenizedDocument], reason: str
) -> None:
    with pytest.raises(CorpusError, match=rf"none of the first 10,0\d\d documents of the corpus.*{reason}"):
        cut((documents(number) for number in count()), STREAM)


@pytest.mark.parametrize("unfit", ["no", f"{TEXT}[PAD]"])
def test_files_sorted_by_length_are_read_on_to_the_documents_that_will_do(
    unfit: str, caplog: pytest.LogCaptureFixture
) -> None:
    beginning = [Document(str(number), unfit) for number in range(10_100)]
    (shard,), counts = cut([*beginning, Document("good", TEXT)])
    assert (shard.document_ids, counts.n_rejected) == (("good",), 10_100)
    assert len([message for message in caplog.messages if message.endswith("; reading on to the end")]) == 1
    with pytest.raises(CorpusError, match="no document of the corpus"):
        cut(beginning)


def test_a_stream_that_begins_with_many_a_document_too_short_is_read_on_where_one_was_taken() -> None:
    short = (Document(f"short{number}", "no") for number in range(10_100))
    (shard,), counts = cut(chain([Document("first", TEXT)], short, [Document("last", TEXT)]), STREAM)
    assert shard.document_ids == ("first", "last")
    assert counts.n_rejected == 10_100


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
