"""Labels in an index folder: found through its vectors and words, filtered and shown from its columns."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int64

from autointerp.records import FeatureFilter, KnownNames, SearchHit
from autointerp.search.indexes.base import Closest, VectorIndex, cosines
from autointerp.search.indexes.columns import Columns
from autointerp.search.indexes.ivf import IvfIndex
from autointerp.search.indexes.manifest import Manifest
from autointerp.search.indexes.update import WORDS, IndexBusyError, index_folder, update_index, usable_manifest
from autointerp.search.indexes.words import WordIndex
from autointerp.search.labels import Candidates, mean_known
from autointerp.search.word_matches import match_words
from autointerp.store.reader import Reader

logger = logging.getLogger(__name__)

_KEPT_FILTERS = 8
_MANY_ALIKE = 32
MOST_LATE = 100_000
"""Changes of the store since the index was written that a search puts in itself."""


class LabelsInFolder:
    """The labels of an index folder.

    Attributes:
        is_late: Whether another process was just then at work on what came since.

    Args:
        folder: The index folder.
        manifest: What it says of itself.
        index: Of its vectors; that of its codes where None.
    """

    is_late = False

    def __init__(self, folder: Path, manifest: Manifest, index: VectorIndex | None = None) -> None:
        self._manifest = manifest
        self._columns = Columns(folder, manifest.n_rows, manifest.dim)
        self._index = index or IvfIndex(folder / manifest.codes, self._columns.vectors)
        self._words = WordIndex(folder / WORDS, manifest.n_rows)
        self._kept: OrderedDict[str, Bool[np.ndarray, " row"]] = OrderedDict()

    @property
    def all_vectors(self) -> Float16[np.ndarray, "row dim"]:
        """Unit vector of each row, memory-mapped."""
        return self._columns.vectors

    def passing(self, where: FeatureFilter) -> Bool[np.ndarray, " row"] | None:
        """See `Labels.passing`; what the last few filters let pass is remembered."""
        names = self._manifest
        where.check(KnownNames(names.state.sources, names.scorers, names.explainers))
        name = repr(where)
        if name not in self._kept:
            self._kept[name] = self._passing(where)
            if len(self._kept) > _KEPT_FILTERS:
                self._kept.popitem(last=False)
        found = self._kept[name]
        return None if found.all() else found

    def _passing(self, where: FeatureFilter) -> Bool[np.ndarray, " row"]:
        columns, names = self._columns, self._manifest
        kept = columns.current.copy() if where.labelled is not False else np.zeros(columns.n_rows, bool)
        if where.sources is not None:
            kept &= np.isin(columns.source, [n for n, name in enumerate(names.sources) if name in where.sources])
        if where.features is not None:
            kept &= np.isin(columns.feature, list(where.features))
        # A density or a score that is not known is NaN, and compares as False.
        if where.min_density > 0:
            kept &= columns.density >= where.min_density
        if where.max_density < 1:
            kept &= columns.density <= where.max_density
        if where.explainer is not None:
            kept &= columns.explainer == names.explainers.index(where.explainer)
        for scorer, least in where.min_score.items():
            kept &= columns.value(names.scorers.index(scorer)) >= least
        return kept

    def candidates(
        self, query: str, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Candidates:
        """See `Labels.candidates`."""
        close, _ = self._closest(vector, n_rows, allowed)
        rows = self._in_order(np.union1d(close, self._words.candidates(query, n_rows, allowed)))
        labels = [label for _, label in self._columns.texts(rows.tolist())]
        words = match_words(query, labels, self._manifest.n_rows, self._words.n_labels_with)
        return Candidates(rows, cosines(self._columns.vectors, vector, rows), words)

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Closest:
        """See `Labels.closest`."""
        rows, similarity = self._closest(vector, n_rows, allowed)
        order = np.argsort(rows, kind="stable")
        in_order = self._in_order(rows)
        return Closest(in_order, similarity[order][np.searchsorted(rows[order], in_order)])

    def _closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None
    ) -> Closest:
        found = self._index.closest(vector, n_rows, allowed)
        if len(found.rows) <= n_rows:
            return found
        best = np.argpartition(-found.similarity, n_rows - 1)[:n_rows]
        least = found.similarity[best].min()
        rows = found.rows[found.similarity >= least]
        # Many labels that say the same: those that are found are any of them, so all are looked up.
        tied = found.rows[found.similarity == least]
        if len(tied) >= _MANY_ALIKE:
            alike = np.flatnonzero(self._columns.same == self._columns.same[tied[0]])
            alike = alike if allowed is None else alike[allowed[alike]]
            rows = np.union1d(rows, self._in_order(alike)[:n_rows])
        return Closest(np.sort(rows), cosines(self._columns.vectors, vector, np.sort(rows)))

    def _in_order(self, rows: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " some"]:
        """Rows by source, feature and the order in which they came, as a store without an index has them."""
        rank = np.argsort(np.argsort(self._manifest.sources))
        order = np.lexsort((rows, self._columns.feature[rows], rank[self._columns.source[rows]]))
        ordered: Int64[np.ndarray, " some"] = rows[order]
        return ordered

    def rows_of(self, source_id: str, features: list[int]) -> Int64[np.ndarray, " place"]:
        """See `Labels.rows_of`."""
        of_them = np.isin(self._columns.feature, features)
        rows = np.flatnonzero(of_them)
        number = self._manifest.sources.index(source_id) if source_id in self._manifest.sources else -1
        found: Int64[np.ndarray, " place"] = rows[(self._columns.source[rows] == number) & self._columns.current[rows]]
        return found

    def vectors(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        """See `Labels.vectors`."""
        found: Float32[np.ndarray, "some dim"] = self._columns.vectors[rows].astype(np.float32)
        return found

    def mean_scores(self, rows: Int64[np.ndarray, " some"]) -> Float64[np.ndarray, " some"]:
        """See `Labels.mean_scores`."""
        values = [self._columns.value(number)[rows] for number in range(len(self._manifest.scorers))]
        return mean_known(np.stack([*values, np.full(len(rows), np.nan)], axis=1).astype(np.float64))

    def alike(
        self, rows: Int64[np.ndarray, " one"], others: Int64[np.ndarray, " other"], least: float
    ) -> list[Int64[np.ndarray, " some"]]:
        """See `Labels.alike`."""
        is_alike = self.vectors(rows) @ self.vectors(others).T >= least
        return [others[of] for of in is_alike]

    def features(self, rows: Int64[np.ndarray, " some"]) -> list[tuple[str, int]]:
        """See `Labels.features`."""
        sources = self._manifest.sources
        found = zip(self._columns.source[rows].tolist(), self._columns.feature[rows].tolist(), strict=True)
        return [(sources[number], feature) for number, feature in found]

    def hit(self, row: int, relevance: float) -> SearchHit:
        """See `Labels.hit`."""
        columns, names = self._columns, self._manifest
        ((explanation, label),) = columns.texts([row])
        values = {name: float(columns.value(number)[row]) for number, name in enumerate(names.scorers)}
        ends = {name: columns.interval(number)[row].tolist() for number, name in enumerate(names.scorers)}
        scored = [name for name, value in values.items() if value == value]
        return SearchHit(
            source_id=names.sources[columns.source[row]],
            feature_index=int(columns.feature[row]),
            label=label,
            explanation_id=explanation,
            relevance=relevance,
            density=float(columns.density[row]),
            scores={name: values[name] for name in scored},
            explainer=names.explainers[columns.explainer[row]],
            intervals={name: (ends[name][0], ends[name][1]) for name in scored},
        )


def open_folder(reader: Reader, embedder: str) -> LabelsInFolder:
    """The labels of the index folder beside a store, extended where it lies behind.

    Raises:
        UnusableIndexError: If there is no folder, it is damaged, belongs to another store or lies too far behind.
    """
    folder = index_folder(reader.path, embedder)
    with reader.session():
        state = reader.label_state()
        manifest = usable_manifest(folder, reader, state)
    is_late = False
    if manifest.state != state:
        n_late = state.n_embeddings - manifest.state.n_embeddings + state.n_scores - manifest.state.n_scores
        try:
            if n_late > MOST_LATE:
                raise OSError(f"the index at {folder} lies {n_late:,} changes behind: run `autointerp index`")
            manifest = update_index(reader, embedder, wait=False)
        except (IndexBusyError, OSError) as error:
            is_late = isinstance(error, IndexBusyError)
            logger.warning("labels and scores that came since the index was written are not found yet (%s)", error)
    found = LabelsInFolder(folder, manifest)
    found.is_late = is_late
    return found
