"""The stage `baseline`: labels that nobody wrote, made beside the true ones and scored with them.

They are made of all labels of a source and not of those that a command is asked for, so that it does not matter in how
many commands a run is labelled; those that exist are kept.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from jaxtyping import Int32

from autointerp.identity import fingerprint
from autointerp.records import Explanation
from autointerp.run.features import ChosenFeatures
from autointerp.run.session import Session
from autointerp.score.baseline import EXPLAINER as SHUFFLED
from autointerp.score.baseline import shuffled_explanations
from autointerp.score.null_kinds import MOST_FREQUENT_TOKEN, NO_LABEL, TOO_BROAD, TOO_NARROW
from autointerp.score.nulls import WITHHELD, null_explanations, sample_size, token_label
from autointerp.score.partly_wrong import too_broad, too_narrow

_MOST_SAMPLED, _MOST_WITHOUT_A_LABEL = 100, 50


def with_nulls(session: Session, chosen: ChosenFeatures) -> dict[str, list[Explanation]]:
    """The current explanations of the features by source, and the nulls beside them, made where they are missing."""
    current = {source_id: session.reader.explanations(source_id=source_id) for source_id in chosen}
    wanted = {source_id: set(features) for source_id, features in chosen.items()}
    explanations = {
        source_id: [e for e in current[source_id] if e.feature_index in of_source]
        for source_id, of_source in wanted.items()
    }
    config, seed = session.pipeline.score, session.pipeline.seed
    made_from = {e.fingerprint for of_source in current.values() for e in of_source}
    if not config.baseline or not config.nulls or not made_from:
        return explanations
    baseline_fingerprint = fingerprint("baseline", seed, sorted(made_from))
    session.writer.set_stage("baseline", baseline_fingerprint, "running", cost_usd=0.0)
    n_baseline = 0
    for source_id, of_source in wanted.items():
        nulls = _make_nulls(session, current[source_id], source_id, baseline_fingerprint)
        session.writer.add_explanations(nulls)
        n_baseline += len(nulls)
        explanations[source_id] += [row for row in nulls if row.feature_index in of_source]
    session.writer.set_stage("baseline", baseline_fingerprint, "done", n_asked=n_baseline, cost_usd=0.0)
    return explanations


def _make_nulls(
    session: Session, explanations: Sequence[Explanation], source_id: str, fingerprint: str
) -> list[Explanation]:
    """The nulls of one source, of each kind that is asked for; those that exist are kept."""
    config, seed = session.pipeline.score, session.pipeline.seed
    existing = [e for e in session.reader.explanations(source_id=source_id, baselines=True) if e.is_baseline]
    nulls: list[Explanation] = []
    if SHUFFLED in config.nulls:
        shuffled = [e for e in existing if e.explainer == SHUFFLED]
        nulls += shuffled_explanations(explanations, seed, fingerprint, shuffled, config.n_baseline)
    makers: dict[str, tuple[int | None, int, Callable[[], Callable[[int], str | None]]]] = {
        MOST_FREQUENT_TOKEN: (
            config.n_most_frequent_token,
            _MOST_SAMPLED,
            lambda: _token_labels(session, explanations, source_id),
        ),
        NO_LABEL: (config.n_no_label, _MOST_WITHOUT_A_LABEL, lambda: lambda feature: WITHHELD),
        TOO_BROAD: (config.n_partly_wrong, _MOST_SAMPLED, lambda: _broad_labels(session, explanations, source_id)),
        TOO_NARROW: (config.n_partly_wrong, _MOST_SAMPLED, lambda: _narrow_labels(explanations)),
    }
    for kind, (n_asked, most, label_of) in makers.items():
        n_features = sample_size(len(explanations), n_asked, most)
        if kind not in config.nulls or n_features == 0 or (kind == NO_LABEL and session.pipeline.judge.kind == "local"):
            continue
        of_kind = [e for e in existing if e.explainer == kind]
        nulls += null_explanations(kind, explanations, label_of(), seed, fingerprint, of_kind, n_features)
    return nulls


def _token_labels(session: Session, explanations: Sequence[Explanation], source_id: str) -> Callable[[int], str | None]:
    """What gives the label of the token that a feature fires on most; None of one that is blank."""

    @cache
    def tokens() -> dict[int, str]:  # read only where a null is missing
        records = session.reader.features([e.feature_index for e in explanations], source_id)
        return {of.feature_index: of.top_tokens[0].token for of in records if of.top_tokens}

    return lambda feature: token_label(tokens().get(feature, ""))


def _broad_labels(session: Session, explanations: Sequence[Explanation], source_id: str) -> Callable[[int], str | None]:
    """What gives a label too broad, by those of the labelled features with the closest decoder directions."""
    labels = {e.feature_index: e.label for e in explanations}

    @cache
    def neighbors() -> Int32[np.ndarray, "feature rank"]:  # read only where a null is missing
        return session.reader.neighbor_matrix(source_id, "decoder")

    def label_of(feature: int) -> str | None:
        near = [labels[other] for other in neighbors()[feature].tolist() if other in labels and other != feature]
        return too_broad(labels[feature], near)

    return label_of


def _narrow_labels(explanations: Sequence[Explanation]) -> Callable[[int], str | None]:
    labels = {e.feature_index: e.label for e in explanations}
    return lambda feature: too_narrow(labels[feature])
