"""Token ids to pieces of readable text: joined without a separator, they are the text that the model saw.

A vocabulary that loses spaces in tokenising gets them back by rule; of one that only its decoder knows, a piece is what
the decoder adds for the token (`corpus.vocabulary` tells which is which).

A character may span several tokens. It then appears at the token that completes it, and the tokens before have empty
pieces. Where a token is shown by itself, in a list, such a part of a character is its bytes, as SentencePiece writes
them: `<0xF0>`.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from autointerp.corpus.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HALF = "\ufffd"


class TokenPieces:
    """The text piece of each token of one vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._vocabulary = read_vocabulary(tokenizer)
        # None: not whole characters by itself, so it has to go through the decoder of UTF-8.
        self._whole = [_decode_or_none(data) for data in self._vocabulary.data or ()]

    @property
    def n_tokens(self) -> int:
        """Ids of the vocabulary, those without a token included."""
        return len(self._vocabulary.tokens)

    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        """Return one piece a token.

        Args:
            token_ids: Of consecutive tokens. The pieces depend on their neighbors: one call for a whole window.

        Returns:
            As many pieces as tokens, some perhaps empty. A character cut off at either end is U+FFFD.
        """
        stream = self.stream()
        pieces = [stream.add(token_id) for token_id in token_ids]
        if pieces:
            pieces[-1] += stream.end()
        return pieces

    def stream(self) -> PieceStream:
        """Pieces of tokens as they come, one after another."""
        if self._vocabulary.data is None:
            return _JoinedPieces(self._vocabulary.tokens, self._vocabulary.join)
        return _BytePieces(self._vocabulary.data, self._whole, self._spaced)

    def _spaced(self, token_ids: Iterator[int]) -> Iterator[tuple[int, str]]:
        if self._vocabulary.joins_left is None:
            return ((token_id, "") for token_id in token_ids)
        return self._with_spaces(token_ids)

    def shown_alone(self, token_id: int) -> str:
        """One token as it is shown in a list, told from others; see `Vocabulary.alone`."""
        return self._vocabulary.alone[token_id]

    def data_of(self, token_id: int) -> bytes | None:
        """A token's UTF-8, perhaps part of a character; None where it depends on the tokens around it."""
        vocabulary = self._vocabulary
        return None if vocabulary.data is None or vocabulary.joins_left is not None else vocabulary.data[token_id]

    def _with_spaces(self, token_ids: Iterable[int]) -> Iterator[tuple[int, str]]:
        """Each token with the space before it, or none."""
        joins_left, joins_right = self._vocabulary.joins_left, self._vocabulary.joins_right
        assert joins_left is not None
        assert joins_right is not None
        joined = True
        opened = False
        last = before_last = ""
        for token_id in token_ids:
            text = self._whole[token_id] or _HALF
            if text == '"':  # an opening quote holds on to the word after it, a closing one to the word before
                yield token_id, "" if opened or joined else " "
                opened = not opened
                joined = opened
            else:
                # 3.5 and 1,000: the point or comma stands between digits
                in_number = text[:1].isdigit() and last in (".", ",") and before_last[-1:].isdigit()
                yield token_id, "" if joined or in_number or joins_left[token_id] else " "
                joined = joins_right[token_id]
            before_last, last = last, text


class PieceStream(Protocol):
    """Pieces of the tokens of one text as they come."""

    def add(self, token_id: int) -> str:
        """The piece of the next token: what it completes; may be empty."""

    def end(self) -> str:
        """What the last tokens left incomplete: U+FFFD for part of a character, or nothing."""


class _BytePieces:
    """Of a vocabulary whose tokens are bytes."""

    def __init__(
        self,
        data: Sequence[bytes],
        whole: Sequence[str | None],
        spaced: Callable[[Iterator[int]], Iterator[tuple[int, str]]],
    ) -> None:
        self._data, self._whole = data, whole
        self._next = deque[int]()
        self._spaced = spaced(iter(self._next.popleft, None))
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = False

    def add(self, token_id: int) -> str:
        """As of `PieceStream`."""
        self._next.append(token_id)
        _, space = next(self._spaced)
        whole = self._whole[token_id]
        if whole is not None and not self._pending:
            return space + whole
        piece = self._decoder.decode(space.encode() + self._data[token_id])
        self._pending = bool(self._decoder.getstate()[0])
        return piece

    def end(self) -> str:
        """As of `PieceStream`."""
        return self._decoder.decode(b"", final=True) if self._pending else ""


class _JoinedPieces:
    """Of a vocabulary that only its decoder knows: what that adds for each token to what it makes of the few before."""

    def __init__(self, tokens: Sequence[str], join: Callable[[list[str]], str]) -> None:
        self._tokens, self._join = tokens, join
        self._window: list[str] = []
        self._n_shown = 0

    def add(self, token_id: int) -> str:
        """As of `PieceStream`."""
        self._window.append(self._tokens[token_id])
        return self._added(at_end=False)

    def end(self) -> str:
        """As of `PieceStream`."""
        return self._added(at_end=True)

    def _added(self, *, at_end: bool) -> str:
        before, text = self._join(self._window[: self._n_shown]), self._join(self._window)
        if len(text) <= len(before) or (text.endswith(_HALF) and not at_end):
            return ""
        self._window = self._window[self._n_shown :]
        self._n_shown = len(self._window)
        return text[len(before) :]


def share_found(pieces: str, text: str) -> float:
    """The share of the letters and digits in pieces that are found in the text; 1 where there are none.

    What tokenizers change in letters does not count: case, accents, forms of a character.
    """
    of_pieces, of_text = _letters(pieces), _letters(text)
    n_letters = of_pieces.total()
    return (of_pieces & of_text).total() / n_letters if n_letters else 1.0


def _letters(text: str) -> Counter[str]:
    folded = unicodedata.normalize("NFKD", text).casefold()
    return Counter(character for character in folded if character.isalnum())


def _decode_or_none(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
