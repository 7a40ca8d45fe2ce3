"""Which features a query is about, told by what they fire on: the truth of the search collection.

A query of `data/search/queries.jsonl` says by a rule (`autointerp.puzzles.predicate`) what is meant. Over the pool of a
run, which has every firing of every feature, the share of a feature's activation that lies on pieces of which the rule
holds is compared with the share of all pieces of which it holds:

    grade 2: at least MOST of the activation, and LIFT times the base rate
    grade 1: at least SOME of it, and LIFT times the base rate
    grade 0: less

No label takes part in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.contexts.pool_blocks import APART, PoolBlocks
from autointerp.contexts.windows import Pieces
from autointerp.identity import hash_key
from autointerp.puzzles.predicate import Rule
from autointerp.puzzles.text import RowText

QUERIES = Path("data/search/queries.jsonl")
MOST = 0.6
SOME = 0.3
LIFT = 3.0


@dataclass(frozen=True, slots=True)
class Query:
    """One query of the collection.

    Attributes:
        text: What somebody asks.
        kind: `demo` (written for the demo's features), `absent` (about nothing that they know) or `puzzle`.
        about: What is meant.
    """

    text: str
    kind: str
    about: Rule

    @property
    def is_for_tuning(self) -> bool:
        """In which half it is, by keyed hash: settings are chosen on the one, figures are of the other."""
        return bool(hash_key(0, "search queries", self.text) & 1)


def read_queries(path: Path = QUERIES) -> list[Query]:
    """The collection."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Query(row["query"], row["kind"], Rule.model_validate(row["about"])) for row in rows]


class Firings:
    """Every firing in a run's pool, by piece of its text.

    Args:
        pool: The pool.
        pieces: Of the subject's vocabulary.
        n_features: Features of the source.
    """

    def __init__(self, pool: PoolBlocks, pieces: Pieces, n_features: int) -> None:
        rows: list[list[str]] = []
        for ids, start, end in zip(pool.blocks.token_ids, pool.blocks.span_start, pool.blocks.span_end, strict=True):
            rows.append(pieces.pieces(ids[start:end].tolist()))
        self.text = RowText.join(rows)
        self._feature, self._activation, self._n_features = pool.feature, pool.activation, n_features
        first = np.cumsum([0, *(len(row) for row in rows)])
        row, position = np.divmod(pool.at, APART)
        self._piece: Int64[np.ndarray, " firing"] = first[row] + position - pool.blocks.span_start[row]
        self._mass = np.bincount(self._feature, self._activation, minlength=n_features)

    def shares(self, rule: Rule) -> tuple[Float64[np.ndarray, " feature"], float]:
        """The share of each feature's activation on what a rule means, and of all pieces; 0 of one that never fires."""
        holds: Bool[np.ndarray, " piece"] = rule.holds(self.text)
        on = np.bincount(self._feature, self._activation * holds[self._piece], minlength=self._n_features)
        share: Float64[np.ndarray, " feature"] = on / np.maximum(self._mass, np.finfo(np.float64).tiny)
        return share, float(holds.mean())

    def grades(self, rules: Sequence[Rule]) -> Int64[np.ndarray, "rule feature"]:
        """How much each feature is about what each rule means, 0 to 2."""
        found = np.zeros((len(rules), self._n_features), dtype=np.int64)
        for row, rule in enumerate(rules):
            share, rate = self.shares(rule)
            lifted = share >= LIFT * rate
            found[row] = (share >= SOME) & lifted
            found[row] += (share >= MOST) & lifted
        return found
