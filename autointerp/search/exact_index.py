"""Comparing a vector with every label's vector: exact, and fast enough for some 200,000 labels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64


@dataclass(frozen=True, slots=True)
class ExactIndex:
    """Finds rows by cosine similarity.

    Attributes:
        vectors: Unit vector of each row.
    """

    vectors: Float32[np.ndarray, "row dim"]

    def search(
        self, vector: Float32[np.ndarray, " dim"], allowed: Bool[np.ndarray, " row"]
    ) -> tuple[Int64[np.ndarray, " candidate"], Float64[np.ndarray, " candidate"]]:
        """The rows worth a closer look, and the similarity of each to a vector.

        Args:
            vector: A unit vector.
            allowed: Rows that may be found.

        Returns:
            All allowed rows, ascending, and their cosines.
        """
        rows = np.flatnonzero(allowed)
        return rows, (self.vectors @ vector)[rows].astype(np.float64)
