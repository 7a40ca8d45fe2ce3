"""The SELECTs of a source's table: one page of it, counts by state, and density against score.

1. The features that pass are sorted, by columns that the sorting and the filter need and no others: of scores, those of
   the scorers that are asked for.
2. Of those on the page alone the rest is read: labels, all scores with their intervals, failures.

Of 131,072 features with four scores each this takes a tenth to a fifth of a second of processor time
(`benchmarks/serve_table.md`), and nothing is kept.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from autointerp.records import KnownNames, SourceRecord
from autointerp.records.feature_table import (
    OF_SCORER,
    STATES,
    DensityScores,
    FeatureRow,
    FeatureState,
    FeatureTable,
    PlotCell,
    ReasonCount,
    ScoreValue,
    StateCounts,
    TableQuery,
    TableState,
)
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    import pyarrow as pa

MOST_POINTS = 600
"""Features of which each is a cell of its own in a plot."""
_BINS_PER_DECADE = 6
_SCORE_BINS = 20
_ONE_LABEL_EACH = """
SELECT count(*) = count(DISTINCT feature_index) FROM current_explanations
WHERE source_id = $source AND label_from IS NULL
"""
_LABELS = """
SELECT feature_index, explanation_id, label, explainer FROM current_explanations
WHERE source_id = $source AND label_from IS NULL{only}
"""
# The label whose scores have the highest mean, as in `search.describe`.
_BEST_LABELS = """
SELECT DISTINCT ON (feature_index) feature_index, explanation_id, label, explainer
FROM current_explanations LEFT JOIN (
    SELECT explanation_id, avg(value) FILTER (isfinite(value)) AS mean FROM current_scores
    WHERE source_id = $source GROUP BY explanation_id
) USING (explanation_id)
WHERE source_id = $source AND label_from IS NULL{only}
ORDER BY feature_index, mean DESC NULLS LAST, explanation_id
"""
_FAILED = """
SELECT feature_index, stage, error_type, message FROM current_failures
WHERE source_id = $source AND stage <> 'baseline'{only}
    AND (explanation_id IS NULL OR explanation_id IN (SELECT explanation_id FROM labels))
"""
_FAILED_FEATURES = """
SELECT feature_index, bool_or(stage = 'contexts') AS lacks_contexts FROM failed GROUP BY feature_index
"""
_SCORED_LABELS = "SELECT explanation_id FROM current_scores WHERE source_id = $source{only}"
_STATE = """CASE
    WHEN l.explanation_id IN (SELECT explanation_id FROM scored_labels) THEN 'scored'
    WHEN l.explanation_id IS NOT NULL THEN 'labelled'
    WHEN f.status = 'dead' THEN 'dead'
    WHEN x.lacks_contexts THEN 'few_contexts'
    WHEN x.feature_index IS NOT NULL THEN 'failed'
    WHEN f.status IN ('few_contexts', 'dense') THEN f.status
    ELSE 'unlabelled' END"""
_SCORE = """
LEFT JOIN (
    SELECT feature_index, max(value) FILTER (isfinite(value)) AS value
    FROM current_scores SEMI JOIN labels USING (feature_index, explanation_id)
    WHERE source_id = $source AND scorer = ${name} GROUP BY feature_index
) {name} ON {name}.feature_index = f.feature_index
"""
_JOINED = {"l": "labels", "x": "failed_features"}
_N_FEATURES = "SELECT count(*) FROM features WHERE source_id = $source"
_FINITE = "CASE WHEN isfinite({0}) THEN {0} END"
_SORTED_BY = {
    "feature": "f.feature_index",
    "label": "lower(l.label)",
    "explainer": "l.explainer",
    "density": _FINITE.format("f.density"),
    "max_activation": _FINITE.format("f.max_activation"),
    "state": f"list_position({list(STATES)!r}, {_STATE})",
}
_ONLY_SHOWN = " AND feature_index IN (SELECT unnest($shown::BIGINT[]))"
_SHOWN = f"""
SELECT f.feature_index, l.label, l.explainer, l.explanation_id, f.density, f.max_activation, {_STATE}
FROM (SELECT * FROM features WHERE source_id = $source{_ONLY_SHOWN}) f
LEFT JOIN labels l ON l.feature_index = f.feature_index
LEFT JOIN failed_features x ON x.feature_index = f.feature_index
"""
_SHOWN_SCORES = f"""
SELECT explanation_id, scorer, value, ci_low, ci_high FROM current_scores
WHERE source_id = $source{_ONLY_SHOWN} AND explanation_id IN (SELECT explanation_id FROM labels)
ORDER BY scorer, judge
"""
_SHOWN_REASONS = """
SELECT DISTINCT feature_index, stage || ': ' || error_type || ': ' || message AS told FROM failed
ORDER BY feature_index, told
"""
_REASONS = """
SELECT stage, error_type, count(DISTINCT feature_index) AS n FROM failed
GROUP BY stage, error_type ORDER BY n DESC, stage, error_type
"""
_PLOTTED = f"""
SELECT f.feature_index, f.density, scored.value FROM features f {_SCORE.format(name="scored")}
WHERE f.source_id = $source AND f.density > 0 AND isfinite(f.density) AND scored.value IS NOT NULL
"""
_CELLS = f"""
SELECT count(*), min(density), max(density), min(value), max(value), NULL FROM ({{plotted}})
GROUP BY floor(log10(density) * {_BINS_PER_DECADE}), least(floor(value * {_SCORE_BINS}), {_SCORE_BINS - 1})
ORDER BY 2, 4
"""
_POINTS = """
SELECT 1, density, density, value, value, feature_index FROM ({plotted}) ORDER BY density, value, feature_index
"""
_COUNTED = f"""
SELECT {_STATE} AS state, count(*) FROM (SELECT * FROM features WHERE source_id = $source) f
LEFT JOIN labels l ON l.feature_index = f.feature_index
LEFT JOIN failed_features x ON x.feature_index = f.feature_index GROUP BY state
"""


def select_names(connection: duckdb.DuckDBPyConnection, source: SourceRecord) -> KnownNames:
    """The names that a table of one source can be asked by."""
    wanted = [source.source_id]
    explainers = connection.execute(
        "SELECT DISTINCT explainer FROM current_explanations WHERE source_id = ? AND label_from IS NULL", wanted
    ).fetchall()
    scorers = connection.execute(
        "SELECT DISTINCT scorer FROM current_scores WHERE source_id = ? ORDER BY scorer", wanted
    ).fetchall()
    return KnownNames(
        {source.source_id: source.n_features},
        [str(scorer) for (scorer,) in scorers],
        [str(explainer) for (explainer,) in explainers],
    )


def read_table_state(connection: duckdb.DuckDBPyConnection) -> TableState:
    """How far a store has come, as far as tables of its sources go: rows are added only, and never changed."""
    counts = ", ".join(
        f"(SELECT count(*) FROM {table})" for table in ("features", "explanations", "scores", "failures")
    )
    (n_rows,) = connection.execute(f"SELECT {counts}").fetchall()
    stages = connection.execute("SELECT stage, fingerprint FROM stages ORDER BY stage").fetchall()
    return TableState(tuple(map(int, n_rows)), tuple(stages))


def select_table(
    connection: duckdb.DuckDBPyConnection, source: SourceRecord, scorers: Sequence[str], asked: TableQuery
) -> FeatureTable:
    """One page of a source's table.

    Args:
        connection: Open for reading.
        source: The source.
        scorers: Those by which its labels have scores.
        asked: What is asked; its names are checked before.
    """
    tables = SourceTables(connection, source.source_id, asked.where.explainer)
    indices, n_passing = _page(tables, asked)
    return FeatureTable(source.source_id, tuple(scorers), source.n_features, n_passing, _rows(tables, indices))


def count_states(connection: duckdb.DuckDBPyConnection, source_id: str) -> StateCounts:
    """How many features of a source are in each state, and why labels and scores are missing."""
    tables = SourceTables(connection, source_id)
    n_of: Mapping[FeatureState, int] = dict(tables.ask(_COUNTED))
    reasons = tuple(ReasonCount(*row) for row in tables.ask(_REASONS))
    return StateCounts({state: n_of.get(state, 0) for state in STATES}, reasons)


def plot_cells(
    connection: duckdb.DuckDBPyConnection, source_id: str, scorer: str, most_points: int = MOST_POINTS
) -> DensityScores:
    """Density against one scorer's value of a source's labelled features, in cells where there are many.

    Args:
        connection: Open for reading.
        source_id: The source.
        scorer: The scorer.
        most_points: So many features are a cell each; of more, those that are close to each other share one.
    """
    tables = SourceTables(connection, source_id)
    bound = {"scored": valid_text(scorer)}
    ((n,),) = tables.ask(f"SELECT count(*) FROM ({_PLOTTED})", bound)
    found = tables.ask((_CELLS if n > most_points else _POINTS).format(plotted=_PLOTTED), bound)
    return DensityScores(scorer, int(n), n > most_points, tuple(PlotCell(*row) for row in found))


class SourceTables:
    """The tables `labels`, `scored_labels`, `failed` and `failed_features` of one source, for SELECTs of theirs."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source_id: str, explainer: str | None = None) -> None:
        self._connection = connection
        self._bound: dict[str, Any] = {"source": valid_text(source_id)}
        ((one_each,),) = connection.execute(_ONE_LABEL_EACH, self._bound).fetchall()
        self._labels = _LABELS if one_each else _BEST_LABELS
        if explainer is not None:
            self._labels = self._labels.replace("{only}", " AND explainer = $explainer{only}")
            self._bound["explainer"] = valid_text(explainer)

    def ask(self, select: str, bound: Mapping[str, Any] | None = None, only: str = "") -> list[tuple[Any, ...]]:
        """The rows of a SELECT, with values bound, of features that pass a condition alone."""
        return self._connection.execute(*self._whole(select, bound, only)).fetchall()

    def arrow(self, select: str, bound: Mapping[str, Any] | None = None) -> "pa.Table":
        """The same as a table of Arrow."""
        text, values = self._whole(select, bound, "")
        relation = self._connection.sql(text, params=values)
        assert relation is not None, "a SELECT gives a relation"
        return relation.to_arrow_table()

    def _whole(self, select: str, bound: Mapping[str, Any] | None, only: str) -> tuple[str, dict[str, Any]]:
        of = {
            "labels": self._labels,
            "scored_labels": _SCORED_LABELS,
            "failed": _FAILED,
            "failed_features": _FAILED_FEATURES,
        }
        tables = ", ".join(f"{name} AS ({text.format(only=only)})" for name, text in of.items())
        return f"WITH {tables}\n{select}", self._bound | dict(bound or {})


def _page(tables: SourceTables, asked: TableQuery) -> tuple[list[int], int]:
    """The features of the page that is asked for, in order, and how many pass in all."""
    conditions, bound = _conditions(asked)
    names = {scorer: f"score_{place}" for place, scorer in enumerate(asked.asked_scorers)}
    joins = "".join(_SCORE.format(name=name) for name in names.values())
    bound |= {name: valid_text(scorer) for scorer, name in names.items()}
    for limits, sign, of in ((asked.where.min_score, ">=", "least"), (asked.max_score, "<=", "most")):
        for scorer, limit in limits.items():
            bound[f"{of}_{names[scorer]}"] = float(limit)
            conditions.append(f"{names[scorer]}.value {sign} ${of}_{names[scorer]}")
    by = _SORTED_BY.get(asked.sort) or f"{names[asked.sort.removeprefix(OF_SCORER)]}.value"
    # Joining what nobody asks of would take most of the time.
    asked_of = " ".join((by, *conditions))
    for name, table in _JOINED.items():
        if re.search(rf"\b{name}\.", asked_of):
            joins += f"LEFT JOIN {table} {name} ON {name}.feature_index = f.feature_index\n"
    passing = f"""FROM (SELECT * FROM features WHERE source_id = $source) f
{joins}{f"WHERE {' AND '.join(conditions)}" if conditions else ""}"""
    direction = "DESC" if asked.descending else "ASC"
    # Without a condition the sorted rows need not be counted, so that only the first are kept.
    counted = ", count(*) OVER ()" if conditions else ""
    found = tables.ask(
        f"""SELECT f.feature_index{counted} {passing}
ORDER BY {by} {direction} NULLS LAST, f.feature_index LIMIT {asked.n:d} OFFSET {asked.first:d}""",
        bound,
    )
    shown = [row[0] for row in found]
    if counted and (found or asked.first == 0):
        return shown, found[0][1] if found else 0
    ((n_passing,),) = tables.ask(f"SELECT count(*) {passing}", bound) if counted else tables.ask(_N_FEATURES)
    return shown, n_passing


def _conditions(asked: TableQuery) -> tuple[list[str], dict[str, Any]]:
    """What has to hold of a feature, besides its scores, and the values that are bound in it."""
    where, conditions, bound = asked.where, list[str](), dict[str, Any]()
    if where.features is not None:
        bound["features"] = list(where.features)
        conditions.append("f.feature_index IN (SELECT unnest($features::BIGINT[]))")
    # A density that is not known is NaN, which DuckDB takes for larger than any number.
    if where.min_density > 0:
        bound["min_density"] = float(where.min_density)
        conditions.append("f.density >= $min_density AND isfinite(f.density)")
    if where.max_density < 1:
        bound["max_density"] = float(where.max_density)
        conditions.append("f.density <= $max_density")
    if where.asks_for_label or where.labelled is not None:
        conditions.append(f"l.explanation_id IS {'NULL' if where.labelled is False else 'NOT NULL'}")
    for place, word in enumerate(asked.words.split()):
        bound[f"word_{place}"] = valid_text(word)
        conditions.append(f"contains(lower(l.label), lower($word_{place}))")
    if asked.state is not None:
        bound["state"] = asked.state
        conditions.append(f"{_STATE} = $state")
    if asked.reason is not None:
        bound["reason"] = valid_text(asked.reason)
        conditions.append("f.feature_index IN (SELECT feature_index FROM failed WHERE error_type = $reason)")
    return conditions, bound


def _rows(tables: SourceTables, shown: Sequence[int]) -> tuple[FeatureRow, ...]:
    if not shown:
        return ()
    bound = {"shown": list(shown)}
    scores: dict[str, dict[str, ScoreValue]] = defaultdict(dict)
    for explanation, scorer, value, low, high in tables.ask(_SHOWN_SCORES, bound, _ONLY_SHOWN):
        if math.isfinite(value):
            scores[explanation][scorer] = ScoreValue(value, _finite(low), _finite(high))
    reasons: dict[int, list[str]] = defaultdict(list)
    for index, told in tables.ask(_SHOWN_REASONS, bound, _ONLY_SHOWN):
        reasons[index].append(told)
    made: dict[int, FeatureRow] = {}
    for index, label, explainer, explanation_id, density, largest, state in tables.ask(_SHOWN, bound, _ONLY_SHOWN):
        made[index] = FeatureRow(
            feature_index=index,
            label=label,
            explainer=explainer,
            explanation_id=explanation_id,
            scores=scores.get(explanation_id, {}),
            density=_finite(density),
            max_activation=_finite(largest),
            state=state,
            reasons=tuple(reasons.get(index, ())),
        )
    return tuple(made[index] for index in shown)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
