"""Nulls beside the shuffled labels of `score.baseline`: labels that nobody wrote, and what they score.

- `most_frequent_token`: the token that the feature fires on most often, as a label. An explainer that does not beat it
  has found no more than a count does.
- `no_label`: the label is withheld, in the very same questions and prompts. What a judge gets then it gets from the
  prompt alone. Only a language model can be asked to guess; a judge that compares the label with the text has nothing.
- `too_broad`, `too_narrow`: the true label made partly wrong (`score.partly_wrong`). A scorer whose value does not fall
  can't tell such labels. A judge that costs something is asked about them only where `score.n_partly_wrong` says so.

Each is made for a sample of the labelled features, by keyed hash. A row that exists is kept, so a run that is extended
adds rows and changes none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from autointerp.explain.explainers.keywords import render_label
from autointerp.identity import feature_id, hash_key, in_keyed_order, stable_uuid
from autointerp.records import Explanation

WITHHELD = "(label withheld: guess)"
_A_TENTH = 10
_FEWEST = 10
_WORD_PIECE = "##"


def sample_size(n_labels: int, asked: int | None, most: int) -> int:
    """Features to make a null of: as many as asked for; else a tenth of the labels, at most so many.

    The tenth keeps a run's time and cost within a tenth of what they are without. Fewer than ten features would say
    nothing, so there are none then.
    """
    if asked is not None:
        return min(asked, n_labels)
    tenth = min(most, n_labels // _A_TENTH)
    return tenth if tenth >= _FEWEST else 0


def null_explanations(
    kind: str,
    explanations: Sequence[Explanation],
    label_of: Callable[[int], str | None],
    seed: int,
    fingerprint: str,
    existing: Iterable[Explanation],
    n_features: int,
) -> list[Explanation]:
    """Rows of one null for a sample of labelled features of one source, ascending.

    Args:
        kind: One of the module's.
        explanations: The true labels, one a feature.
        label_of: The null's label of a feature; None where it has none.
        seed: Of the choice of features.
        fingerprint: Of the nulls; stands in new rows.
        existing: Rows of the same null of an earlier run, kept as they are and counted; those of features without a
            label here are left out.
        n_features: Features of the sample.
    """
    true = {explanation.feature_index: explanation for explanation in explanations}
    rows = {row.feature_index: row for row in existing if row.feature_index in true}
    left = np.array(sorted(set(true) - set(rows)), dtype=np.int64)
    if left.size:
        source_id = explanations[0].source_id
        left = in_keyed_order(hash_key(seed, "null", kind, source_id), left)
    for feature in left.tolist():
        if len(rows) >= n_features:
            break
        label = label_of(feature)
        if label is not None:
            rows[feature] = _row(true[feature], kind, label, fingerprint)
    return [row for _, row in sorted(rows.items())]


def token_label(token: str) -> str | None:
    """A token as a label, punctuation in quotes as the explainer `keywords` writes it; None of one that is blank."""
    word = token.strip()
    if word.startswith(_WORD_PIECE) and word != _WORD_PIECE:
        word = word.removeprefix(_WORD_PIECE)
    return render_label([word]) if word else None


def _row(explanation: Explanation, kind: str, label: str, fingerprint: str) -> Explanation:
    name = feature_id(explanation.source_id, explanation.feature_index)
    return replace(
        explanation,
        explanation_id=stable_uuid(f"{name}/{fingerprint}/{kind}"),
        label=label,
        explainer=kind,
        model="local",
        prompt_sha256=None,
        cost_usd=0.0,
        fingerprint=fingerprint,
        label_from=explanation.feature_index,
        side=None,
        n_contexts=None,
        excludes=None,
        detail={},
    )
