"""The SELECT of some features of one source, each with every label that passes a filter, or without a label.

1. The features, their current labels, the scores of these, and the failures are read, by the range of the index.
2. Scores are gathered by label: one record a scorer, all of them as a list, and on which side they carry the label.
3. Each feature is joined with its labels, each label with its scores and with the failures that concern it.

Whoever selects names the columns that are wanted (`columns`), or one of `nested_columns`. Tables in these expressions
are `source`, `f` (features), `e` (the label, all NULL where there is none), `said` (of a referee), `failed`; and
`score_0`, … the scores by scorer; `c` (contexts), `near` (neighbors by decoder) and `asked` (trials of detection) where
a column names what they have.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from autointerp.records import Context, Explanation, Failure, FeatureFilter, FeatureRecord, Score, SourceRecord
from autointerp.store.export_rows import expressions as sql
from autointerp.store.export_rows.columns import Column, score_column
from autointerp.store.query import NOT_OF_SCORERS, columns_of
from autointerp.valid_text import valid_text

_IN_DETAIL = (
    "side",
    "chance",
    "referee",
    "referee_agreement",
    "referee_agreement_interval.high",
    "corrected",
    "corrected_interval.low",
    "corrected_interval.high",
)
_SCORES = "$scores"  # stands for the scores of a label as JSON, until it is known whose there are
_RANGE = "source_id = $source AND feature_index BETWEEN $first AND $last"
_ONLY_TRUE = " AND e.label_from IS NULL"
_FIELDS = ("value", "ci_low", "ci_high", "n_trials", "n_unanswered", "metric", "judge", "fingerprint")
_SCORE = {name: name for name in _FIELDS} | {
    "corrected": "CASE WHEN corrected_low IS NOT NULL AND corrected_high IS NOT NULL THEN corrected END",
    "corrected_low": "CASE WHEN corrected IS NOT NULL THEN corrected_low END",
    "corrected_high": "CASE WHEN corrected IS NOT NULL THEN corrected_high END",
}
_REFEREE = "{'rule': referee, 'agreement': agreement, 'high': agreement_high}"
# Details are most of an export, and stand in the store as JSON: they are not read again.
_SCORE_TEXT = sql.json_object(
    {name: f"to_json({name})::VARCHAR" for name in columns_of(Score)} | {"detail": "detail::VARCHAR"}
)
_FAILURE_RECORD = sql.record(Failure, "x", created_at=sql.moment("x.created_at"))
_SOURCE_TEXT = sql.json_text(sql.record(SourceRecord, "sources"))
_CONTEXT_RECORD = sql.record(
    Context, "c", activations="c.activations::DOUBLE[]", max_activation="c.max_activation::DOUBLE"
)
_CONTEXTS = f""", shown_contexts AS (
    SELECT feature_index, list({_CONTEXT_RECORD} ORDER BY place, block_index, start, context_id) AS records
    FROM (SELECT * FROM current_contexts WHERE {_RANGE} AND {NOT_OF_SCORERS}) c GROUP BY feature_index
)"""

# What is joined only where a column asks for it.
_JOINS = {
    "c.records": "LEFT JOIN shown_contexts c ON c.feature_index = f.feature_index\n",
    "near.indices": f"""LEFT JOIN (
    SELECT feature_index, list(neighbor_index ORDER BY rank) AS indices, list(similarity ORDER BY rank) AS similarities
    FROM neighbors WHERE {_RANGE} AND space = 'decoder' GROUP BY feature_index
) near ON near.feature_index = f.feature_index
""",
    "asked.": f"""LEFT JOIN (
    SELECT explanation_id, list(place ORDER BY place) FILTER (verdict) AS yes,
        list(place ORDER BY place) FILTER (truth) AS right
    FROM current_trials WHERE {_RANGE} AND scorer = 'detection' GROUP BY explanation_id
) asked ON asked.explanation_id = l.explanation_id
""",
}


class Grader(NamedTuple):
    """Who gave scores: a scorer with a judge; in one run mostly one judge a scorer."""

    scorer: str
    judge: str


def select_graders(connection: duckdb.DuckDBPyConnection) -> list[Grader]:
    """Those by whom current labels, baselines too, have scores, ascending."""
    found = connection.execute(
        "SELECT DISTINCT scorer, judge FROM current_scores SEMI JOIN current_explanations USING (explanation_id)"
        " ORDER BY scorer, judge"
    ).fetchall()
    return [Grader(*names) for names in found]


def select_export_rows(
    connection: duckdb.DuckDBPyConnection,
    where: FeatureFilter,
    source_id: str,
    features: range | Sequence[int],
    columns: Mapping[str, Column],
    graders: Sequence[Grader],
    *,
    baselines: bool = False,
    about_run: tuple[str, str] = ("", ""),
) -> pa.Table:
    """Rows of one source in the order of the features, true labels before shuffled ones, then by their ids.

    Args:
        connection: Open for reading.
        where: Only labels, and features without one, that pass; checked before.
        source_id: The source.
        features: The features, ascending.
        columns: What is wanted, by name.
        graders: All that the run has, by scorer.
        baselines: Also shuffled labels.
        about_run: The run's name and the program's version.

    Returns:
        Columns of these names and types.
    """
    wanted = " ".join(column.sql for column in columns.values())
    bound: dict[str, Any] = {"source": valid_text(source_id), "first": features[0], "last": features[-1]}
    only = ""
    if not isinstance(features, range):
        only, bound["features"] = " AND feature_index IN (SELECT unnest($features::BIGINT[]))", list(features)
    for name, value in zip(("run", "program_version"), about_run, strict=True):
        if f"${name}" in wanted:
            bound[name] = valid_text(value)
    wanted_columns = {name: column.sql.replace(_SCORES, _all_texts(graders)) for name, column in columns.items()}
    conditions = _conditions(where, graders, bound)
    text = f"""
WITH source AS (
    SELECT *, {_SOURCE_TEXT} AS json FROM sources WHERE source_id = $source
), picked AS (
    SELECT * FROM features WHERE {_RANGE}{only} AND density BETWEEN $min_density AND $max_density
), labels AS (
    SELECT * FROM current_explanations WHERE {_RANGE}
), told AS (
    SELECT s.*, e.explainer, json_extract_string(s.detail, {[f"$.{path}" for path in _IN_DETAIL]}) AS told
    FROM (SELECT * FROM current_scores WHERE {_RANGE}) s JOIN labels e USING (explanation_id)
), shuffled AS (
    SELECT feature_index, scorer, avg(value) AS other FROM told WHERE explainer = 'shuffled' GROUP BY ALL
), scored AS (
    SELECT s.*, other, coalesce(told[1], 'input') AS side, {sql.CHANCE.format(detail="told[2]")} AS chance,
        {sql.CARRIES} AS carries, told[3] AS referee, told[4]::DOUBLE AS agreement, told[5]::DOUBLE AS agreement_high,
        TRY_CAST(told[6] AS DOUBLE) AS corrected, TRY_CAST(told[7] AS DOUBLE) AS corrected_low,
        TRY_CAST(told[8] AS DOUBLE) AS corrected_high
    FROM told s LEFT JOIN shuffled USING (feature_index, scorer)
), grades AS (
    SELECT explanation_id, {_pivot(graders)}
        bool_or(carries) FILTER (side = 'input') AS by_input, bool_or(carries) FILTER (side = 'output') AS by_output,
        first({_REFEREE} ORDER BY agreement_high, scorer, judge) FILTER (referee IS NOT NULL) AS said
    FROM scored s GROUP BY explanation_id
), by_label AS (
    SELECT *{_firsts(graders)} FROM grades
), entries AS (
    SELECT f.feature_index, e.explanation_id
    FROM picked f LEFT JOIN labels e ON e.feature_index = f.feature_index{"" if baselines else _ONLY_TRUE}
), failed AS (
    SELECT l.feature_index, l.explanation_id,
        string_agg(x.stage || ': ' || x.error_type || ': ' || x.message, chr(10) ORDER BY x.stage, x.explanation_id)
            AS lines,
        list({_FAILURE_RECORD} ORDER BY x.stage, x.explanation_id) AS records
    FROM entries l JOIN (
        SELECT failures.* FROM failures LEFT JOIN stages s ON s.stage = failures.stage
        WHERE {_RANGE} AND (s.fingerprint IS NULL OR s.fingerprint = failures.fingerprint)
    ) x ON x.feature_index = l.feature_index AND (x.explanation_id IS NULL OR x.explanation_id = l.explanation_id)
    GROUP BY ALL
){_CONTEXTS if "c.records" in wanted else ""}
SELECT {", ".join(f'{made} AS "{_quoted(name)}"' for name, made in wanted_columns.items())}
FROM picked f CROSS JOIN source
JOIN entries l ON l.feature_index = f.feature_index
LEFT JOIN labels e ON e.explanation_id = l.explanation_id
LEFT JOIN by_label ON by_label.explanation_id = l.explanation_id
LEFT JOIN failed ON failed.feature_index = l.feature_index
    AND failed.explanation_id IS NOT DISTINCT FROM l.explanation_id
{_score_texts(graders) if _SCORES in wanted else ""}
{"".join(join for column, join in _JOINS.items() if column in wanted)}
{f"WHERE {' AND '.join(conditions)}" if conditions else ""}
ORDER BY f.feature_index, e.label_from IS NOT NULL, e.explanation_id
"""
    relation = connection.sql(text, params=bound)
    assert relation is not None, "a SELECT gives a relation"
    table: pa.Table = relation.to_arrow_table()
    if "explanation_detail" in columns:
        place = table.schema.get_field_index("explanation_detail")
        table = table.set_column(place, "explanation_detail", _without_escapes(table.column(place)))
    return table.cast(pa.schema({name: column.kind for name, column in columns.items()}))


def nested_column(*, contexts: bool) -> Column:
    """A whole row as JSON text: the fields of the records under `source`, `feature`, `explanation`, `scores` and so on.

    Args:
        contexts: Also those that the contexts stage gave the feature.
    """
    explanation = sql.record(Explanation, "e", created_at=sql.moment("e.created_at"), detail="e.detail::JSON")
    values = {
        "feature_id": sql.json_text(sql.FEATURE_ID),
        "feature_uuid": sql.json_text(sql.FEATURE_UUID),
        "label": sql.json_text("e.label"),
        "source": "source.json",
        "feature": sql.json_text(sql.record(FeatureRecord, "f", **sql.TOKEN_LISTS)),
        "explanation": sql.json_text(f"CASE WHEN e.explanation_id IS NOT NULL THEN {explanation} END"),
        "tier": sql.json_text(sql.tier()),
        "is_disputed": sql.json_text(sql.IS_DISPUTED),
        "scores": f"concat('[', {_SCORES}, ']')",
        "failures": sql.json_text("coalesce(failed.records, [])"),
        "run": sql.json_text("$run"),
        "program_version": sql.json_text("$program_version"),
    }
    if contexts:
        values["contexts"] = sql.json_text("coalesce(c.records, [])")
    return Column(pa.string(), sql.json_object(values))


def _without_escapes(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    r"""JSON of the store, in which all but ASCII is escaped as `\uXXXX`, with the characters themselves."""
    escaped = pc.match_substring(texts, "\\u")
    if not pc.any(escaped).as_py():
        return texts
    readable = [text and json.dumps(json.loads(text), ensure_ascii=False) for text in texts.to_pylist()]
    return pa.chunked_array([pa.array(readable, pa.string())])


def _pivot(graders: Sequence[Grader]) -> str:
    """A label's score by each grader, which are one each."""
    record = sql.struct(_SCORE)
    return "".join(
        f"any_value({record}) FILTER ({_is_of(grader)}) AS grade_{place},\n" for place, grader in enumerate(graders)
    )


def _firsts(graders: Sequence[Grader]) -> str:
    """Of each scorer the first grader's score."""
    return "".join(
        f", coalesce({', '.join(f'grade_{i}' for i, of in enumerate(graders) if of.scorer == scorer)}) AS score_{place}"
        for place, scorer in enumerate(dict.fromkeys(grader.scorer for grader in graders))
    )


def _score_texts(graders: Sequence[Grader]) -> str:
    """Joins with each grader's scores as JSON: to gather long texts by label would cost three times as much."""
    return "\n".join(
        f"LEFT JOIN (SELECT explanation_id, {_SCORE_TEXT} AS json FROM current_scores WHERE {_RANGE} AND {_is_of(of)})"
        f" text_{place} ON text_{place}.explanation_id = l.explanation_id"
        for place, of in enumerate(graders)
    )


def _all_texts(graders: Sequence[Grader]) -> str:
    return f"concat_ws(', ', {', '.join(f'text_{i}.json' for i in range(len(graders)))})" if graders else "''"


def _is_of(grader: Grader) -> str:
    return f"scorer = {sql.sql_text(grader.scorer)} AND judge = {sql.sql_text(grader.judge)}"


def _conditions(where: FeatureFilter, graders: Sequence[Grader], bound: dict[str, Any]) -> list[str]:
    """What a label has to have; values that it is compared with are put among those that are bound."""
    scorers = list(dict.fromkeys(grader.scorer for grader in graders))
    bound |= {"min_density": float(where.min_density), "max_density": float(where.max_density)}
    conditions: list[str] = []
    for scorer, least in where.min_score.items():
        conditions.append(f"{score_column(scorers, scorer, 'value')} >= $least_{len(conditions)}")
        bound[f"least_{len(conditions) - 1}"] = float(least)
    if where.explainer is not None:
        conditions.append("e.explainer = $explainer")
        bound["explainer"] = valid_text(where.explainer)
    if where.labelled is not None:
        conditions.append(f"e.explanation_id IS {'NOT ' if where.labelled else ''}NULL")
    return conditions


def _quoted(name: str) -> str:
    return name.replace('"', '""')
