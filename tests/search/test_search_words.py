"""The words of a query in labels, beside scikit-learn's TF-IDF."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from autointerp.search.word_matches import WordMatches

WORDS = st.lists(st.sampled_from(["error", "Error", "handling", "C++", "例外", "x_1", "!"]), max_size=5).map(" ".join)


@settings(deadline=None)
@given(labels=st.lists(WORDS, min_size=1, max_size=8), query=WORDS)
def test_words_weigh_as_in_scikit_learn(labels: list[str], query: str) -> None:
    matches = WordMatches(labels).of(f"{query} and-no-label-has-this")
    if not any(any(c.isalnum() for c in label) for label in labels):
        assert matches.tolist() == [0.0] * len(labels)
        return
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True, dtype=np.float64)
    matrix = vectorizer.fit_transform(labels)
    expected = (matrix @ vectorizer.transform([query]).T).toarray()[:, 0]
    np.testing.assert_allclose(matches, expected, atol=1e-12)


def test_an_accent_of_a_query_is_the_same_in_one_code_point_or_in_two() -> None:
    assert WordMatches(["caf\u00e9", "tea"]).of("CAFE\u0301").tolist() == [1.0, 0.0]
    assert WordMatches(["cafe\u0301 in \u0130zmir", "tea"]).of("caf\u00e9 in I\u0307zmir").tolist() == [1.0, 0.0]


def test_a_phrase_is_found_only_with_all_its_words_side_by_side() -> None:
    matches = WordMatches(["raising an exception", "an exception, raising", "Raising an exception now", "exceptions"])
    assert (matches.of(" Raising an EXCEPTION ") == 1.0).tolist() == [True, False, True, False]
    assert (matches.of("an exception now") == 1.0).tolist() == [False, False, True, False]


def test_a_query_of_punctuation_is_a_phrase_too() -> None:
    assert WordMatches(["(", "a ( b", "f(x)", "none"]).of("(").tolist() == [1.0, 1.0, 0.0, 0.0]


def test_of_a_question_only_the_words_that_say_something_are_looked_for() -> None:
    matches = WordMatches(['the word "the"', "of, in, to", "months and days", "the months of the year"])
    assert (matches.of("which features are about the months?") > 0).tolist() == [False, False, True, True]
    assert matches.of("the").tolist() == [1.0, 0.0, 0.0, 1.0], "a query of nothing else is taken at its word"
