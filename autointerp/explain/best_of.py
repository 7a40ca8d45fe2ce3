"""The explainer `best_of`: several explainers write a label, and the one that does best on contexts set apart is taken.

1. Each of `candidates` writes a label from the explain split, as it would by itself. One that fails is passed over, and
   recorded.
2. Each different label is graded by detection on the select split, by the pipeline's own judge: of which contexts,
   unmarked, does it say that the feature fires there? Nobody who wrote a label has seen these contexts, and no scorer
   uses them, so the choice makes no score look better than it is (contexts/splits.py).
3. The label of the highest balanced accuracy is taken; of equal ones that of the highest AUROC of the judge's
   probabilities; of equal ones again that of the first candidate.

Where there is but one label, nothing is graded. Where the select split of a feature lacks firing or silent contexts, or
the judge has nothing to set a threshold on, the first candidate's label is taken. Where the judge failed, the feature
has no label this time: the candidates' answers are in the journal, and the next run only asks the judge. How the choice
was made, and each candidate's label with its grade, stands in the explanation's `detail`.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.base import BaseExplainer, Explainer, Tools
from autointerp.explain.grading import Grade, LabelGrader, Ungraded
from autointerp.explain.registry import load_explainer
from autointerp.identity import fingerprint
from autointerp.llm.metering import MeteredModel, tally
from autointerp.records import Explanation, Failure, FeatureEvidence

_Result = TypeVar("_Result")
# Balanced accuracies of equal counts can differ in their last bits.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Choice:
    """A label among several.

    Attributes:
        label: The label.
        chosen_by: What told it from the others, in words.
    """

    label: str
    chosen_by: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What a candidate wrote, and what that cost."""

    explainer: str
    outcome: Explanation | Failure
    cost_usd: float | None


class BestOfExplainer(BaseExplainer):
    """An explainer that takes the best of several labels; see the module's steps.

    Args:
        candidates: Write the labels.
        grader: Grades them.
        config: Names the candidates.
    """

    name = "best_of"
    asks_a_judge: ClassVar[bool] = True

    def __init__(self, candidates: Sequence[Explainer], grader: LabelGrader, config: ExplainConfig) -> None:
        super().__init__(config)
        self._candidates = candidates
        self._grader = grader
        self.fingerprint = fingerprint(self.fingerprint, [c.fingerprint for c in candidates], grader.fingerprint)

    @classmethod
    def make(cls, tools: Tools) -> Self:
        """Build it with its candidates.

        Raises:
            NoKeyError: If a candidate or the judge needs a key and the environment holds none.
            PipelineError: If there is no such candidate.
            PromptError: If a candidate's prompt file is missing or malformed.
        """
        assert tools.grader is not None, "who makes an explainer that asks a judge gives it one"
        metered = replace(tools, language_model=lambda: MeteredModel(tools.language_model()))
        candidates = [of.make(metered) for of in _classes(tools.config)]
        return cls(candidates, tools.grader(), tools.config)

    @classmethod
    def asks_a_model(cls, config: ExplainConfig) -> bool:
        """Whether a candidate does."""
        return any(of.asks_a_model(config) for of in _classes(config))

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """The candidates, in their order. The judge's fingerprint and that of the split come to it in the run.

        Raises:
            PipelineError: If there is no such candidate.
            PromptError: If a candidate's prompt file is missing or malformed.
        """
        return [of.settings_fingerprint(config) for of in _classes(config)]

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write labels and take the best; the first failure where no candidate wrote one.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        unseen = replace(evidence, select_active=(), select_silent=())
        tried = await _together([_write(candidate, unseen) for candidate in self._candidates])
        written = {c.outcome.label: c.outcome for c in reversed(tried) if isinstance(c.outcome, Explanation)}
        labels = list(reversed(written))
        if not labels:
            failures = [c.outcome for c in tried if isinstance(c.outcome, Failure)]
            return replace(failures[0], retry=any(f.retry for f in failures), fingerprint=self.fingerprint)
        grades: dict[str, Grade | Ungraded] = {}
        if len(labels) > 1:
            outcomes = await _together([self._grader.grade(label, evidence) for label in labels])
            grades = dict(zip(labels, outcomes, strict=True))
        ungraded = [g for g in grades.values() if isinstance(g, Ungraded)]
        if ungraded and len(ungraded) == len(labels) and any(g.retry for g in ungraded):
            reason = next(g.reason for g in ungraded if g.retry)
            message = f"{len(labels)} labels were written, and the judge could not choose among them: {reason}"
            return self.failure(evidence, "AllUnanswered", message, retry=True)
        choice = choose(labels, grades)
        chosen = written[choice.label]
        return self.explanation(
            evidence,
            chosen.label,
            model=chosen.model,
            prompt_sha256=chosen.prompt_sha256,
            cost_usd=_sum([c.cost_usd for c in tried] + [g.cost_usd for g in grades.values()]),
            side=chosen.side,
            n_contexts=chosen.n_contexts,
            excludes=chosen.excludes,
            detail={
                **chosen.detail,
                "candidates": [_account(c, grades) for c in tried],
                "chosen_by": choice.chosen_by,
            },
        )


def choose(labels: Sequence[str], grades: Mapping[str, Grade | Ungraded]) -> Choice:
    """Choose a label; see step 3 of the module.

    Args:
        labels: Different labels, at least one, in the order of their candidates.
        grades: Of each label; may be empty for a single one.
    """
    if len(labels) == 1:
        return Choice(labels[0], "there is no other label")
    graded = {label: grade for label in labels if isinstance(grade := grades[label], Grade)}
    if not graded:
        reason = next(grade.reason for grade in grades.values() if isinstance(grade, Ungraded))
        return Choice(labels[0], f"order of the candidates, as none could be graded: {reason}")
    if len(graded) == 1:
        return Choice(next(iter(graded)), "no other label could be graded")
    most = max(_accuracy(grade) for grade in graded.values())
    best = [label for label, grade in graded.items() if _accuracy(grade) == most]
    if len(best) == 1:
        return Choice(best[0], "balanced accuracy on the select split")
    most = max(_auroc(graded[label]) for label in best)
    best = [label for label in best if _auroc(graded[label]) == most]
    if len(best) == 1:
        return Choice(best[0], "AUROC on the select split, balanced accuracies being equal")
    return Choice(best[0], "order of the candidates, balanced accuracies and AUROCs being equal")


def _accuracy(grade: Grade) -> float:
    return round(grade.balanced_accuracy, _DIGITS)


def _auroc(grade: Grade) -> float:
    return -1.0 if grade.auroc is None else round(grade.auroc, _DIGITS)


async def _write(candidate: Explainer, evidence: FeatureEvidence) -> _Candidate:
    """Have a candidate write a label. What it paid for a failure is known from its calls only."""
    with tally() as spent:
        outcome = await candidate.explain(evidence)
    cost_usd = outcome.cost_usd if isinstance(outcome, Explanation) else spent.usage.cost_usd
    return _Candidate(candidate.name, outcome, cost_usd)


async def _together(work: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Do all at the same time. The first error counts once all have ended: calls under way are paid for."""
    results = await asyncio.gather(*work, return_exceptions=True)
    done: list[_Result] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


def _account(candidate: _Candidate, grades: Mapping[str, Grade | Ungraded]) -> dict[str, Any]:
    """A candidate in the explanation's detail."""
    account: dict[str, Any] = {"explainer": candidate.explainer}
    if isinstance(candidate.outcome, Failure):
        return account | {"failure": candidate.outcome.error_type, "message": candidate.outcome.message}
    account["label"] = candidate.outcome.label
    match grades.get(candidate.outcome.label):
        case Grade() as grade:
            account |= {
                "select_balanced_accuracy": grade.balanced_accuracy,
                "select_auroc": grade.auroc,
                "n_trials": grade.n_trials,
                "n_unanswered": grade.n_unanswered,
            }
        case Ungraded() as ungraded:
            account["ungraded"] = ungraded.reason
        case None:
            pass
    return account


def _sum(costs: Sequence[float | None]) -> float | None:
    """What all cost together; None where one is unknown."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _classes(config: ExplainConfig) -> list[type[BaseExplainer]]:
    """The classes of the candidates."""
    classes = [load_explainer(name) for name in config.candidates]
    for name, of in zip(config.candidates, classes, strict=True):
        if issubclass(of, BestOfExplainer):
            raise PipelineError(f"explain.candidates holds {name!r}, itself a best_of", "name other explainers")
    return classes
