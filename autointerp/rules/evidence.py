"""What a rule is held against: the contexts in which a feature fires, and text as it comes.

A rule must be right at natural rates, where silence is a thousand times more common than firing, and a feature's own
contexts are all of firing text. So they stand for the corpus's firing windows, and tiles of the pool on which the
feature is silent for the others, in the proportion in which the corpus has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context
from autointerp.rules.rule import Rule
from autointerp.rules.units import Units, unit_activations


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
        natural: Tiles of the explain split.
        weight: What each unit of `natural` stands for: 0 where the feature fires in its tile.
    """

    own: Units
    fires: Bool[np.ndarray, " own"]
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
        return cls(own, fires, natural.units, weight)

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

    def counted(self, both: float, alarms: float) -> Agreement:
        """The agreement of a rule that holds of so many firing units, and of so many silent ones."""
        return Agreement(both, self.n_fires - both, alarms, max(0.0, self.n_silent - alarms))


def bits_saved(
    both: Float64[np.ndarray, "..."] | float,
    alarms: Float64[np.ndarray, "..."] | float,
    fires: float,
    silent: float,
) -> Float64[np.ndarray, "..."]:
    """How much is saved, n times mutual information in bits, by knowing where a rule holds; signed.

    Below 0 where the feature fires less often where a rule holds than elsewhere.

    Args:
        both: Units on which a rule holds and the feature fires.
        alarms: Units on which it holds alone.
        fires: Units on which the feature fires.
        silent: Units on which it is silent.
    """
    a, b = np.asarray(both, dtype=np.float64), np.asarray(alarms, dtype=np.float64)
    n, said = fires + silent, a + b

    total = (
        _term(a, said, fires / n)
        + _term(b, said, silent / n)
        + _term(fires - a, n - said, fires / n)
        + _term(silent - b, n - said, silent / n)
    )
    signed: Float64[np.ndarray, ...] = np.where(a * n >= said * fires, total, -total)
    return signed


def _term(
    count: Float64[np.ndarray, "..."], of: Float64[np.ndarray, "..."], share: float
) -> Float64[np.ndarray, "..."]:
    part: Float64[np.ndarray, ...] = np.where(
        count > 0, count * np.log2(np.maximum(count, 1e-300) / np.maximum(of * share, 1e-300)), 0.0
    )
    return part
