from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp import Client
from autointerp.errors import CompareError, SearchError, SubjectError
from autointerp.library.contrast.result import Contrast
from autointerp.library.contrast.texts import contrast_texts

WORDS = ("down", "out", "up", "back", "now", "also", "more", "some", "then", "well")
OTHERS = ("where", "man", "years", "two", "first", "any", "only", "other", "new", "may")
RIVERS = [f"they had the river {word} and over it" for word in WORDS]
PIANOS = [f"they had the piano {word} and over it" for word in WORDS]
NEITHER = [f"they had the way {word} and over it" for word in OTHERS]


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


def contrasted(client: Client, first: Any, second: Any, **more: Any) -> Contrast:
    (source,) = client.sources()
    return contrast_texts({source.source_id: client.run}, first, second, lookup=client.features.lookup, **more)


@pytest.mark.parametrize("paired", [False, True])
def test_what_the_texts_of_each_set_are_about_is_found_with_its_label(client: Client, paired: bool) -> None:
    found = contrasted(client, RIVERS, PIANOS, paired=paired)
    assert [of.feature.label for of in found.dataset_1] == ["river"]
    assert [of.feature.label for of in found.dataset_2] == ["piano"]
    assert found.dataset_1[0].auroc == 1.0
    assert (found.dataset_1[0].share_1, found.dataset_1[0].share_2) == (1.0, 0.0)
    assert found.notes == ()


def test_the_features_found_can_be_reranked_by_a_description(client: Client) -> None:
    first, second = contrasted(client, [*RIVERS, *PIANOS], NEITHER)
    assert {feature.label for feature in first} == {"river", "piano"}
    assert client.features.rerank(first, "piano", top_k=1)[0].label == "piano"
    assert len(second) == 0


def test_sets_of_the_same_texts_differ_in_nothing_and_it_is_said_that_they_are(client: Client) -> None:
    found = contrasted(client, RIVERS, list(reversed(RIVERS)))
    assert found.found_nothing
    assert "10 texts are in both datasets" in found.notes


def test_copies_of_a_text_count_as_one_unless_groups_say_otherwise(client: Client) -> None:
    found = contrasted(client, RIVERS[:1] * 10, PIANOS)
    assert (found.n_1, found.n_units_1, found.n_units_2) == (10, 1, 10)
    assert found.found_nothing
    assert "9 texts are copies of another, and copies count as one" in found.notes
    apart = contrasted(client, RIVERS[:1] * 10, PIANOS, groups=(range(10), range(10, 20)))
    assert [of.feature.label for of in apart.dataset_1] == ["river"]


def test_sets_of_unlike_lengths_are_told_of(client: Client) -> None:
    longer = [f"{text} and {other}" for text, other in zip(NEITHER, reversed(NEITHER), strict=True)]
    said = "the texts of dataset 1 are longer (17 tokens in the mean of dataset 1, 8 in dataset 2), and "
    assert contrasted(client, longer, NEITHER, aggregate_by="max").notes[0] == said + "max grows with length"
    by_mean = contrasted(client, NEITHER, longer).notes[0]
    assert by_mean.startswith("the texts of dataset 2 are longer (8 tokens in the mean of dataset 1, 17 in dataset 2)")
    assert by_mean.endswith("the mean of what comes once in a text falls with length")
    assert contrasted(client, RIVERS, NEITHER).notes == ()


def test_what_a_feature_does_in_a_text_is_the_aggregate_that_was_asked_for(client: Client) -> None:
    of = {
        name: contrasted(client, RIVERS, PIANOS, aggregate_by=name).dataset_1[0]
        for name in ("mean", "sum", "frequency")
    }
    assert of["frequency"].mean_1 == pytest.approx(1 / 8)
    assert of["sum"].mean_1 == pytest.approx(8 * of["mean"].mean_1, rel=1e-5)
    with pytest.raises(SearchError, match="aggregate"):
        contrasted(client, RIVERS, PIANOS, aggregate_by="median")


def test_progress_tells_how_many_texts_are_read(client: Client) -> None:
    told: list[int] = []
    contrasted(client, RIVERS, PIANOS[:4], on_progress=told.append)
    assert told == list(range(1, 15))


@pytest.mark.parametrize(
    "dataset", ["the river", [{"role": "user", "content": "the river"}], {"a": "the river"}, None, 7]
)
def test_what_is_no_set_of_texts_is_refused(client: Client, dataset: object) -> None:
    with pytest.raises(SearchError, match="put it into a list"):
        contrasted(client, dataset, PIANOS)


def test_an_empty_set_is_refused(client: Client) -> None:
    with pytest.raises(CompareError, match="dataset 2 has no texts"):
        contrasted(client, PIANOS, iter(()))


def test_a_text_that_cannot_be_read_is_named(client: Client) -> None:
    with pytest.raises(SubjectError, match="text 1"):
        contrasted(client, ["the river", 7], PIANOS)


def test_pairs_of_unequal_sets_are_refused_before_a_model_is_loaded(planted_runs: Path) -> None:
    fresh = autointerp.open(planted_runs / "runs/demo")
    with pytest.raises(CompareError, match="leave `paired` out"):
        contrasted(fresh, RIVERS, PIANOS[:3], paired=True)
    assert "_live" not in vars(fresh.run)


def test_one_text_of_each_shows_what_differs_most_and_finds_nothing(client: Client) -> None:
    found = contrasted(client, RIVERS[:1], PIANOS[:1])
    assert found.found_nothing
    assert [of.feature.label for of in found.leading_1] == ["river"]
    assert "give 4 texts of each or more" in found.notes[0]
