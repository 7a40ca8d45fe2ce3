"""Fuzzing: in contexts that all fire, are the marked tokens the ones that the label describes?

1. Every firing context of the score split gets as many marks as it has active tokens, but no more than it has
   inactive ones. That number depends on the context alone, so it tells nothing about the answer. White space counts
   for neither: marks around it would tell by themselves, so it is marked in no half.
2. Contexts of one activation quantile are dealt in hashed order, in turn, to two halves.
3. In the one half the marks stand on active tokens (the strongest, where not all are marked): the answer is yes. In the
   other they stand on inactive ones: the answer is no. A context has one role only, so no context can be compared with
   itself.
4. Marks on inactive tokens look like true ones. The runs of consecutive true marks are moved as they are, each to a
   place near the one it comes from, before or after it by even chances (a firing stands at three quarters of its
   context, so marks anywhere would be told by their place), preferably to a token that begins, or goes on with, a
   word as the true one does, and not touching another run. A run that fits nowhere is cut in two.

A context on which every token that shows is active, or none is, can't have both kinds of marks: it is left out of
both halves, and counted.
The headline is balanced accuracy. After Paulo et al. 2024 (2410.13928); Delphi's false examples have more marks than
its true ones, so that counting marks solves it there.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.identity import keyed_hash
from autointerp.records import Context, Explanation, FeatureContexts, Split
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_confusion
from autointerp.score.judge import Question, Task
from autointerp.score.trials import Answered, Posed, ScoreContexts, context_hashes, shuffled

FUZZING = Task("fuzzing", "judge_fuzzing")
# How far a run of marks is moved: the standard deviation, in tokens, where nothing stands in the way.
_MOVE_TOKENS = 4.0
_LOOK_BONUS = 4.0
_GAP_BONUS = 4.0
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


class FuzzingScorer(BaseScorer):
    """Grades by balanced accuracy on truly and falsely marked contexts; see the module's steps."""

    name = "fuzzing"
    version = 3
    task = FUZZING
    metric = "balanced accuracy"
    interval = "MOVER of neutral posterior intervals of sensitivity and specificity, at effective numbers of trials"
    classes = ("contexts to mark truly", "contexts to mark falsely")
    needs_silence = False

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        """The firing contexts of the score split, marked."""
        return build_questions(contexts.feature, "score", key)

    def solve(self, contexts: FeatureContexts, key: int) -> tuple[Posed, ...]:
        """The firing contexts of the explain split, marked."""
        return build_questions(contexts, "explain", key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """Balanced accuracy, and what else the answers tell."""
        return measure(of, len(contexts.feature.of("score", active=True)) - len(posed))


def build_questions(contexts: FeatureContexts, split: Split, key: int) -> tuple[Posed, ...]:
    """The firing contexts of one split, one half marked truly and one falsely, in hashed order."""
    fit = [c for c in contexts.of(split, active=True) if _n_marks(c) > 0]
    hashes = context_hashes(key, fit)
    dealt = sorted(range(len(fit)), key=lambda i: (fit[i].quantile is None, fit[i].quantile, hashes[i]))
    posed = []
    for turn, i in enumerate(dealt):
        truth = turn % 2 == 0
        marked = true_marks(fit[i]) if truth else false_marks(fit[i], key)
        posed.append(Posed(Question(fit[i], marked), truth))
    return shuffled(posed, key)


def measure(of: Answered, n_left_out: int) -> tuple[metrics.Estimate, Detail]:
    """Balanced accuracy, and what else the answers tell.

    Args:
        of: Answered questions of both classes.
        n_left_out: Firing contexts that could not be marked both truly and falsely.
    """
    headline = metrics.balanced_accuracy(of.confusion)
    assert headline is not None, "both classes have answers"
    detail = Detail()
    add_confusion(detail, of)
    detail.add("n_left_out", n_left_out)
    for name, truth in (("positive", True), ("negative", False)):
        detail.add(f"mean_marks_{name}", float(np.mean([len(p.question.marked) for p in of.posed if p.truth == truth])))
    return headline, detail


# Kept for the shuffled label, which is asked about the same contexts right after the true one.
@lru_cache(maxsize=1024)
def true_marks(context: Context) -> tuple[int, ...]:
    """Offsets of the active tokens that show, or of the strongest where they are more than the inactive ones."""
    active = np.flatnonzero(_shows(context) & _is_active(context)).tolist()
    strongest = sorted(active, key=lambda i: (-context.activations[i], i))[: _n_marks(context)]
    return tuple(sorted(strongest))


@lru_cache(maxsize=1024)
def false_marks(context: Context, key: int) -> tuple[int, ...]:
    """As many inactive offsets as `true_marks` gives active ones, in runs of the same lengths where they fit."""
    free = _shows(context) & ~_is_active(context)
    touched = np.zeros_like(free)
    look = np.array([_look(context, offset) for offset in range(free.size)])
    runs = sorted(_runs(true_marks(context)), key=lambda run: (-run[1], run[0]))
    marked: list[int] = []
    while runs:
        origin, length = runs.pop(0)
        starts = np.flatnonzero(_windows(free, length).all(axis=1))
        if starts.size == 0:
            runs = [(origin, (length + 1) // 2), (origin + (length + 1) // 2, length // 2), *runs]
            continue
        bonus = _LOOK_BONUS * (look[starts] == look[origin])
        bonus += _GAP_BONUS * ~_windows(touched, length)[starts].any(axis=1)
        start = _draw_start(context, key, origin, starts, bonus)
        marked.extend(range(start, start + length))
        free[start : start + length] = False
        touched[max(0, start - 1) : start + length + 1] = True
    return tuple(sorted(marked))


@lru_cache(maxsize=1024)
def _n_marks(context: Context) -> int:
    shows, is_active = _shows(context), _is_active(context)
    return min(int((shows & is_active).sum()), int((shows & ~is_active).sum()))


def _shows(context: Context) -> Bool[np.ndarray, " offset"]:
    """Which tokens are more than white space."""
    return np.array([bool(token.strip()) for token in context.tokens], dtype=np.bool_)


def _is_active(context: Context) -> Bool[np.ndarray, " offset"]:
    return np.array(context.activations) > 0


def _look(context: Context, offset: int) -> int:
    """What a token is on the page: 1 if it begins a word, plus 2 if it has a letter or a digit."""
    token = context.tokens[offset]
    begins = offset == 0 or token[:1].isspace() or context.tokens[offset - 1][-1:].isspace()
    return int(begins) + 2 * (_LETTER_OR_DIGIT.search(token) is not None)


def _runs(offsets: tuple[int, ...]) -> list[tuple[int, int]]:
    """First offset and length of each run of consecutive offsets."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and offset == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((offset, 1))
    return runs


def _windows(flags: Bool[np.ndarray, " offset"], length: int) -> Bool[np.ndarray, "start within"]:
    # Most runs are of one token, and a view of windows takes longer to make than to use.
    return flags[:, None] if length == 1 else np.lib.stride_tricks.sliding_window_view(flags, length)


def _draw_start(
    context: Context,
    key: int,
    origin: int,
    starts: Int64[np.ndarray, " start"],
    bonus: Float64[np.ndarray, " start"],
) -> int:
    """Draw a start near the origin: the largest log weight plus Gumbel noise draws in proportion to the weights."""
    place = (np.full(starts.size, n, dtype=np.int64) for n in (context.block_index, context.start, origin))
    uniform = ((keyed_hash(key, *place, starts) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    log_weight = bonus - 0.5 * ((starts - origin) / _MOVE_TOKENS) ** 2
    # Before and after the true place are equally likely, though most of a context lies before it.
    for side in (starts < origin, starts > origin):
        if side.any():
            log_weight[side] -= np.logaddexp.reduce(log_weight[side])
    return int(starts[np.argmax(log_weight - np.log(-np.log(uniform)))])
