"""What every index of vectors can do."""

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int64

_PIECE = 65_536


class Closest(NamedTuple):
    """Rows close to a vector.

    Attributes:
        rows: Ascending, none twice.
        similarity: Cosine of each.
    """

    rows: Int64[np.ndarray, " candidate"]
    similarity: Float64[np.ndarray, " candidate"]


class VectorIndex(Protocol):
    """Finds rows of unit vectors by cosine similarity."""

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None = None
    ) -> Closest:
        """The rows closest to a vector, and how close each is.

        Args:
            vector: A unit vector.
            n_rows: Wanted; there may be more, and fewer only where fewer are allowed.
            allowed: Rows that may be found; all where None.
        """
        ...


def cosines(
    vectors: Float16[np.ndarray, "row dim"], vector: Float32[np.ndarray, " dim"], rows: Int64[np.ndarray, " candidate"]
) -> Float64[np.ndarray, " candidate"]:
    """Cosine of each of some rows with a unit vector; the same for the same vector in any company.

    Args:
        vectors: Unit vector of each row, for example memory-mapped.
        vector: A unit vector.
        rows: Those to compare.
    """
    found = np.empty(len(rows))
    for first in range(0, len(rows), _PIECE):
        some = vectors[rows[first : first + _PIECE]].astype(np.float32)
        # Not a matrix product, whose last bits depend on where in the matrix a row stands: equal rows shall tie.
        found[first : first + _PIECE] = np.einsum("ij,j->i", some, vector)
    return found
