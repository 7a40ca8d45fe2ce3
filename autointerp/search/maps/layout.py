"""Where labels lie on a map: near those whose embeddings are close, by UMAP (McInnes, Healy and Melville 2018).

1. The nearest neighbors of each label are found by comparing all of them, or, of many, in the parts of an inverted file
   that are closest.
2. Labels begin where their two largest principal components put them. Where most are on an earlier map they begin where
   that has them, and new ones among their neighbors.
3. UMAP moves them, one after another by a seed, and those of an earlier map less: it keeps its shape when labels come.
   The same labels, seed and library give the same map on one machine. Machines differ, since numbers are added in
   another order, so a map is made once and kept.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64

from autointerp.records.label_map import LabelMap, LabelPoints

N_NEIGHBORS = 15
MIN_DIST = 0.1
_FEWEST = 4
"""Labels, below which there is nothing to lay out."""
_COMPARED_BELOW = 20_000
_ROWS_AT_ONCE = 1024
_PROBED = 24
_LABELS_PER_PART = 128
_MOST_KNOWN = 0.5
_LESS = 0.05
_FEWER_EPOCHS = 100


class Beginning(NamedTuple):
    """Where each label begins, and the rows that an earlier map has, with their places there; none where none has."""

    places: Float32[np.ndarray, "label 2"]
    known: Int64[np.ndarray, " known"]
    earlier: Float32[np.ndarray, "known 2"]


class Nearest(NamedTuple):
    """The nearest labels of each, itself first: their rows, and the cosine distances."""

    rows: Int32[np.ndarray, "label near"]
    distances: Float32[np.ndarray, "label near"]


def nearest(embeddings: Float32[np.ndarray, "label dim"], n_near: int, seed: int) -> Nearest:
    """The nearest labels of each.

    Args:
        embeddings: Unit vectors.
        n_near: Labels wanted of each, itself among them.
        seed: Of the parts of an inverted file.
    """
    n_labels, dim = embeddings.shape
    if n_labels < _COMPARED_BELOW:
        rows = np.empty((n_labels, n_near), np.int32)
        cosines = np.empty((n_labels, n_near), np.float32)
        for first in range(0, n_labels, _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            alike = embeddings[some] @ embeddings.T
            alike[np.arange(len(alike)), np.arange(first, first + len(alike))] = 2  # itself first, whatever is equal
            closest = np.argsort(-alike, axis=1, kind="stable")[:, :n_near]
            rows[some], cosines[some] = closest, np.take_along_axis(alike, closest, axis=1)
    else:
        import faiss  # slow to import

        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(dim), dim, n_labels // _LABELS_PER_PART, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1
        index.train(embeddings)
        index.add(embeddings)
        index.nprobe = _PROBED
        found, places = index.search(embeddings, n_near)
        rows, cosines = _itself_first(places, found)
    return Nearest(rows, np.clip(1 - cosines, 0, 2, dtype=np.float32))


def beginning(
    embeddings: Float32[np.ndarray, "label dim"], points: LabelPoints, near: Nearest, earlier: LabelMap | None
) -> Beginning:
    """Where labels begin; see step 2 of the module.

    Args:
        embeddings: Unit vectors.
        points: The same labels.
        near: The nearest labels of each.
        earlier: A map of before, of whichever of them; None where there is none.
    """
    places = in_unit_square(principal_components(embeddings))
    nothing = Beginning(places, np.empty(0, np.int64), np.empty((0, 2), np.float32))
    if earlier is None:
        return nothing
    _, known, own = np.intersect1d(points.digest, earlier.digest, return_indices=True)
    if len(known) < _MOST_KNOWN * len(places):
        return nothing
    places[known] = earlier.xy[own]
    is_known = np.zeros(len(places), bool)
    is_known[known] = True
    for row in np.flatnonzero(~is_known).tolist():
        around = near.rows[row][is_known[near.rows[row]]]
        if len(around):
            places[row] = places[around].mean(axis=0)
    return Beginning(places, known.astype(np.int64), earlier.xy[own])


def lay_out(
    embeddings: Float32[np.ndarray, "label dim"], near: Nearest, begin: Beginning, seed: int
) -> Float32[np.ndarray, "label 2"]:
    """Places of labels, from 0 to 1, y from the top.

    Args:
        embeddings: Unit vectors.
        near: The nearest labels of each.
        begin: Where each begins.
        seed: Of the order in which they are moved, and of what keeps equal labels apart.
    """
    if len(embeddings) < _FEWEST:
        return begin.places
    apart = np.random.default_rng(seed).normal(scale=1e-4, size=begin.places.shape)
    is_kept = len(begin.known) > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it could do with TensorFlow, or with an index of its own
        import umap  # numba, which it brings, is slow to import

        reducer = umap.UMAP(
            n_neighbors=near.rows.shape[1],
            min_dist=MIN_DIST,
            metric="cosine",
            init=(begin.places + apart).astype(np.float32),
            learning_rate=_LESS if is_kept else 1.0,
            n_epochs=_FEWER_EPOCHS if is_kept else None,
            random_state=seed,
            n_jobs=1,  # several give another map each time
            precomputed_knn=(near.rows, near.distances),
            force_approximation_algorithm=True,  # else it compares few labels anew
        )
        places = np.asarray(reducer.fit_transform(embeddings), dtype=np.float32)
    if is_kept:  # it stretches either axis to one length before it begins
        places = _moved_onto(places, begin)
    return in_unit_square(places)


def principal_components(embeddings: Float32[np.ndarray, "label dim"]) -> Float32[np.ndarray, "label 2"]:
    """The two directions in which vectors vary most, each turned so that its largest weight is positive."""
    centred = embeddings - embeddings.mean(axis=0)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    chosen = directions[:, :-3:-1]
    chosen *= np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])
    places = np.zeros((len(embeddings), 2), np.float32)
    places[:, : chosen.shape[1]] = centred @ chosen
    return places


def in_unit_square(places: Float32[np.ndarray, "label 2"]) -> Float32[np.ndarray, "label 2"]:
    """Places moved and scaled into the unit square, in its middle, and no more stretched than they were."""
    low, high = places.min(axis=0), places.max(axis=0)
    largest = float((high - low).max())
    scaled: Float32[np.ndarray, "label 2"] = (places - (low + high) / 2) / (largest or 1.0) + 0.5
    kept: Float32[np.ndarray, "label 2"] = np.clip(scaled, 0, 1, dtype=np.float32)
    return kept


def _itself_first(
    places: Int32[np.ndarray, "label near"], cosines: Float32[np.ndarray, "label near"]
) -> tuple[Int32[np.ndarray, "label near"], Float32[np.ndarray, "label near"]]:
    """Nearest labels with each itself in front, also where equal ones were found before it, or not it at all."""
    own = np.arange(len(places))[:, None]
    cosines = np.where(places == own, 2, np.where(places < 0, -1, cosines))
    missed = ~(places == own).any(axis=1)
    places, cosines = places.copy(), cosines.astype(np.float32)
    places[missed, -1], cosines[missed, -1] = own[missed, 0], 2
    places = np.where(places < 0, own, places)
    order = np.argsort(-cosines, axis=1, kind="stable")
    return np.take_along_axis(places, order, 1).astype(np.int32), np.take_along_axis(cosines, order, 1)


def _moved_onto(places: Float32[np.ndarray, "label 2"], begin: Beginning) -> Float32[np.ndarray, "label 2"]:
    """Places moved, turned and stretched so that those that were known lie as close to where they were as can be."""
    with_one = np.concatenate([places, np.ones((len(places), 1), np.float32)], axis=1)
    best, *_ = np.linalg.lstsq(with_one[begin.known], begin.earlier, rcond=None)
    moved: Float32[np.ndarray, "label 2"] = (with_one @ best).astype(np.float32)
    return moved
