"""Records to Arrow tables and back: the only place that knows which field is which column.

Arrow because DuckDB inserts and returns it in bulk; a row-by-row `execute` costs a hundred times as much.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Integer

from autointerp.errors import StoreError
from autointerp.records import (
    Context,
    Explanation,
    Failure,
    FeatureRecord,
    FollowingToken,
    Score,
    ScoreWithTrials,
    TokenCount,
    TokenLogit,
    Trial,
    Usage,
)
from autointerp.store.results import StageRecord
from autointerp.valid_text import valid_text

_ESCAPED_SURROGATE = "\\ud"
_TEXT = pa.string()
_INT = pa.int32()
_LONG = pa.int64()
_REAL = pa.float64()
_FLAG = pa.bool_()
_TIME = pa.timestamp("us")
_LOGITS = pa.list_(pa.struct({"token": _TEXT, "logit": _REAL}))

FEATURES = pa.schema(
    {
        "source_id": _TEXT,
        "feature_index": _INT,
        "n_active": _LONG,
        "density": _REAL,
        "max_activation": _REAL,
        "mean_activation": _REAL,
        "histogram": pa.list_(_LONG),
        "status": _TEXT,
        "top_tokens": pa.list_(
            pa.struct({"token": _TEXT, "n_active": _LONG, "mean_activation": _REAL, "n_occurrences": _LONG})
        ),
        "top_tokens_n_missed": _LONG,
        "following_tokens": pa.list_(pa.struct({"token": _TEXT, "n_peaks": _LONG, "lift": _REAL})),
        "n_sampled_peaks": _LONG,
        "n_followed_peaks": _LONG,
        "top_logits": _LOGITS,
        "bottom_logits": _LOGITS,
    }
)
CONTEXTS = pa.schema(
    {
        "context_id": _TEXT,
        "source_id": _TEXT,
        "feature_index": _INT,
        "kind": _TEXT,
        "split": _TEXT,
        "tokens": pa.list_(_TEXT),
        "token_ids": pa.list_(_INT),
        "activations": pa.list_(pa.float32()),
        "max_activation": pa.float32(),
        "peak": _INT,
        "quantile": _INT,
        "document_id": _TEXT,
        "block_index": _LONG,
        "start": _INT,
        "group_id": _TEXT,
        "decoy": pa.list_(_INT),
        "place": _INT,
        "fingerprint": _TEXT,
    }
)
EXPLANATIONS = pa.schema(
    {
        "explanation_id": _TEXT,
        "source_id": _TEXT,
        "feature_index": _INT,
        "label": _TEXT,
        "explainer": _TEXT,
        "model": _TEXT,
        "prompt_sha256": _TEXT,
        "cost_usd": _REAL,
        "created_at": _TIME,
        "fingerprint": _TEXT,
        "label_from": _INT,
        "side": _TEXT,
        "n_contexts": _INT,
        "excludes": _TEXT,
        "detail": _TEXT,
    }
)
SCORES = pa.schema(
    {
        "explanation_id": _TEXT,
        "scorer": _TEXT,
        "judge": _TEXT,
        "metric": _TEXT,
        "value": _REAL,
        "ci_low": _REAL,
        "ci_high": _REAL,
        "n_trials": _INT,
        "n_unanswered": _INT,
        "detail": _TEXT,
        "source_id": _TEXT,
        "feature_index": _INT,
        "fingerprint": _TEXT,
    }
)
TRIALS = pa.schema(
    {
        "explanation_id": _TEXT,
        "scorer": _TEXT,
        "judge": _TEXT,
        "context_id": _TEXT,
        "truth": _FLAG,
        "verdict": _FLAG,
        "probability": _REAL,
        "marked": pa.list_(_INT),
        "weight": _REAL,
        "unanswered": _TEXT,
        "prompt": _TEXT,
        "simulated": pa.list_(pa.float32()),
        "source_id": _TEXT,
        "feature_index": _INT,
        "place": _INT,
        "fingerprint": _TEXT,
    }
)
FAILURES = pa.schema(
    {
        "stage": _TEXT,
        "source_id": _TEXT,
        "feature_index": _INT,
        "error_type": _TEXT,
        "message": _TEXT,
        "raw": _TEXT,
        "retry": _FLAG,
        "created_at": _TIME,
        "fingerprint": _TEXT,
        "explanation_id": _TEXT,
        "cost_usd": _REAL,
    }
)


def feature_table(features: Sequence[FeatureRecord]) -> pa.Table:
    """Rows of `features`."""
    names = ("top_tokens", "following_tokens", "top_logits", "bottom_logits")
    extra = {name: _struct_lists([getattr(f, name) for f in features], FEATURES.field(name).type) for name in names}
    return _table(FEATURES, features, extra)


def context_table(contexts: Sequence[tuple[Context, int | None, str]]) -> pa.Table:
    """Rows of `contexts`, with each one's place among its feature's and the fingerprint of what made it."""
    extra: dict[str, Sequence[Any]] = {
        "place": [place for _, place, _ in contexts],
        "fingerprint": [fingerprint for _, _, fingerprint in contexts],
    }
    return _table(CONTEXTS, [context for context, _, _ in contexts], extra)


def explanation_table(explanations: Sequence[Explanation]) -> pa.Table:
    """Rows of `explanations`."""
    extra: dict[str, Sequence[Any]] = {
        "created_at": [_naive(e.created_at) for e in explanations],
        "detail": [json_text(e.detail, "an explanation") for e in explanations],
    }
    return _table(EXPLANATIONS, explanations, extra)


def score_table(scored: Sequence[ScoreWithTrials], owners: Sequence[tuple[str, int]]) -> pa.Table:
    """Rows of `scores`; `owners` are the source and feature of each.

    Raises:
        StoreError: If a number is not finite.
    """
    for of in (one.score for one in scored):
        numbers = (of.value, of.ci_low, of.ci_high)
        if not all(map(math.isfinite, numbers)):
            raise _not_finite(f"the {of.scorer} score")
    extra: dict[str, Sequence[Any]] = {
        "detail": [json_text(g.score.detail, f"the {g.score.scorer} score") for g in scored],
        "source_id": [source for source, _ in owners],
        "feature_index": [feature for _, feature in owners],
    }
    return _table(SCORES, [g.score for g in scored], extra)


def trial_table(scored: Sequence[ScoreWithTrials], owners: Sequence[tuple[str, int]]) -> pa.Table:
    """Rows of `trials`, in the order in which each scorer put them."""
    extra: dict[str, list[Any]] = {"source_id": [], "feature_index": [], "place": [], "fingerprint": []}
    trials: list[Trial] = []
    for one, (source, feature) in zip(scored, owners, strict=True):
        n_trials = len(one.trials)
        trials.extend(one.trials)
        extra["source_id"].extend([source] * n_trials)
        extra["feature_index"].extend([feature] * n_trials)
        extra["place"].extend(range(n_trials))
        extra["fingerprint"].extend([one.score.fingerprint] * n_trials)
    return _table(TRIALS, trials, extra)


def failure_table(failures: Sequence[Failure]) -> pa.Table:
    """Rows of `failures`."""
    return _table(FAILURES, failures, {"created_at": [_naive(f.created_at) for f in failures]})


def embedding_table(
    explanation_ids: Sequence[str], embedder: str, embeddings: Float32[np.ndarray, "text dim"]
) -> pa.Table:
    """Rows of `label_embeddings`, but for the source and feature."""
    n_texts, width = embeddings.shape
    flat = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).ravel())
    offsets = pa.array(np.arange(n_texts + 1, dtype=np.int64) * width)
    return pa.table(
        {
            "explanation_id": pa.array(explanation_ids, _TEXT),
            "embedder": pa.array([embedder] * n_texts, _TEXT),
            "embedding": pa.LargeListArray.from_arrays(offsets, flat),
        }
    )


def features_of(rows: Iterable[Mapping[str, Any]]) -> list[FeatureRecord]:
    """Records of rows of `features`."""
    return [
        FeatureRecord(
            **{
                **row,
                "histogram": tuple(row["histogram"]),
                "top_tokens": tuple(TokenCount(**token) for token in row["top_tokens"]),
                "following_tokens": tuple(FollowingToken(**token) for token in row["following_tokens"]),
                "top_logits": tuple(TokenLogit(**token) for token in row["top_logits"]),
                "bottom_logits": tuple(TokenLogit(**token) for token in row["bottom_logits"]),
            }
        )
        for row in rows
    ]


def contexts_of(rows: Iterable[Mapping[str, Any]]) -> list[Context]:
    """Records of rows of `contexts`."""
    lists = ("tokens", "token_ids", "activations", "decoy")
    return [Context(**{**row, **{name: tuple(row[name]) for name in lists}}) for row in rows]


def explanations_of(rows: Iterable[Mapping[str, Any]]) -> list[Explanation]:
    """Records of rows of `explanations`."""
    return [
        Explanation(**{**row, "created_at": row["created_at"].replace(tzinfo=UTC), "detail": json.loads(row["detail"])})
        for row in rows
    ]


def scores_of(rows: Iterable[Mapping[str, Any]]) -> list[Score]:
    """Records of rows of `scores`."""
    return [Score(**{**row, "detail": json.loads(row["detail"])}) for row in rows]


def trials_of(rows: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Records of rows of `trials`."""
    return [
        Trial(
            **{
                **row,
                "marked": tuple(row["marked"]),
                "simulated": None if row["simulated"] is None else tuple(row["simulated"]),
            }
        )
        for row in rows
    ]


def failures_of(rows: Iterable[Mapping[str, Any]]) -> list[Failure]:
    """Records of rows of `failures`."""
    return [Failure(**{**row, "created_at": row["created_at"].replace(tzinfo=UTC)}) for row in rows]


def stages_of(rows: Iterable[Mapping[str, Any]]) -> list[StageRecord]:
    """Records of rows of `stages`; the column `summary` holds the counts of `Usage`, or nothing."""
    known = {field.name for field in fields(Usage)} - {"cost_usd"}
    stages = []
    for row in rows:
        # Another version of this program may have counted more.
        counts = {name: count for name, count in json.loads(row["summary"]).items() if name in known}
        stages.append(
            StageRecord(
                stage=row["stage"],
                fingerprint=row["fingerprint"],
                status=row["status"],
                n_asked=row["n_asked"],
                cost_usd=row["cost_usd"],
                usage=Usage(**counts, cost_usd=row["cost_usd"]) if counts else None,
                finished_at=row["finished_at"] and row["finished_at"].replace(tzinfo=UTC),
            )
        )
    return stages


def usage_text(usage: Usage | None) -> str:
    """The column `summary` of `stages`: the counts, without the cost, which has a column of its own."""
    counts = {} if usage is None else asdict(usage)
    counts.pop("cost_usd", None)
    return json_text(counts, "a stage's usage")


def struct_lists(
    kind: pa.ListType, offsets: Integer[np.ndarray, " row_and_one"], columns: Sequence[Any]
) -> pa.ListArray:
    """A column of lists of records, from the columns of the records.

    Args:
        kind: The column's type.
        offsets: Records of row i are `offsets[i]` to `offsets[i + 1]`, from 0.
        columns: The values of each of the record's fields, in the order of the type.
    """
    structs = kind.value_type
    values = [pa.array(column, field.type) for column, field in zip(columns, structs, strict=True)]
    records = pa.StructArray.from_arrays(values, fields=list(structs))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), records)


def json_text(value: Mapping[str, Any], what: str) -> str:
    """Canonical JSON of a mapping of numbers and texts; NumPy's numbers count as numbers.

    Raises:
        StoreError: If a number is not finite.
    """
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False, default=_plain)
        if _ESCAPED_SURROGATE in text:
            as_it_is = json.dumps(value, allow_nan=False, default=_plain, ensure_ascii=False)
            text = json.dumps(json.loads(valid_text(as_it_is)), sort_keys=True)
        return text
    except ValueError as error:
        raise _not_finite(what) from error


def _not_finite(what: str) -> StoreError:
    return StoreError(f"{what} holds a number that is not finite", "an undefined measure is None; report this as a bug")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _struct_lists(lists: Sequence[Sequence[Any]], kind: pa.ListType) -> pa.ListArray:
    """One list of records a row. Column by column, as a dictionary for each record would take three times as long."""
    flat = list(chain.from_iterable(lists))
    columns = [list(map(attrgetter(field.name), flat)) for field in kind.value_type]
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum([len(one) for one in lists], dtype=np.int32)])
    return struct_lists(kind, offsets, columns)


def _table(schema: pa.Schema, records: Sequence[Any], extra: Mapping[str, Sequence[Any]]) -> pa.Table:
    columns = {name: extra[name] if name in extra else list(map(attrgetter(name), records)) for name in schema.names}
    try:
        return pa.table(columns, schema=schema)
    except UnicodeEncodeError:
        # A label or a message of a user's own class; what comes from files and models is valid by now.
        mended = {
            name: [valid_text(value) if isinstance(value, str) else value for value in column]
            for name, column in columns.items()
        }
        return pa.table(mended, schema=schema)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
