"""Rows as lines of Neuronpedia's bulk files: a feature, one of its explanations, its activations.

The names of the fields are those of its downloads. What this program does not know is an empty list or null; every line
of a kind has the same fields, because its importer takes the names from the first one and passes over those that its
tables don't have.
"""

from collections.abc import Sequence

import pyarrow as pa

from autointerp.store.export_rows.columns import Column, score_column
from autointerp.store.export_rows.expressions import json_text, sql_text, struct

OWNER = "autointerp"
"""Who is named as creator and author: nobody there; put your own user's id in its place before an import."""
_MODEL, _LAYER = "split_part(f.source_id, '@', 1)", "substr(f.source_id, strpos(f.source_id, '@') + 1)"
_FEATURE = {"modelId": _MODEL, "layer": _LAYER, "index": "f.feature_index::VARCHAR"}
_UNKNOWN = "[]::INTEGER[]"
_SET = f"regexp_replace({_LAYER}, '^[^-]*-', '')"
_LOGITS = {
    f"{short}_{kind}": f"list_transform(f.{end}_logits, lambda t: t.{field})"
    for short, end in (("pos", "top"), ("neg", "bottom"))
    for kind, field in (("str", "token"), ("values", "logit"))
}
SCORE = ("judge", "metric", "value", "ci_low", "ci_high", "n_trials", "n_unanswered")
"""What stands of a score beside its scorer."""

FEATURE = Column(
    pa.string(),
    json_text(
        struct(
            _FEATURE
            | {
                "sourceSetName": _SET,
                "creatorId": f"'{OWNER}'",
                "maxActApprox": "f.max_activation",
                "frac_nonzero": "f.density",
                "freq_hist_data_bar_heights": "f.histogram",
                "freq_hist_data_bar_values": "source.histogram_edges[:len(f.histogram)]",
                "logits_hist_data_bar_heights": _UNKNOWN,
                "logits_hist_data_bar_values": _UNKNOWN,
            }
            | _LOGITS
            | dict.fromkeys(
                (
                    "neuron_alignment_indices",
                    "neuron_alignment_values",
                    "neuron_alignment_l1",
                    "correlated_neurons_indices",
                    "correlated_neurons_pearson",
                    "correlated_neurons_l1",
                    "decoder_weights_dist",
                    "vector",
                ),
                _UNKNOWN,
            )
            | {
                "topkCosSimIndices": "coalesce(near.indices, [])",
                "topkCosSimValues": "coalesce(near.similarities, [])",
                "hasVector": "false",
                "vectorLabel": "NULL",
                "hookName": "source.hook",
            }
        )
    ),
)
"""A feature; its histogram's bins are those of ours, by powers of two, and the values their lower edges."""

_OF_QUANTILE = "list_filter(c.records, lambda x: x.kind = 'quantile' AND x.quantile = r.quantile)"
_PEAKS = f"list_transform({_OF_QUANTILE}, lambda x: x.max_activation)"
_QUANTILES = "list_filter(c.records, lambda x: x.kind = 'quantile')"
_N_QUANTILES = f"len(list_distinct(list_transform({_QUANTILES}, lambda x: x.quantile)))"
_ACTIVATION = struct(
    {
        "id": "r.context_id",
        **_FEATURE,
        "creatorId": f"'{OWNER}'",
        "dataSource": "source.corpus",
        "dataIndex": "r.document_id",
        "tokens": "r.tokens",
        "values": "r.activations",
        "maxValue": "r.max_activation",
        "minValue": "list_min(r.activations)",
        "maxValueTokenIndex": "r.peak",
        "binMin": f"if(r.kind = 'top', -1e0, list_min({_PEAKS}))",
        "binMax": f"if(r.kind = 'top', -1e0, list_max({_PEAKS}))",
        "binContains": f"if(r.kind = 'top', -1e0, 1e0 / {_N_QUANTILES})",
        "dfaValues": _UNKNOWN,
    }
)
ACTIVATIONS = Column(
    pa.list_(pa.string()),
    f"""list_transform(list_filter(c.records, lambda r: r.max_activation > 0),
        lambda r: to_json({_ACTIVATION})::VARCHAR)""",
)
"""The contexts in which a feature fires: the top group, as Neuronpedia marks it, and one group a quantile of ours."""


def explanation_column(scorers: Sequence[str]) -> Column:
    """One explanation, NULL where the feature has none; its scores stand in a field of our own, `autointerpScores`."""
    scores = ", ".join(
        f"if({score_column(scorers, scorer, 'value')} IS NULL, NULL, "
        + struct({"scorer": sql_text(scorer)} | {name: score_column(scorers, scorer, name) for name in SCORE})
        + ")"
        for scorer in scorers
    )
    values = {
        "id": "e.explanation_id",
        **_FEATURE,
        "authorId": f"'{OWNER}'",
        "description": "e.label",
        "embedding": "NULL",
        "typeName": "coalesce(e.detail ->> '$.method', e.explainer)",
        "explanationModelName": "if(e.model = 'local', e.explainer, e.model)",
        "autointerpScores": f"list_filter([{scores}], lambda x: x IS NOT NULL)" if scorers else _UNKNOWN,
    }
    return Column(pa.string(), f"CASE WHEN e.explanation_id IS NOT NULL THEN to_json({struct(values)})::VARCHAR END")
