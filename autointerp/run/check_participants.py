"""What a pipeline's explainer, judge and scorers need, told before hours of work that lead up to them."""

import re
from collections.abc import Iterable

from autointerp.config import ModelConfig, Pipeline
from autointerp.errors import PipelineError
from autointerp.explain.domain import read_paragraph
from autointerp.explain.registry import load_explainer
from autointerp.llm.connect import check_access
from autointerp.plugins import called_by_us
from autointerp.run.language_models import check_budget
from autointerp.run.session import Session
from autointerp.score.base import BaseScorer
from autointerp.score.calibration import Calibrated
from autointerp.score.judges import LOCAL_JUDGE_CAVEAT
from autointerp.score.judges.local import LocalJudge
from autointerp.score.registry import load_scorer
from autointerp.store.export_rows.columns import OWN_COLUMNS, SCORE_ENDS

_SCORER_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_participants(pipeline: Pipeline, *, explains: bool = True, scores: bool = True) -> None:
    """See that there are the explainer and the scorers that a pipeline names, and that it gives them what they need.

    Args:
        pipeline: Names them.
        explains: Whether labels are to be written, now or after what is to be done.
        scores: Whether labels are to be scored, now or after what is to be done.

    Raises:
        PipelineError: If there is no such explainer or scorer, if it lacks something, or if two scorers have one name.
        CalibrationError: If the judge's calibration can't be used.
        PromptError: If a prompt file is missing or malformed.
    """
    if explains:
        _check_explainer(pipeline)
    if scores:
        _check_scorers(pipeline)


def _check_explainer(pipeline: Pipeline) -> None:
    config = pipeline.explain
    explainer = load_explainer(config.explainer)
    if config.labels is not None and not explainer.reads_labels:
        raise PipelineError(
            f"explain.labels names a file, and the explainer {config.explainer!r} reads none",
            "set explain.explainer to 'outside', or take explain.labels away",
        )
    read_paragraph(config.domain)
    with called_by_us(explainer, f"the explainer {explainer.name!r}"):
        explainer.settings_fingerprint(config)
    if config.distinct and not explainer.tells_apart:
        raise PipelineError(
            f"explain.distinct is set, and the explainer {config.explainer!r} tells no features apart",
            "set it to false, or name another explainer, such as keywords or examples",
        )
    if explainer.asks_judge and pipeline.contexts.select_share == 0:
        raise PipelineError(
            f"the explainer {config.explainer!r} chooses on contexts set apart, and contexts.select_share is 0",
            "set it, for example to 0.3",
        )


def _check_scorers(pipeline: Pipeline) -> None:
    names: set[str] = set()
    scorers = [load_scorer(name) for name in pipeline.score.scorers]
    for scorer in scorers:
        if scorer.name in names:
            raise PipelineError(
                f"two of score.scorers are called {scorer.name!r}",
                "take one away, or give a scorer of yours another name",
            )
        if not _SCORER_NAME.fullmatch(scorer.name) or OWN_COLUMNS & {scorer.name + end for end in SCORE_ENDS}:
            raise PipelineError(
                f"a scorer can't be called {scorer.name!r}: columns are named after it",
                "use small letters, digits and underscores, and no name of another column of an export",
            )
        names.add(scorer.name)
        if scorer.asks_judge and pipeline.judge.kind == "llm":
            scorer.task.read_prompt()
            if pipeline.judge.answers != "written":
                scorer.task.read_yes_no()
        with called_by_us(scorer, f"the scorer {scorer.name!r}"):
            scorer.check(pipeline.score, pipeline.subject.device)
    if pipeline.judge.calibration is not None and any(scorer.is_corrected for scorer in scorers):
        model = pipeline.judge.model if pipeline.judge.kind == "llm" else None
        Calibrated.read(pipeline.judge.calibration).check_name(LocalJudge.name if model is None else model.model)


def asked_models(pipeline: Pipeline, *, explains: bool, scores: bool) -> list[ModelConfig]:
    """The language models that a run will ask, the explainer's before the judge's.

    Args:
        pipeline: Names them.
        explains: Whether labels are to be written.
        scores: Whether labels are to be scored.
    """
    explainer = load_explainer(pipeline.explain.explainer)
    asked: list[ModelConfig | None] = []
    if explains and explainer.asks_model(pipeline.explain):
        asked.append(pipeline.explain.model)
    if asks_judge(pipeline, explains=explains, scores=scores):
        asked.append(pipeline.judge.model)
    return [config for config in asked if config is not None]


def asks_judge(pipeline: Pipeline, *, explains: bool, scores: bool) -> bool:
    """Whether a run will ask a language model to judge.

    Args:
        pipeline: Names who explains, judges and scores.
        explains: Whether labels are to be written.
        scores: Whether labels are to be scored.
    """
    by_scorers = scores and any(load_scorer(name).asks_judge for name in pipeline.score.scorers)
    explain = pipeline.explain
    by_explainer = explains and (explain.distinct or load_explainer(explain.explainer).asks_judge)
    return pipeline.judge.kind == "llm" and (by_scorers or by_explainer)


def check_keys(pipeline: Pipeline, *, explains: bool, scores: bool) -> None:
    """See that the environment holds the keys that a run will want, before hours of work that lead up to them.

    Raises:
        NoKeyError: If one is missing.
        LanguageModelError: If there is a budget, and a model's prices are unknown; or a model in this process is not
            there.
        PipelineError: If the file of prices can't be used.
    """
    for config in asked_models(pipeline, explains=explains, scores=scores):
        check_access(config)
        check_budget(config, pipeline.llm)


def check_subject(session: Session, scorers: Iterable[type[BaseScorer]]) -> None:
    """See that the subject can be loaded and does what scorers ask of it; where none asks anything, it isn't loaded.

    Args:
        session: The run.
        scorers: Those that will score.

    Raises:
        SubjectError: If it can't be loaded.
        PipelineError: If it can't do what a scorer asks.
    """
    for scorer in scorers:
        if not scorer.asks_subject:
            continue
        with called_by_us(scorer, f"the scorer {scorer.name!r}"):
            problem = scorer.subject_problem(session.live_subject)
        if problem:
            raise PipelineError(f"the scorer {scorer.name!r} {problem}", "take it out of score.scorers")


def judged_by_words(pipeline: Pipeline) -> str:
    """What is to be known of the scores where a language model writes the labels, and none judges them; else empty."""
    explain = pipeline.explain
    writes = load_explainer(explain.explainer).asks_model(explain) and explain.model is not None
    is_judged = any(load_scorer(name).asks_judge for name in pipeline.score.scorers)
    if not writes or not is_judged or pipeline.judge.kind == "llm":
        return ""
    assert explain.model is not None, "it is asked"
    why = "no table [judge] names a model to judge them" if pipeline.judge.model is None else "judge.kind is 'local'"
    return f"{explain.model.model} writes the labels, and {why}. {LOCAL_JUDGE_CAVEAT}"
