"""The embedder on the embedded model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.config import EmbedderConfig
from autointerp.embedder import LENGTH_SLOPE, Embedder, combine
from autointerp.errors import SubjectError
from autointerp.words import label_words, words_of

TEXTS = ["a dog barks", "raise an exception", "", "Schrödinger 方程式 is 線形", "word " * 400, "a dog barks"]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(EmbedderConfig(device="cpu"))


def test_every_text_has_a_unit_vector(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_a_text_has_the_same_vector_whatever_it_is_embedded_with(embedder: Embedder) -> None:
    alone = np.concatenate([Embedder(EmbedderConfig(device="cpu", batch_size=1)).embed([text]) for text in TEXTS[:4]])
    together = embedder.embed([*TEXTS[::-1], "another text here", *TEXTS])[-len(TEXTS) :]
    np.testing.assert_allclose(alone, together[:4], atol=1e-6)
    np.testing.assert_array_equal(together[0], together[-1])


def test_many_texts_run_side_by_side_as_one_thread_would_run_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{'word ' * (number % 40)}{number}" for number in range(300)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    one_by_one = Embedder(EmbedderConfig(device="cpu")).embed(texts)
    assert asked == []
    monkeypatch.setattr("autointerp.embedder._MANY_TEXTS", 300)
    np.testing.assert_array_equal(Embedder(EmbedderConfig(device="cpu")).embed(texts), one_by_one)
    assert set(asked[:-1]) == {1}, "each thread computes alone, and afterwards all is as it was"
    assert asked[-1] == 2


def test_text_that_utf8_can_not_hold_is_embedded_with_a_replacement_character(embedder: Embedder) -> None:
    np.testing.assert_array_equal(embedder.embed(["a dog \ud83d"]), embedder.embed(["a dog \ufffd"]))


def test_the_cache_forgets_the_texts_not_asked_for_longest(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.embedder.MAX_CACHED_TEXTS", 2)
    first = embedder.embed(["one", "two", "three"])
    assert list(embedder._cache) == ["two", "three"]
    embedder.embed(["two"])
    embedder.embed(["four"])
    assert list(embedder._cache) == ["two", "four"]
    np.testing.assert_allclose(embedder.embed(["one", "two", "three"]), first, atol=1e-6)


def test_a_full_table_of_words_starts_again_and_gives_the_same_similarity(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a dog barks at night", "an exception is raised"]
    before = embedder.similarity("dog, night", texts)
    monkeypatch.setattr("autointerp.embedder.MAX_CACHED_TEXTS", 5)
    embedder.similarity("cat", ["sleeps all day long"])
    np.testing.assert_allclose(embedder.similarity("dog, night", texts), before, atol=2e-5)


def test_words_are_cut_from_text_in_any_script() -> None:
    assert words_of("Don't raise n_samples (x).") == ("don't", "raise", "n", "_", "samples", "(", "x", ")", ".")
    assert words_of("方程 ñandú привет") == ("方", "程", "ñandú", "привет")
    assert words_of("2024年3月のiPhone手机") == ("2024", "年", "3", "月", "の", "iphone", "手", "机")
    assert words_of("either'a'or we've") == ("either", "'", "a", "'", "or", "we've")
    assert words_of("  \n") == ()


def test_a_text_compared_with_many_labels_is_cut_into_words_once(embedder: Embedder) -> None:
    words_of.cache_clear()
    for label in ("dog", "night", "rain"):
        embedder.similarity(label, ["a dog barks at night", "an exception is raised"])
    assert words_of.cache_info().misses == 2 + 3


def test_a_label_is_read_as_a_list_or_as_prose() -> None:
    assert label_words('raise, of, "(", raise') == ["(", "raise", "of"]
    assert label_words("Mentions of the exceptions being thrown.") == ["exceptions", "thrown"]
    assert label_words('the word "will" before return') == ["will", "return"]
    assert label_words("of the") == ["of", "the"]
    assert label_words("") == [""]


def test_a_context_with_the_labels_word_is_closer_than_one_with_a_related_word_than_one_with_neither(
    embedder: Embedder,
) -> None:
    same, related, neither = embedder.similarity(
        "exception, deque", ["it may throw an exception here", "it may throw an error here", "it may eat a banana here"]
    )
    assert same > related > neither


def test_a_text_has_the_same_similarity_whatever_else_is_compared(embedder: Embedder) -> None:
    texts = ["a dog barks", "raise an exception", "", "Schrödinger 方程式 is 線形"]
    together = embedder.similarity("dogs, waves", texts)
    alone = [embedder.similarity("dogs, waves", [text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=2e-5)
    assert np.isfinite(together).all()
    assert together[2] < together.max()
    assert embedder.similarity("dogs", []).shape == (0,)


def test_many_texts_that_labels_share_are_compared_as_few_are_whatever_was_asked_before(embedder: Embedder) -> None:
    texts = [f"a {word} barks at {number}" for number in range(150) for word in ("dog", "pump")]
    few = np.concatenate([embedder.similarity("dogs, night, 7", texts[i : i + 50]) for i in range(0, 300, 50)])
    shared = embedder.similarity("dogs, night, 7", texts)
    np.testing.assert_allclose(shared, few, atol=2e-5)
    other = Embedder(EmbedderConfig(device="cpu"))
    other.learn_words([*texts, "dogs, night, 7"])
    embedder.similarity("night", texts)
    np.testing.assert_array_equal(embedder.similarity("dogs, night, 7", texts), shared)
    np.testing.assert_allclose(other.similarity("dogs, night, 7", texts), shared, atol=2e-5)


def test_kept_cosines_stay_within_bounds_and_are_computed_again(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"a dog barks at {number}" for number in range(300)]
    before = embedder.similarity("dog, night", texts)
    monkeypatch.setattr("autointerp.embedder._MAX_KEPT_COSINES", 600)
    for word in ("rain", "snow", "hail", "fog"):
        embedder.similarity(word, texts)
        assert all(len(cut.columns) <= 3 for cut in embedder._words._cut.values() if cut.n_words.size == 300)
    np.testing.assert_array_equal(embedder.similarity("dog, night", texts), before)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(1, 100),
)
def test_a_better_match_of_any_word_never_lowers_the_similarity(rows: list[list[float]], n_words: int) -> None:
    similarity = np.array(rows, dtype=np.float32)
    raised = np.minimum(similarity + np.float32(0.1), np.float32(1.0))
    counts = [n_words] * len(rows)
    assert (combine(raised, counts) >= combine(similarity, counts) - 1e-5).all()
    assert (combine(similarity, counts) <= similarity.max(axis=1) - LENGTH_SLOPE * np.log(n_words / 32) + 1e-4).all()


def test_a_longer_text_with_the_same_match_is_less_similar() -> None:
    short, long = combine(np.array([[0.5], [0.5]], dtype=np.float32), [8, 32])
    assert short - long == pytest.approx(LENGTH_SLOPE * np.log(4), abs=2e-5)


def test_a_model_that_does_not_exist_is_a_clear_error() -> None:
    with pytest.raises(SubjectError, match="the embedder '/nope/model' can't be loaded"):
        Embedder(EmbedderConfig(model="/nope/model")).embed(["a text"])
