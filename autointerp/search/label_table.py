"""The labels of a store as arrays in memory: what search filters and ranks.

Built once and kept until the store changes. Row i of every array is the same label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from autointerp.errors import SearchError
from autointerp.records import SearchHit
from autointerp.search.word_matches import WordMatches
from autointerp.store.reader import Reader
from autointerp.store.results import LabelEmbeddings


@dataclass(frozen=True)
class LabelTable:
    """Labels with what can be asked of them.

    Attributes:
        embedded: The labels, their embeddings, densities and scores.
    """

    embedded: LabelEmbeddings

    @property
    def n_rows(self) -> int:
        """Number of labels."""
        return len(self.embedded.labels)

    @cached_property
    def rows_of(self) -> Mapping[tuple[str, int], list[int]]:
        """Rows of each feature, by source and index."""
        places: dict[tuple[str, int], list[int]] = {}
        for row, key in enumerate(zip(self.embedded.source_ids, self.embedded.feature_index.tolist(), strict=True)):
            places.setdefault(key, []).append(row)
        return places

    def passing(
        self,
        source_id: str | None,
        min_score: Mapping[str, float],
        min_density: float | None,
        max_density: float | None,
    ) -> Bool[np.ndarray, " row"]:
        """Which labels pass all filters; a label without a score asked about does not.

        Raises:
            SearchError: If no label has a score of this scorer.
        """
        kept = np.ones(self.n_rows, dtype=bool)
        if source_id is not None:
            kept &= self.embedded.source_ids == source_id
        if min_density is not None:
            kept &= self.embedded.density >= min_density
        if max_density is not None:
            kept &= self.embedded.density <= max_density
        for scorer, least in min_score.items():
            if scorer not in self.embedded.scorers:
                known = ", ".join(self.embedded.scorers) or "none yet"
                raise SearchError(f"no label has a score of {scorer!r}", f"scorers are {known}")
            # False for NaN: a label without this score.
            kept &= self.embedded.values[:, self.embedded.scorers.index(scorer)] >= least
        return kept

    def word_matches(self, query: str) -> Float64[np.ndarray, " row"]:
        """How far each label has the query's words; see `WordMatches.of`."""
        return self._words.of(query)

    def best_rows(
        self, relevance: Float64[np.ndarray, " row"], kept: Bool[np.ndarray, " row"], top_k: int
    ) -> list[int]:
        """The best row of each feature, the `top_k` most relevant of these; ties in the order of the rows."""
        candidates = np.flatnonzero(kept)
        order = candidates[np.argsort(-relevance[candidates], kind="stable")]
        chosen: dict[tuple[str, int], int] = {}
        for row in order.tolist():
            chosen.setdefault((self.embedded.source_ids[row], int(self.embedded.feature_index[row])), row)
            if len(chosen) == top_k:
                break
        return list(chosen.values())

    def hit(self, row: int, relevance: float) -> SearchHit:
        """One row as a search result."""
        scores = {
            scorer: float(value)
            for scorer, value in zip(self.embedded.scorers, self.embedded.values[row].tolist(), strict=True)
            if value == value
        }
        return SearchHit(
            source_id=self.embedded.source_ids[row],
            feature_index=int(self.embedded.feature_index[row]),
            label=self.embedded.labels[row],
            explanation_id=self.embedded.explanation_ids[row],
            relevance=relevance,
            density=float(self.embedded.density[row]),
            scores=scores,
        )

    @cached_property
    def _words(self) -> WordMatches:
        return WordMatches(self.embedded.labels)


def load_table(reader: Reader, embedder: str) -> LabelTable:
    """Read the labels that an embedder has embedded.

    Raises:
        SearchError: If there are none.
    """
    embedded = reader.label_embeddings(embedder)
    if not embedded.labels:
        raise SearchError(f"{reader.path} has no labels embedded with {embedder}", "run `autointerp index` first")
    return LabelTable(embedded)
