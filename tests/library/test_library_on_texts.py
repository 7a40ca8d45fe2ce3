"""What a client's features do on texts: that it is what the run says, and what it says no to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp import Client
from autointerp.errors import CompareError, SearchError, StoreError, SubjectError, UnknownFeatureError
from tests.run.planted import FEATURES

OTHERS = ["down", "out", "up", "back", "now", "also", "more", "some", "then", "well", "way", "years"]


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


def test_a_text_is_inspected_token_by_token(client: Client) -> None:
    text = client.features.inspect("the river and a tiger")
    assert [token.text for token in text.tokens] == [" the", " river", " and", " a", " tiger"]
    assert [[f.feature.index for f in token.inspect()] for token in text.tokens] == [[4], [1], [], [], [9]]
    assert (text.tokens[1].vector() > 0).tolist() == [index == 1 for index in range(len(FEATURES))]
    assert text.top(1, aggregate_by="max", rank_by="activation")[0].feature in client.features.lookup([1, 4, 9])
    some = client.features.inspect("the river and a tiger", client.features.lookup([9, 1]))
    assert some.matrix().shape == (5, 2)
    assert sorted(feature.index for feature in some.lookup()) == [1, 9]


def test_a_condition_holds_where_the_activation_says(client: Client) -> None:
    river, tiger = client.features.lookup([1, 9])
    text = client.features.inspect("a river of the tiger river")
    activations = {name: text.matrix()[:, [name[1]]].toarray()[:, 0] for name in ((river > 0) | (tiger > 0)).names()}
    held = ((river > 0) | (tiger > 0)).holds(activations)
    assert [token.text.strip() for token, holds in zip(text.tokens, held, strict=True) if holds] == [
        "river",
        "tiger",
        "river",
    ]


def test_texts_become_a_matrix_as_each_alone(client: Client) -> None:
    texts = ["a ship", "the river and a ship", "of in to"]
    by_text = client.features.activations(texts, aggregate_by="max")
    assert by_text.shape == (3, len(FEATURES))
    told: list[int] = []
    by_token = client.features.activations(iter(texts), aggregate_by=None, on_progress=told.append)
    assert told[-1] == 3
    alone = [client.features.inspect(text).matrix().toarray() for text in texts]
    np.testing.assert_allclose(by_token.toarray(), np.concatenate(alone), rtol=1e-5)
    np.testing.assert_allclose(by_text.toarray(), [rows.max(axis=0) for rows in alone], rtol=1e-5)
    columns = client.features.activations(texts, [1, 0], aggregate_by="max")
    np.testing.assert_array_equal(columns.toarray(), by_text.toarray()[:, [1, 0]])


def test_what_tells_two_sets_apart_can_be_reranked(client: Client) -> None:
    first = [f"{word} and {other}" for word in ("ship", "tiger") for other in OTHERS]
    second = [f"{word} and {other}" for word in ("piano", "window") for other in OTHERS]
    found = client.features.contrast(first, second)
    in_first, in_second = found
    assert {feature.index for feature in in_first} == {0, 9}
    assert {feature.index for feature in in_second} == {7, 8}
    assert client.features.rerank(in_first, "tiger")[0].label == "tiger"
    assert client.features.contrast(first, first[::-1]).found_nothing


def a_generator() -> Iterator[str]:
    yield from (f"a ship {other}" for other in OTHERS)


def test_sets_may_come_one_by_one(client: Client) -> None:
    assert not client.features.contrast(a_generator(), [f"the bread {other}" for other in OTHERS]).found_nothing


def test_bad_texts_and_features_are_told(client: Client) -> None:
    features = client.features
    wrong: Any
    for wrong in ("one text", {"role": "user", "content": "x"}, [{"role": "user", "content": "x"}], 5):
        with pytest.raises(SearchError, match="put it into a list"):
            features.activations(wrong)
    with pytest.raises(SearchError, match="put it into a list"):
        features.contrast("one text", ["another"])
    with pytest.raises(CompareError):
        features.contrast([], ["another"])
    wrong = 7
    with pytest.raises(SubjectError, match="text"):
        features.inspect(wrong)
    with pytest.raises(SearchError, match="there is no text"):
        features.activations([], aggregate_by=None)
    with pytest.raises(SearchError, match="there is no aggregate 'median'"):
        features.inspect("a ship", aggregate_by="median")
    with pytest.raises(UnknownFeatureError, match="its features are 0 to 11"):
        features.inspect("a ship", [12])
    with pytest.raises(SearchError, match="features of one source are needed"):
        features.inspect("a ship", [])
    with pytest.raises(StoreError, match="there is no source 'x@y'"):
        features.inspect("a ship", source="x@y")
    with pytest.raises(UnknownFeatureError, match="is no feature of 'x@y'"):
        features.inspect("a ship", ["planted@0-res-12:1"], source="x@y")
