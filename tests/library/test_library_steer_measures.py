"""What steering is measured by, on cases that are worked out by hand."""

import numpy as np
import pytest

from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.errors import SearchError
from autointerp.library.steer.material import halves, shipped_instructions, shipped_questions
from autointerp.library.steer.measures import Concept, facets_of, paired_mean, paired_share, repetition


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(EmbedderConfig())


def test_a_mean_difference_has_students_interval() -> None:
    found = paired_mean(np.array([0.3, 0.5, 0.4]), np.array([0.1, 0.2, 0.3]))
    # Differences .2, .3, .1: mean .2, standard error .1 / root 3, and t of 2 degrees of freedom is 4.3027.
    assert found.n == 3
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 0.24841, abs=1e-4)
    assert found.high == pytest.approx(0.2 + 0.24841, abs=1e-4)
    assert not found.is_above_0


@pytest.mark.parametrize("values", [[0.4], [0.4, 0.4, 0.4]])
def test_where_nothing_scatters_there_is_no_interval(values: list[float]) -> None:
    found = paired_mean(np.array(values), np.zeros(len(values)))
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == (None, None)
    assert not found.is_above_0


def test_a_difference_of_shares_has_agresti_and_mins_interval() -> None:
    first, second = np.zeros(100, dtype=bool), np.zeros(100, dtype=bool)
    first[:70], second[:70] = True, True
    first[70:72], second[72:80] = True, True  # 2 gained, 8 lost
    found = paired_share(first, second)
    # (2.5 - 8.5) / 102 = -.0588; 1.96 root(2.5 + 8.5 - 36 / 102) / 102 = .0627
    assert found.value == pytest.approx(-0.06)
    assert found.low == pytest.approx(-0.1215, abs=5e-4)
    assert found.high == pytest.approx(0.0039, abs=5e-4)


def test_that_no_answer_changed_of_few_is_not_certain() -> None:
    same = np.ones(20, dtype=bool)
    found = paired_share(same, same)
    assert found.value == 0
    assert found.low is not None
    assert -0.1 < found.low < -0.05


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ((), 0.0),
        ((1, 1, 1), 0.0),
        ((1, 2, 3, 4, 5), 0.0),
        ((7, 7, 7, 7, 7, 7), 2 / 3),  # 3 4-grams, all the same
        ((1, 2, 3, 4, 1, 2, 3, 4), 1 / 5),
    ],
)
def test_repetition_is_the_share_of_4_grams_that_were_there_before(tokens: tuple[int, ...], share: float) -> None:
    assert repetition(tokens) == pytest.approx(share)


@pytest.mark.parametrize(
    ("specification", "facets"),
    [
        ("talk about the sea", ("sea",)),
        ("Ships, rivers and the river", ("ships", "rivers")),
        ("florbish quantum teapots wug", ("florbish", "quantum", "teapots", "wug")),
        ("write", ("write",)),
        ("be more cheerful!", ("cheerful",)),
    ],
)
def test_facets_are_the_words_that_say_what_is_asked_for(specification: str, facets: tuple[str, ...]) -> None:
    assert facets_of(specification) == facets


@pytest.mark.parametrize("specification", ["", "  ", "?!", "\n"])
def test_a_specification_without_a_word_is_refused(specification: str) -> None:
    with pytest.raises(SearchError, match="no word"):
        facets_of(specification)


def test_an_answer_mentions_a_facet_by_its_stem_or_by_a_word_that_is_close(embedder: Embedder) -> None:
    concept = Concept("ocean, bread", embedder)
    answers = ["The sea was calm.", "Breads and rolls, by the OCEAN.", "Taxes are due in April.", "", "…"]
    assert concept.score(answers).mentions.tolist() == [
        [True, False],
        [True, True],
        [False, False],
        [False, False],
        [False, False],
    ]


def test_what_says_more_of_it_scores_higher_and_all_scores_are_shares(embedder: Embedder) -> None:
    values = Concept("talk about the sea", embedder).score(
        ["The waves of the ocean rolled onto the beach.", "The beach was empty.", "Taxes are due in April."]
    )
    assert list(values.values) == sorted(values.values, reverse=True)
    assert values.values.min() >= 0
    assert values.values.max() <= 1


def test_made_up_words_are_close_to_none(embedder: Embedder) -> None:
    concept = Concept("florbish wug zindle", embedder)
    words = "A flourish of fish, a mug and a bug, a single candle: window, the and of it."
    assert not concept.score([words]).mentions.any()


def test_examples_say_what_is_meant_in_place_of_words(embedder: Embedder) -> None:
    sad, glad = ["I wept all night.", "Everything is lost."], ["What a lovely day!", "We laughed a lot."]
    concept = Concept("mood 7", embedder, (sad, glad))
    assert concept.facets == ()
    sadder, gladder = concept.score(["She cried, and grief filled the house.", "They danced and smiled."]).values
    assert sadder > 0.5 > gladder


def test_the_question_set_is_large_and_every_item_can_be_asked() -> None:
    found = shipped_questions()
    assert len(found.questions) >= 200
    assert len({(of.question, of.opening) for of in found.questions}) == len(found.questions)
    assert {"knowledge", "arithmetic", "grammar"} <= {of.topic for of in found.questions}
    for of in found.questions:
        assert 2 <= len(set(of.options)) == len(of.options) <= 4, of
        assert all(option == option.strip() for option in of.options), of
    assert len(found.digest) == 64


def test_an_option_stands_apart_from_its_opening_unless_that_ends_in_a_quotation_mark() -> None:
    by_opening = {of.opening: of for of in shipped_questions().questions}
    assert by_opening["The capital of France is"].continuation("Paris") == " Paris"
    assert by_opening['The opposite of "hot" is "'].continuation("cold") == "cold"


def test_halves_share_no_instruction_and_stay_the_same() -> None:
    prompts = shipped_instructions()
    assert len(set(prompts)) == len(prompts) >= 40
    first, second = halves(prompts, 0)
    assert sorted((*first, *second)) == sorted(prompts)
    assert abs(len(first) - len(second)) <= 1
    assert halves(prompts, 0) == (first, second)
    assert halves(prompts, 1) != (first, second)
