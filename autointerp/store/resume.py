"""What is left to do: anti-joins on (feature, fingerprint), and the rule for failures.

What has a result under the fingerprint is not done again. A failure under the same fingerprint is tried again where
it says that another run may fare better (`Failure.retry`), and not where it would only repeat itself.
"""

from collections.abc import Iterable, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from autointerp.errors import StoreError

_DONE_FEATURES = {
    "contexts": "SELECT feature_index FROM contexts WHERE source_id = $source AND fingerprint = $fingerprint",
    "explain": "SELECT feature_index FROM explanations"
    " WHERE source_id = $source AND fingerprint = $fingerprint AND label_from IS NULL",
    "baseline": "SELECT feature_index FROM explanations"
    " WHERE source_id = $source AND fingerprint = $fingerprint AND label_from IS NOT NULL",
}


def only_source(connection: duckdb.DuckDBPyConnection) -> str:
    """The store's source, where it holds exactly one.

    Raises:
        StoreError: If it holds none or several.
    """
    found = [source for (source,) in connection.execute("SELECT source_id FROM sources ORDER BY 1").fetchall()]
    if len(found) != 1:
        known = f"holds {', '.join(found)}" if found else "holds no source yet"
        raise StoreError(f"the store {known}", "name the source" if found else "collect first")
    return str(found[0])


def pending_features(
    connection: duckdb.DuckDBPyConnection, stage: str, fingerprint: str, features: Iterable[int], source: str
) -> list[int]:
    """The features that still need `stage`, in the order given."""
    if stage not in _DONE_FEATURES:
        raise StoreError(f"{stage!r} is no stage of features", f"one of {', '.join(_DONE_FEATURES)}")
    settled = connection.execute(
        f"{_DONE_FEATURES[stage]} UNION SELECT feature_index FROM failures WHERE source_id = $source"
        " AND fingerprint = $fingerprint AND stage = $stage AND NOT retry",
        {"source": source, "fingerprint": fingerprint, "stage": stage},
    ).fetchnumpy()["feature_index"]
    wanted = np.fromiter(features, dtype=np.int64)
    return [int(index) for index in wanted[~np.isin(wanted, settled)]]


def pending_explanations(
    connection: duckdb.DuckDBPyConnection, scorer: str, fingerprint: str, explanation_ids: Sequence[str]
) -> list[str]:
    """The explanations that still need this scorer, in the order given."""
    asked = {"explanation_id": pa.array(explanation_ids, pa.string()), "place": pa.array(range(len(explanation_ids)))}
    connection.register("asked", pa.table(asked))
    rows = connection.execute(
        """
        SELECT a.explanation_id FROM asked a
        WHERE NOT EXISTS (
            SELECT 1 FROM scores s
            WHERE s.explanation_id = a.explanation_id AND s.scorer = $scorer AND s.fingerprint = $fingerprint
        ) AND NOT EXISTS (
            SELECT 1 FROM failures f
            WHERE f.explanation_id = a.explanation_id AND f.stage = 'score:' || $scorer
                AND f.fingerprint = $fingerprint AND NOT f.retry
        )
        ORDER BY a.place
        """,
        {"scorer": scorer, "fingerprint": fingerprint},
    ).fetchall()
    return [str(explanation_id) for (explanation_id,) in rows]


def take_over(
    connection: duckdb.DuckDBPyConnection, scorer: str, fingerprint: str, explanation_ids: Sequence[str]
) -> list[tuple[str, str, int]]:
    """Copy scores and trials to explanations without one, from another explanation of the same feature.

    Returns:
        The explanations that got a score, each with its source and feature.
    """
    connection.register("pending", pa.table({"explanation_id": pa.array(explanation_ids, pa.string())}))
    connection.execute(
        """
        CREATE TEMP TABLE taken AS
        SELECT p.explanation_id, e.source_id, e.feature_index, min(s.explanation_id) AS taken_from
        FROM pending p JOIN explanations e USING (explanation_id)
        JOIN scores s ON s.source_id = e.source_id AND s.feature_index = e.feature_index
        WHERE s.scorer = ? AND s.fingerprint = ? GROUP BY ALL
        """,
        [scorer, fingerprint],
    )
    for table in ("trials", "scores"):
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT t.* REPLACE (taken.explanation_id AS explanation_id)"
            f" FROM {table} t JOIN taken ON t.explanation_id = taken.taken_from"
            " WHERE t.scorer = ? AND t.fingerprint = ?",
            [scorer, fingerprint],
        )
    return connection.execute("SELECT explanation_id, source_id, feature_index FROM taken").fetchall()
