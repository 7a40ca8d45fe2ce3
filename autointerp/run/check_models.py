"""One cheap call of each language model, before hours of work that lead up to the first question to it.

A wrong key, model or address would be found only then. What is answered does not matter: a refusal of the key or the
model stops the run, and so does an address where nothing answers for as long as calls wait for it, unless the journal
has answers of the model, which may be all that is needed. Odd words don't, nor does a server that is overloaded: it is
there, and may have room when the work before the first question is done. The journal keeps the call, and its cost
stands in the line of the stage `check`; it is never answered from there, since a key may have ended since.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from autointerp.config import ModelConfig, Pipeline, RayConfig
from autointerp.errors import BudgetError, LanguageModelError
from autointerp.llm.prompts import load_prompt
from autointerp.llm.protocol import AnswerModel, CallErrorType, CallFailure, Request
from autointerp.llm.providers.address import find_address
from autointerp.run.language_models import LanguageModels, identify_model
from autointerp.run.progress import Reporter, StageSummary, told_meanwhile

STAGE = "check"
_MOST_OUTPUT = 256
_NO_ANSWER: tuple[CallErrorType, ...] = ("ConnectionDropped", "Timeout")
_NOT_NOW: tuple[CallErrorType, ...] = ("RateLimited", "ServerError")


class Arrived(AnswerModel):
    """The answer to a check; nothing is done with it."""

    ok: bool


async def check_models(pipeline: Pipeline, configs: Sequence[ModelConfig], journal: Path, reporter: Reporter) -> None:
    """Ask each model once, and say which answer.

    Args:
        pipeline: The run's.
        configs: The models that it will ask; one that is asked in two parts of it is checked once.
        journal: Where the run folder keeps its journal.
        reporter: Told of each.

    Raises:
        LanguageModelError: If one can't be asked, or gives no answer.
        RunError: If the journal can't be used.
    """
    started = time.monotonic()
    told: list[str] = []
    distinct = {identify_model(config): config for config in configs}
    # From this process: Ray's workers are started once, where they have more to do.
    from_here = pipeline.model_copy(update={"ray": RayConfig()})
    async with LanguageModels(from_here, journal) as models:

        def tell() -> None:
            reporter.progress(STAGE, len(told), len(distinct), models.spent(STAGE))

        for config in distinct.values():
            async with told_meanwhile(tell):
                told.append(f"{config.model} {_where(config)} {await _check(config, models, len(told))}")
        usage = models.usage(STAGE)
    seconds = time.monotonic() - started
    reporter.finished(StageSummary(STAGE, len(told), seconds=seconds, cost_usd=usage.cost_usd, note="; ".join(told)))


def _where(config: ModelConfig) -> str:
    if config.provider == "local":
        return "in this process"
    address = find_address(config)
    return f"at {address.url}" if address.variable is None else f"at {address.url} ({address.variable})"


async def _check(config: ModelConfig, models: LanguageModels, number: int) -> str:
    """How a model answers, in words."""
    # By a single call also where questions go by batches: these take hours.
    model = models.connect(f"{STAGE}:{number}", config.model_copy(update={"batch": False}))
    prompt = load_prompt("check")
    request = Request(
        system=prompt.system,
        user=prompt.user(time=datetime.now(UTC).isoformat()),
        answer=Arrived,
        max_output_tokens=min(_MOST_OUTPUT, config.max_output_tokens),
        temperature=config.temperature,
    )
    try:
        outcome = await model.ask(request)
    except BudgetError:
        return "is not asked, as the budget has no room for it"  # what the journal holds needs none
    if not isinstance(outcome, CallFailure):
        return "answers"
    if outcome.error_type in _NO_ANSWER:
        if models.has_answers(config):
            return f"gives no answer ({outcome.message}), now; the journal has some"
        raise LanguageModelError(
            f"{config.model} {_where(config)} gives no answer ({outcome.message})",
            "see that the server runs there and `base_url` is its address, and run the same command again",
        )
    if outcome.error_type in _NOT_NOW:
        return f"has no answer now ({outcome.message}), and is asked again later"
    is_refused = outcome.error_type in ("BadRequest", "TooLong")
    return f"refuses a first question ({outcome.message})" if is_refused else "answers"
