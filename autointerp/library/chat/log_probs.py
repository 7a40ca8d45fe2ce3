"""Log-probabilities of an answer's tokens, and of the likeliest in their places, as OpenAI's clients know them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.library.chat.replies import ListedToken, TokenLogProb
from autointerp.live.generation.request import Likeliest

if TYPE_CHECKING:
    from autointerp.live.subject import LiveSubject


@dataclass(frozen=True, slots=True)
class LogProbTeller:
    """Tells of the tokens of an answer.

    Attributes:
        live: Whose tokens they are.
        ends: Those that end an answer, and are not told.
    """

    live: "LiveSubject"
    ends: frozenset[int]

    def told(self, tokens: Iterable[tuple[int, float, Likeliest]]) -> tuple[TokenLogProb, ...]:
        """Some tokens with their log-probabilities, and the likeliest in the place of each."""
        return tuple(
            TokenLogProb(*self._listed(token_id, log_prob), tuple(ListedToken(*self._listed(*of)) for of in likeliest))
            for token_id, log_prob, likeliest in tokens
            if token_id not in self.ends
        )

    def _listed(self, token_id: int, log_prob: float) -> tuple[str, float, tuple[int, ...] | None]:
        pieces = self.live.pieces
        if token_id >= pieces.n_tokens:
            return "", log_prob, None
        text = pieces.pieces([token_id])[0]
        data = pieces.data_of(token_id)
        if not text or "\ufffd" in text:  # a part of a character, or what is told of none
            text = pieces.shown_alone(token_id)
        return text, log_prob, None if data is None else tuple(data)
