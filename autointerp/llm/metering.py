"""What some calls among many cost: a language model that tells whoever has opened a tally around its calls.

    with tally() as spent:
        outcome = await explainer.explain(evidence)  # asks a `MeteredModel`
    spent.usage

A call counts in the innermost tally that was open where it began, also if it is made in a task of its own: tallies that
are open at the same time in other tasks don't see it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from autointerp.llm.protocol import AnswerT, CallFailure, LanguageModel, Reply, Request
from autointerp.records import Usage


@dataclass(slots=True)
class Tally:
    """What calls have used so far, those that failed included, and those that the journal answered at their price."""

    usage: Usage = field(default_factory=Usage)


_OPEN: ContextVar[Tally | None] = ContextVar("open tally", default=None)


@contextmanager
def tally() -> Iterator[Tally]:
    """Count what the calls of metered models use in the `with` block."""
    opened = Tally()
    token = _OPEN.set(opened)
    try:
        yield opened
    finally:
        _OPEN.reset(token)


class MeteredModel:
    """A `LanguageModel` that counts in tallies.

    Args:
        model: Answers.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The model's name in the config."""
        return self._model.name

    @property
    def usage(self) -> Usage:
        """What was paid through the model."""
        return self._model.usage

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT] | CallFailure:
        """Ask, and count.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        outcome = await self._model.ask(request)
        if (opened := _OPEN.get()) is not None:
            opened.usage = opened.usage + outcome.usage
        return outcome
