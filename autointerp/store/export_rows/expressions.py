"""SQL for what Python computes of single records elsewhere; a test holds the two against each other.

DuckDB does it for a million features in seconds, where one Python object a token or a score would take half an hour.
"""

from autointerp.identity import NAMESPACE
from autointerp.score.dispute import EXPECTED
from autointerp.score.tier import CHANCE_OF, Graded, tier_from
from autointerp.store.query import columns_of

FEATURE_ID = "f.source_id || ':' || f.feature_index"
_HASH = f"sha1(unhex('{NAMESPACE.hex}') || encode({FEATURE_ID}))"
# Of a UUID's version 5 (RFC 9562): `identity.stable_uuid`.
FEATURE_UUID = f"""list_transform([{_HASH}], lambda h: h[1:8] || '-' || h[9:12] || '-5' || h[14:16] || '-'
    || '89ab'[1 + (('0x' || h[17])::INTEGER & 3)] || h[18:20] || '-' || h[21:32])[1]"""
# As `tier.chance_of` has it: chance stands in the detail of a scorer where each feature has its own.
CHANCE = f"""coalesce(
    TRY_CAST({{detail}} AS DOUBLE),
    CASE s.metric {" ".join(f"WHEN '{metric}' THEN {chance}::DOUBLE" for metric, chance in CHANCE_OF.items())} END
)"""
# As `tier.Graded.carries` has it; `greatest` passes over what is not known.
CARRIES = "coalesce(ci_low > greatest(chance, other), false)"
IS_DISPUTED = f"said.high < {EXPECTED}::DOUBLE"


def tier() -> str:
    """A label's tier, of `by_input` and `by_output`: whether any score of that side carries it, NULL where none asked.

    The names are those that `tier.tier_from` gives.
    """
    cases = ""
    for by_input in (None, False, True):
        for by_output in (None, False, True):
            sides = {"input": by_input, "output": by_output}
            graded = [Graded("", side, float(does), 0.5, None) for side, does in sides.items() if does is not None]
            named = tier_from(graded)
            if named is not None:
                when = " AND ".join(
                    f"by_{side} IS NOT DISTINCT FROM {'NULL' if does is None else does}" for side, does in sides.items()
                )
                cases += f" WHEN {when} THEN '{named.name}'"
    return f"CASE WHEN e.label_from IS NOT NULL THEN NULL{cases} END"


def moment(column: str) -> str:
    """A UTC timestamp as `datetime.isoformat` writes it."""
    fraction = f"CASE WHEN microsecond({column}) % 1000000 = 0 THEN '' ELSE strftime({column}, '.%f') END"
    return f"strftime({column}, '%Y-%m-%dT%H:%M:%S') || {fraction} || '+00:00'"


def struct(values: dict[str, str]) -> str:
    """A record of named expressions."""
    return "{" + ", ".join(f"'{name}': {value}" for name, value in values.items()) + "}"


def sql_text(value: str) -> str:
    """A text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def json_text(value: str) -> str:
    """A value as JSON text; `null` where there is none."""
    return f"coalesce(to_json({value})::VARCHAR, 'null')"


def json_object(values: dict[str, str]) -> str:
    """JSON text of an object, of the JSON texts of its values: far faster than of a record, where they are long."""
    # One call of `concat`: a chain of `||` copies what is before it at each step.
    parts = ", ', ', ".join(f"""'"{name}": ', {value}""" for name, value in values.items())
    return f"concat('{{', {parts}, '}}')"


def record(kind: type, table: str, **instead: str) -> str:
    """A record with the fields of one of `records`, from the columns of a table; some by other expressions."""
    return struct({name: instead.get(name, f"{table}.{name}") for name in columns_of(kind)})


def _share(part: str, whole: str) -> str:
    return f"CASE WHEN {whole} > 0 THEN least(1e0, ({part}) / ({whole})) ELSE 0e0 END"


def _pmi(observed: str, expected: str) -> str:
    return f"log2(({observed} + 0.5e0) / ({expected} + 0.5e0))"


_INPUT_PMI = _pmi("t.n_active", "(f.density * t.n_occurrences)")
_INPUT = struct(
    {
        "token": "t.token",
        "n_active": "t.n_active",
        "mean_activation": "t.mean_activation",
        "n_occurrences": "t.n_occurrences",
        "recall": _share("t.n_active", "f.n_active"),
        "mass": _share("t.n_active * t.mean_activation", "f.n_active * f.mean_activation"),
        "precision": "t.n_active / t.n_occurrences",
        "pmi": _INPUT_PMI,
    }
)
_NEXT = struct(
    {
        "token": "t.token",
        "n_peaks": "t.n_peaks",
        "lift": "t.lift",
        "recall": _share("t.n_peaks", "f.n_followed_peaks"),
        "pmi": _pmi("t.n_peaks", "(t.n_peaks / t.lift)"),
    }
)
TOKEN_LISTS = {
    "top_tokens": f"list_transform(f.top_tokens, lambda t: {_INPUT})",
    "following_tokens": f"list_transform(f.following_tokens, lambda t: {_NEXT})",
    "top_logits": "f.top_logits",
    "bottom_logits": "f.bottom_logits",
}
"""A feature's tokens with their measures, as `records.tokens` has them."""

_TELLING = 5
_BY_PMI = f"""list_sort(list_filter(list_transform(f.top_tokens,
    lambda t, i: {{'less': -{_INPUT_PMI}, 'place': i, 'token': t.token}}), lambda t: t.less IS NOT NULL))"""
_AS_JSON = f"array_to_string(list_transform({_BY_PMI}[:{_TELLING}], lambda t: to_json(t.token)::VARCHAR), ', ')"
TELLING_TOKENS = f"""CASE WHEN len(list_filter(f.top_tokens, lambda t: t.n_occurrences IS NOT NULL)) > 0
    THEN '[' || {_AS_JSON} || ']' END"""
"""The tokens that tell most (`records.tokens.most_telling`), as a JSON list."""
