"""Token ids to pieces of readable text: joined without a separator, they are the text that the model saw.

Three families of vocabulary, told apart by how they mark the beginning of a word:

- WordPiece (BERT): `##ing` goes on the word before. Spaces are lost in tokenising, so they are put back by rule.
- Byte-level BPE (GPT-2): each character of a token stands for a byte, `Ġ` for a space.
- SentencePiece (Llama, Gemma): `▁` is a space, and `<0xE4>` a byte where a character is not in the vocabulary.

In the last two a character may span several tokens. It then appears at the token that completes it, and the tokens
before have empty pieces.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_Family = Literal["wordpiece", "bytelevel", "sentencepiece"]
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")

_GLUED_TO_BOTH = frozenset("-/_'\u2019=@~")
_GLUED_TO_LEFT = frozenset(".,;:!?)]}%\u2026")
_GLUED_TO_RIGHT = frozenset("([{#$")
# Written without spaces between words: Chinese, Japanese and their punctuation.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")


class TokenPieces:
    """The text piece of each token of one vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens: list[str] = [token or "" for token in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
        added = {int(token_id) for token_id in tokenizer.added_tokens_decoder}
        self._family = _family(tokens)
        if self._family == "wordpiece":
            self._build_wordpiece(tokens, added)
        else:
            self._build_bytes(tokens, added)

    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        """Return one piece a token.

        Args:
            token_ids: Of consecutive tokens. The pieces depend on their neighbors: one call for a whole window.

        Returns:
            As many pieces as tokens, some perhaps empty. A character cut off at either end is U+FFFD.
        """
        return self._join_words(token_ids) if self._family == "wordpiece" else self._decode_bytes(token_ids)

    def _build_wordpiece(self, tokens: Sequence[str], added: set[int]) -> None:
        continues = [token.startswith("##") and len(token) > 2 for token in tokens]
        self._text = [token[2:] if inside else token for token, inside in zip(tokens, continues, strict=True)]
        self._joins_left = [
            inside or token in _GLUED_TO_BOTH or token in _GLUED_TO_LEFT or bool(_UNSPACED.match(token))
            for token, inside in zip(tokens, continues, strict=True)
        ]
        self._joins_right = [
            token in _GLUED_TO_BOTH or token in _GLUED_TO_RIGHT or bool(_UNSPACED.match(token)) for token in tokens
        ]
        for token_id in added:
            self._joins_left[token_id] = self._joins_right[token_id] = False

    def _join_words(self, token_ids: Iterable[int]) -> list[str]:
        pieces: list[str] = []
        joined = True
        opened = False
        for token_id in token_ids:
            text = self._text[token_id]
            if text == '"':  # an opening quote holds on to the word after it, a closing one to the word before
                pieces.append(text if opened or joined else " " + text)
                opened = not opened
                joined = opened
                continue
            # 3.5 and 1,000: the point or comma stands between digits
            in_number = (
                text[:1].isdigit() and pieces[-1:] in (["."], [","]) and pieces[-2:-1] and pieces[-2][-1:].isdigit()
            )
            pieces.append(text if joined or in_number or self._joins_left[token_id] else " " + text)
            joined = self._joins_right[token_id]
        return pieces

    def _build_bytes(self, tokens: Sequence[str], added: set[int]) -> None:
        to_bytes = _bytelevel_bytes if self._family == "bytelevel" else _sentencepiece_bytes
        self._bytes = [
            token.encode() if token_id in added and not _BYTE_TOKEN.fullmatch(token) else to_bytes(token)
            for token_id, token in enumerate(tokens)
        ]
        # None: not whole characters by itself, so it has to go through the decoder.
        self._whole = [_decode_or_none(data) for data in self._bytes]

    def _decode_bytes(self, token_ids: Iterable[int]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces: list[str] = []
        pending = False
        for token_id in token_ids:
            whole = self._whole[token_id]
            if whole is not None and not pending:
                pieces.append(whole)
            else:
                pieces.append(decoder.decode(self._bytes[token_id]))
                pending = bool(decoder.getstate()[0])
        if pending:
            pieces[-1] += decoder.decode(b"", final=True)
        return pieces


def _family(tokens: Sequence[str]) -> _Family:
    marks: dict[_Family, int] = {
        "wordpiece": sum(token.startswith("##") for token in tokens),
        "bytelevel": sum(token.startswith("Ġ") for token in tokens),
        "sentencepiece": sum(token.startswith("▁") for token in tokens),
    }
    return max(marks, key=lambda family: marks[family])


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters stand for their own byte, the others are shifted past 255."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    shifted = [byte for byte in range(256) if byte not in set(own)]
    return {chr(byte): byte for byte in own} | {chr(256 + place): byte for place, byte in enumerate(shifted)}


_BYTE_OF_CHARACTER = _byte_of_character()


def _bytelevel_bytes(token: str) -> bytes:
    try:
        return bytes(_BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:
        return token.encode()  # a token added later, as plain text


def _sentencepiece_bytes(token: str) -> bytes:
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match.group(1), 16)])
    return token.replace("▁", " ").encode()


def _decode_or_none(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
