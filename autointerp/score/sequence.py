"""Where a balanced accuracy lies, known at every moment of asking: a confidence sequence, by betting.

A fixed-n interval that is looked at again and again misses the truth far more often than 5 % of the time. A confidence
sequence may be looked at after every answer, and asking may stop for whatever it shows.

1. Questions are put in *units*: each holds contexts of both classes, and no two units share a group of documents. Of a
   group's questions of one class the first in hashed order is asked: a second one would tell little that is new, and
   nothing that could be counted on. A group with questions of both classes is a unit; the others are dealt to as
   many units as the class with fewer groups has. What a unit comes to is the mean of its two classes' shares of right
   answers. Its expectation is the balanced accuracy.
2. Against each possible mean m a bettor stakes a share of his wealth on every unit. Were m the mean, his wealth would
   be a martingale, and pass 1 / a with a probability of at most a, whenever one stops (Ville 1939). The stakes are
   mixed over a grid, so that they need not be tuned; for means above and below there are two bettors, with a = .025
   each (Waudby-Smith and Ramdas 2024, 2010.09686, who tune one stake instead).
3. The wealth against m falls with m for the one and rises for the other, so the two ends are found by bisection. The
   interval is the intersection of all so far.

Of a unit that is not answered whole, the missing answers are taken to be wrong for the lower end, right for the upper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import bisect

from autointerp.config import StopConfig
from autointerp.score.judge import Answer
from autointerp.score.trials import Posed

_LOG_WEALTH = float(np.log(1 / 0.025))
# Shares of the highest stake, alike in weight: denser at the ends, for labels that are all right or all wrong.
_STAKES = np.sin(np.pi * (np.arange(32) + 0.5) / 64) ** 2
_TOLERANCE = 1e-4


def in_units(posed: Sequence[Posed]) -> list[tuple[int, ...]]:
    """The places of the questions to ask by unit, in the order in which to ask them; see the module's step 1.

    Args:
        posed: Questions of both classes, in hashed order.
    """
    first: dict[str, dict[bool, int]] = {}
    for place, of in enumerate(posed):
        context = of.question.context
        first.setdefault(context.group_id, {}).setdefault(of.truth, place)
    units = [(*of_group.values(),) for of_group in first.values() if len(of_group) == 2]
    firing, silent = (
        [of_group[truth] for of_group in first.values() if of_group.keys() == {truth}] for truth in (True, False)
    )
    if n_dealt := min(len(firing), len(silent)):
        units += [(*firing[unit::n_dealt], *silent[unit::n_dealt]) for unit in range(n_dealt)]
    else:  # one class stands in groups of both only: what is left of the other goes with these
        units = [(*unit, *(firing + silent)[n :: len(units)]) for n, unit in enumerate(units)]
    return sorted(units, key=min)


@dataclass(frozen=True, slots=True)
class UnitValue:
    """What a unit came to, in [0, 1].

    Attributes:
        low: Were the unanswered questions answered wrong.
        high: Were they answered right.
    """

    low: float
    high: float


def unit_value(posed: Sequence[Posed], answers: Sequence[Answer]) -> UnitValue:
    """What the answers to one unit come to; see the module's step 1."""

    def mean_right(missing: bool) -> float:
        right: dict[bool, list[bool]] = {True: [], False: []}
        for of, answer in zip(posed, answers, strict=True):
            right[of.truth].append(missing if answer.unanswered is not None else answer.verdict == of.truth)
        return float(np.mean([np.mean(of_class) for of_class in right.values()]))

    return UnitValue(low=mean_right(False), high=mean_right(True))


class ConfidenceSequence:
    """Where the mean of the units lies, with 95 % at all times together.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    def __init__(self) -> None:
        self._values: list[UnitValue] = []
        self.low, self.high = 0.0, 1.0

    def add(self, values: Sequence[UnitValue]) -> None:
        """Take in further units."""
        self._values += values
        self.low = max(self.low, _low_end(np.array([value.low for value in self._values])))
        self.high = min(self.high, 1.0 - _low_end(1.0 - np.array([value.high for value in self._values])))

    def settled(self, stop: StopConfig) -> str | None:
        """Why nothing more need be asked; None where it need."""
        if stop.threshold is not None and self.low > stop.threshold:
            return f"above {stop.threshold:g}"
        if stop.threshold is not None and self.high < stop.threshold:
            return f"below {stop.threshold:g}"
        if stop.width is not None and self.high - self.low <= stop.width:
            return f"at most {stop.width:g} wide"
        return None


def _low_end(values: Float64[np.ndarray, " unit"]) -> float:
    """The largest mean that is bet against with success, 0 for none."""
    distinct, counts = np.unique(values, return_counts=True)

    def log_wealth(mean: float) -> float:
        with np.errstate(divide="ignore"):
            of_stakes = np.log(1.0 - _STAKES[:, None] + _STAKES[:, None] * distinct / mean) @ counts
        return float(np.logaddexp.reduce(of_stakes) - np.log(_STAKES.size))

    lowest, highest = _TOLERANCE, float(values.mean())
    if highest <= lowest or log_wealth(lowest) < _LOG_WEALTH:
        return 0.0
    return float(bisect(lambda mean: log_wealth(mean) - _LOG_WEALTH, lowest, highest, xtol=_TOLERANCE)) - _TOLERANCE
