"""How two sets of texts stand to each other, and the divisions that were as likely as the one that is.

If both sets are of the same texts, it was chance which text came into which, and any other division is as likely as the
one that is: of two sets any choice of as many texts (permutations), of pairs any exchange within a pair (sign flips).
What is exchanged is a *unit*: a text, or a group of texts that belong together (of one document, of one author), which
goes as a whole. Where there are few divisions all are tried; else some are drawn by keyed hashes, the same ones for
every number of threads and every set of features.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from math import comb
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float32, Float64, Int64

from autointerp.identity import hash_key, keyed_hash
from autointerp.score.clusters import numbered

if TYPE_CHECKING:
    from scipy.sparse import csc_array

_HALF = np.uint64(1 << 63)


class Design(Protocol):
    """Units, and how they can be exchanged.

    Attributes:
        n_units_1: Units of the first set; of pairs, pairs or groups of pairs.
        n_units_2: Units of the second set; of pairs the same.
        n_units: Units that can be exchanged.
        sizes: Texts, or pairs, of each unit.
        n_divisions: Divisions that there are, the one that is among them.
        least_p: The smallest p-value that there can be.
    """

    @property
    def n_units_1(self) -> int: ...
    @property
    def n_units_2(self) -> int: ...
    @property
    def n_units(self) -> int: ...
    @property
    def sizes(self) -> Float64[np.ndarray, " unit"]: ...
    @property
    def n_divisions(self) -> int: ...
    @property
    def least_p(self) -> float: ...

    def weights(self, divisions: range, n_tried: int, seed: int) -> Float32[np.ndarray, "unit division"]:
        """How each unit counts in some divisions; division 0 is the one that is.

        Args:
            divisions: Which ones, of those that are tried.
            n_tried: Divisions that are tried; where there are no more, all of them are.
            seed: Of the draw.
        """

    def least_p_values(self, n_firing: Int64[np.ndarray, " feature"]) -> Float64[np.ndarray, " feature"]:
        """The smallest p-value that a feature could have that fires in so many units; not how they are divided."""


@dataclass(frozen=True)
class TwoSets:
    """Texts of one set, and texts of another.

    Attributes:
        unit_1: Unit of each text of the first, from 0 without a gap.
        unit_2: Unit of each text of the second, likewise from 0; no unit is of both.
    """

    unit_1: Int64[np.ndarray, " text"]
    unit_2: Int64[np.ndarray, " text"]

    @cached_property
    def n_units_1(self) -> int:
        return int(self.unit_1.max()) + 1

    @cached_property
    def n_units_2(self) -> int:
        return int(self.unit_2.max()) + 1

    @property
    def n_units(self) -> int:
        return self.n_units_1 + self.n_units_2

    @cached_property
    def unit(self) -> Int64[np.ndarray, " text"]:
        """Unit of each text, those of the first set before those of the second."""
        return np.concatenate([self.unit_1, self.unit_2 + self.n_units_1])

    @cached_property
    def sizes(self) -> Float64[np.ndarray, " unit"]:
        return np.bincount(self.unit).astype(np.float64)

    @property
    def n_divisions(self) -> int:
        return comb(self.n_units, self.n_units_1)

    @property
    def least_p(self) -> float:
        # Sets of one size can be exchanged as a whole, which differs as much the other way round.
        return (1 + (2 * self.n_units_1 == self.n_units)) / self.n_divisions

    def weights(self, divisions: range, n_tried: int, seed: int) -> Float32[np.ndarray, "unit division"]:
        n, n_1 = self.n_units, self.n_units_1
        is_first = np.zeros((n, len(divisions)), dtype=np.bool_)
        if self.n_divisions <= n_tried:
            for column, of_first in enumerate(islice(combinations(range(n), n_1), divisions.start, divisions.stop)):
                is_first[list(of_first), column] = True
        else:
            units, drawn = np.arange(n)[:, None], np.asarray(divisions)[None, :]
            hashes = keyed_hash(hash_key(seed, "contrast", "two sets"), units, drawn)
            chosen = np.argpartition(hashes, n_1 - 1, axis=0)[:n_1]
            np.put_along_axis(is_first, chosen, True, axis=0)
            if divisions.start == 0:
                is_first[:, 0] = np.arange(n) < n_1
        # They add up to 0, so that a sum over units that fire is one over all, less their mean.
        return np.where(is_first, np.float32(1 - n_1 / n), np.float32(-n_1 / n))

    def least_p_values(self, n_firing: Int64[np.ndarray, " feature"]) -> Float64[np.ndarray, " feature"]:
        # All units that fire in one set; where they are more than it has, the strongest of them.
        from scipy.special import gammaln

        n, least = self.n_units, np.zeros(n_firing.size)
        for of_set in (self.n_units_1, n - self.n_units_1):
            within = np.minimum(n_firing, of_set)
            ways = gammaln(n - within + 1) - gammaln(of_set - within + 1) - gammaln(n - of_set + 1)
            ways[n_firing > of_set] = 0.0
            all_ways = gammaln(n + 1) - gammaln(of_set + 1) - gammaln(n - of_set + 1)
            least = np.minimum(least, ways - all_ways)
        found: Float64[np.ndarray, " feature"] = np.minimum(1.0, np.exp(least) * (1 + (2 * self.n_units_1 == n)))
        return found


@dataclass(frozen=True)
class Pairs:
    """Pairs of a text of one set and one of the other.

    Attributes:
        unit: Unit of each pair, from 0 without a gap: pairs of one unit are exchanged together.
    """

    unit: Int64[np.ndarray, " pair"]

    @cached_property
    def n_units(self) -> int:
        return int(self.unit.max()) + 1

    @property
    def n_units_1(self) -> int:
        return self.n_units

    @property
    def n_units_2(self) -> int:
        return self.n_units

    @cached_property
    def sizes(self) -> Float64[np.ndarray, " unit"]:
        return np.bincount(self.unit).astype(np.float64)

    @property
    def n_divisions(self) -> int:
        return 1 << self.n_units

    @property
    def least_p(self) -> float:
        return 2 / self.n_divisions

    def weights(self, divisions: range, n_tried: int, seed: int) -> Float32[np.ndarray, "unit division"]:
        units, drawn = np.arange(self.n_units)[:, None], np.asarray(divisions)[None, :]
        if self.n_divisions <= n_tried:
            is_exchanged = (drawn >> units) & 1 == 1
        else:
            hashes = keyed_hash(hash_key(seed, "contrast", "pairs"), units, drawn)
            is_exchanged = (hashes >= _HALF) & (drawn > 0)
        return np.where(is_exchanged, np.float32(-1), np.float32(1))

    def least_p_values(self, n_firing: Int64[np.ndarray, " feature"]) -> Float64[np.ndarray, " feature"]:
        return np.minimum(1.0, np.exp2(1.0 - n_firing))


def summed(values: "csc_array", unit: Int64[np.ndarray, " text"]) -> "csc_array":
    """Rows added up by unit, (unit, feature); as they are where each is a unit of its own."""
    from scipy import sparse

    n_units = int(unit.max()) + 1
    if n_units == unit.size and np.array_equal(unit, np.arange(n_units)):
        return values
    ones = np.ones(unit.size)
    member: Any = sparse.csr_array((ones, (unit, np.arange(unit.size))), shape=(n_units, unit.size))
    return (member @ values).tocsc()


def joined(group_1: Int64[np.ndarray, " pair"], group_2: Int64[np.ndarray, " pair"]) -> Int64[np.ndarray, " pair"]:
    """Unit of each pair, where pairs that share a group on either side are of one unit, in the order of the pairs."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    n_1, n_2 = int(group_1.max()) + 1, int(group_2.max()) + 1
    links = sparse.coo_array((np.ones(group_1.size), (group_1, n_1 + group_2)), shape=(n_1 + n_2, n_1 + n_2))
    _, unit = connected_components(links, directed=False)
    return numbered(unit[group_1].tolist())
