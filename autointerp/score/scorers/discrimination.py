"""Discrimination: does the label tell the feature's contexts from those of the features with the nearest labels?

1. Siblings: the features of the same source whose current labels are nearest to this feature's current one by
   embedding, nearest first. One is passed over where there are fewer than `_LEAST_WINDOWS` windows to ask about (step
   2): it fires too seldom, or nowhere but where this feature fires too.
2. A sibling's windows lie around its peaks in the pool's blocks, of documents of the score split, placed like the
   feature's own contexts. The feature is silent in each on every token, which the pool proves; and none nearly repeats
   a context of the feature.
3. Questions: the firing contexts of the score split (true answer yes), and as many windows of the siblings (no), dealt
   in turn, the nearest first.
4. The headline is balanced accuracy. By sibling, it says whom the label is confused with.

The siblings are those of the feature's current label, whatever label is on trial: a shuffled label faces the same
questions. A label that many features share can't tell them apart, and scores half, though detection may give it .9;
`equal_labels` in the detail counts them.

Every label of the run decides who is nearest, so the fingerprint holds them all: a label that changes, comes or goes
has all labels of the run tried again.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context, Explanation
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_confusion
from autointerp.score.judge import Question
from autointerp.score.others import NearLabel
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.told_apart import windows_apart
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined, shuffled

_LEAST_SIBLINGS = 2
_LEAST_WINDOWS = 2
_LEAST_QUESTIONS = 5
# Labels that are looked at for each sibling that is wanted.
_LOOKED_AT = 4
_MOST_EQUAL_TOLD = 20
_FEATURES_KEPT = 256


@dataclass(frozen=True, slots=True)
class Sibling:
    """A feature with a near label, and the windows that are asked about.

    Attributes:
        feature_index: The feature.
        similarity: Cosine of the two labels.
        windows: In which it fires and the feature on trial does not, as contexts of the latter; in hashed order.
    """

    feature_index: int
    similarity: float
    windows: tuple[Context, ...]


class DiscriminationScorer(BaseScorer):
    """Grades by balanced accuracy against features with near labels; see the module's steps."""

    name = "discrimination"
    version = 2
    task = DETECTION
    metric = "balanced accuracy"
    interval = "MOVER of neutral posterior intervals of sensitivity and specificity, at effective numbers of trials"
    classes = ("firing contexts", "windows of features with near labels")
    needs_silence = False
    stops_early = True

    def __init__(self, tools: ScoreTools) -> None:
        super().__init__(tools)
        # A label and the shuffled one beside it are asked the same, and both are measured after.
        self._siblings = lru_cache(maxsize=_FEATURES_KEPT)(find_siblings)

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """How many siblings, and every label, by which they are found."""
        return (tools.config.n_siblings, tools.embedder().name, tools.labels_fingerprint())

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """Firing contexts of the score split, and windows of siblings."""
        siblings = self._siblings(contexts, self.config.n_siblings, key)
        if (lacking := _lacking(siblings, contexts)) is not None:
            return lacking
        return build_questions(contexts.feature.of("score", active=True), siblings, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """Balanced accuracy, over all siblings and against each, and who has the same label."""
        headline, detail = measure(of, self._siblings(contexts, self.config.n_siblings, key))
        assert contexts.others is not None, "there were siblings to ask about"
        equal = contexts.others.equal(contexts.feature.feature_index)
        detail.add("n_equal_labels", len(equal))
        detail.add_list("equal_labels", equal[:_MOST_EQUAL_TOLD])
        return headline, detail


def find_siblings(contexts: ScoreContexts, n_siblings: int, key: int) -> tuple[Sibling, ...]:
    """The features with the nearest labels, nearest first, each with its part of the questions; see steps 1 to 3.

    Args:
        contexts: Of the feature on trial; together the siblings have at most as many windows as it has firing contexts.
        n_siblings: Siblings at most.
        key: Of the choice among a sibling's windows.
    """
    others, own = contexts.others, contexts.feature
    if others is None:
        return ()
    found: list[tuple[NearLabel, PoolTiles, list[int]]] = []
    for near in others.nearest(own.feature_index, _LOOKED_AT * n_siblings):
        windows = others.windows(near.feature_index)
        apart = [] if windows is None else windows_apart(windows, own, "score", key)
        if windows is not None and len(apart) >= _LEAST_WINDOWS:
            found.append((near, windows, apart))
        if len(found) == n_siblings:
            break
    turns = sorted((turn, place) for place, (_, _, apart) in enumerate(found) for turn in range(len(apart)))
    n_dealt = Counter(place for _, place in turns[: len(own.of("score", active=True))])
    return tuple(
        Sibling(*near, tuple(windows.context(tile, own.feature_index) for tile in apart[: n_dealt[place]]))
        for place, (near, windows, apart) in enumerate(found)
    )


def _lacking(siblings: Sequence[Sibling], contexts: ScoreContexts) -> Undefined | None:
    """Why there is no score, where too few siblings have windows, or these too few; None where there are enough."""
    n_labels = 0 if contexts.others is None else len(contexts.others.labels)
    n_windows = sum(len(sibling.windows) for sibling in siblings)
    if len(siblings) >= _LEAST_SIBLINGS and n_windows >= _LEAST_QUESTIONS:
        return None
    return Undefined(
        "TooFewSiblings",
        f"of the features with the nearest labels {len(siblings)} fire in windows of the pool in which this one is "
        f"silent, {n_windows} windows in all; needed are {_LEAST_SIBLINGS}, and {_LEAST_QUESTIONS} windows: label more "
        f"features (features.sample; {n_labels:,} of the source have labels), or collect more (collect.n_pool_blocks)",
        retry=False,
    )


def build_questions(firing: Sequence[Context], siblings: Sequence[Sibling], key: int) -> tuple[Posed, ...]:
    """Firing contexts and windows of siblings, unmarked, in hashed order."""
    posed = [Posed(Question(context), True) for context in firing]
    # A block in which two siblings fire gives one window where both peaks are the same.
    windows = {context.context_id: context for sibling in siblings for context in sibling.windows}
    return shuffled([*posed, *(Posed(Question(context), False) for context in windows.values())], key)


def measure(of: Answered, siblings: Sequence[Sibling]) -> tuple[metrics.Estimate, Detail]:
    """Balanced accuracy over all siblings and against each.

    Args:
        of: Answered questions of both classes.
        siblings: Those that were asked about.
    """
    headline = metrics.balanced_accuracy(of.confusion)
    assert headline is not None, "both classes have answers"
    detail = Detail()
    add_confusion(detail, of)
    shown_as = defaultdict[str, list[str]](list)
    for sibling in siblings:
        for context in sibling.windows:
            shown_as[context.context_id].append(str(sibling.feature_index))
    cells = {
        str(sibling.feature_index): of.where(
            p.truth or str(sibling.feature_index) in shown_as[p.question.context.context_id] for p in of.posed
        ).confusion
        for sibling in siblings
    }
    detail.add_by(
        "balanced_accuracy_by_sibling",
        {name: metrics.balanced_accuracy(counts) for name, counts in cells.items()},
        {name: counts.n_negative for name, counts in cells.items()},
    )
    detail.add_numbers("similarity_by_sibling", {str(s.feature_index): s.similarity for s in siblings})
    detail.add_numbers("sibling_by_context", {name: int(of_it[0]) for name, of_it in shown_as.items()})
    return headline, detail
