"""The flat columns of a label with its feature and scores: their names, their types, and the SQL that makes them.

Each scorer that graded anything has the columns `NAME`, `NAME_ci_low`, `NAME_ci_high`, `NAME_n_trials`,
`NAME_n_unanswered`, `NAME_metric`, `NAME_judge` and `NAME_fingerprint`; they are empty where a label has no such score.
What else an explainer says of its label is JSON in `explanation_detail`; `telling_tokens` is a JSON list of the five
tokens on which the feature fires most above chance (`records.tokens`), empty where nobody counted how often they occur.
Where the feature has a rule that is as good as the truth, it stands in `referee`, with how often the judge agrees with
it, and whether it disputes the label. `failures` has one `stage: Type: message` a line.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from autointerp.store.export_rows.expressions import (
    FEATURE_ID,
    FEATURE_UUID,
    IS_DISPUTED,
    TELLING_TOKENS,
    TOKEN_LISTS,
    tier,
)

_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")


class Column(NamedTuple):
    """A column: its type, and the expression that makes it (`select`)."""

    kind: pa.DataType
    sql: str


SOURCE_ID, FEATURE_INDEX, LABEL = (
    Column(_TEXT, "f.source_id"),
    Column(_WHOLE, "f.feature_index"),
    Column(_TEXT, "e.label"),
)
SAID_YES = Column(pa.list_(_WHOLE), "list_transform(coalesce(asked.yes, []), lambda place: place + 1)")
"""The questions of detection, from 1 on, to which the judge said yes."""
ARE_YES = Column(pa.list_(_WHOLE), "list_transform(coalesce(asked.right, []), lambda place: place + 1)")
"""Those to which yes is right."""
_FEATURE_COLUMNS: Mapping[str, Column] = {
    "feature_id": Column(_TEXT, FEATURE_ID),
    "feature_uuid": Column(_TEXT, FEATURE_UUID),
    "source_id": SOURCE_ID,
    "feature_index": FEATURE_INDEX,
    "subject_model": Column(_TEXT, "source.model"),
    "hook": Column(_TEXT, "source.hook"),
    "coder": Column(_TEXT, "source.coder"),
    "corpus": Column(_TEXT, "source.corpus"),
    "n_tokens": Column(_WHOLE, "source.n_tokens"),
    "n_active": Column(_WHOLE, "f.n_active"),
    "density": Column(_REAL, "f.density"),
    "max_activation": Column(_REAL, "f.max_activation"),
    "mean_activation": Column(_REAL, "f.mean_activation"),
    "status": Column(_TEXT, "f.status"),
    "telling_tokens": Column(_TEXT, TELLING_TOKENS),
}
_LABEL_COLUMNS: Mapping[str, Column] = {
    "label": LABEL,
    "explanation_id": Column(_TEXT, "e.explanation_id"),
    "explainer": Column(_TEXT, "e.explainer"),
    "explainer_model": Column(_TEXT, "e.model"),
    "prompt_sha256": Column(_TEXT, "e.prompt_sha256"),
    "cost_usd": Column(_REAL, "e.cost_usd"),
    "created_at": Column(_TIME, "e.created_at"),
    "label_from": Column(_WHOLE, "e.label_from"),
    "explanation_fingerprint": Column(_TEXT, "e.fingerprint"),
    "side": Column(_TEXT, "e.side"),
    "n_contexts": Column(_WHOLE, "e.n_contexts"),
    "excludes": Column(_TEXT, "e.excludes"),
    "explanation_detail": Column(_TEXT, "nullif(e.detail::VARCHAR, '{}')"),
    "tier": Column(_TEXT, tier()),
    "referee": Column(_TEXT, "said.rule"),
    "referee_agreement": Column(_REAL, "said.agreement"),
    "is_disputed": Column(_FLAG, IS_DISPUTED),
}
_SCORE_COLUMNS: Mapping[str, Column] = {
    "": Column(_REAL, "value"),
    "_ci_low": Column(_REAL, "ci_low"),
    "_ci_high": Column(_REAL, "ci_high"),
    "_n_trials": Column(_WHOLE, "n_trials"),
    "_n_unanswered": Column(_WHOLE, "n_unanswered"),
    "_metric": Column(_TEXT, "metric"),
    "_judge": Column(_TEXT, "judge"),
    "_fingerprint": Column(_TEXT, "fingerprint"),
}
_CORRECTED_COLUMNS: Mapping[str, Column] = {
    "_corrected": Column(_REAL, "corrected"),
    "_corrected_ci_low": Column(_REAL, "corrected_low"),
    "_corrected_ci_high": Column(_REAL, "corrected_high"),
}
_RUN_COLUMNS: Mapping[str, Column] = {
    "failures": Column(_TEXT, "failed.lines"),
    "run": Column(_TEXT, "$run"),
    "program_version": Column(_TEXT, "$program_version"),
}
_LOGITS = pa.list_(pa.struct({"token": _TEXT, "logit": _REAL}))
_INPUT_TOKENS = pa.list_(
    pa.struct(
        {
            "token": _TEXT,
            "n_active": _WHOLE,
            "mean_activation": _REAL,
            "n_occurrences": _WHOLE,
            "recall": _REAL,
            "mass": _REAL,
            "precision": _REAL,
            "pmi": _REAL,
        }
    )
)
_NEXT_TOKENS = pa.list_(pa.struct({"token": _TEXT, "n_peaks": _WHOLE, "lift": _REAL, "recall": _REAL, "pmi": _REAL}))
LIST_COLUMNS: Mapping[str, Column] = {
    "top_tokens_n_missed": Column(_WHOLE, "f.top_tokens_n_missed"),
    "histogram": Column(pa.list_(_WHOLE), "f.histogram"),
    "top_tokens": Column(_INPUT_TOKENS, TOKEN_LISTS["top_tokens"]),
    "following_tokens": Column(_NEXT_TOKENS, TOKEN_LISTS["following_tokens"]),
    "top_logits": Column(_LOGITS, TOKEN_LISTS["top_logits"]),
    "bottom_logits": Column(_LOGITS, TOKEN_LISTS["bottom_logits"]),
}
"""What has room only where a cell may be a list, and how many counts of `top_tokens` may be too low."""
OWN_COLUMNS = frozenset({*_FEATURE_COLUMNS, *_LABEL_COLUMNS, *_RUN_COLUMNS})
"""Columns that are named after no scorer."""
SCORE_ENDS = frozenset(_SCORE_COLUMNS)
"""What the columns of a scorer have behind its name."""


def flat_columns(scorers: Sequence[str]) -> dict[str, Column]:
    """The flat columns of a run with scores by these, in order."""
    return {**_FEATURE_COLUMNS, **_LABEL_COLUMNS, **_of_scorers(scorers, _SCORE_COLUMNS), **_RUN_COLUMNS}


def corrected_columns(scorers: Sequence[str]) -> dict[str, Column]:
    """For each scorer the score without the judge's errors, where it has that (`score.calibration`)."""
    return _of_scorers(scorers, _CORRECTED_COLUMNS)


def score_column(scorers: Sequence[str], scorer: str, field: str) -> str:
    """The expression of one field of a label's score by one scorer, for `select`."""
    return f"score_{scorers.index(scorer)}.{field}"


def _of_scorers(scorers: Sequence[str], ends: Mapping[str, Column]) -> dict[str, Column]:
    return {
        f"{scorer}{end}": Column(column.kind, score_column(scorers, scorer, column.sql))
        for scorer in scorers
        for end, column in ends.items()
    }
