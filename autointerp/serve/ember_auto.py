"""What Ember's client asks to be found for a specification: edits that steer, and a condition.

They take minutes, and stand in a line of their own, one at a time.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from autointerp.errors import ServeError
from autointerp.library.variant_shapes import ember_conditional
from autointerp.serve.knows import Knows
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Shape, Text, told_feature


class Specified(Shape):
    """What is wanted, in words."""

    specification: Annotated[Text, Field(min_length=1, max_length=2_000)]
    model: Text | None = None


class WantedEdits(Specified):
    """What answers are to be steered towards.

    Attributes:
        n_prompts: Instructions that are answered, to find edits and to measure them; the server's limits say how many
            where it is None.
        max_tokens: Of each answer; likewise.
    """

    n_prompts: Annotated[int, Field(ge=12, le=1_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=512)] | None = None


class WantedCondition(Specified):
    """What a text is about where the condition holds.

    Attributes:
        false_alarms: Share of the corpus's texts in which it may hold; the server's limits say it where it is None.
    """

    false_alarms: Annotated[float, Field(gt=0, lt=1)] | None = None


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Add the routes, over what is served."""

    @routes.post("/features/auto-edits")
    async def edits(request: Request, asked: WantedEdits) -> Any:
        return await serving.ask_for_minutes(request, partial(_edits, asked, serving.names.source(asked.model)))

    @routes.post("/features/auto-conditional")
    async def conditional(request: Request, asked: WantedCondition) -> Any:
        return await serving.ask_for_minutes(request, partial(_conditional, asked, serving.names.source(asked.model)))


def _edits(asked: WantedEdits, source: str, knows: Knows) -> dict[str, Any]:
    features, limits = knows.client.features, knows.limits
    steering = features.AutoSteer(
        asked.specification,
        source=source,
        n_prompts=asked.n_prompts or limits.n_steering_prompts,
        max_tokens=asked.max_tokens or limits.steering_tokens,
    )
    of = {feature.names()[0]: feature for feature in features.lookup([e.index for e in steering.edits], source)}
    return {
        "edits": [[told_feature(of[edit.name]), edit.value] for edit in steering.edits],
        "steers": steering.steers,
        "receipt": steering.receipt.as_plain(),
    }


def _conditional(asked: WantedCondition, source: str, knows: Knows) -> dict[str, Any]:
    allowed = asked.false_alarms or knows.limits.false_alarms
    auto = knows.client.features.AutoConditional(asked.specification, source=source, false_alarms=allowed)
    if auto.condition is None:
        raise ServeError(
            f"no feature here tells it ({auto.receipt.why_none})", "say it in other words, or allow more alarms"
        )
    return {"conditional": ember_conditional(auto.condition), "receipt": auto.receipt.as_plain()}
