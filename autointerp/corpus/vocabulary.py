"""How a vocabulary writes text in its tokens, told by what the tokenizer's own decoder makes of a few of them.

| kind       | a decoder makes of | tokens are                                                             |
|------------|--------------------|------------------------------------------------------------------------|
| byte level | `Ġa`: ` a`         | bytes in GPT-2's alphabet, where `Ġ` is a space                        |
| WordPiece  | `a`, `##b`: `ab`   | words without their spaces; `##ing` goes on the word before            |
| word ends  | `a</w>`, `b`: `a b`| the same; a word goes on until `</w>`, and may be at byte level (CLIP) |
| metaspace  | `▁a`, `▁b`: `a b`  | text with `▁` for a space, and perhaps `<0xE4>` for a byte             |
| plain      | (no decoder)       | text as it is; words apart where splitting into words loses the spaces |
| other      | anything else      | known to the decoder only                                              |

Nothing is told from the tokens themselves: a vocabulary without words after spaces (Chinese, code, DNA) has no `Ġ` that
could be counted, and `##` is a Markdown heading in it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from autointerp.words import UNSPACED, UNSPACED_MARKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")

_GLUED_TO_BOTH = frozenset("-/_'\u2019=@~")
_GLUED_TO_LEFT = frozenset(".,;:!?)]}%\u2026")
_GLUED_TO_RIGHT = frozenset("([{#$")
# Scripts without spaces between words, and the punctuation of Chinese and Japanese.
_UNSPACED = re.compile(rf"{UNSPACED}|[\u3000-\u303f\uff00-\uffef{UNSPACED_MARKS}]")

# What a decoder makes of consecutive tokens.
Join = Callable[[list[str]], str]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What each token of one vocabulary stands for.

    Attributes:
        tokens: As the vocabulary has them; empty where an id has none.
        alone: As one is shown by itself, told from others: a part of a character as its bytes (`<0xF0>`), a word piece
            with the mark by which it goes on a word (`##ing`), the end of a word, where ends are marked, with a space.
        data: UTF-8 that each token stands for, perhaps part of a character; None for the kind that only `join` knows.
        joins_left: Whether no space stands before a token; None where tokens hold their spaces themselves.
        joins_right: Whether no space stands behind it; the same.
        join: What the decoder makes of consecutive tokens, where `data` is None.
    """

    tokens: tuple[str, ...]
    alone: tuple[str, ...]
    data: tuple[bytes, ...] | None
    joins_left: tuple[bool, ...] | None
    joins_right: tuple[bool, ...] | None
    join: Join = "".join


def read_vocabulary(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Find out how a tokenizer's tokens are written."""
    tokens = tuple(token or "" for token in tokenizer.convert_ids_to_tokens(list(range(count_ids(tokenizer)))))
    added = frozenset(int(token_id) for token_id in tokenizer.added_tokens_decoder)
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    prefix = _mark(backend, "prefix", "continuing_subword_prefix") or "##"
    suffix = _mark(backend, "suffix", "end_of_word_suffix")
    space = _mark(backend, "replacement") or "▁"
    if decoder is not None:
        join = decoder.decode
    elif backend is not None:
        return _without_decoder(tokens, added, backend, prefix, suffix, space)
    else:
        join = tokenizer.convert_tokens_to_string
    if _makes(join, ["Ġa"], " a"):
        return (
            _with_ends(tokens, added, suffix, _bytelevel_bytes) if suffix else _spaced(tokens, added, _bytelevel_bytes)
        )
    if _makes(join, ["a", f"{prefix}b"], "ab"):
        return _with_prefix(tokens, added, prefix)
    if suffix and _makes(join, [f"a{suffix}", "b"], "a b"):
        return _with_ends(tokens, added, suffix, str.encode)
    if _makes(join, [f"{space}a", f"{space}b"], "a b", " a b"):
        return _spaced(tokens, added, partial(_sentencepiece_bytes, space=space))
    return Vocabulary(tokens, tuple(_by_join(token, join) for token in tokens), None, None, None, join)


def count_ids(tokenizer: PreTrainedTokenizerBase) -> int:
    """One past the largest id: more than `len(tokenizer)` where ids have gaps."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def _without_decoder(
    tokens: Sequence[str], added: AbstractSet[int], backend: Any, prefix: str, suffix: str, space: str
) -> Vocabulary:
    """What a text looks like before it is cut into tokens tells how they are written."""
    splitter = backend.pre_tokenizer
    split = ["a b"] if splitter is None else [piece for piece, _ in splitter.pre_tokenize_str("a b")]
    if split[-1] == "Ġb":
        return (
            _with_ends(tokens, added, suffix, _bytelevel_bytes) if suffix else _spaced(tokens, added, _bytelevel_bytes)
        )
    if split[-1] == f"{space}b":
        return _spaced(tokens, added, partial(_sentencepiece_bytes, space=space))
    if suffix:
        return _with_ends(tokens, added, suffix, str.encode)
    if "".join(split) == "ab" or type(backend.model).__name__ == "WordPiece":
        return _with_prefix(tokens, added, prefix)
    return _spaced(tokens, added, str.encode)


def _mark(backend: Any, of_decoder: str, of_model: str = "") -> str:
    """A mark as the decoder or else the model names it; empty where neither does."""
    mark = getattr(getattr(backend, "decoder", None), of_decoder, None)
    return str(mark or getattr(getattr(backend, "model", None), of_model, None) or "")


def _makes(join: Join, tokens: list[str], *texts: str) -> bool:
    try:
        return join(tokens) in texts
    except (LookupError, ValueError, TypeError):  # a slow tokenizer may look up tokens that it does not have
        return False


def _spaced(tokens: Sequence[str], added: AbstractSet[int], to_bytes: Callable[[str], bytes]) -> Vocabulary:
    """A vocabulary whose tokens hold their spaces."""
    data = tuple(
        token.encode() if token_id in added and not _BYTE_TOKEN.fullmatch(token) else to_bytes(token)
        for token_id, token in enumerate(tokens)
    )
    return Vocabulary(tuple(tokens), tuple(map(_show_bytes, data)), data, None, None)


def _with_prefix(tokens: Sequence[str], added: AbstractSet[int], prefix: str) -> Vocabulary:
    """A vocabulary that loses spaces, and marks what goes on the word before."""
    goes_on = [token.startswith(prefix) and len(token) > len(prefix) for token in tokens]
    data = [
        (token.removeprefix(prefix) if inside else token).encode()
        for token, inside in zip(tokens, goes_on, strict=True)
    ]
    return _unspaced(tokens, added, tokens, data, goes_on, [False] * len(tokens))


def _with_ends(
    tokens: Sequence[str], added: AbstractSet[int], suffix: str, to_bytes: Callable[[str], bytes]
) -> Vocabulary:
    """A vocabulary that loses spaces, and marks where words end."""
    ends = [token.endswith(suffix) and len(token) > len(suffix) for token in tokens]
    data = [to_bytes(token.removesuffix(suffix) if end else token) for token, end in zip(tokens, ends, strict=True)]
    alone = [_show_bytes(part) + " " * end for part, end in zip(data, ends, strict=True)]
    return _unspaced(tokens, added, alone, data, [False] * len(tokens), [not end for end in ends])


def _unspaced(
    tokens: Sequence[str],
    added: AbstractSet[int],
    alone: Sequence[str],
    data: Sequence[bytes],
    goes_on: Sequence[bool],
    is_gone_on: Sequence[bool],
) -> Vocabulary:
    """A vocabulary that loses spaces: they are put back but where a token goes on a word, and around punctuation."""
    texts = [part.decode(errors="replace") for part in data]
    joins_left = [
        inside or text in _GLUED_TO_BOTH or _GLUED_TO_LEFT.issuperset(text) or bool(_UNSPACED.match(text))
        for text, inside in zip(texts, goes_on, strict=True)
    ]
    joins_right = [
        inside or text in _GLUED_TO_BOTH or text in _GLUED_TO_RIGHT or bool(_UNSPACED.match(text))
        for text, inside in zip(texts, is_gone_on, strict=True)
    ]
    for token_id in added:
        joins_left[token_id] = joins_right[token_id] = False
    return Vocabulary(tuple(tokens), tuple(alone), tuple(data), tuple(joins_left), tuple(joins_right))


def _show_bytes(data: bytes) -> str:
    """Text, with what is no whole character written as `<0xF0>`."""
    return data.decode(errors=_BYTES_SHOWN)


def _write_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"<0x{byte:02X}>" for byte in error.object[error.start : error.end]), error.end


_BYTES_SHOWN = "autointerp.bytes_shown"
codecs.register_error(_BYTES_SHOWN, _write_bytes)


def _by_join(token: str, join: Join) -> str:
    """What a decoder makes of one token, or the token as it is where that says nothing."""
    text = join([token]) if token else ""
    return text if text and "\ufffd" not in text else token


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


def _sentencepiece_bytes(token: str, space: str) -> bytes:
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match.group(1), 16)])
    return token.replace(space, " ").encode()
