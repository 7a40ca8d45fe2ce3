"""The explainer `best_of`: several explainers write a label, and the one that does best on contexts set apart is taken.

1. Each of `candidates` writes a label from the explain split, as it would by itself. One that fails is passed over, and
   recorded.
2. Each different label is tried by detection on the select split, by the pipeline's own judge: of which contexts,
   unmarked, does it say that the feature fires there? Nobody who wrote a label has seen these contexts, and no scorer
   uses them, so the choice makes no score look better than it is (contexts/splits.py).
3. The label of the highest balanced accuracy is taken; of equal ones that of the highest AUROC of the judge's
   probabilities; of equal ones again that of the first candidate.

Where there is but one label, nobody is asked. Where the select split of a feature lacks firing or silent contexts, or
the judge has nothing to compare with, the first candidate's label is taken. Where the judge failed, the feature
has no label this time: the candidates' answers are in the journal, and the next run only asks the judge. How the choice
was made, and how well each candidate's label fits, stands in the explanation's `detail`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.base import BaseExplainer, Tools
from autointerp.explain.registry import load_explainer
from autointerp.identity import fingerprint
from autointerp.records import Explanation, Failure, FeatureContexts, FeatureEvidence, total_cost
from autointerp.score import metrics
from autointerp.score.judge import Case, Judge
from autointerp.score.scorers.detection import DETECTION, build_questions
from autointerp.score.trials import Undefined, answered, feature_key, missing_class

_Result = TypeVar("_Result")
_PURPOSE = "select"
# Balanced accuracies of equal counts can differ in their last bits.
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTools(Tools):
    """What an explainer that asks the run's judge is made of.

    Attributes:
        judge: Connects the judge. Raises `NoKeyError` where the environment has no key.
        seed: The run's.
        background: Texts of the explain split, as `Case.background` has them.
    """

    judge: Callable[[], Judge]
    seed: int
    background: Callable[[], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a label tells a feature's firing select contexts from its silent ones. It chooses; it is no score.

    Attributes:
        balanced_accuracy: Mean of the shares of firing and of silent contexts that were answered rightly.
        auroc: Of the judge's probabilities; None where it gives none.
        n_trials: Select contexts that were asked about.
        n_unanswered: Those without an answer, part of `n_trials`, in no rate.
        cost_usd: What the judge cost; None where the price is unknown.
    """

    balanced_accuracy: float
    auroc: float | None
    n_trials: int
    n_unanswered: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class UnknownFit:
    """Why nobody knows how well a label fits.

    Attributes:
        reason: One line.
        retry: Whether another run may fare better: the judge failed. False where there is nothing to ask it about.
        cost_usd: What the judge cost nevertheless; None where the price is unknown.
    """

    reason: str
    retry: bool
    cost_usd: float | None = 0.0


class SelectTrial:
    """Has a judge tell how well labels fit the select split: what no scorer uses, and nobody who wrote a label saw.

    Args:
        judge: Answers.
        seed: Of the questions' order.
        background: As `Case.background` has it; nothing to compare with by default.
    """

    def __init__(self, judge: Judge, seed: int, background: Callable[[], tuple[str, ...]] = tuple) -> None:
        self._judge = judge
        self._seed = seed
        self._background = background
        self.fingerprint = fingerprint(_PURPOSE, 1, seed, judge.fingerprint(DETECTION))

    def prepare(self, evidence: Sequence[FeatureEvidence]) -> None:
        """Get the judge ready for the select contexts of many features; changes nothing but the speed."""
        self._judge.prepare((), [c.text for of in evidence for c in (*of.select_active, *of.select_silent)])

    async def fit(self, label: str, evidence: FeatureEvidence) -> Fit | UnknownFit:
        """Try one label.

        Args:
            label: The label.
            evidence: Of the feature, with its select contexts.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        select = (*evidence.select_active, *evidence.select_silent)
        contexts = FeatureContexts(evidence.source_id, evidence.feature_index, select)
        key = feature_key(self._seed, _PURPOSE, evidence.source_id, evidence.feature_index)
        posed = build_questions(contexts, "select", key)
        if missing := missing_class(posed, "firing select contexts", "silent select contexts"):
            return UnknownFit(missing.message, retry=False)
        case = Case(label, [p.question for p in posed], self._background())
        (said,) = await self._judge.answer(DETECTION, [case])
        of = answered(posed, said.answers)
        if isinstance(of, Undefined):
            reason = of.message if of.raw is None else f"{of.message} ({of.raw})"
            return UnknownFit(reason, of.retry, said.usage.cost_usd)
        accuracy = metrics.balanced_accuracy(of.confusion)
        assert accuracy is not None, "both classes have answers"
        auroc = None if of.probability is None else metrics.auroc(of.truth, of.probability, of.cluster)
        return Fit(
            balanced_accuracy=accuracy.value,
            auroc=None if auroc is None else auroc.value,
            n_trials=len(posed),
            n_unanswered=len(posed) - len(of.posed),
            cost_usd=said.usage.cost_usd,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """A label among several.

    Attributes:
        label: The label.
        chosen_by: What told it from the others, in words.
    """

    label: str
    chosen_by: str


class BestOfExplainer(BaseExplainer):
    """An explainer that takes the best of several labels; see the module's steps.

    Args:
        tools: `JudgedTools`, with a config that names the candidates.
        candidates: Write the labels; by default those that the config names.

    Raises:
        NoKeyError: If a candidate or the judge needs a key and the environment holds none.
        PipelineError: If there is no such candidate.
        PromptError: If a candidate's prompt file is missing or malformed.
    """

    name = "best_of"
    asks_judge: ClassVar[bool] = True

    def __init__(self, tools: Tools, candidates: Sequence[BaseExplainer] | None = None) -> None:
        super().__init__(tools)
        assert isinstance(tools, JudgedTools), "who makes an explainer that asks a judge gives it one"
        self._candidates = [made(tools) for made in _classes(tools.config)] if candidates is None else candidates
        self._trial = SelectTrial(tools.judge(), tools.seed, tools.background)

    @classmethod
    def asks_model(cls, config: ExplainConfig) -> bool:
        """Whether a candidate does."""
        return any(candidate.asks_model(config) for candidate in _classes(config))

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """The candidates, in their order. The judge's fingerprint and that of the split come to it in the run.

        Raises:
            PipelineError: If there is no such candidate.
            PromptError: If a candidate's prompt file is missing or malformed.
        """
        return [candidate.settings_fingerprint(config) for candidate in _classes(config)]

    def prepare(self, evidence: Sequence[FeatureEvidence]) -> None:
        """Get the candidates ready, and the judge."""
        for candidate in self._candidates:
            candidate.prepare(evidence)
        self._trial.prepare(evidence)

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write labels and take the best; the first failure where no candidate wrote one."""
        unseen = replace(evidence, select_active=(), select_silent=())
        tried = await _together([candidate.explain(unseen) for candidate in self._candidates])
        written = {of.label: of for of in reversed(tried) if isinstance(of, Explanation)}
        labels = list(reversed(written))
        if not labels:
            failures = [of for of in tried if isinstance(of, Failure)]
            cost_usd = total_cost([of.cost_usd for of in failures])
            return replace(failures[0], retry=any(of.retry for of in failures), cost_usd=cost_usd)
        fits: dict[str, Fit | UnknownFit] = {}
        if len(labels) > 1:
            found = await _together([self._trial.fit(label, evidence) for label in labels])
            fits = dict(zip(labels, found, strict=True))
        cost_usd = total_cost([of.cost_usd for of in (*tried, *fits.values())])
        unknown = [fit for fit in fits.values() if isinstance(fit, UnknownFit)]
        if unknown and len(unknown) == len(labels) and any(fit.retry for fit in unknown):
            reason = next(fit.reason for fit in unknown if fit.retry)
            message = f"{len(labels)} labels were written, and the judge could not choose among them: {reason}"
            return self.failure(evidence, "AllUnanswered", message, retry=True, cost_usd=cost_usd)
        choice = choose(labels, fits)
        chosen = written[choice.label]
        accounts = [_account(c.name, of, fits) for c, of in zip(self._candidates, tried, strict=True)]
        return self.explanation(
            evidence,
            chosen.label,
            model=chosen.model,
            prompt_sha256=chosen.prompt_sha256,
            cost_usd=cost_usd,
            side=chosen.side,
            n_contexts=chosen.n_contexts,
            excludes=chosen.excludes,
            detail={
                **chosen.detail,
                "candidates": accounts,
                "chosen": chosen.explainer,
                "chosen_by": choice.chosen_by,
            },
        )


def choose(labels: Sequence[str], fits: Mapping[str, Fit | UnknownFit]) -> Choice:
    """Choose a label; see step 3 of the module.

    Args:
        labels: Different labels, at least one, in the order of their candidates.
        fits: Of each label; may be empty for a single one.
    """
    if len(labels) == 1:
        return Choice(labels[0], "there is no other label")
    known = {label: fit for label in labels if isinstance(fit := fits[label], Fit)}
    if not known:
        reason = next(fit.reason for fit in fits.values() if isinstance(fit, UnknownFit))
        return Choice(labels[0], f"order of the candidates, as none could be tried: {reason}")
    if len(known) == 1:
        return Choice(next(iter(known)), "no other label could be tried")
    most = max(_accuracy(fit) for fit in known.values())
    best = [label for label, fit in known.items() if _accuracy(fit) == most]
    if len(best) == 1:
        return Choice(best[0], "balanced accuracy on the select split")
    most = max(_auroc(known[label]) for label in best)
    best = [label for label in best if _auroc(known[label]) == most]
    if len(best) == 1:
        return Choice(best[0], "AUROC on the select split, balanced accuracies being equal")
    return Choice(best[0], "order of the candidates, balanced accuracies and AUROCs being equal")


def _accuracy(fit: Fit) -> float:
    return round(fit.balanced_accuracy, _DIGITS)


def _auroc(fit: Fit) -> float:
    return -1.0 if fit.auroc is None else round(fit.auroc, _DIGITS)


async def _together(work: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Do all at the same time. The first error counts once all have ended: calls under way are paid for."""
    results = await asyncio.gather(*work, return_exceptions=True)
    done: list[_Result] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


def _account(explainer: str, outcome: Explanation | Failure, fits: Mapping[str, Fit | UnknownFit]) -> dict[str, Any]:
    """What a candidate wrote, for the explanation's detail."""
    account: dict[str, Any] = {"explainer": explainer}
    if isinstance(outcome, Failure):
        return account | {"failure": outcome.error_type, "message": outcome.message}
    account["label"] = outcome.label
    match fits.get(outcome.label):
        case Fit() as fit:
            account |= {
                "select_balanced_accuracy": fit.balanced_accuracy,
                "select_auroc": fit.auroc,
                "n_trials": fit.n_trials,
                "n_unanswered": fit.n_unanswered,
            }
        case UnknownFit() as unknown:
            account["not_tried"] = unknown.reason
        case None:
            pass
    return account


def _classes(config: ExplainConfig) -> list[type[BaseExplainer]]:
    """The classes of the candidates, each once: a second of one class would be asked and paid for the same label."""
    classes = [load_explainer(name) for name in config.candidates]
    for name, of in zip(config.candidates, classes, strict=True):
        if issubclass(of, BestOfExplainer):
            raise PipelineError(f"explain.candidates holds {name!r}, itself a best_of", "name other explainers")
    twice = next((name for name, of in zip(config.candidates, classes, strict=True) if classes.count(of) > 1), None)
    if twice is not None:
        raise PipelineError(f"explain.candidates holds {twice!r} twice", "name each explainer once")
    return classes
