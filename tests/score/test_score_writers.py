"""Texts for and against a label that are made without a language model: the word alone tells the two apart."""

import asyncio
from collections import Counter

import numpy as np
import pytest

from autointerp.score.metrics import auroc
from autointerp.score.trials import ScoreContexts, Undefined
from autointerp.score.writers.local import LocalWriter, WordCounts, choose_places, put
from autointerp.score.writers.writer import MadeText, Written
from tests.score.world import ANIMALS, COLOURS, World, explanation_of


def written(contexts: ScoreContexts, label: str, n_texts: int = 8, key: int = 5) -> list[MadeText]:
    explanation = explanation_of(contexts.feature.feature_index, label)
    found = asyncio.run(LocalWriter(n_texts).write(explanation, contexts, key))
    assert isinstance(found, Written)
    return list(found.texts)


@pytest.fixture
def given(world: World) -> ScoreContexts:
    return world.given(0, world.pool_tiles())


def test_two_texts_of_a_base_differ_in_a_word_of_the_label_alone(given: ScoreContexts) -> None:
    texts = written(given, "zebra, yak")
    assert len(texts) == 16
    pool = given.pool
    bases = {tuple(sorted(pool.texts[tile].split())) for tile in given.silent_tiles.eligible}
    for fit, miss in zip(texts[::2], texts[1::2], strict=True):
        assert (fit.fits, miss.fits) == (True, False)
        assert fit.document_id == miss.document_id
        of_fit, of_miss = fit.text.split(), miss.text.split()
        differing = [(a, b) for a, b in zip(of_fit, of_miss, strict=True) if a != b]
        assert len(differing) == 2
        assert len(set(differing)) == 1
        assert differing[0][0] in {"zebra", "yak"}
        base = sorted(word for word in of_fit if word != differing[0][0])
        assert tuple(base) in bases, "nothing but the word was put into held-out silent text"


def test_each_word_of_the_label_takes_its_turn_with_a_twin_of_its_own(given: ScoreContexts) -> None:
    texts = written(given, "zebra, yak")
    words = [Counter(a.text.split()) - Counter(b.text.split()) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    twins = [Counter(b.text.split()) - Counter(a.text.split()) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    assert Counter(word for of in words for word in of) == {"zebra": 4, "yak": 4}
    pairs = {(next(iter(word)), next(iter(twin))) for word, twin in zip(words, twins, strict=True)}
    assert len(pairs) == 2, "a word's twin stays its twin, so that both sorts repeat their words alike"


def test_bases_come_from_as_many_documents_as_there_are(given: ScoreContexts) -> None:
    texts = written(given, "zebra", n_texts=12)
    assert len({text.group_id for text in texts}) == 12


def test_texts_depend_on_the_feature_and_the_label_alone(given: ScoreContexts) -> None:
    assert written(given, "zebra, yak") == written(given, "zebra, yak")
    assert [t.document_id for t in written(given, "zebra")] == [t.document_id for t in written(given, "yak, cow")]
    assert [t.document_id for t in written(given, "zebra")] != [t.document_id for t in written(given, "zebra", key=6)]


def test_a_twin_is_about_as_rare_as_its_word_and_of_another_stem() -> None:
    texts = [f"often w{n:03d} w{n:03d}ing {'rare' if n < 3 else ''} {n}" for n in range(200)]
    counts = WordCounts.of([*texts, *(f"c{n:02d} " for n in range(40) for _ in range(30))])
    (twin,) = counts.twins(["rare"], key=1)
    assert counts.count[twin] <= 3
    (common,) = counts.twins(["c00"], key=1)
    assert counts.count[common] == 30
    (number,) = counts.twins(["7"], key=1)
    assert number.isdigit()
    assert number != "7"
    for key in range(20):
        (other,) = counts.twins(["walk"], key=key)
        assert other not in {"walks", "walked"}


def test_a_word_is_put_between_words_and_never_into_one() -> None:
    text = "it's a fine day, isn't it"
    for key in range(30):
        made = put(text, "zebra", choose_places(text, key))
        assert made.split().count("zebra") == 2
        assert [word for word in made.split() if word != "zebra"] == text.split()


def test_scripts_without_spaces_are_put_between_their_characters() -> None:
    text = "今日は天気がいい"
    made = put(text, "猫", choose_places(text, 3))
    assert made.count("猫") == 2
    assert made.replace("猫", "") == text
    assert " " not in made


def test_too_little_silent_text_is_a_reason_that_names_the_number_needed(world: World) -> None:
    pool = world.pool_tiles()
    feature = 0
    silent = pool.is_score & (pool.peaks(feature) <= 0)
    few = np.zeros_like(silent)
    few[np.flatnonzero(silent)[:2]] = True
    from dataclasses import replace

    given = world.given(feature, replace(pool, is_score=few))
    found = asyncio.run(LocalWriter(8).write(explanation_of(feature, "zebra"), given, 5))
    assert isinstance(found, Undefined)
    assert found.error_type == "NoSilentContexts"
    assert "of the score split it is silent in 2, and 3 are needed" in found.message
    assert not found.retry


@pytest.mark.parametrize("label", [".", "—", "…", "12", ", ".join(COLOURS * 9 + ANIMALS), "the the the", "🦓"])
def test_labels_of_every_kind_make_texts(given: ScoreContexts, label: str) -> None:
    texts = written(given, label)
    assert len({text.text for text in texts}) == len(texts)


def test_neither_rarity_nor_length_nor_repetition_tells_the_two_sorts_apart(given: ScoreContexts) -> None:
    """A solver that has the texts, and not the label, has the word that stands twice, and how many texts share it."""
    words = list(WordCounts.of(given.pool.texts).count)
    counts = WordCounts.of(given.pool.texts).count
    told: dict[str, list[tuple[bool, float]]] = {"rarity": [], "length": [], "repetition": []}
    for key in range(60):
        label = ", ".join(words[i % len(words)] for i in (key, 7 * key + 1, 3 * key + 2))
        texts = written(given, label, n_texts=6, key=key)
        put_in = [Counter(t.text.split()).most_common(1)[0][0] for t in texts]
        for text, word in zip(texts, put_in, strict=True):
            told["rarity"].append((text.fits, counts[word]))
            told["length"].append((text.fits, len(text.text)))
            told["repetition"].append((text.fits, put_in.count(word)))
    for name, pairs in told.items():
        estimate = auroc(np.array([fits for fits, _ in pairs]), np.array([value for _, value in pairs]))
        assert estimate is not None
        assert estimate.value == pytest.approx(0.5, abs=0.1), name


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('"cat" or "dog" right after "the"', {"cat", "dog"}),
        ('forms of "cat" within 6 words of "dog"', {"cat"}),
        ('"zebra", "yak" or "cow", except "yak"', {"zebra", "cow"}),
        ('words ending in "-en"', {"green", "when", "then"}),
        ('words ending in "-en", except "green"', {"when", "then"}),
        ('"zebra" or words ending in "-rse"', {"zebra", "horse"}),
    ],
)
def test_of_a_rule_the_words_that_it_means_are_put_in(given: ScoreContexts, rule: str, words: set[str]) -> None:
    texts = written(given, rule, n_texts=6)
    put_in = [Counter(a.text.split()) - Counter(b.text.split()) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    assert {word for of in put_in for word in of} == words


def test_no_twin_is_a_word_that_the_rule_may_hold_of(given: ScoreContexts) -> None:
    for key in range(20):
        texts = written(given, 'words that hold "-e-"', key=key)
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        twins = {word for a, b in pairs for word in Counter(b.text.split()) - Counter(a.text.split())}
        assert not any("e" in twin and len(twin) > 1 for twin in twins)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("Cyrillic words", "the pool has not a word that the label describes"),
        ("every word and mark", "the pool has not another word than those that the label describes"),
    ],
)
def test_a_rule_of_no_word_or_of_every_word_has_no_texts(given: ScoreContexts, rule: str, problem: str) -> None:
    found = asyncio.run(LocalWriter(8).write(explanation_of(0, rule), given, 5))
    assert isinstance(found, Undefined)
    assert (found.error_type, found.message, found.retry) == ("NoWords", problem, False)
