"""The keywords explainer on small, hand-made contexts."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autointerp.config import ExplainConfig
from autointerp.corpus.spellings import Spellings
from autointerp.explain.explainers.keywords import Keywords, KeywordsExplainer, find_keywords, render_label, write_label
from autointerp.explain.word_rates import BaseRates, firing_words
from autointerp.records import Context, Explanation, Failure, FeatureEvidence, TokenCount
from autointerp.rules.sentence import read_rule
from autointerp.words import label_words, stem, words_of
from tests.explain.explaining import FINGERPRINT, tools

CORPUS = [
    "the function is called with the value of the array and the result is returned",
    "the dog is in the house",
] * 20


NOTHING_KNOWN = Spellings()


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


def telling_words(active: Sequence[Context], base_rates: BaseRates, n_words: int = 99) -> list[str]:
    return list(find_keywords(active, base_rates, n_words, enough=1.0, least_repeated=1.0).words)


def label_of(active: Sequence[Context], base_rates: BaseRates | None = None) -> str:
    return write_label(find_keywords(active, base_rates or BaseRates(CORPUS), 5))


def text(words: str, number: int = 0) -> Context:
    """A context of words, `word=2.0` one that fires."""
    pairs = [word.rpartition("=") if "=" in word else (word, "", "0") for word in words.split(" ")]
    return context([(f" {word}", float(activation)) for word, _, activation in pairs], number)


def firing_words_of(context: Context, spellings: Spellings = NOTHING_KNOWN) -> list[tuple[str, float]]:
    return [(of.word, of.activation) for of in firing_words(context, spellings)]


def explain(active: Sequence[Context], n_keywords: int = 5) -> Explanation | Failure:
    explainer = KeywordsExplainer(tools(ExplainConfig(n_keywords=n_keywords), words=CORPUS))
    return asyncio.run(explainer.explain(evidence(active)))


def test_a_feature_that_fires_on_a_piece_is_labelled_with_the_word() -> None:
    result = explain([context([(" a", 0.0), (" deq", 0.0), ("ue", 2.0), (" is", 0.0)])])
    assert isinstance(result, Explanation)
    assert result.label == 'the word "deque"'


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
    active = [context([(" the", 1.0), (" tensor", 1.0), (".", 0.0)], i) for i in range(3)]
    assert telling_words(active, BaseRates(CORPUS))[0] == "tensor"
    often = [context([(" the", 3.0), (" x", 0.0)], i) for i in range(30)]
    assert telling_words([*often, *active], BaseRates(CORPUS))[0] == "the"


def test_strong_firings_weigh_more_than_weak_ones() -> None:
    active = [context([(" tensor", 0.1), (",", 0.0), (" matrix", 2.0), (".", 0.0)], i) for i in range(4)]
    assert telling_words(active, BaseRates(CORPUS)) == ["matrix", "tensor"]


def test_a_word_repeated_in_one_context_counts_once() -> None:
    repeated = context([(" spam", 1.0)] * 8)
    spread = [context([(" eggs", 1.0), (" x", 0.0)], i) for i in range(1, 4)]
    assert telling_words([repeated, *spread], BaseRates(CORPUS))[0] == "eggs"


def test_words_of_one_context_come_after_those_of_several() -> None:
    shared = [context([(" tensor", 0.1), (" x", 2.0)], i) for i in range(2)]
    single = context([(" higgsaudio", 2.0), (".", 0.0)], 2)
    rates = BaseRates(["tensor and x and more of it"] * 9)
    words = list(find_keywords([*shared, single], rates, 9, enough=1.0, least_repeated=1.0).words)
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
@example("İ İzmir")
@example("I\u0307zmir i\u0307")
def test_the_words_of_a_label_are_read_back_as_they_are(text: str) -> None:
    words = list(dict.fromkeys(words_of(text)))
    if words:
        assert set(label_words(render_label(words))) == set(words)


def test_words_in_several_scripts_keep_their_activation() -> None:
    firing = firing_words_of(context([("Über", 0.5), ("mut", 1.0), (" 方", 2.0), ("程", 0.0), (".", 0.0)]))
    assert firing == [("übermut", 1.0), ("方", 2.0), ("程", 0.0), (".", 0.0)]


def test_an_empty_piece_does_not_shift_activations() -> None:
    assert firing_words_of(context([(" a", 0.0), ("", 3.0), ("é", 1.0), (" b", 0.0)])) == [("aé", 3.0), ("b", 0.0)]


@pytest.mark.parametrize(
    "forms",
    [
        ("raise", "raises", "raised", "raising"),
        ("copy", "copies", "copied", "copying"),
        ("class", "classes"),
        ("deque", "deques"),
        ("stop", "stopped", "stopping"),
        ("array", "arrays", "array's"),
        ("key", "keys", "keyed"),
        ("central", "centrally"),
        ("prefer", "prefers", "preferred"),
        ("glm", "glms"),
    ],
)
def test_forms_of_a_word_have_one_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(word) for word in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("thing", "th"), ("red", "r"), ("axis", "axe"), ("news", "new"), ("css", "cs"), ("方程", "方")]
)
def test_words_that_are_no_forms_of_each_other_keep_their_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=8))
def test_base_rates_are_above_zero_and_at_most_one(texts: list[str], word: str) -> None:
    rates = BaseRates(texts)
    assert 0.0 < rates.rate(word) <= 1.0


def test_a_feature_on_a_part_of_a_character_fires_on_the_character() -> None:
    pieces = [("\ufffd", 2.0), (" ", 0.0), ("", 3.0), ("", 0.0), ("🚀", 0.0), (" by", 0.0), (" \ufffd", 4.0)]
    assert firing_words_of(context(pieces)) == [("🚀", 3.0), ("by", 0.0)]


def test_characters_without_spaces_that_are_one_token_are_one_word() -> None:
    pieces = [("河流", 2.0), ("山", 1.0), ("脉", 0.0), (" 城市", 3.0), (" x", 3.0), (" が", 0.5)]
    expected = [("河流", 2.0), ("山", 1.0), ("脉", 0.0), ("城市", 3.0), ("x", 3.0), ("が", 0.5)]
    assert firing_words_of(context(pieces)) == expected


def test_several_characters_are_as_common_as_the_rarest_of_them_at_most() -> None:
    rates = BaseRates(["河山", "河川", "河流"])
    assert rates.rate("河流") == rates.rate("流") < rates.rate("河")


def test_forms_of_a_word_are_listed_once_by_the_one_that_fires_most() -> None:
    active = [text(f"on {word}=2.0 x", i) for i, word in enumerate(["keys", "keys", "key", "keyed"])]
    assert label_of(active) == 'the word "keys"'


def test_words_are_spelled_as_the_corpus_mostly_spells_them_inside_of_sentences() -> None:
    texts = ["The value of Python, and of Python on a GPU. Value and value", "Python is at home. The value too"] * 3
    active = [text("some python=2.0 , value=2.0 , gpu=2.0 x", i) for i in range(3)]
    assert label_of(active, BaseRates(texts)) == 'the words "GPU", "Python", "value"'


def test_an_identifier_is_told_by_the_parts_that_fire() -> None:
    spellings = Spellings.counted(["see LocalEntryNotFoundError and DataFrame"])
    of = context([(" local", 0.0), ("entry", 2.0), ("not", 0.0), ("found", 0.0), ("er", 0.0), ("ror", 1.0)])
    expected = [("local", 0.0), ("entry", 2.0), ("not", 0.0), ("found", 0.0), ("error", 1.0)]
    assert firing_words_of(of, spellings) == expected
    assert firing_words_of(context([(" Entry", 2.0), ("NotFound", 0.0)])) == [
        ("entry", 2.0),
        ("not", 0.0),
        ("found", 0.0),
    ]


def test_a_name_with_capitals_inside_stays_whole() -> None:
    spellings = Spellings.counted(["we use NumPy", *["and a DataFrame or TensorFlow"] * 5])
    active = [text("the numpy=2.0 , dataframe=2.0 x", i) for i in range(3)]
    assert label_of(active, BaseRates(CORPUS, spellings)) == 'the words "DataFrame", "NumPy"'


def test_a_number_in_a_word_is_told_alone_where_it_alone_fires() -> None:
    assert firing_words_of(context([(" fp", 0.0), ("16", 2.0)])) == [("fp", 0.0), ("16", 2.0)]
    assert firing_words_of(context([(" fp", 1.0), ("16", 2.0)])) == [("fp16", 2.0)]


def test_what_a_context_cuts_off_is_no_word_unless_it_is_one_elsewhere() -> None:
    cut = [context([("rso", 2.0), (",", 0.0), (" function", 1.0), (" sen", 3.0)], i) for i in range(3)]
    assert label_of(cut) == 'the word "function"'
    assert label_of([context([("rso", 2.0), (" r", 0.0)], i) for i in range(3)]) == 'the word "rso"', "nothing else"
    whole = [context([("dog", 2.0), (" x", 0.0)], i) for i in range(3)]
    assert label_of(whole) == 'the word "dog"'


def test_a_phrase_is_named_where_the_word_stands_in_it() -> None:
    active = [text(f"{before} random number generator=2.0 x", i) for i, before in enumerate("abc")]
    assert label_of(active) == 'the phrase "random number generator"'
    pieces = [("random", 0.0), ("_", 0.0), ("number", 0.0), ("_", 0.0), ("generator", 2.0), (" x", 0.0)]
    joined = [context([(f" {before} ", 0.0), *pieces], i) for i, before in enumerate("abc")]
    assert label_of(joined) == 'the phrase "random number generator"'


def test_no_phrase_is_named_that_is_not_typical() -> None:
    elsewhere = [text(f"{word} generator=2.0 x", i) for i, word in enumerate(["random", "power", "steam", "diesel"])]
    assert label_of(elsewhere) == 'the word "generator"'
    of_one_document = [replace(text("steam generator=2.0 x", i), group_id="one") for i in range(4)]
    assert label_of(of_one_document) == 'the word "generator"'
    with_an_article = [text(f"{word} the generator=2.0 of {word}", i) for i, word in enumerate("abc")]
    assert label_of(with_an_article) == 'the word "generator"'


def test_a_phrase_around_a_word_that_was_told_is_left_out() -> None:
    active = [
        text("to need=2.0 x", 0),
        text("or need=2.0 y", 1),
        text("we need=2.0 y", 2),
        text("you need=2.0 y", 3),
        *(text(f"{c} don't=1.0 need=2.0 z", i + 4) for i, c in enumerate("abc")),
    ]
    assert "don't need" not in label_of(active)


def test_words_of_one_context_are_left_out_where_others_say_most() -> None:
    active = [text(f"a{i} deque=2.0 b", i) for i in range(4)]
    assert label_of([*active, text("a higgs=2.0 b", 9)]) == 'the word "deque"'
    assert label_of(
        [*active[:2], *(text(f"an {word}=2.0 b", 5 + i) for i, word in enumerate(["iota", "mu", "nu"]))]
    ) == ('the words "deque", "iota", "mu", "nu"')


@pytest.mark.parametrize(
    ("found", "label"),
    [
        (Keywords(("key",), 0.95, 1.0), 'the word "key"'),
        (Keywords(("key", "lock"), 0.85, 1.0), 'the words "key", "lock"'),
        (Keywords(("Ann", "Bob"), 0.3, 1.0), 'words such as "Ann", "Bob"'),
        (Keywords(("Ann",), 0.3, 1.0), 'words such as "Ann"'),
        (Keywords(("ship", "sail", "of"), 0.3, 4.0), "text about ship, sail"),
        (Keywords(("the", "of", "ship"), 0.3, 4.0), 'words such as "the", "of", "ship"'),
        (Keywords(("4", "5"), 0.9, 1.0), 'the numbers "4", "5"'),
        (Keywords((".",), 0.9, 1.0), 'the mark "."'),
        (Keywords((".", '"'), 0.5, 1.0), 'marks such as ".", \'"\''),
        (Keywords((".", "and"), 0.9, 1.0), 'the words ".", "and"'),
        (Keywords(("et al",), 0.9, 1.0), 'the phrase "et al"'),
    ],
)
def test_a_label_says_what_the_contexts_show_and_is_read_back_as_its_words(found: Keywords, label: str) -> None:
    assert write_label(found) == label
    said = [word for word in found.words if not label.startswith("text") or word != "of"]
    assert label_words(label) == [part.lower() for word in said for part in words_of(word)]


def test_no_label_is_read_as_a_rule_because_a_word_stands_for_its_other_forms() -> None:
    for label in ('the word "key"', 'words such as "key"', "text about ships, sailors", 'the phrase "et al"'):
        assert read_rule(label) is None


def test_characters_without_spaces_make_phrases_too() -> None:
    active = [
        context([(c, 0.0), ("東", 1.0), ("京", 2.0), ("に", 0.0), ("。", 0.0)], i) for i, c in enumerate("私犬猫")
    ]
    assert label_of(active, BaseRates(["私は犬が好きで猫も好きです"] * 9)) == 'the word "東京"'


@pytest.mark.parametrize(
    ("pieces", "label"),
    [
        ([("the ", 0.0), ("dog", 2.0), ("'s", 2.0), (" x", 0.0)], 'the word "dog"'),
        ([("and ", 0.0), ("it", 2.0), ("'s", 2.0), (" x", 0.0)], 'the word "it\'s"'),
        ([("in ", 0.0), ("42", 2.0), (" x", 0.0)], 'the number "42"'),
        ([("a", 0.0), (".\n", 2.0), ("b", 0.0)], 'the mark "."'),
        ([("say ", 0.0), ('"', 2.0), ("x", 0.0)], "the mark '\"'"),
        ([("so ", 0.0), ("\u202eنعم", 2.0), (" x", 0.0)], 'the word "نعم"'),
        ([("the ", 0.0), ("x", 2.0), (" of", 0.0)], 'the word "x"'),
    ],
)
def test_odd_words_are_told_as_they_are(pieces: list[tuple[str, float]], label: str) -> None:
    assert label_of([context(pieces, i) for i in range(3)]) == label


def test_a_feature_that_no_word_tells_from_the_corpus_is_a_failure_that_says_so() -> None:
    explainer = KeywordsExplainer(tools(ExplainConfig(), words=["the"] * 99))
    result = asyncio.run(explainer.explain(evidence([text("the=1.0 the=1.0 the")])))
    assert isinstance(result, Failure)
    assert (result.error_type, result.retry) == ("NoTellingWords", False)
