"""Which of two labels of a feature is kept: its first, or the one that was to tell it from features of like labels.

1. Questions, the same under both labels, of contexts that no scorer uses: of the select split where there is one, else
   of the explain split. Contexts in which the feature fires (true answer yes); windows of its siblings (no), dealt in
   turn, the nearest first; and silent contexts of the feature (no).
2. A sibling's windows lie around its peaks in the pool's blocks, where the pool proves the feature silent on every
   token. Of a sibling that has none, as features of a large corpus may, contexts of its own are taken, of blocks of
   which the feature has no context: it is all but surely silent there.
3. The run's judge answers, as in detection. For each label two balanced accuracies come out: against the siblings, and
   against silent contexts.
4. The new label is taken where it is better against the siblings and no worse against silent contexts. Where the first
   says the same as a sibling's, no worse is enough. Where nobody can tell, the first is kept.

It chooses, and is no score: on the explain split both labels were made from the contexts they are tried on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.contexts.pool import PoolTiles
from autointerp.explain.distinct import say_the_same
from autointerp.identity import fingerprint, keyed_hash
from autointerp.records import Context, FeatureContexts, FeatureEvidence, Sibling, Split, total_cost
from autointerp.score import metrics
from autointerp.score.judge import Case, Judge, Question
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.trials import Posed, Undefined, answered, context_hashes, feature_key, shuffled

_PURPOSE = "told apart"
_N_EACH = 15
_LEAST = 3
# Balanced accuracies of equal counts can differ in their last bits.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Apart:
    """How well a label tells a feature apart. It chooses; it is no score.

    Attributes:
        from_siblings: Balanced accuracy over its firing contexts and its siblings'.
        from_silent: Balanced accuracy over its firing contexts and its silent ones.
    """

    from_siblings: float
    from_silent: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the trial of two labels came to.

    Attributes:
        takes_second: Whether the new label is kept.
        reason: Why, in words.
        first: How well the first label does; None where nobody can tell.
        second: How well the new one does.
        n_asked: Questions under each label.
        cost_usd: What the judge cost; None where the price is unknown.
        retry: Whether another run may fare better: the judge gave no answers.
    """

    takes_second: bool
    reason: str
    first: Apart | None = None
    second: Apart | None = None
    n_asked: int = 0
    cost_usd: float | None = 0.0
    retry: bool = False


class ApartTrial:
    """Has a judge tell which of two labels tells a feature better from its siblings; see the module's steps.

    Args:
        judge: Answers.
        seed: Of the choice of contexts, and of their order.
        background: As `Case.background` has it.
        windows_of: Gives windows of the pool around the peaks of a feature; None where it fires nowhere in the pool.
    """

    def __init__(
        self,
        judge: Judge,
        seed: int,
        background: Callable[[], tuple[str, ...]],
        windows_of: Callable[[int], PoolTiles | None],
    ) -> None:
        self._judge = judge
        self._seed = seed
        self._background = background
        self._windows_of = windows_of

    @staticmethod
    def fingerprint_of(judge: Judge, seed: int) -> str:
        """Of all that decides a verdict besides the contexts and the labels."""
        return fingerprint(_PURPOSE, 1, seed, _N_EACH, judge.fingerprint(DETECTION))

    async def compare(self, first: str, second: str, evidence: FeatureEvidence, siblings: Sequence[Sibling]) -> Verdict:
        """Try both labels.

        Args:
            first: The label that the feature has.
            second: The one that was to tell it apart.
            evidence: Of the feature, with its select contexts.
            siblings: From whom it is told apart.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        key = feature_key(self._seed, _PURPOSE, evidence.source_id, evidence.feature_index)
        posed = self._pose(evidence, siblings, key)
        for part in ("firing", "siblings", "silent"):
            if sum(p.part == part for p in posed) < _LEAST:
                return Verdict(False, f"first label: there are too few contexts to try the two on ({part})")
        cases = [Case(label, [p.question for p in posed], self._background()) for label in (first, second)]
        said = await self._judge.answer(DETECTION, cases)
        cost_usd = total_cost(of.usage.cost_usd for of in said)
        found: list[Apart] = []
        for of_label in said:
            of = answered(posed, of_label.answers)
            if isinstance(of, Undefined):
                reason = of.message if of.retry else f"first label: {of.message}"
                return Verdict(False, reason, n_asked=len(posed), cost_usd=cost_usd, retry=of.retry)
            rates = []
            for part in ("siblings", "silent"):
                accuracy = metrics.balanced_accuracy(of.where(p.part in ("firing", part) for p in of.posed).confusion)
                assert accuracy is not None, "every part has answers"
                rates.append(round(accuracy.value, _DIGITS))
            found.append(Apart(*rates))
        is_shared = any(say_the_same(first, sibling.label) for sibling in siblings)
        return _verdict(*found, is_shared=is_shared, n_asked=len(posed), cost_usd=cost_usd)

    def _pose(self, evidence: FeatureEvidence, siblings: Sequence[Sibling], key: int) -> tuple[Posed, ...]:
        split: Split = "select" if evidence.select_active and evidence.select_silent else "explain"
        active = evidence.select_active if split == "select" else evidence.active
        silent = evidence.select_silent if split == "select" else evidence.silent
        posed = [Posed(Question(c), True, part="firing") for c in _some(active, key)]
        posed += [Posed(Question(c), False, part="silent") for c in _some(silent, key)]
        own = FeatureContexts(evidence.source_id, evidence.feature_index, (*active, *silent))
        of_each = [self._of_sibling(sibling, own, split, key) for sibling in siblings]
        turns = sorted((turn, place) for place, of in enumerate(of_each) for turn in range(len(of)))
        dealt = {of_each[place][turn].context_id: of_each[place][turn] for turn, place in turns[:_N_EACH]}
        known = {p.question.context.context_id for p in posed}
        posed += [Posed(Question(c), False, part="siblings") for name, c in dealt.items() if name not in known]
        return shuffled(posed, key)

    def _of_sibling(self, sibling: Sibling, own: FeatureContexts, split: Split, key: int) -> list[Context]:
        """Contexts in which a sibling fires and the feature does not, in hashed order; see step 2."""
        windows = self._windows_of(sibling.feature_index)
        if windows is not None and (tiles := windows_apart(windows, own, split, key)):
            return [windows.context(tile, own.feature_index) for tile in tiles]
        blocks = {context.block_index for context in own.contexts}
        return [context for context in _some(sibling.active, key) if context.block_index not in blocks]


def windows_apart(windows: PoolTiles, own: FeatureContexts, split: Split, key: int) -> list[int]:
    """Windows of one split in which a feature is silent, repeating none of its contexts, in hashed order.

    Args:
        windows: Around the peaks of another feature.
        own: Contexts of the feature.
        split: The split.
        key: Of the order.
    """
    fits = windows.of(split) & (windows.peaks(own.feature_index) <= 0)
    if fits.any():
        fits &= ~windows.repeats(own.contexts, split)
    tiles = np.flatnonzero(fits)
    hashes = keyed_hash(key, windows.block_index[tiles], windows.start[tiles])
    return [int(tile) for tile in tiles[np.argsort(hashes, kind="stable")]]


def _some(contexts: Sequence[Context], key: int) -> list[Context]:
    """As many as are asked about, in hashed order."""
    hashes = context_hashes(key, contexts)
    return [contexts[i] for i in sorted(range(len(contexts)), key=lambda i: (hashes[i], i))[:_N_EACH]]


def _verdict(first: Apart, second: Apart, *, is_shared: bool, n_asked: int, cost_usd: float | None) -> Verdict:
    """See step 4 of the module."""
    gain = second.from_siblings - first.from_siblings
    if second.from_silent < first.from_silent:
        takes_second, why = False, "the second is worse against silent contexts"
    elif gain < 0:
        takes_second, why = False, "the second is worse against its siblings"
    elif gain == 0 and not is_shared:
        takes_second, why = False, "the second is no better against its siblings"
    else:
        takes_second, why = True, "better against its siblings" if gain else "as good, and not shared"
    reason = f"{'second' if takes_second else 'first'} label: {why}"
    return Verdict(takes_second, reason, first, second, n_asked, cost_usd)
