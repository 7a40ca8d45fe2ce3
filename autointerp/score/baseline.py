"""The baseline of every run: shuffled labels, to see what a label that is not about the feature scores.

1. Order all labelled features of a source by keyed hash, in a ring.
2. A feature gets the label of the next one in the ring whose label has another text, so nearly every label is used
   once and the baseline's labels have the same wording and length as the true ones.

A row that exists is kept as it is. What a row becomes depends on the set of labels it is made from, so a run that is
extended adds rows and changes none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from autointerp.identity import feature_id, hash_key, keyed_hash, stable_uuid
from autointerp.records import Explanation
from autointerp.words import plain_label

EXPLAINER = "shuffled"


def shuffled_explanations(
    explanations: Sequence[Explanation],
    seed: int,
    fingerprint: str,
    existing: Iterable[Explanation] = (),
    n_baseline: int | None = None,
) -> list[Explanation]:
    """Give features another feature's label.

    Args:
        explanations: True labels, one a feature; in any order, and of one source or several.
        seed: Of the order and of the choice of features.
        fingerprint: Of the baseline; stands in new rows.
        existing: Baseline rows of an earlier run, kept as they are; those of features without a label here are left
            out.
        n_baseline: Features in the baseline, of each source; None for all. Existing rows count, further ones are those
            of smallest keyed hash.

    Returns:
        Baseline rows by source and feature: existing ones, then new ones' places filled in. A feature for which no
        other label has another text has no row. A row's `created_at` is that of the label it borrows.
    """
    rows: list[Explanation] = []
    kept = {(e.source_id, e.feature_index): e for e in existing}
    for source in sorted({e.source_id for e in explanations}):
        of_source = [e for e in explanations if e.source_id == source]
        ring = _ring(of_source, hash_key(seed, "baseline order", source))
        donors = _donors(ring)
        chosen = _choose(ring, kept, hash_key(seed, "baseline choice", source), n_baseline)
        for explanation, donor in sorted(zip(ring, donors, strict=True), key=lambda pair: pair[0].feature_index):
            row = kept.get((source, explanation.feature_index))
            if row is None and donor is not None and explanation.feature_index in chosen:
                row = _borrow(explanation, donor, fingerprint)
            if row is not None:
                rows.append(row)
    return rows


def _ring(explanations: Sequence[Explanation], key: int) -> list[Explanation]:
    features = np.array([e.feature_index for e in explanations], dtype=np.int64)
    assert np.unique(features).size == features.size, "a baseline is made from one label a feature"
    return [explanations[i] for i in np.argsort(keyed_hash(key, features))]


def _donors(ring: Sequence[Explanation]) -> list[Explanation | None]:
    """For each label of the ring the next one of another text, None where there is no other text."""
    n = len(ring)
    texts = [plain_label(e.label) for e in ring]
    # Twice round and backwards: the step from i is that from i + 1 wherever i + 1 has the same text.
    step: list[int | None] = [None] * (2 * n)
    for i in range(2 * n - 2, -1, -1):
        step[i] = i + 1 if texts[i % n] != texts[(i + 1) % n] else step[i + 1]
    return [None if (to := step[i]) is None else ring[to % n] for i in range(n)]


def _choose(
    ring: Sequence[Explanation], kept: dict[tuple[str, int], Explanation], key: int, n_baseline: int | None
) -> set[int]:
    """Features that are to have a row, besides those that have one."""
    new = [e.feature_index for e in ring if (e.source_id, e.feature_index) not in kept]
    if n_baseline is None:
        return set(new)
    room = max(0, n_baseline - (len(ring) - len(new)))
    order = np.argsort(keyed_hash(key, np.array(new, dtype=np.int64)))
    return {new[i] for i in order[:room]}


def _borrow(explanation: Explanation, donor: Explanation, fingerprint: str) -> Explanation:
    name = feature_id(explanation.source_id, explanation.feature_index)
    return replace(
        donor,
        explanation_id=stable_uuid(f"{name}/{fingerprint}"),
        feature_index=explanation.feature_index,
        explainer=EXPLAINER,
        model="local",
        prompt_sha256=None,
        cost_usd=0.0,
        fingerprint=fingerprint,
        label_from=donor.feature_index,
        n_contexts=None,
        excludes=None,
        detail={},
    )
