"""A client over HTTP is asked the same as one of the folder, and answers the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp import Client, FeatureFilter
from autointerp.errors import AutointerpError
from autointerp.library.trials import TrialChoice
from autointerp.serve.serving import Serving
from tests.serve.asking import SOURCE

Ask = Callable[[Client], Any]


@pytest.fixture(scope="module")
def local(serving: Serving) -> Client:
    return serving.client


@pytest.fixture(scope="module")
def remote(address: str) -> Client:
    return autointerp.open(address)


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same; features by all that is known of them but by whom."""
    if isinstance(one, autointerp.FeatureGroup):
        return isinstance(other, autointerp.FeatureGroup) and same(list(one), list(other))
    if isinstance(one, autointerp.Feature):
        told, also = one.as_plain(), other.as_plain()
        return type(one) is type(other) and one == other and {**told, "run": also["run"]} == also
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(same(getattr(one, of), getattr(other, of)) for of in _fields(one))
    if isinstance(one, float) and np.isnan(one):
        return bool(np.isnan(other))
    return type(one) is type(other) and bool(one == other)


def _fields(record: Any) -> list[str]:
    return list(record.__dataclass_fields__)


SCENARIO: dict[str, Ask] = {
    "search": lambda client: client.features.search("river", top_k=4),
    "a search with filters": lambda client: client.features.search(
        "a ship", min_score={"detection": 0.5}, density=(0.0, 0.5), source=SOURCE, explainer="outside"
    ),
    "a search with a least score for every scorer": lambda client: client.features.search("a ship", min_score=0.5),
    "a search that finds nothing": lambda client: client.features.search("zzgrk", min_relevance=0.99),
    "rerank": lambda client: client.features.rerank([0, 3, 1], "river"),
    "neighbors by label": lambda client: client.features.neighbors([1, 0], top_k=3),
    "neighbors by decoder": lambda client: client.features.neighbors(1, space="decoder", min_score=0.1),
    "lookup": lambda client: client.features.lookup([7, f"{SOURCE}:3", np.int64(1)]),
    "get": lambda client: client.features.get(1),
    "sources": lambda client: client.sources(),
    "a view": lambda client: client.features.get(1).view(),
    "contexts": lambda client: client.features.get(1).contexts(5),
    "contexts of a kind": lambda client: client.run.contexts(1, kind="silent_random", split="score"),
    "trials": lambda client: client.features.get(1).trials(),
    "errors of one scorer": lambda client: client.features.get(0).trials(TrialChoice("fuzzing", errors=True)),
    "strongest contexts": lambda client: list(client.features.lookup([1, 7]).strongest(2, 3).values()),
    "a percentile": lambda client: repr(client.features.get(1).above_percentile(99)),
    "scorers": lambda client: client.run.scorers(),
    "status": lambda client: client.run.status(),
    "a summary": lambda client: client.run.score_summary(),
    "histograms": lambda client: client.run.activation_histograms(),
    "records of a filter": lambda client: client.run.search("river", 3, FeatureFilter(features=[1, 7])),
}


@pytest.mark.parametrize("asked", SCENARIO)
def test_a_server_answers_as_the_folder_does(local: Client, remote: Client, asked: str) -> None:
    one, other = SCENARIO[asked](local), SCENARIO[asked](remote)
    assert same(one, other), f"{one!r}\n{other!r}"


NONE_SUCH: Any = "x"
WRONG: dict[str, Ask] = {
    "no such feature": lambda client: client.features.get(12),
    "a feature below zero": lambda client: client.features.get(-1),
    "no feature's name": lambda client: client.features.lookup(["x"]),
    "another source": lambda client: client.features.get("other@0:1"),
    "an empty query": lambda client: client.features.search(" "),
    "no feature wanted": lambda client: client.features.search("river", 0),
    "too many wanted": lambda client: client.features.search("river", 10**12),
    "no such source": lambda client: client.features.search("river", source="x"),
    "no such scorer": lambda client: client.features.search("river", min_score={"x": 0.5}),
    "no density": lambda client: client.features.search("river", density=2),
    "no relevance": lambda client: client.features.search("river", min_relevance=float("nan")),
    "no neighbors of nothing": lambda client: client.features.neighbors([]),
    "no such space": lambda client: client.features.neighbors(1, space="x"),
    "no label to be near": lambda client: client.features.neighbors(3),
    "no such trials": lambda client: client.features.get(1).trials(TrialChoice("x")),
    "no trials at all": lambda client: client.features.get(3).trials(),
    "no such kind": lambda client: client.run.contexts(1, kind=NONE_SUCH),
    "an empty query for a closer look": lambda client: client.features.rerank([1], ""),
}


@pytest.mark.parametrize("asked", WRONG)
def test_an_error_is_the_same_wherever_it_was_raised(local: Client, remote: Client, asked: str) -> None:
    errors = []
    for client in (local, remote):
        with pytest.raises(AutointerpError) as raised:
            WRONG[asked](client)
        errors.append(raised.value)
    one, other = errors
    assert (type(one), one.problem, one.remedy) == (type(other), other.problem, other.remedy)
