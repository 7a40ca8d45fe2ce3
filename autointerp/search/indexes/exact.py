"""Comparing a vector with every row's vector: exact, and fast enough for some 200,000 rows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.search.indexes.base import Closest

_ROUNDING = 1e-6  # of a sum in 32 bits


@dataclass(frozen=True, slots=True)
class ExactIndex:
    """Compares all rows; it finds all that are allowed, however few are wanted.

    Attributes:
        vectors: Unit vector of each row.
    """

    vectors: Float32[np.ndarray, "row dim"]

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None = None
    ) -> Closest:
        """All allowed rows with their cosines; those of the closest are of equal vectors equal to the last bit."""
        similarity = (self.vectors @ vector).astype(np.float64)
        if allowed is not None:
            similarity[~allowed] = -np.inf
        # A product adds up a row by where it stands; the closest are added up one like the other.
        least = np.partition(similarity, -n_rows)[-n_rows] if n_rows < len(similarity) else -np.inf
        first = np.flatnonzero(similarity >= least - _ROUNDING)
        closest = self.vectors[first].astype(np.float64)
        similarity[first] = np.einsum("rd,d->r", closest, vector.astype(np.float64))
        if allowed is None:
            return Closest(np.arange(len(similarity)), similarity)
        rows = np.flatnonzero(allowed)
        return Closest(rows, similarity[rows])
