"""What a rule is held against: the contexts in which a feature fires, and text as it comes.

A rule must be right at natural rates, where silence is a thousand times more common than firing, and a feature's own
contexts are all of firing text. So they stand for the corpus's firing windows, and tiles of the pool on which the
feature is silent for the others, in the proportion in which the corpus has them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context
from autointerp.rules.bits import bits_saved
from autointerp.rules.rule import Beside, Root, Rule
from autointerp.rules.units import Places, Units, unit_activations


@dataclass(frozen=True, eq=False)
class NaturalText:
    """Tiles of the pool as rows of units, for every feature.

    Attributes:
        pool: The pool.
        tiles: Which of its tiles these are.
    """

    pool: PoolTiles
    tiles: tuple[int, ...]

    @classmethod
    def of_explain(cls, pool: PoolTiles) -> "NaturalText":
        """The tiles of the explain split, the only ones that what writes a label may be made of."""
        return cls(pool, tuple(np.flatnonzero(pool.is_explain).tolist()))

    @cached_property
    def units(self) -> Units:
        """The rows."""
        return Units.cut("".join(self.pool.tokens[tile]) for tile in self.tiles)

    def is_silent(self, feature_index: int) -> Bool[np.ndarray, " row"]:
        """Whether the feature is silent on each row."""
        silent: Bool[np.ndarray, " row"] = self.pool.peaks(feature_index)[list(self.tiles)] <= 0
        return silent


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a rule and a feature agree, in units of the corpus's own mix.

    Attributes:
        n_both: The rule holds and the feature fires.
        n_missed: The feature fires alone.
        n_alarms: The rule holds alone.
        n_neither: Neither.
    """

    n_both: float
    n_missed: float
    n_alarms: float
    n_neither: float

    @property
    def recall(self) -> float:
        """Share of firing units that the rule holds of."""
        fires = self.n_both + self.n_missed
        return self.n_both / fires if fires else 0.0

    @property
    def precision(self) -> float:
        """Share of the units that the rule holds of on which the feature fires."""
        said = self.n_both + self.n_alarms
        return self.n_both / said if said else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        both = 2 * self.n_both + self.n_missed + self.n_alarms
        return 2 * self.n_both / both if both else 0.0

    @property
    def bits(self) -> float:
        """What knowing where the rule holds saves in telling where the feature fires: n times mutual information."""
        return float(
            bits_saved(self.n_both, self.n_alarms, self.n_both + self.n_missed, self.n_alarms + self.n_neither)
        )


@dataclass(frozen=True, eq=False)
class FeatureText:
    """Everything that rules about one feature are held against.

    Attributes:
        own: Contexts of the explain split in which it fires.
        fires: Whether it fires on each unit of them.
        group: Number of the group that each unit's document belongs to.
        natural: Tiles of the explain split.
        weight: What each unit of `natural` stands for: 0 where the feature fires in its tile.
    """

    own: Units
    fires: Bool[np.ndarray, " own"]
    group: Int64[np.ndarray, " own"]
    natural: Units
    weight: Float64[np.ndarray, " unit"]

    @classmethod
    def build(
        cls, active: Sequence[Context], feature_index: int, density: float, natural: NaturalText
    ) -> "FeatureText":
        """Put a feature's contexts beside silent text.

        Args:
            active: In which it fires, of the explain split.
            feature_index: The feature.
            density: Share of counted tokens on which it fires.
            natural: Text as it comes.
        """
        own = Units.cut(("".join(context.tokens) for context in active), natural.units.vocabulary)
        fires = np.concatenate([unit_activations(context) for context in active] or [np.zeros(0)]) > 0
        # The share of windows with a firing, from the exact density and the firings a window has.
        n_tokens = sum(len(context.tokens) for context in active)
        n_firing = sum(sum(a > 0 for a in context.activations) for context in active)
        base_rate = min(0.999, max(1e-9, density * n_tokens / max(1, n_firing)))
        silent = natural.is_silent(feature_index)
        n_silent_windows = len(active) * (1 - base_rate) / base_rate
        weight = silent[natural.units.row] * (n_silent_windows / max(1, int(silent.sum())))
        groups = np.unique([context.group_id for context in active], return_inverse=True)[1].astype(np.int64)
        return cls(own, fires, groups[own.row], natural.units, weight)

    @cached_property
    def both_by_word(self) -> Float64[np.ndarray, " word"]:
        """Units of each word on which the feature fires."""
        return np.bincount(self.own.word[self.fires], minlength=len(self.own.vocabulary)).astype(np.float64)

    @cached_property
    def alarms_by_word(self) -> Float64[np.ndarray, " word"]:
        """Units of each word on which it is silent, in the corpus's own mix."""
        n = len(self.own.vocabulary)
        counts: Float64[np.ndarray, " word"] = np.bincount(self.own.word[~self.fires], minlength=n) + np.bincount(
            self.natural.word, self.weight, minlength=n
        )
        return counts

    @property
    def n_fires(self) -> int:
        """Units on which the feature fires."""
        return int(self.fires.sum())

    @cached_property
    def n_silent(self) -> float:
        """Units on which it is silent, in the corpus's own mix."""
        return float((~self.fires).sum() + self.weight.sum())

    def agreement(self, rule: Rule) -> Agreement:
        """How a rule agrees with the feature."""
        if not rule.where:
            meant = rule.meant(self.own.vocabulary)
            return self.counted(float(self.both_by_word[meant].sum()), float(self.alarms_by_word[meant].sum()))
        holds = rule.holds(self.own)
        both = float((holds & self.fires).sum())
        alarms = float((holds & ~self.fires).sum() + self.weight[rule.holds(self.natural)].sum())
        return self.counted(both, alarms)

    def foreseen(self, rule: Rule) -> Agreement:
        """How a rule would have agreed, had its lists been written as the contexts came.

        The first group of documents in which an entry of a list (a word, an ending) says where the feature fires is
        what puts it on the list; only in later ones does it foretell a firing. So a firing that an entry of n groups
        tells counts 1 - 1/n, which is its share over all orders of the groups: nothing where the entry is of one group.
        What is of no list, a class or a place, counts whole. It is the prequential view (Dawid 1984) of a rule: a long
        list of what fired once each fits the contexts that it is made of, and no others.
        """
        holds = rule.holds(self.own)
        hits = np.flatnonzero(holds & self.fires)
        words, vocabulary = self.own.word[hits], self.own.vocabulary
        told = np.maximum.reduce(
            [self._told(root, hits, lambda entry: entry.meant(vocabulary)[words]) for root in rule.roots]
        )
        for condition in rule.where:
            if isinstance(condition, Beside):
                by = partial(self._holds_by, condition, hits)
                told = np.minimum(told, self._told(condition.root, hits, by))
        alarms = float((holds & ~self.fires).sum() + self.weight[rule.holds(self.natural)].sum())
        return self.counted(float(told.sum()), alarms)

    def expected_f1(self, rule: Rule) -> float:
        """What F1 a rule is expected to have on other documents.

        It lies between what the rule has on those that it was made of, which is too much, of long lists most, and what
        it would have foretold there, which is too little, since it had seen less: their geometric mean.
        """
        return math.sqrt(self.agreement(rule).f1 * self.foreseen(rule).f1)

    def _told(
        self, root: Root, hits: Places, holds: Callable[[Root], Bool[np.ndarray, " hit"]]
    ) -> Float64[np.ndarray, " hit"]:
        entries = root.entries()
        told: Float64[np.ndarray, " hit"] = np.zeros(hits.size) if entries else holds(root).astype(np.float64)
        for entry in entries:
            its = holds(entry)
            n_groups = np.unique(self.group[hits[its]]).size
            np.maximum(told, 1 - 1 / max(1, n_groups), out=told, where=its)
        return told

    def _holds_by(self, condition: Beside, hits: Places, entry: Root) -> Bool[np.ndarray, " hit"]:
        return replace(condition, root=entry).holds(self.own, hits)

    def counted(self, both: float, alarms: float) -> Agreement:
        """The agreement of a rule that holds of so many firing units, and of so many silent ones."""
        return Agreement(both, self.n_fires - both, alarms, max(0.0, self.n_silent - alarms))
