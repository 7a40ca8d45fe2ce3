"""How the judge's language model is asked: for percentages that it writes, or for its chances of yes and no.

Chances are asked for where the pipeline says so, and where asking contexts one by one costs nothing: of a model in this
process, and of a server of one's own. One short question tells whether the server gives them; where it gives none, its
model writes percentages. The journal keeps that answer, so that a run goes on as it began, and the scores' fingerprints
say how they were asked.
"""

from collections.abc import Callable

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm.prompts import quoted
from autointerp.llm.protocol import NOT_NOW, CallFailure, LanguageModel
from autointerp.score.judges.llm_chances import tells_chances, yes_no_request
from autointerp.score.scorers.detection import DETECTION

_ABOUT, _CONTEXT = "names of colours", "a small red house by the lake"


async def settle_answers(
    judge: JudgeConfig,
    connect: Callable[[str, ModelConfig], LanguageModel],
    say: Callable[[str], None],
    stage: str = "score",
) -> JudgeConfig:
    """The judge's settings with `answers` said.

    Args:
        judge: As the pipeline has it.
        connect: Gives a stage its language model.
        say: Told where chances are wanted and there are none.
        stage: Pays for the question.

    Raises:
        LanguageModelError: If chances are wanted and the server gives no answer now.
    """
    model = judge.model
    if judge.kind != "llm" or model is None:
        return judge
    written = judge.model_copy(update={"answers": "written"})
    if judge.answers == "written" or (judge.answers is None and not _is_free(model)):
        return written
    # By a single call also where questions go by batches: these take hours.
    asked = connect(f"{stage}:chances", model.model_copy(update={"batch": False}))
    if problem := await _problem(model, asked):
        say(f"{model.model} {problem}: it is asked to write percentages.")
        return written
    return judge.model_copy(update={"answers": "chances"})


def _is_free(model: ModelConfig) -> bool:
    """Whether asking contexts one by one, each with the instructions, costs nothing."""
    costs = (model.usd_per_million_input, model.usd_per_million_output)
    is_own = model.provider == "openai" and model.base_url is not None and costs == (0, 0)
    return model.provider == "local" or is_own


async def _problem(config: ModelConfig, model: LanguageModel) -> str:
    """Why a model's chances can't be had; empty where they can."""
    prompt = DETECTION.read_yes_no()
    assert prompt is not None, "detection has one"
    outcome = await model.ask(yes_no_request(prompt, quoted(_ABOUT), quoted(_CONTEXT), config))
    if not isinstance(outcome, CallFailure):
        return "" if tells_chances(outcome) else "gives no chances of yes and no with its answer"
    if outcome.error_type in NOT_NOW:
        raise LanguageModelError(
            f"{config.model} gives no answer now ({outcome.message}), so it is not known whether it gives chances",
            'run the same command again when it does, or set judge.answers = "written"',
        )
    return f"gives no yes or no ({outcome.error_type}: {outcome.message})"
