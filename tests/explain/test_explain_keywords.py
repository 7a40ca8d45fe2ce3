"""The keywords explainer on small, hand-made contexts."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import ExplainConfig
from autointerp.explain.keywords import KeywordsExplainer, render_label, telling_words
from autointerp.explain.word_rates import BaseRates, firing_words
from autointerp.records import Context, Explanation, Failure, FeatureEvidence, TokenCount
from autointerp.words import label_words, stem, words_of
from tests.explain.explaining import FINGERPRINT, tools

CORPUS = [
    "the function is called with the value of the array and the result is returned",
    "the dog is in the house",
] * 20


def context(pieces: Sequence[tuple[str, float]], number: int = 0) -> Context:
    activations = tuple(activation for _, activation in pieces)
    return Context(
        context_id=f"c{number}",
        source_id="toy@keywords",
        feature_index=7,
        kind="top" if max(activations) > 0 else "silent_random",
        split="explain",
        tokens=tuple(piece for piece, _ in pieces),
        token_ids=tuple(range(len(pieces))),
        activations=activations,
        max_activation=max(activations),
        peak=activations.index(max(activations)),
        quantile=9,
        document_id=f"d{number}",
        block_index=number,
        start=0,
    )


def evidence(active: Sequence[Context], top_tokens: tuple[TokenCount, ...] = ()) -> FeatureEvidence:
    return FeatureEvidence("toy@keywords", 7, 0.01, 3.0, tuple(active), (), top_tokens)


def explain(active: Sequence[Context], n_keywords: int = 6) -> Explanation | Failure:
    explainer = KeywordsExplainer(tools(ExplainConfig(n_keywords=n_keywords), words=CORPUS))
    return asyncio.run(explainer.explain(evidence(active)))


def test_a_feature_that_fires_on_a_piece_is_labelled_with_the_word() -> None:
    result = explain([context([(" a", 0.0), (" deq", 0.0), ("ue", 2.0), (" is", 0.0)])])
    assert isinstance(result, Explanation)
    assert result.label == "deque"


def test_an_explanation_says_where_it_comes_from() -> None:
    result = explain([context([(" deque", 2.0)])])
    assert isinstance(result, Explanation)
    assert (result.source_id, result.feature_index) == ("toy@keywords", 7)
    assert (result.explainer, result.model, result.prompt_sha256, result.cost_usd) == ("keywords", "local", None, 0.0)
    again = explain([context([(" deque", 2.0)])])
    assert isinstance(again, Explanation)
    assert (again.explanation_id, again.fingerprint) == (result.explanation_id, result.fingerprint)
    assert result.fingerprint == FINGERPRINT


def test_a_common_word_needs_more_firings_than_a_rare_one() -> None:
    active = [context([(" the", 1.0), (" tensor", 1.0)], i) for i in range(3)]
    assert telling_words(active, BaseRates(CORPUS))[0] == "tensor"
    often = [context([(" the", 3.0), (" x", 0.0)], i) for i in range(30)]
    assert telling_words([*often, *active], BaseRates(CORPUS))[0] == "the"


def test_strong_firings_weigh_more_than_weak_ones() -> None:
    active = [context([(" tensor", 0.1), (" matrix", 2.0)], i) for i in range(4)]
    assert telling_words(active, BaseRates(CORPUS)) == ["matrix", "tensor"]


def test_a_word_repeated_in_one_context_counts_once() -> None:
    repeated = context([(" spam", 1.0)] * 8)
    spread = [context([(" eggs", 1.0), (" x", 0.0)], i) for i in range(1, 4)]
    assert telling_words([repeated, *spread], BaseRates(CORPUS))[0] == "eggs"


def test_words_of_one_context_come_after_those_of_several() -> None:
    shared = [context([(" tensor", 0.1), (" x", 2.0)], i) for i in range(2)]
    single = context([(" higgsaudio", 2.0)], 2)
    words = telling_words([*shared, single], BaseRates(["tensor and x and more of it"] * 9))
    assert words.index("higgsaudio") > words.index("x")
    assert set(words) <= {"x", "tensor", "higgsaudio"}


def test_at_most_n_keywords_are_listed() -> None:
    active = [context([(f" word{chr(97 + i)}", 1.0)], i) for i in range(9)]
    result = explain(active, n_keywords=4)
    assert isinstance(result, Explanation)
    assert len(result.label.split(", ")) == 4


def test_ties_are_in_alphabetic_order_whatever_the_order_of_contexts() -> None:
    active = [context([(f" {word}", 1.0)], i) for i, word in enumerate(["zeta", "alpha", "mu"])]
    for order in (active, active[::-1]):
        assert telling_words(order, BaseRates(CORPUS)) == ["alpha", "mu", "zeta"]


def test_no_firing_context_is_a_failure_that_another_run_would_only_repeat() -> None:
    for active in ([], [context([(" ", 1.0)])]):
        result = explain(active)
        assert isinstance(result, Failure)
        assert (result.stage, result.error_type, result.retry) == ("explain", "NoContexts", False)


def test_tokens_counted_over_both_splits_do_not_reach_the_label() -> None:
    explainer = KeywordsExplainer(tools(ExplainConfig(), words=CORPUS))
    active = [context([(" deque", 2.0)])]
    with_counts = asyncio.run(explainer.explain(evidence(active, (TokenCount("leak", 99, 9.0),))))
    assert isinstance(with_counts, Explanation)
    assert "leak" not in with_counts.label


def test_punctuation_is_quoted() -> None:
    assert render_label(["raise", "(", "über"]) == 'raise, "(", über'
    assert render_label(['"', "'", "“"]) == "'\"', \"'\", '“'"


@given(st.text(max_size=60))
def test_the_words_of_a_label_are_read_back_as_they_are(text: str) -> None:
    words = list(dict.fromkeys(words_of(text)))
    if words:
        assert set(label_words(render_label(words))) == set(words)


def test_words_in_several_scripts_keep_their_activation() -> None:
    firing = firing_words(context([("Über", 0.5), ("mut", 1.0), (" 方", 2.0), ("程", 0.0), (".", 0.0)]))
    assert firing == [("übermut", 1.0), ("方", 2.0), ("程", 0.0), (".", 0.0)]


def test_an_empty_piece_does_not_shift_activations() -> None:
    assert firing_words(context([(" a", 0.0), ("", 3.0), ("é", 1.0), (" b", 0.0)])) == [("aé", 3.0), ("b", 0.0)]


@pytest.mark.parametrize(
    "inflections",
    [
        ("raise", "raises", "raised", "raising"),
        ("copy", "copies", "copied", "copying"),
        ("class", "classes"),
        ("deque", "deques"),
        ("stop", "stopped", "stopping"),
        ("array", "arrays", "array's"),
    ],
)
def test_inflections_have_one_stem(inflections: tuple[str, ...]) -> None:
    assert len({stem(word) for word in inflections}) == 1


@pytest.mark.parametrize(("one", "other"), [("thing", "th"), ("red", "r"), ("axis", "axe"), ("this", "thi")])
def test_short_words_are_left_whole(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=8))
def test_base_rates_are_above_zero_and_at_most_one(texts: list[str], word: str) -> None:
    rates = BaseRates(texts)
    assert 0.0 < rates.rate(word) <= 1.0


def test_a_feature_on_a_part_of_a_character_fires_on_the_character() -> None:
    pieces = [("\ufffd", 2.0), (" ", 0.0), ("", 3.0), ("", 0.0), ("🚀", 0.0), (" by", 0.0), (" \ufffd", 4.0)]
    assert firing_words(context(pieces)) == [("🚀", 3.0), ("by", 0.0)]


def test_characters_without_spaces_that_are_one_token_are_one_word() -> None:
    pieces = [("河流", 2.0), ("山", 1.0), ("脉", 0.0), (" 城市", 3.0), (" x", 3.0), (" が", 0.5)]
    expected = [("河流", 2.0), ("山", 1.0), ("脉", 0.0), ("城市", 3.0), ("x", 3.0), ("が", 0.5)]
    assert firing_words(context(pieces)) == expected


def test_several_characters_are_as_common_as_the_rarest_of_them_at_most() -> None:
    rates = BaseRates(["河山", "河川", "河流"])
    assert rates.rate("河流") == rates.rate("流") < rates.rate("河")
