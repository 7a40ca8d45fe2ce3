"""A map of labels: each labelled feature of a source at a place in the plane, near those whose labels mean the like."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt64

NO_CLUSTER = -1


@dataclass(frozen=True, slots=True)
class LabelPoints:
    """The current labels of a source, one a feature, by feature.

    Attributes:
        feature_index: Feature of each.
        digest: Of each one's explanation, by which it is known again.
        labels: The texts.
    """

    feature_index: Int32[np.ndarray, " point"]
    digest: UInt64[np.ndarray, " point"]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class PointColumns:
    """What is known of the same labels' features besides.

    Attributes:
        density: Share of tokens on which each fires; NaN where nobody knows.
        max_activation: Largest activation of each; NaN where nobody knows.
        scores: By scorer, of each label; NaN where it has none.
    """

    density: Float64[np.ndarray, " point"]
    max_activation: Float64[np.ndarray, " point"]
    scores: dict[str, Float64[np.ndarray, " point"]]


@dataclass(frozen=True, slots=True)
class MapCluster:
    """Labels that lie together.

    Attributes:
        words: Those that tell it from the others, the most telling first.
        n: Labels in it, when the map was made.
        x: Median place of them, from 0 to 1.
        y: The same, from 0 at the top to 1.
    """

    words: tuple[str, ...]
    n: int
    x: float
    y: float

    @property
    def name(self) -> str:
        """Its words on one line."""
        return ", ".join(self.words)


@dataclass(frozen=True, slots=True)
class MapPlan:
    """How a map was made, and of what.

    Attributes:
        source_id: `model@source`.
        embedder: Of the labels.
        seed: Of the layout.
        n_neighbors: Labels among which each looks for its place.
        min_dist: Least distance of two, as UMAP has it.
        made_at: UTC.
        version: Of this program.
        umap_version: Of the library that laid it out.
    """

    source_id: str
    embedder: str
    seed: int
    n_neighbors: int
    min_dist: float
    made_at: datetime
    version: str
    umap_version: str


@dataclass(frozen=True, eq=False, repr=False)
class LabelMap:
    """A map of the labels of one source.

    Attributes:
        plan: How it was made.
        feature_index: Feature of each point, ascending.
        digest: Of each one's explanation; see `LabelPoints`.
        xy: Place of each, from 0 to 1, y from the top.
        cluster: Number of each one's cluster; `NO_CLUSTER` where it is in none.
        clusters: By number.
        n_unplaced: Current labels that are not on it, since they came after it.
        n_gone: Labels that were on it and are not current any more; they are left out.
    """

    plan: MapPlan
    feature_index: Int32[np.ndarray, " point"]
    digest: UInt64[np.ndarray, " point"]
    xy: Float32[np.ndarray, "point 2"]
    cluster: Int32[np.ndarray, " point"]
    clusters: tuple[MapCluster, ...]
    n_unplaced: int = 0
    n_gone: int = 0

    def __len__(self) -> int:
        return len(self.feature_index)

    def __repr__(self) -> str:
        late = f", {self.n_unplaced} labels not on it" if self.n_unplaced else ""
        return f"<LabelMap of {self.plan.source_id}: {len(self)} labels in {len(self.clusters)} clusters{late}>"

    def only(self, kept: Bool[np.ndarray, " point"], n_unplaced: int) -> "LabelMap":
        """The map with some of its points."""
        return LabelMap(
            plan=self.plan,
            feature_index=self.feature_index[kept],
            digest=self.digest[kept],
            xy=self.xy[kept],
            cluster=self.cluster[kept],
            clusters=self.clusters,
            n_unplaced=n_unplaced,
            n_gone=int(len(self) - np.count_nonzero(kept)),
        )
