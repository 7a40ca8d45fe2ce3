"""What the subject reads when steering is measured: an instruction that it is to answer, a question with an option.

A subject with a chat template gets a user's message; one without gets the text, and answers on the next line.
"""

from collections.abc import Sequence
from itertools import takewhile

from autointerp.errors import SubjectError
from autointerp.library.steer.material import Question
from autointerp.live.log_probs import Reading
from autointerp.live.read import read_any
from autointerp.live.subject import LiveSubject
from autointerp.subject.limits import window_of

_ASKS = "Talk about {}."
# Words by which a specification says itself what is to be done.
_VERBS = "act answer be give make mention reply respond say speak talk tell use write"


class Prompts:
    """Puts texts to one subject.

    Attributes:
        is_chat: Whether it has a chat template.

    Args:
        live: The subject.
    """

    def __init__(self, live: LiveSubject) -> None:
        self._live = live
        try:
            read_any(live, [{"role": "user", "content": "Hello."}], "a conversation", open_ended=True)
            self.is_chat = True
        except SubjectError:
            self.is_chat = False

    def instruction(self, text: str) -> tuple[int, ...]:
        """Tokens of an instruction, up to where its answer begins; special tokens included.

        Raises:
            SubjectError: If a token has no embedding.
        """
        messages = [{"role": "user", "content": text}]
        read = read_any(self._live, messages if self.is_chat else f"{text}\n", "an instruction", open_ended=True)
        return (*self._live.special.before, *read.token_ids)

    def text(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of an answer, as a text by itself."""
        return (*self._live.special.before, *tokens)

    def options(self, question: Question) -> tuple[Reading, ...] | None:
        """A question's options, each behind its opening; None where the longest is longer than the subject reads."""
        asked = self.instruction(question.question)
        opening = self._tokens(question.opening)
        found = []
        for option in question.options:
            whole = self._tokens(question.opening + question.continuation(option))
            n_alike = len([*takewhile(lambda pair: pair[0] == pair[1], zip(opening, whole, strict=False))])
            found.append(Reading((*asked, *whole), len(asked) + n_alike))
        window = window_of(self._live.sources.subject)
        longest = max(len(reading.token_ids) for reading in found)
        return None if window is not None and longest > window else tuple(found)

    def _tokens(self, text: str) -> list[int]:
        return read_any(self._live, text, "a question").token_ids


def with_request(instruction: str, specification: str) -> str:
    """An instruction that asks in words for what a specification says.

    Example:
        >>> from autointerp.library.steer.prompts import with_request
        >>> with_request("Write a poem.", "the sea")
        'Write a poem. Talk about the sea.'
        >>> with_request("Write a poem.", "be cheerful")
        'Write a poem. Be cheerful.'
    """
    said = specification.strip().rstrip(".")
    if said.split(maxsplit=1)[0].lower() in _VERBS.split():
        return f"{instruction} {said[0].upper()}{said[1:]}."
    return f"{instruction} {_ASKS.format(said)}"
