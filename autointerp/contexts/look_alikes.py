"""How much windows look like the contexts of a feature, for `silent_similar`.

1. A window is compared with single contexts, not with their mean: what is closest to a mean is text of no special
   topic, which has fewer rare words than text in which a feature fires.
2. From each similarity the window's own crowding is taken, its mean similarity to the windows closest to it: without
   this some windows would be among the most similar to most contexts (Lample et al. 2018, 1710.04087, CSLS).
3. The windows stand in the order of their best rank for any of the contexts.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from autointerp.contexts.pool import PoolTiles
from autointerp.embedder import TextEmbedder

_Item = TypeVar("_Item")
_N_CLOSEST = 10


def crowding(windows: Float32[np.ndarray, "window dim"]) -> Float32[np.ndarray, " window"]:
    """Mean similarity of each window to the windows closest to it.

    Args:
        windows: Embeddings, unit rows.
    """
    n_closest = min(_N_CLOSEST, len(windows) - 1)
    # Row by row and not by BLAS, whose rounding may change with the size of a product and with threads.
    return np.array(
        [
            np.sort(np.einsum("wd,d->w", windows, window))[-1 - n_closest : -1].mean() if n_closest else 0.0
            for window in windows
        ],
        dtype=np.float32,
    )


def look_alike(
    windows: Float32[np.ndarray, "window dim"],
    crowded: Float32[np.ndarray, " window"],
    contexts: Float32[np.ndarray, "context dim"],
) -> Float32[np.ndarray, " window"]:
    """How much each window looks like one of some contexts; only the order counts.

    Args:
        windows: Embeddings, unit rows.
        crowded: Their crowding.
        contexts: Embeddings of the contexts, unit rows.

    Returns:
        Minus the best rank that a window has for any of the contexts; of equal ranks the earlier context's is higher.
    """
    best = np.full(len(windows), np.inf, dtype=np.float32)
    for number, context in enumerate(contexts):
        closeness = 2 * np.einsum("wd,d->w", windows, context) - crowded
        rank = np.empty(len(windows), dtype=np.float32)
        rank[np.argsort(-closeness, kind="stable")] = np.arange(len(windows))
        best = np.minimum(best, rank + number / len(contexts))
    return -best


def spread(items: Sequence[_Item], n: int) -> list[_Item]:
    """At most n of some items, at least one, evenly spread from the first to the last."""
    places = np.unique(np.linspace(0, len(items) - 1, n).round().astype(int))
    return [items[place] for place in places.tolist()]


class LookAlikes:
    """How much a source's windows look like features' contexts.

    Args:
        windows: The windows.
        embedder: Tells how alike texts are.
    """

    def __init__(self, windows: PoolTiles, embedder: TextEmbedder) -> None:
        self._windows = windows
        self._embedder = embedder

    def of(self, texts: Mapping[int, Sequence[str]]) -> dict[int, Float32[np.ndarray, " window"]]:
        """`look_alike` of the windows, by feature; what is embedded is embedded for all features at once.

        Args:
            texts: Of contexts of each feature, in an order that breaks ties.
        """
        embedded = self._embedder.embed([text for of_feature in texts.values() for text in of_feature])
        ends = np.cumsum([len(of_feature) for of_feature in texts.values()])
        return {
            feature: look_alike(self._embeddings, self._crowding, own)
            for feature, own in zip(texts, np.split(embedded, ends[:-1]), strict=True)
        }

    @property
    def _embeddings(self) -> Float32[np.ndarray, "window dim"]:
        return self._windows.embeddings(self._embedder)

    @cached_property
    def _crowding(self) -> Float32[np.ndarray, " window"]:
        return crowding(self._embeddings)
