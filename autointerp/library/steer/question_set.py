"""Which of the shipped questions a subject answers right, plain and under edits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.identity import hash_key, in_keyed_order
from autointerp.library.steer.material import shipped_questions
from autointerp.library.steer.prompts import Prompts
from autointerp.live.log_probs import Reading, n_tokens_read, token_log_probs
from autointerp.live.next_token import OutputHead
from autointerp.live.subject import LiveSubject
from autointerp.records.live import SourceEdits

# What plain subjects answer, as long as they are loaded: every steering needs it.
_PLAIN: WeakKeyDictionary[LiveSubject, dict[int, bool]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the subject reads it.

    Attributes:
        options: The first is right.
        chance: That guessing is right.
    """

    options: tuple[Reading, ...]
    chance: float


class QuestionAsker:
    """Asks the shipped questions, as far as the subject can read them.

    Attributes:
        n_read: Tokens read up to now.
        n_asked: Questions asked up to now.

    Args:
        live: The subject.
        head: Its head.
        prompts: Puts questions to it.
        seed: Of the order in which they stand.
    """

    def __init__(self, live: LiveSubject, head: OutputHead, prompts: Prompts, seed: int) -> None:
        self._live, self._head, self._prompts, self._seed = live, head, prompts, seed
        self.n_read = self.n_asked = 0

    @cached_property
    def _asked(self) -> list[Asked]:
        found = []
        for question in shipped_questions().questions:
            options = self._prompts.options(question)
            if options is not None:
                found.append(Asked(options, 1 / len(options)))
        return found

    @cached_property
    def order(self) -> Int64[np.ndarray, " question"]:
        """The questions that can be read, in an order that is as good as random."""
        return in_keyed_order(hash_key(self._seed, "questions"), np.arange(len(self._asked)))

    def chance(self, places: Sequence[int]) -> Float64[np.ndarray, " question"]:
        """The chance that guessing is right of some questions."""
        return np.array([self._asked[place].chance for place in places])

    def plain(self, places: Sequence[int]) -> Bool[np.ndarray, " question"]:
        """Whether the plain subject answers some questions right; asked once."""
        known = _PLAIN.setdefault(self._live, {})
        missing = [place for place in places if place not in known]
        known |= dict(zip(missing, self.right(missing, ()).tolist(), strict=True))
        return np.array([known[place] for place in places], dtype=np.bool_)

    def right(self, places: Sequence[int], edits: Sequence[SourceEdits]) -> Bool[np.ndarray, " question"]:
        """Whether the subject answers some questions right: the right option is likelier than any other.

        Args:
            places: Of the questions.
            edits: Made at every token.
        """
        readings = [reading for place in places for reading in self._asked[place].options]
        if not readings:
            return np.zeros(0, dtype=np.bool_)
        self.n_asked += len(places)
        self.n_read += n_tokens_read(readings)
        found = iter(token_log_probs(self._live, self._head, readings, edits))
        right = []
        for place in places:
            first, *others = (float(next(found).sum()) for _ in self._asked[place].options)
            right.append(first > max(others))
        return np.array(right, dtype=np.bool_)
