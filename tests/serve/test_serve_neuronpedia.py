"""Neuronpedia's API, asked as any program asks: its shapes, with and without a slash, and what makes no sense."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp.export.neuronpedia import feature_lines
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.store.reader import Reader
from tests.serve.asking import SOURCE, ask, told
from tests.serve.serving import answering

MODEL, LAYER = "planted", "0-res-12"
RIVER = {"modelId": MODEL, "layer": LAYER, "index": "1"}
TEXT = "a ship on the river"


@pytest.fixture(scope="module")
def run(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which nobody else writes notes beside."""
    copy = tmp_path_factory.mktemp("neuronpedia") / "runs/demo"
    return shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("notes.sqlite*"))


@pytest.fixture(scope="module")
def at(run: Path) -> Iterator[str]:
    with answering(make_app(Serving(autointerp.open(run), Limits()))) as address:
        yield address


def post(at: str, path: str, body: Any = None) -> Any:
    """What is answered without a slash at the end, which is what is answered with one."""
    response = ask(at, f"/api/{path}", body if body is not None else {})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_feature_is_told_as_its_export_tells_it_with_labels_scores_and_notes(at: str, run: Path) -> None:
    post(at, "comment/new", RIVER | {"text": "<script>", "author": "Ada"})
    found = ask(at, f"/api/feature/{MODEL}/{LAYER}/1").json()
    assert found == ask(at, f"/api/feature/{MODEL}/{LAYER}/1/").json()
    lines = feature_lines(Reader(run), SOURCE, 1)
    assert {name: found[name] for name in lines.feature} == lines.feature
    assert {name: found[name] for name in RIVER} == RIVER
    (label,) = found["explanations"]
    assert (label["description"], label["source"], label["typeName"]) == ("river", LAYER, "outside")
    scores = {of["explanationScoreTypeName"]: of["value"] for of in label["scores"]}
    assert scores["detection"] > 0.9
    assert len(found["activations"]) == len(lines.activations) > 5
    strongest = found["activations"][0]
    assert strongest["tokens"][strongest["maxValueTokenIndex"]] == " river"
    assert strongest["maxValue"] == max(of["maxValue"] for of in found["activations"])
    assert {"binMin", "binMax", "binContains", "source", "modelId", "index"} <= set(strongest)
    assert [of["text"] for of in found["comments"]] == ["<script>"]


@pytest.mark.parametrize("path", ["explanation/search", "explanation/search-model", "explanation/search-all"])
def test_labels_are_searched_everywhere_in_a_model_and_in_sources(at: str, path: str) -> None:
    body = {"modelId": MODEL, "layers": [LAYER], "query": "river", "offset": 0}
    found = post(at, path, body)
    assert found == post(at, f"{path}/", body)
    best = found["results"][0]
    assert {name: best[name] for name in RIVER} == RIVER
    assert (best["description"], best["neuron"]["explanations"][0]["description"]) == ("river", "river")
    assert best["cosine_similarity"] >= found["results"][1]["cosine_similarity"]
    assert (found["hasMore"], found["nextOffset"], found["resultsCount"]) == (False, None, len(found["results"]))
    assert post(at, path, body | {"offset": 1})["results"] == found["results"][1:]


def test_the_strongest_features_of_a_text_come_with_their_activations(at: str) -> None:
    body = {"modelId": MODEL, "sourceSet": "res-12", "text": TEXT, "selectedLayers": [], "sortIndexes": []}
    found = post(at, "search-all", body)
    assert "".join(found["tokens"]).strip() == TEXT
    labels = [of["neuron"]["explanations"][0]["description"] for of in found["result"]]
    assert {"ship", "river"} <= set(labels)
    by_index = {of["index"]: of for of in found["result"]}
    assert by_index["1"]["maxValueIndex"] == found["tokens"].index(" river")
    assert by_index["1"]["values"][by_index["1"]["maxValueIndex"]] == by_index["1"]["maxValue"]
    by_ship = post(at, "search-all/", body | {"sortIndexes": [1], "numResults": 1})
    assert [of["index"] for of in by_ship["result"]] == ["0"]
    everywhere = by_index["4"]["neuron"]["frac_nonzero"]
    rare = post(at, "search-all", body | {"densityThreshold": 0.9 * everywhere})
    assert {of["index"] for of in rare["result"]} == set(by_index) - {"4"}  # `the` is everywhere
    several = post(at, "search-all", body | {"text": [TEXT, "bread"]})["results"]
    assert several[0] == found
    assert [of["index"] for of in several[1]["result"]] == ["6"]


def test_the_strongest_features_of_each_token_come_in_order(at: str) -> None:
    body = {"modelId": MODEL, "source": LAYER, "text": TEXT, "densityThreshold": 0}
    found = post(at, "search-topk-by-token", body)
    assert found["source"] == LAYER
    by_token = {of["token"].strip(): of["topFeatures"] for of in found["results"]}
    assert [of["featureIndex"] for of in by_token["ship"]] == [0]
    assert by_token["river"][0]["feature"]["explanations"][0]["description"] == "river"
    assert by_token["river"][0]["activationValue"] > 0
    assert [of["position"] for of in found["results"]] == list(range(5))
    assert post(at, "search-topk-by-token/", body | {"text": [TEXT]})["results"] == [found]


def test_a_feature_is_tried_on_a_text_and_on_several(at: str) -> None:
    body = {"feature": RIVER, "customText": TEXT}
    found = post(at, "activation/new", body)
    assert found["tokens"][found["maxValueTokenIndex"]] == " river"
    assert found["maxValue"] == max(found["values"]) > found["minValue"] == 0
    several = post(at, "activation/new", {"feature": RIVER | {"index": 1}, "customText": [TEXT, "bread"]})
    assert several[0] == found
    assert several[1]["maxValue"] == 0
    active = post(at, "activation/source", {"modelId": MODEL, "source": LAYER, "customText": TEXT})["results"]
    assert {of["index"] for of in active[0]["activations"]} == {0, 1, 4}


def test_lists_stars_and_votes_are_those_of_the_library(at: str, run: Path) -> None:
    made = post(at, "list/new", {"name": "Water", "description": None})
    added = {"listId": made["id"], "featuresToAdd": [RIVER | {"description": "wet"}, RIVER | {"index": 0}]}
    assert [of["index"] for of in post(at, "list/add-features", added)] == ["1", "0"]
    found = post(at, "list/get", {"listId": made["id"]})
    assert [(of["layer"], of["index"], of["description"]) for of in found["neurons"]] == [
        (LAYER, "1", "wet"),
        (LAYER, "0", ""),
    ]
    post(at, "list/edit", {"listId": made["id"], "testText": TEXT})
    assert len(post(at, "list/remove", RIVER | {"listId": made["id"]})["neurons"]) == 1
    client = autointerp.open(run)
    (of_library,) = client.lists
    assert (of_library.test_text, [of.label for of in of_library.features]) == (TEXT, ["ship"])
    assert [of["count"] for of in ask(at, "/api/list/list", content=b"").json()] == [1]
    post(at, "list/delete", {"listId": made["id"]})
    post(at, "bookmark/add", RIVER)
    assert post(at, "bookmark/list") == [RIVER]
    post(at, "bookmark/delete", RIVER)
    label = client.features.get(1).explanation_id
    assert post(at, f"explanation/{label}/vote")["votes"] == 1
    assert post(at, f"explanation/{label}/vote/", {"vote": -1})["votes"] == -1
    (comment,) = client.features.get(1).notes().comments
    post(at, "comment/delete", {"commentId": comment.comment_id})


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("explanation/search", {"modelId": MODEL, "layers": ["1-none"], "query": "river"}, 404, "there is no source"),
        ("explanation/search", {"modelId": "' OR 1=1", "query": "river"}, 404, "there is no model"),
        ("explanation/search-all", {"query": "ab"}, 422, "query"),
        ("explanation/search-all", {"query": "river", "offset": -1}, 422, "offset"),
        ("explanation/search-all", {"query": "river", "offset": 10**30}, 422, "offset"),
        ("explanation/none/vote", {"vote": 1}, 404, "there is no label"),
        ("explanation/none/vote", {"vote": 9}, 422, "vote"),
        ("search-all", {"modelId": MODEL, "sourceSet": "none", "text": "a"}, 404, "there is no source set"),
        ("search-all", {"modelId": MODEL, "sourceSet": "res-12", "text": ""}, 422, "text"),
        ("search-all", {"modelId": MODEL, "sourceSet": "res-12", "text": ["a"] * 65}, 422, "text"),
        ("search-all", {"modelId": MODEL, "sourceSet": "res-12", "text": "a", "numResults": 101}, 422, "numResults"),
        ("activation/new", {"feature": RIVER | {"index": "12"}, "customText": "a"}, 404, "has no feature 12"),
        ("activation/new", {"feature": RIVER | {"index": "1e3"}, "customText": "a"}, 422, "index"),
        ("activation/new", {"feature": RIVER | {"index": -1}, "customText": "a"}, 422, "index"),
        ("activation/new", {"feature": {"modelId": MODEL, "index": 1}, "customText": "a"}, 404, "no source is named"),
        ("list/get", {"listId": "../../../etc/passwd"}, 404, "there is no list"),
        ("list/new", {"name": "\x00"}, 400, "control character"),
        ("list/add-features", {"listId": "none", "featuresToAdd": [RIVER]}, 404, "there is no list"),
        ("list/add-features", {"listId": "none", "featuresToAdd": [RIVER] * 10_001}, 422, "featuresToAdd"),
        ("comment/new", RIVER | {"text": "a" * 2**20}, 400, "has 1,048,576 characters"),
        ("comment/delete", {"commentId": "\ud800"}, 404, "there is no comment"),
        ("bookmark/add", RIVER | {"modelId": "other"}, 404, "there is no source"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(at: str, path: str, body: Any, status: int, message: str) -> None:
    content = json.dumps(body).encode()
    response = ask(at, f"/api/{path}", content=content, headers={"Content-Type": "application/json"})
    assert message in told(response, status)


@pytest.mark.parametrize("path", ["feature/planted/0-res-12/99", "feature/other/0-res-12/1", "feature/a/b/c/1"])
def test_a_feature_that_is_not_there_is_told(at: str, path: str) -> None:
    assert "no " in told(ask(at, f"/api/{path}"), 404)


def test_the_model_answers_plain_and_steered(at: str) -> None:
    largest = ask(at, f"/api/feature/{MODEL}/{LAYER}/7").json()["maxActApprox"]
    piano = RIVER | {"index": "7", "strength": largest}
    body = {"modelId": MODEL, "features": [piano], "temperature": 0, "n_tokens": 3, "seed": 1}
    body |= {"freq_penalty": 2, "strength_multiplier": 4}
    found = post(at, "steer", body | {"prompt": "the river"})
    assert found["STEERED"] == " piano piano piano" != found["DEFAULT"]
    assert "freq_penalty" in found["notes"][0]
    talk = [{"role": "user", "content": "the river"}]
    chat = post(at, "steer-chat/", body | {"defaultChatMessages": talk, "steeredChatMessages": talk})
    assert (chat["STEERED"]["raw"], chat["DEFAULT"]["raw"]) == (found["STEERED"], found["DEFAULT"])
    assert chat["STEERED"]["chatTemplate"] == [*talk, {"role": "assistant", "content": found["STEERED"]}]
    assert "features" in told(ask(at, "/api/steer", body | {"prompt": "a", "features": []}), 422)
    absurd = piano | {"strength": 1e300}
    assert told(ask(at, "/api/steer", body | {"prompt": "a", "features": [absurd]}), 400)


def test_an_uploaded_feature_is_found_read_listed_and_replaced_like_any_other(at: str, run: Path) -> None:
    assert post(at, "model/new", {"id": "m", "layers": 2, "displayName": None, "url": None})["displayName"] == "m"
    made = post(at, "source-set/new", {"name": "my-res", "modelId": "m", "description": None, "url": "https://a.b"})
    assert [of["id"] for of in made["sources"]] == ["0-my-res", "1-my-res"]
    assert ask(at, "/api/source-set/m/my-res").json() == made
    feature = {
        "index": 3,
        "density": 0.01,
        "topLogits": [{"token": " sky", "value": 1.5}],
        "bottomLogits": None,
        "explanations": [{"text": "<script> \n birds", "methodName": "by-hand", "modelName": None}],
        "activations": [
            {"tokens": ["an", " eagle"], "values": [0.0, 2.5]},
            {"tokens": ["a", " wren"], "values": [0.0, 1], "quantileMin": 0.5, "quantileMax": 1.5},
        ],
    }
    batch = {"modelId": "m", "source": "1-my-res", "features": [feature]}
    assert post(at, "feature/upload-batch", batch)["featuresInSource"] == 4
    found = ask(at, "/api/feature/m/1-my-res/3").json()
    assert [of["description"] for of in found["explanations"]] == ["<script> birds"]
    assert [(of["maxValue"], of["binMin"]) for of in found["activations"]] == [(2.5, -1), (1, 1)]
    assert (found["pos_str"], found["frac_nonzero"], found["maxActApprox"]) == ([" sky"], 0.01, 2.5)
    results = post(at, "explanation/search", {"modelId": "m", "layers": ["1-my-res"], "query": "birds"})["results"]
    assert [of["index"] for of in results] == ["3"]
    other = feature | {"index": 0, "explanations": [{"text": "ships"}], "activations": []}
    again = feature | {"explanations": [{"text": "eagles"}]}
    assert post(at, "feature/upload-batch", batch | {"features": [again, other]})["featuresInSource"] == 4
    found = ask(at, "/api/feature/m/1-my-res/3").json()
    assert [of["description"] for of in found["explanations"]] == ["eagles"]
    assert ask(at, "/api/feature/m/1-my-res/1").json()["explanations"] == []
    client = autointerp.open(run)  # a process that opens the run later finds them too
    assert client.features.get("m@1-my-res:3").label == "eagles"
    assert client.features.get(1).label == "river"  # and the only source of a model that can be run is meant as before
    own = client.features.get("m@1-my-res:3").write_label("raptors")
    assert [of.error_type for of in own.failures] == ["TooFewContexts"]
    assert client.features.search("raptors or rivers", 3)
    told_of = ask(at, "/api/activation/new", {"feature": found | {"index": "3"}, "customText": "a"})
    assert "without a coder" in told(told_of, 400)


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"modelId": "nobodys"}, 404, "nobody has named a source set"),
        ({"source": "1-none"}, 404, "nobody has named a source set"),
        ({"source": "2-set"}, 404, "has no source"),
        ({"source": "../../etc"}, 404, "nobody has named a source set"),
        ({"source": "01-set"}, 404, "has no source"),
        ({"features": []}, 422, "features"),
        ({"features": [{"index": 0}] * 129}, 422, "features"),
        ({"features": [{"index": 0}, {"index": 0}]}, 400, "named twice"),
        ({"features": [{"index": 65_536}]}, 400, "indices from 0 to 65,535"),
        ({"features": [{"index": 0, "density": 1.5}]}, 422, "density"),
        ({"features": [{"index": 0, "activations": [{"tokens": ["a"], "values": [1, 2]}]}]}, 400, "values than tokens"),
        ({"features": [{"index": 0, "activations": [{"tokens": [7], "values": [1]}]}]}, 422, "tokens"),
        ({"features": [{"index": 0, "explanations": [{"text": "a" * 501}]}]}, 400, "has 501 characters"),
        ({"features": [{"index": 0, "explanations": [{"text": "\x00"}]}]}, 400, "control character"),
    ],
)
def test_an_upload_that_makes_no_sense_leaves_nothing(
    at: str, changed: dict[str, Any], status: int, message: str
) -> None:
    post(at, "model/new", {"id": "strict", "layers": 2})
    post(at, "source-set/new", {"name": "set", "modelId": "strict"})
    batch = {"modelId": "strict", "source": "1-set", "features": [{"index": 0}]}
    assert message in told(ask(at, "/api/feature/upload-batch", batch | changed), status)
    assert told(ask(at, "/api/feature/strict/1-set/0"), 404)


def test_names_that_a_path_can_not_hold_are_refused(at: str) -> None:
    for name in ("", "a/b", "../a", "a b", "a@b", "<script>", "a" * 81):
        assert "can't be called" in told(ask(at, "/api/model/new", {"id": name, "layers": 1}), 400)
    assert "layers" in told(ask(at, "/api/model/new", {"id": "m", "layers": 10**9}), 400)
