"""One of several processes that have the model: it opens the same runs, and answers what is sent to it.

Questions and beginnings of answers come as values (`knows`), and are answered in lines of their own, as in one process:
chats that are written at the same time are generated in one batch. Errors of ours go back as values.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from autointerp.errors import AutointerpError
from autointerp.library.client import open
from autointerp.serve.chats import Piece
from autointerp.serve.knows import Begin, Question
from autointerp.serve.limits import Limits, Patient
from autointerp.serve.serving import Serving

Kind = Literal["model", "steering"]
# Who may wait is told by the process that takes requests, for all replicas together.
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Served:
    """What is served.

    Attributes:
        runs: Folders, as they are found from every machine.
        folder: In which the server was begun: pipelines may name what they need from there.
        limits: What may be asked for.
        aliases: Other names of sources.
    """

    runs: tuple[str, ...]
    folder: str
    limits: Limits
    aliases: Mapping[str, str]


class Replica:
    """Has the model, and answers.

    Args:
        served: What is served.
    """

    def __init__(self, served: Served) -> None:
        self._serving: Serving | None = None
        self._trouble: AutointerpError | None = None
        with suppress(OSError):  # it may be of another machine
            os.chdir(served.folder)
        try:
            limits = replace(served.limits, n_waiting=_MANY)
            self._serving = Serving(open(served.runs), limits, served.aliases)
        except AutointerpError as error:
            self._trouble = error
        self._told = tuple(self._serving.warm_model()) if self._serving is not None else ()

    async def troubles(self) -> Sequence[str] | AutointerpError:
        """What is not served, a line each, or why nothing is."""
        return self._trouble or self._told

    async def ask(self, kind: Kind, question: Question[Any]) -> Any:
        """The answer to a question, or an error of ours."""
        serving = self._serving
        if serving is None:
            return self._trouble
        try:
            ask = serving.ask if kind == "model" else serving.ask_for_minutes
            return await ask(Patient(), question)
        except AutointerpError as error:
            return error

    async def write(self, begins: Sequence[Begin]) -> AsyncIterator[Piece | AutointerpError]:
        """The pieces of answers, and an error of ours as the last."""
        serving = self._serving
        if serving is None:
            assert self._trouble is not None
            yield self._trouble
            return
        try:
            async with aclosing(serving.chats.pieces(Patient(), begins)) as pieces:
                async for piece in pieces:
                    yield piece
        except AutointerpError as error:
            yield error
