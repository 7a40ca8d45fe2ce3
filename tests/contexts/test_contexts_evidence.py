"""What of a feature goes to an explainer: its explain split and what is stored of it, nothing of the score split."""

from dataclasses import replace

import pytest

from autointerp.contexts.evidence import feature_evidence
from tests.store.making import SOURCE, make


def test_the_explainer_sees_nothing_of_the_score_split() -> None:
    evidence = feature_evidence(make.contexts(3), make.feature(3))
    assert [context.kind for context in evidence.active] == ["top", "quantile"]
    assert [context.kind for context in evidence.silent] == ["silent_random"]
    assert {context.split for context in (*evidence.active, *evidence.silent)} == {"explain"}


def test_what_is_stored_of_the_feature_goes_to_the_explainer() -> None:
    feature = make.feature(3, density=0.25)
    evidence = feature_evidence(make.contexts(3), feature)
    assert (evidence.source_id, evidence.feature_index) == (SOURCE, 3)
    assert (evidence.density, evidence.max_activation) == (0.25, 4.25)
    assert evidence.top_tokens == feature.top_tokens
    assert (evidence.following_tokens, evidence.n_followed_peaks) == (feature.following_tokens, 7)
    assert (evidence.top_logits, evidence.bottom_logits) == (feature.top_logits, feature.bottom_logits)


def test_select_contexts_go_apart_from_what_the_explainer_sees() -> None:
    whole = make.contexts(3)
    firing, silent = make.context(3, 7, "quantile", "select"), make.context(3, 8, "silent_random", "select")
    evidence = feature_evidence(replace(whole, contexts=(*whole.contexts, firing, silent)), make.feature(3))
    assert (evidence.select_active, evidence.select_silent) == ((firing,), (silent,))
    assert {context.split for context in (*evidence.active, *evidence.silent)} == {"explain"}


def test_contexts_of_another_feature_are_refused() -> None:
    with pytest.raises(AssertionError):
        feature_evidence(make.contexts(3), make.feature(4))
