"""An answer's text as its tokens come: whole characters, and nothing that a stop text may turn out to begin with."""

from collections.abc import Sequence, Set

from autointerp.corpus.pieces import TokenPieces


class AnswerText:
    """The text of one answer.

    Args:
        pieces: The text of each token.
        silent: Tokens without text.
        stop: Texts that end the answer.
    """

    def __init__(self, pieces: TokenPieces, silent: Set[int], stop: Sequence[str]) -> None:
        self._stream = pieces.stream()
        self._silent, self._stop = silent, stop
        self._n_pieces = pieces.n_tokens
        self._given: list[str] = []
        self._held = ""
        self._is_closed = False

    @property
    def is_stopped(self) -> bool:
        """Whether a stop text has come."""
        return self._is_closed

    @property
    def text(self) -> str:
        """What is certain so far."""
        return "".join(self._given)

    def add(self, token_id: int) -> str:
        """Take the next token, and say what it makes certain."""
        if token_id in self._silent or token_id >= self._n_pieces:
            return ""
        return self._take(self._stream.add(token_id))

    def end(self) -> str:
        """Say what was held back: the answer is over."""
        if self._is_closed:
            return ""
        certain = self._take(self._stream.end())
        if not self._is_closed:
            certain += self._held
            self._given.append(self._held)
            self._held, self._is_closed = "", True
        return certain

    def _take(self, piece: str) -> str:
        self._held += piece
        found = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if found:
            certain, self._held, self._is_closed = self._held[: min(found)], "", True
        else:
            n_held = max((_beginning(self._held, stop) for stop in self._stop), default=0)
            n_certain = len(self._held) - n_held
            certain, self._held = self._held[:n_certain], self._held[n_certain:]
        self._given.append(certain)
        return certain


def _beginning(text: str, stop: str) -> int:
    """Characters at a text's end that a stop text begins with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
