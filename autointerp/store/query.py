"""The reader's SELECTs: identifiers come from this package and are checked, values are always bound."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import duckdb

from autointerp.records import (
    MADE_KINDS,
    Context,
    Explanation,
    Failure,
    FeatureRecord,
    Score,
    SourceRecord,
)
from autointerp.store import rows
from autointerp.store.results import LabelledFeature, shuffled_means
from autointerp.valid_text import valid_text

TABLES = (
    "run",
    "stages",
    "sources",
    "features",
    "contexts",
    "explanations",
    "trials",
    "scores",
    "failures",
    "label_embeddings",
    "neighbors",
    "doses",
)
VIEWS = ("current_contexts", "current_explanations", "current_trials", "current_scores", "current_failures")


def fetch(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[str],
    where: Mapping[str, Any] | None = None,
    *,
    order: Sequence[str] = (),
    condition: str = "",
) -> list[dict[str, Any]]:
    """Rows of one table or view as dictionaries.

    Args:
        connection: Open for reading.
        table: One of `TABLES` or `VIEWS`.
        columns: Columns to return.
        where: Wanted value of each column; a list is any of its values, a range (of step 1) all
            within it, None leaves the column free.
        order: Columns or expressions to sort by, constant text of this package.
        condition: A further condition, constant text of this package.
    """
    assert table in TABLES or table in VIEWS
    assert all(name.isidentifier() for name in (*columns, *(where or {})))
    conditions = [condition] if condition else []
    bound: list[Any] = []
    for name, value in (where or {}).items():
        if isinstance(value, range):
            conditions.append(f"{name} BETWEEN ? AND ?")
            bound += [value.start, value.stop - 1]
        elif isinstance(value, list) and len(value) == 1:  # half the time of a list: no join is planned
            conditions.append(f"{name} = ?")
            bound.append(valid_text(value[0]) if isinstance(value[0], str) else value[0])
        elif isinstance(value, list):
            conditions.append(f"{name} IN (SELECT unnest(?))")
            bound.append([valid_text(one) if isinstance(one, str) else one for one in value])
            if value and isinstance(value[0], int):
                # A plain range prunes row groups, which the list alone does not.
                conditions.append(f"{name} BETWEEN ? AND ?")
                bound += [min(value), max(value)]
        elif value is not None:
            conditions.append(f"{name} = ?")
            bound.append(valid_text(value) if isinstance(value, str) else value)
    sql = f"SELECT {', '.join(columns)} FROM {table}"
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    if order:
        sql += f" ORDER BY {', '.join(order)}"
    found = connection.execute(sql, bound).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in found]


def columns_of(record: type) -> list[str]:
    """The columns that a record is made of: its fields."""
    return [field.name for field in fields(record)]


NOT_OF_SCORERS = "kind NOT IN ('pool', 'generated', 'effect')"
# What a scorer made has the fingerprint of its score.
_OF_CURRENT_SCORES = "fingerprint IN (SELECT fingerprint FROM current_scores)"


def select_contexts(
    connection: duckdb.DuckDBPyConnection, where: Mapping[str, Any], condition: str = ""
) -> list[Context]:
    """Current contexts by feature; a feature's in the order given by its stage, those that scorers drew last.

    Those that scorers made are no windows of the corpus, and come only where their kind is asked for.
    """
    table = "current_contexts"
    if where.get("kind") in MADE_KINDS:
        table, condition = "contexts", _OF_CURRENT_SCORES
    order = ("source_id", "feature_index", "place", "block_index", "start", "context_id")
    return rows.contexts_of(fetch(connection, table, columns_of(Context), where, order=order, condition=condition))


def select_explanations(
    connection: duckdb.DuckDBPyConnection, table: str, where: Mapping[str, Any], *, baselines: bool
) -> list[Explanation]:
    """Explanations by feature, a feature's true labels before its baselines."""
    condition = "" if baselines else "label_from IS NULL"
    order = ("source_id", "feature_index", "label_from IS NOT NULL", "explanation_id")
    return rows.explanations_of(
        fetch(connection, table, columns_of(Explanation), where, order=order, condition=condition)
    )


def select_scores(connection: duckdb.DuckDBPyConnection, where: Mapping[str, Any]) -> list[Score]:
    """Current scores by feature, explanation and scorer."""
    order = ("source_id", "feature_index", "explanation_id", "scorer", "judge")
    return rows.scores_of(fetch(connection, "current_scores", columns_of(Score), where, order=order))


def select_failures(
    connection: duckdb.DuckDBPyConnection, where: Mapping[str, Any], table: str = "current_failures"
) -> list[Failure]:
    """Failures, the current ones unless another table is named, by feature and stage."""
    order = ("source_id", "feature_index", "stage", "explanation_id")
    return rows.failures_of(fetch(connection, table, columns_of(Failure), where, order=order))


def join_labels(
    source: SourceRecord,
    features: Sequence[FeatureRecord],
    explanations: Sequence[Explanation],
    scores: Sequence[Score],
    failures: Sequence[Failure],
    *,
    baselines: bool,
) -> Iterator[LabelledFeature]:
    """Put features of one source, their labels, scores and failures together, in the order of the features.

    Args:
        source: The source.
        features: Of it.
        explanations: Of these features, true labels and shuffled ones.
        scores: Of all of them.
        failures: Of the features.
        baselines: Whether shuffled labels come by themselves too.
    """
    labels_of: dict[int, list[Explanation]] = defaultdict(list)
    scores_of: dict[str, list[Score]] = defaultdict(list)
    failures_of: dict[int, list[Failure]] = defaultdict(list)
    for explanation in explanations:
        labels_of[explanation.feature_index].append(explanation)
    for score in scores:
        scores_of[score.explanation_id].append(score)
    for failure in failures:
        failures_of[failure.feature_index].append(failure)
    for feature in features:
        failed = failures_of[feature.feature_index]
        every = labels_of[feature.feature_index]
        shuffled = shuffled_means((label, scores_of[label.explanation_id]) for label in every)
        labels: Sequence[Explanation | None] = [e for e in every if baselines or not e.is_baseline] or [None]
        for label in labels:
            name = label.explanation_id if label else None
            yield LabelledFeature(
                source=source,
                feature=feature,
                explanation=label,
                scores=tuple(scores_of[name]) if name else (),
                failures=tuple(f for f in failed if f.explanation_id in (None, name)),
                shuffled=shuffled,
            )
