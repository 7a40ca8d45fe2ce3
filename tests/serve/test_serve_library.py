"""A client over HTTP is asked the same as one of the folder, and answers the same."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import Any

import httpx
import numpy as np
import pytest

import autointerp
from autointerp import Client, FeatureFilter, Variant
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
    return [of.name for of in fields(record) if of.compare]


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
TALK = [{"role": "system", "content": "the piano"}, {"role": "user", "content": "the river and the ship"}]
RIVERS = [
    f"river {of}" for of in ["down", "out", "up", "back", "now", "also", "more", "some", "then", "well", "way", "years"]
]
BREADS = [
    f"bread {of}" for of in ["down", "out", "up", "back", "now", "also", "more", "some", "then", "well", "way", "years"]
]


def piano(client: Client) -> Variant:
    return client.variant().set(7, 4.0, unit="max")


def reacting(client: Client) -> Variant:
    """A variant that is edited where a condition holds, and tells of another."""
    river, ship = client.features.get(1), client.features.get(0)
    variant = client.variant().set_when((river > 0) & ~(ship > 100), {7: 4.0}, unit="max")
    return variant.handle_when(ship > 0, None, name="a ship")


def reply(client: Client, model: Any = None, **settings: Any) -> Any:
    settings = {"max_completion_tokens": 4, "temperature": 0, **settings}
    return replace(client.chat.completions.create(TALK, model, **settings), id="", created=0)


def pieces(client: Client, model: Any = None, **settings: Any) -> list[Any]:
    settings = {"max_completion_tokens": 4, "seed": 3, "stream": True, **settings}
    return [replace(piece, id="", created=0) for piece in client.chat.completions.create(TALK, model, **settings)]


def inspected(client: Client, *asked: Any, **how: Any) -> list[Any]:
    text = client.features.inspect(*asked, **how)
    top = [of for rank in ("surprise", "activation") for of in text.top(4, aggregate_by="max", rank_by=rank)]
    return [text.firings, text.matrix().toarray(), top, text.lookup(), text.tokens[1].inspect(2), repr(text)]


def table(client: Client) -> Any:
    query = """
        SELECT e.feature_index, label, value, created_at, [value] AS list, 1.5::DECIMAL(4, 2) AS share, NULL AS none
        FROM current_explanations e JOIN current_scores USING (explanation_id) WHERE e.feature_index > ? ORDER BY ALL
    """
    return client.sql(query, [1])


def framed(frame: Any) -> list[Any]:
    """A data frame, as far as it can be compared."""
    return [list(frame.columns), list(map(str, frame.dtypes)), frame.to_csv(), type(frame)]


def told(found: Any) -> Any:
    return [found.receipt, list(found.edits)]


SCENARIO |= {
    "inspect": lambda client: inspected(client, "a ship on the river"),
    "inspect a conversation": lambda client: inspected(client, TALK, [1, 7, 0], aggregate_by="mean"),
    "inspect as edited": lambda client: inspected(client, "a ship", [7], model=piano(client)),
    "activations": lambda client: client.features.activations(["a ship", TALK, ""], aggregate_by="max").toarray(),
    "activations by token": lambda client: client.features.activations(RIVERS, [1, 7], aggregate_by=None).toarray(),
    "contrast": lambda client: list(client.features.contrast(RIVERS, BREADS, top_k=3)),
    "doses": lambda client: client.features.doses([7, 1]),
    "attribute": lambda client: client.features.attribute("we saw the ship on the river", n_removed=2).record,
    "attribute against another": lambda client: client.features.attribute("the ship on", 1, instead_of=" river").record,
    "a condition to order": lambda client: [
        client.features.AutoConditional("river", false_alarms=0.2, n_texts=100).receipt,
        repr(client.features.AutoConditional("river", false_alarms=0.2, n_texts=100).condition),
    ],
    "no condition to order": lambda client: client.features.AutoConditional("zzgrk").receipt,
    "nothing to steer by": lambda client: told(client.features.AutoSteer("flumbric zantle")),
    "a query": lambda client: [table(client).rows, table(client).columns, framed(table(client).to_pandas())],
    "a data frame": lambda client: framed(client.to_pandas()),
    "a data frame of some": lambda client: framed(client.run.to_pandas(FeatureFilter(features=[1], labelled=True))),
    "chat": lambda client: reply(client),
    "chat by name": lambda client: reply(client, "planted", seed=5, temperature=1, stop=["."], top_p=0.5),
    "chat steered": lambda client: reply(client, piano(client)),
    "chat with conditions": lambda client: reply(client, reacting(client)),
    "chat with log-probabilities": lambda client: reply(
        client, logprobs=True, top_logprobs=3, frequency_penalty=1, presence_penalty=-0.5, logit_bias={5: 2.5}
    ),
    "chat in pieces": lambda client: pieces(client, reacting(client)),
    "logits": lambda client: client.chat.logits(TALK, top_k=3),
    "logits of words": lambda client: client.chat.logits(TALK, piano(client), filter_vocabulary=["ship", "piano"]),
}
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
    "an empty text": lambda client: client.features.inspect(""),
    "no conversation": lambda client: client.features.inspect([{"role": "user"}]),
    "no such token": lambda client: client.features.attribute("a ship", 50),
    "no single token": lambda client: client.features.attribute("a ship on", 1, instead_of="a river"),
    "nothing to steer to": lambda client: client.features.AutoSteer(" "),
    "too few prompts": lambda client: client.features.AutoSteer("ships", n_prompts=2),
    "no such model": lambda client: reply(client, "gpt2"),
    "no conversation to answer": lambda client: client.chat.completions.create([]),
    "half a conversation": lambda client: client.chat.completions.create([{"content": "a"}]),
    "too long a conversation": lambda client: client.chat.completions.create(
        [{"role": "user", "content": "river " * 200}]
    ),
    "an answer that is aborted": lambda client: reply(client, client.variant().abort_when(client.features.get(1) > 0)),
    "an answer that is late": lambda client: reply(client, timeout=1e-4, max_completion_tokens=40),
    "no largest activation": lambda client: reply(client, client.variant().set(3, 1.0, unit="max")),
    "no query": lambda client: client.sql("SELEC 1"),
    "a query that writes": lambda client: client.sql("DELETE FROM scores"),
    "a frame of no such source": lambda client: client.run.to_pandas(FeatureFilter(sources=["x"])),
    "no single word": lambda client: client.chat.logits(TALK, filter_vocabulary=["a ship"]),
    "a variant of another model": lambda client: reply(client, Variant("gpt2@5-res").set(3, 1)),
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
    assert one.__dict__ == other.__dict__


def test_pages_do_not_wait_behind_queries(serving: Serving, address: str) -> None:
    let_go = threading.Event()
    for _ in range(4):
        serving.sql.submit(let_go.wait)
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(autointerp.open(address).sql, "SELECT 1")
        try:
            assert httpx.get(f"{address}/search.json?q=a", timeout=30).status_code == 200
            with pytest.raises(TimeoutError):
                asked.result(timeout=1)
        finally:
            let_go.set()
        assert asked.result().rows == [(1,)]
