"""Records of features that fire near each other."""

from dataclasses import dataclass
from typing import Literal

FiringPlace = Literal["before", "with", "after"]


@dataclass(frozen=True, slots=True)
class FiringNeighbor:
    """A feature that fires near another, more often than by chance.

    Attributes:
        source_id: `model@source`.
        feature_index: The neighbor.
        place: Where it fires: on the same token (`with`), or near `before` or `after` it.
        n_both: Firings of the feature that have one of the neighbor there.
        n_fired: Firings of the feature, on the blocks that were counted.
        n_expected: Of these, as many as would have one if the two had nothing to do with each other; above 0.
        n_near: Tokens that have a firing of the neighbor there: of these, the feature fires on `n_both`.
        n_blocks: Blocks in which `n_both` was counted.
        association: Bits by which `n_both` is more than `n_expected`, both shrunk; `contexts.before_after` says how.
    """

    source_id: str
    feature_index: int
    place: FiringPlace
    n_both: int
    n_fired: int
    n_expected: float
    n_near: int
    n_blocks: int
    association: float


@dataclass(frozen=True, slots=True)
class FiringNeighbors:
    """Of one feature, the strongest first."""

    upstream: tuple[FiringNeighbor, ...]
    downstream: tuple[FiringNeighbor, ...]


@dataclass(frozen=True, slots=True)
class FiringTogether:
    """Another feature that fires on the same tokens as a feature, of those that were counted.

    Attributes:
        feature_index: The other one.
        n_both: Tokens on which both fire.
        n_own: Tokens on which the feature fires.
        n_other: Tokens on which the other one fires.
    """

    feature_index: int
    n_both: int
    n_own: int
    n_other: int

    @property
    def recall(self) -> float:
        """Share of the feature's firings on which the other one fires too."""
        return self.n_both / self.n_own

    @property
    def precision(self) -> float:
        """Share of the other one's firings on which the feature fires too."""
        return self.n_both / self.n_other

    @property
    def jaccard(self) -> float:
        """Of the tokens on which either fires, the share on which both do."""
        return self.n_both / (self.n_own + self.n_other - self.n_both)
