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
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

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
        if self._vocabulary.data is None:
            return self._decode_by_join([self._vocabulary.tokens[token_id] for token_id in token_ids])
        if self._vocabulary.joins_left is None:
            return self._decode_bytes((token_id, "") for token_id in token_ids)
        return self._decode_bytes(self._with_spaces(token_ids))

    def shown_alone(self, token_id: int) -> str:
        """One token as it is shown in a list, told from others; see `Vocabulary.alone`."""
        return self._vocabulary.alone[token_id]

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

    def _decode_bytes(self, tokens: Iterable[tuple[int, str]]) -> list[str]:
        data = self._vocabulary.data
        assert data is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces: list[str] = []
        pending = False
        for token_id, space in tokens:
            whole = self._whole[token_id]
            if whole is not None and not pending:
                pieces.append(space + whole)
            else:
                pieces.append(decoder.decode(space.encode() + data[token_id]))
                pending = bool(decoder.getstate()[0])
        if pending:
            pieces[-1] += decoder.decode(b"", final=True)
        return pieces

    def _decode_by_join(self, tokens: list[str]) -> list[str]:
        """What the decoder adds for each token to what it makes of the few before, as text is streamed."""
        join = self._vocabulary.join
        pieces: list[str] = []
        start = shown = 0
        for end in range(1, len(tokens) + 1):
            before, text = join(tokens[start:shown]), join(tokens[start:end])
            is_whole = len(text) > len(before) and (end == len(tokens) or not text.endswith(_HALF))
            pieces.append(text[len(before) :] if is_whole else "")
            if is_whole:
                start, shown = shown, end
        return pieces


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
