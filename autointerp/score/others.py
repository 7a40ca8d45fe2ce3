"""The other labelled features of a source, for scorers that set one feature against others.

Nothing is read or computed before it is asked for, so scorers that look at one feature alone pay nothing. The nearest
labels are found block by block of features, by one matrix product each: a block holds at most `_MOST_CELLS` numbers,
however many labels there are. The similarity of two labels is the cosine of the embeddings of what they mean, without
a head such as `words such as` and without quotes, which unlike labels share (`label_meaning`), to four decimals. Where
several are equally near, as many equal labels are, a keyed turn decides, another one for each feature: so no feature is
the sibling of all.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from autointerp.contexts.pool import PoolTiles
from autointerp.embedder import TextEmbedder
from autointerp.identity import hash_key, keyed_hash
from autointerp.words import label_meaning, plain_label

_MOST_CELLS = 1 << 24
_DECIMALS = 4
_WINDOWS_KEPT = 512  # of so many features


class NearLabel(NamedTuple):
    """A feature with a label like another's, and the cosine of the two."""

    feature_index: int
    similarity: float


class _Near(NamedTuple):
    """The nearest labels of a block of features, nearest first: all are kept, as features come in any order."""

    feature_index: Int64[np.ndarray, "row near"]
    similarity: Float64[np.ndarray, "row near"]


class OtherFeatures:
    """The labelled features of one source.

    Args:
        read_labels: Gives the current true label of each labelled feature.
        draw_windows: Gives windows of the pool in which a feature peaks, placed as contexts that grade are; None where
            it fires nowhere in the pool.
        embedder: Tells how near labels are.
    """

    def __init__(
        self,
        read_labels: Callable[[], Mapping[int, str]],
        draw_windows: Callable[[int], PoolTiles | None],
        embedder: TextEmbedder,
    ) -> None:
        self._read_labels = read_labels
        self._draw_windows = lru_cache(maxsize=_WINDOWS_KEPT)(draw_windows)
        self._embedder = embedder
        self._near: dict[tuple[int, int], _Near] = {}

    @cached_property
    def labels(self) -> Mapping[int, str]:
        """The current label of each labelled feature, ascending."""
        return dict(sorted(self._read_labels().items()))

    def nearest(self, feature_index: int, n: int) -> list[NearLabel]:
        """The n other features whose labels are nearest to that of one, nearest first; none where it has no label."""
        place = self._places.get(feature_index)
        if place is None:
            return []
        size = max(1, _MOST_CELLS // len(self.labels))
        block = place // size
        if (block, n) not in self._near:
            self._near[block, n] = self._nearest_to(
                np.arange(block * size, min(len(self.labels), (block + 1) * size)), n
            )
        features, similarities = (of_row[place - block * size].tolist() for of_row in self._near[block, n])
        return list(map(NearLabel, features, similarities))

    def equal(self, feature_index: int) -> list[int]:
        """The other features with the same label, whatever its case and spacing, ascending."""
        label = self.labels.get(feature_index)
        same = [] if label is None else self._by_text[plain_label(label)]
        return [other for other in same if other != feature_index]

    def windows(self, feature_index: int) -> PoolTiles | None:
        """Windows of the pool in which a feature peaks, of every split; None where it fires nowhere in the pool."""
        return self._draw_windows(feature_index)

    def _nearest_to(self, rows: Int64[np.ndarray, " row"], n: int) -> _Near:
        """The nearest labels of some features, each given by the place of its label."""
        cosine = np.round((self._embeddings[rows] @ self._embeddings.T).astype(np.float64), _DECIMALS)
        cosine[np.arange(rows.size), rows] = -np.inf
        # Less than one step of the rounding, so it only decides among equal ones.
        ordered = cosine + (self._turn[None, :] + self._turn[rows, None]) % 1.0 * 10.0**-_DECIMALS / 2
        n = min(n, len(self.labels) - 1)
        found = np.argpartition(-ordered, max(0, n - 1), axis=1)[:, :n]
        found = np.take_along_axis(found, np.argsort(-np.take_along_axis(ordered, found, axis=1), axis=1), axis=1)
        features = np.fromiter(self.labels, dtype=np.int64)[found]
        return _Near(features, np.take_along_axis(cosine, found, axis=1))

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {feature: place for place, feature in enumerate(self.labels)}

    @cached_property
    def _by_text(self) -> Mapping[str, list[int]]:
        by_text: defaultdict[str, list[int]] = defaultdict(list)
        for feature, label in self.labels.items():
            by_text[plain_label(label)].append(feature)
        return by_text

    @cached_property
    def _embeddings(self) -> Float32[np.ndarray, "label dim"]:
        """Of what the labels mean, a text as often as it is one."""
        texts = list(map(label_meaning, self.labels.values()))
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        embedded: Float32[np.ndarray, "label dim"] = self._embedder.embed(list(distinct))[[distinct[t] for t in texts]]
        return embedded

    @cached_property
    def _turn(self) -> Float64[np.ndarray, " label"]:
        """In [0, 1), by keyed hash of each feature."""
        features = np.fromiter(self.labels, dtype=np.int64)
        return keyed_hash(hash_key(0, "equally near"), features) / 2.0**64
