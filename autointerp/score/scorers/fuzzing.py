"""Fuzzing: in contexts that all fire, are the marked tokens the ones that the label describes?

1. Every firing context of the score split has a decoy (`contexts.place`): tokens on which another feature fires and
   this one is silent, from a draw in which every feature has the same chance, in a window placed so that peak and decoy
   have the same part in it. One for which there is no decoy is left out, and counted.
2. As many tokens are marked as can be marked either way: the smaller of the numbers of active tokens and of decoy
   tokens. White space counts for neither: marks around it would tell by themselves.
3. Contexts of one activation quantile are dealt in hashed order, in turn, to two halves. In the one half the marks
   stand on the strongest active tokens: the answer is yes. In the other on the strongest of the decoy: the answer is
   no. A context has one role only, so no context can be compared with itself.

So the context can't tell the answer, nor can the number of marks; what their place, rarity and text still tell is
measured (`benchmarks/label_free.md`). A feature of
white space alone can't be marked, and has no fuzzing score.
The headline is balanced accuracy. After Paulo et al. 2024 (2410.13928); Delphi's false examples have more marks than
its true ones, so that counting marks solves it there, and stand on tokens of any kind, which are more often function
words than those on which a feature peaks.
"""

from collections.abc import Sequence

import numpy as np

from autointerp.records import Context, Explanation, FeatureContexts, Split
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_confusion
from autointerp.score.judge import Question, Task
from autointerp.score.trials import (
    NO_FALSE_MARKS,
    Answered,
    Posed,
    ScoreContexts,
    Undefined,
    context_hashes,
    shuffled,
)

FUZZING = Task("fuzzing", "judge_fuzzing", yes_no="yes_no_fuzzing")


class FuzzingScorer(BaseScorer):
    """Grades by balanced accuracy on truly and falsely marked contexts; see the module's steps."""

    name = "fuzzing"
    version = 3
    task = FUZZING
    is_corrected = True
    metric = "balanced accuracy"
    interval = "MOVER of neutral posterior intervals of sensitivity and specificity, at effective numbers of trials"
    classes = ("contexts to mark truly", "contexts to mark falsely")
    needs_silence = False
    stops_early = True

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """The firing contexts of the score split, marked; `NoFalseMarks` where it fires on nearly every token."""
        posed = build_questions(contexts.feature, "score", key)
        if len(posed) < 2:
            message = "there are no two firing contexts with silent tokens that could be marked"
            return Undefined(NO_FALSE_MARKS, message, retry=False)
        return posed

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """Balanced accuracy, and what else the answers tell."""
        return measure(of, sum(_n_marks(context) == 0 for context in contexts.feature.of("score", active=True)))


def build_questions(contexts: FeatureContexts, split: Split, key: int) -> tuple[Posed, ...]:
    """The firing contexts of one split, one half marked truly and one falsely, in hashed order."""
    fit = [c for c in contexts.of(split, active=True) if _n_marks(c) > 0]
    hashes = context_hashes(key, fit)
    dealt = sorted(range(len(fit)), key=lambda i: (fit[i].quantile is None, fit[i].quantile, hashes[i]))
    posed = []
    for turn, i in enumerate(dealt):
        truth = turn % 2 == 0
        marked = true_marks(fit[i]) if truth else false_marks(fit[i])
        posed.append(Posed(Question(fit[i], marked), truth))
    return shuffled(posed, key)


def measure(of: Answered, n_left_out: int) -> tuple[metrics.Estimate, Detail]:
    """Balanced accuracy, and what else the answers tell.

    Args:
        of: Answered questions of both classes.
        n_left_out: Firing contexts without a decoy, or in which nothing can be marked.
    """
    headline = metrics.balanced_accuracy(of.confusion)
    assert headline is not None, "both classes have answers"
    detail = Detail()
    add_confusion(detail, of)
    detail.add("n_left_out", n_left_out)
    for name, truth in (("positive", True), ("negative", False)):
        detail.add(f"mean_marks_{name}", float(np.mean([len(p.question.marked) for p in of.posed if p.truth == truth])))
    return headline, detail


def true_marks(context: Context) -> tuple[int, ...]:
    """Offsets of the strongest active tokens that show, as many as `false_marks` has."""
    strongest = sorted(_active(context), key=lambda offset: (-context.activations[offset], offset))
    return tuple(sorted(strongest[: _n_marks(context)]))


def false_marks(context: Context) -> tuple[int, ...]:
    """Offsets of the strongest tokens of the decoy, as many as `true_marks` has."""
    return tuple(sorted(context.decoy[: _n_marks(context)]))


def _n_marks(context: Context) -> int:
    return min(len(_active(context)), len(context.decoy))


def _active(context: Context) -> list[int]:
    """Offsets of active tokens that are more than white space."""
    return [i for i, a in enumerate(context.activations) if a > 0 and context.tokens[i].strip()]
