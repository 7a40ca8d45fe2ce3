"""What a feature does on a text of one's own, read by the model now."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from starlette.requests import Request

from autointerp.errors import AutointerpError
from autointerp.serve.errors import as_http, error_line
from autointerp.serve.guard import need_key
from autointerp.serve.knows import Knows
from autointerp.serve.serving import Serving

MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Tested:
    """What a feature does on a text.

    Attributes:
        text: The text, as it was given.
        tokens: As the model reads it.
        activations: Of the feature at each token, in the coder's own units.
        max_activation: The largest.
        percentile: Of its firings in the corpus the share that is below that, times 100; None where it is silent.
        problem: Why there is no answer; None where there is one.
    """

    text: str
    tokens: tuple[str, ...] = ()
    activations: tuple[float, ...] = ()
    max_activation: float = 0.0
    percentile: float | None = None
    problem: str | None = None


async def test_text(serving: Serving, request: Request, source: str, index: int, text: str) -> Tested:
    """Have the model read a text.

    Raises:
        HTTPException: 401, if the server needs a key and the request has none.
        BusyError, TimeLimitError, ClientGoneError: As of `Line.answer`.
    """
    need_key(request)
    return await serving.ask(request, partial(_tested, source=source, index=index, text=text))


def _tested(knows: Knows, source: str, index: int, text: str) -> Tested:
    try:
        inspected = knows.client.features.inspect(text, [index], source=source)
    except AutointerpError as error:
        return Tested(text, problem=error_line(as_http(error)))
    activations = inspected.matrix().toarray()[:, 0].astype(np.float64)
    top = inspected.top(1, rank_by="activation")
    return Tested(
        text=text,
        tokens=inspected.firings.tokens,
        activations=tuple(activations.tolist()),
        max_activation=float(activations.max(initial=0.0)),
        percentile=top[0].percentile if top else None,
    )
