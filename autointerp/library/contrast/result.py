"""What a contrast of two sets of texts finds, feature by feature and as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autointerp.library.contrast.largest import LEVEL
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.text_table import number, percent, shorten, table

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 10
_SHOWN_NOT_FOUND = 3


@dataclass(frozen=True, slots=True)
class FeatureContrast:
    """How one feature differs between two sets. Intervals are 95 %, for all features that were compared at once.

    Attributes:
        feature: The feature.
        auroc: Chance that a text of dataset 1 has it stronger than one of dataset 2, ties counting half: 1 where every
            text does, 1/2 where there is no difference, 0 where every text of dataset 2 has it stronger.
        auroc_interval: Its interval, which leaves 1/2 out if and only if the feature is found.
        p_value: Chance that any feature at all differs as much where the sets are of the same texts.
        mean_1: Mean of what it does in a text of dataset 1.
        mean_2: Mean in dataset 2.
        difference_interval: Of `mean_1 - mean_2`; infinite where the texts are too few.
        hedges_g: That difference in units of the standard deviation within sets; nan where nothing scatters.
        share_1: Share of the texts of dataset 1 in which it fires.
        share_2: Share of those of dataset 2.
        n_1: Texts of dataset 1.
        n_2: Texts of dataset 2.
    """

    feature: Feature
    auroc: float
    auroc_interval: tuple[float, float]
    p_value: float
    mean_1: float
    mean_2: float
    difference_interval: tuple[float, float]
    hedges_g: float
    share_1: float
    share_2: float
    n_1: int
    n_2: int

    @property
    def difference(self) -> float:
        """The mean in dataset 1 less that in dataset 2."""
        return self.mean_1 - self.mean_2

    @property
    def is_found(self) -> bool:
        """Whether it tells the sets apart: chance makes any of the features differ so in at most 1 of 20 contrasts."""
        return self.p_value <= LEVEL

    def as_plain(self) -> dict[str, Any]:
        """A row of a table, or what JSON can hold of it."""
        return {
            "id": self.feature.id,
            "source_id": self.feature.source_id,
            "index": self.feature.index,
            "label": self.feature.label,
            "stronger_in": 1 if self.auroc > 0.5 else 2,
            "is_found": self.is_found,
            "auroc": self.auroc,
            "auroc_low": self.auroc_interval[0],
            "auroc_high": self.auroc_interval[1],
            "p_value": self.p_value,
            "mean_1": self.mean_1,
            "mean_2": self.mean_2,
            "difference": self.difference,
            "difference_low": _plain(self.difference_interval[0]),
            "difference_high": _plain(self.difference_interval[1]),
            "hedges_g": _plain(self.hedges_g),
            "share_1": self.share_1,
            "share_2": self.share_2,
            "n_1": self.n_1,
            "n_2": self.n_2,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Contrast:
    """What tells two sets of texts apart. As a pair it is the features found, stronger in dataset 1 and in dataset 2.

    Attributes:
        leading_1: The features that are stronger in dataset 1, at most as many as were asked for: those found, surest
            of a large effect first (by the nearer end of the interval), and behind them what was not found.
        leading_2: Likewise those stronger in dataset 2.
        n_1: Texts of dataset 1.
        n_2: Texts of dataset 2.
        is_paired: Whether text i of one was held against text i of the other.
        n_units_1: Groups of texts that go together, of dataset 1; of pairs, groups of pairs.
        n_units_2: Likewise of dataset 2.
        n_found_1: Features found that are stronger in dataset 1, those beyond the number asked for too.
        n_found_2: Likewise in dataset 2.
        n_compared: Features compared.
        n_left_out: Features that fire in too few texts for any division of them to be told from chance.
        n_divisions: Divisions of the texts that were tried.
        aggregate_by: What a feature does in a text: its `max`, `mean`, `sum` or `frequency` over tokens.
        notes: What is to be known of it: why nothing can be found, for example.
    """

    leading_1: tuple[FeatureContrast, ...]
    leading_2: tuple[FeatureContrast, ...]
    n_1: int
    n_2: int
    is_paired: bool
    n_units_1: int
    n_units_2: int
    n_found_1: int
    n_found_2: int
    n_compared: int
    n_left_out: int
    n_divisions: int
    aggregate_by: str
    notes: tuple[str, ...]

    @property
    def dataset_1(self) -> tuple[FeatureContrast, ...]:
        """Features found that are stronger in dataset 1, best first, at most as many as were asked for."""
        return tuple(of for of in self.leading_1 if of.is_found)

    @property
    def dataset_2(self) -> tuple[FeatureContrast, ...]:
        """Features found that are stronger in dataset 2, best first, at most as many as were asked for."""
        return tuple(of for of in self.leading_2 if of.is_found)

    @property
    def found_nothing(self) -> bool:
        """Whether no feature differs more than chance makes the most different of them differ."""
        return self.n_found_1 + self.n_found_2 == 0

    def __iter__(self) -> Iterator[FeatureGroup]:
        """The features of `dataset_1` and of `dataset_2`, as groups."""
        for found in (self.dataset_1, self.dataset_2):
            yield FeatureGroup(of.feature for of in found)

    def to_pandas(self) -> "pd.DataFrame":
        """A row a feature of `leading_1` and `leading_2`, with `stronger_in` (1 or 2) and `is_found`."""
        import pandas as pd  # slow to import

        return pd.DataFrame([of.as_plain() for of in (*self.leading_1, *self.leading_2)])

    def __repr__(self) -> str:
        what = f"{self.n_1:,} pairs of texts" if self.is_paired else f"{self.n_1:,} texts and {self.n_2:,}"
        units = ""
        if self.n_units_1 < self.n_1 or self.n_units_2 < self.n_2:
            units = f" in {self.n_units_1:,} groups" + ("" if self.is_paired else f" and {self.n_units_2:,}")
        lines = [
            f"<Contrast of {what}{units}, {self.aggregate_by} of a text: {self.n_compared:,} features compared,"
            f" {self.n_left_out:,} left out as too rare>"
        ]
        lines += [f"note: {note}" for note in self.notes]
        if self.found_nothing:
            lines.append("nothing found: no feature differs more than chance makes the most different of them differ")
        for dataset, n_found, leading, found in (
            (1, self.n_found_1, self.leading_1, self.dataset_1),
            (2, self.n_found_2, self.leading_2, self.dataset_2),
        ):
            if not self.found_nothing:
                lines.append(f"stronger in dataset {dataset}: {n_found:,} found")
                lines += _table(found[:_SHOWN])
            elif leading:
                lines.append(f"not found, most different of those stronger in dataset {dataset}:")
                lines += _table(leading[:_SHOWN_NOT_FOUND])
        return "\n".join(lines)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _table(contrasts: Sequence[FeatureContrast]) -> list[str]:
    """Lines of a table."""
    several = len({of.feature.source_id for of in contrasts}) > 1
    rows = [
        [
            of.feature.id if several else str(of.feature.index),
            shorten(of.feature.told),
            f"{number(of.auroc)} [{number(of.auroc_interval[0])} {number(of.auroc_interval[1])}]",
            f"{of.p_value:.3f}",
            percent(of.share_1),
            percent(of.share_2),
            f"{of.mean_1:.3g}",
            f"{of.mean_2:.3g}",
        ]
        for of in contrasts
    ]
    header = ["feature", "label", "AUROC", "p", "fires in 1", "in 2", "mean in 1", "in 2"]
    return table(header, rows, left=(0, 1)) if rows else []
