"""The closest features of each feature, as they are stored by space."""

from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
from jaxtyping import Int32

from autointerp.errors import SearchError
from autointerp.records import Neighbor
from autointerp.store.known import shown
from autointerp.store.query import fetch

LABEL_SPACE = "label"
"""The space of neighbors that search finds by its index; the others are stored."""


def select_neighbors(connection: duckdb.DuckDBPyConnection, where: Mapping[str, Any], space: str) -> list[Neighbor]:
    """The neighbors that are stored for features in one space, closest first.

    Raises:
        SearchError: If no neighbors are stored in the space.
    """
    if space == LABEL_SPACE:
        raise SearchError(
            f"neighbors in the space {LABEL_SPACE!r} are not stored: they are found by the labels' index",
            "ask `neighbors` of the run, which `open_run` opens",
        )
    found = fetch(connection, "neighbors", ["neighbor_index", "similarity"], {**where, "space": space}, order=("rank",))
    if not found and space not in (known := neighbor_spaces(connection)):
        raise SearchError(
            f"the run has stored no neighbors in the space {shown(space)}",
            f"spaces are {', '.join([LABEL_SPACE, *known])}",
        )
    return [Neighbor(row["neighbor_index"], space, row["similarity"]) for row in found]


def neighbor_matrix(
    connection: duckdb.DuckDBPyConnection, source_id: str, space: str, n_features: int
) -> Int32[np.ndarray, "feature rank"]:
    """The stored neighbors of every feature of a source in one space, closest first; -1 where there are fewer."""
    found = connection.execute(
        "SELECT feature_index, rank, neighbor_index FROM neighbors WHERE source_id = ? AND space = ?",
        [source_id, space],
    ).fetchnumpy()
    n_ranks = int(found["rank"].max()) + 1 if len(found["rank"]) else 0
    matrix = np.full((n_features, n_ranks), -1, dtype=np.int32)
    matrix[found["feature_index"], found["rank"]] = found["neighbor_index"]
    return matrix


def neighbor_spaces(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The spaces for which neighbors are stored, ascending."""
    found = connection.execute("SELECT DISTINCT space FROM neighbors ORDER BY 1").fetchall()
    return [str(space) for (space,) in found]
