"""Ember's protocol as it goes over the wire."""

import json
from typing import Any
from uuid import UUID

import pytest

from autointerp.identity import stable_uuid
from autointerp.serve.serving import Serving
from tests.serve.asking import EMBER, SOURCE, ask, told

TALK = [{"role": "user", "content": "Is there a piano?"}]


def ember(address: str, path: str, body: Any = None, **options: Any) -> Any:
    response = ask(address, EMBER + path, body, **options)
    assert response.status_code == 200, response.text
    return response.json()


def uuid(index: int) -> str:
    return stable_uuid(f"{SOURCE}:{index}")


def test_pages_of_a_search_follow_one_another(address: str) -> None:
    whole = ember(address, "/features/search", params={"query": "river", "perPage": 6})["features"]
    pages = [
        ember(address, "/features/search", params={"query": "river", "perPage": 3, "page": page, "model": "planted"})
        for page in (1, 2)
    ]
    assert [feature for page in pages for feature in page["features"]] == whole
    assert (whole[0]["label"], whole[0]["index_in_sae"], whole[0]["id"]) == ("river", 1, uuid(1))
    assert whole[0]["relevance"] > whole[1]["relevance"]
    assert whole[0]["scores"]["detection"] > 0.9


def test_features_are_named_by_their_uuids_in_any_writing(address: str) -> None:
    asked = [uuid(7).upper(), UUID(uuid(1)).hex]
    found = ember(address, "/features/", params={"feature_id": asked})["features"]
    assert [(feature["id"], feature["label"]) for feature in found] == [(uuid(7), "piano"), (uuid(1), "river")]
    (looked_up,) = ember(address, "/features/lookup", {"indices": [3]})["features"]
    assert (looked_up["uuid"], looked_up["label"]) == (uuid(3), "(no label)")


def test_neighbors_leave_out_what_they_are_of(address: str) -> None:
    for space, of in (("label", [1, 0]), ("decoder", [1])):
        found = ember(address, "/attributions/neighbors", {"feature_indices": of, "top_k": 4, "space": space})
        assert len(found["neighbors"]) == 4
        assert not set(of) & {feature["index_in_sae"] for feature in found["neighbors"]}


def test_a_rerank_gives_what_was_given_most_relevant_first(address: str) -> None:
    body = {"query": "river", "feature_ids": [uuid(7), uuid(1), uuid(0)], "top_k": 2}
    found = ember(address, "/features/rerank", body)["features"]
    assert len(found) == 2
    assert found[0]["id"] == uuid(1)


def test_a_token_tells_what_fires_strongest_first_and_every_feature_that_is_asked_for(address: str) -> None:
    tokens = ember(address, "/chat-attribution/compute-features", {"messages": TALK})["tokens"]
    assert "".join(token["token"] for token in tokens).strip() == "you said Is there a piano?"
    (piano,) = (token for token in tokens if token["token"] == " piano")
    assert piano["attributions"][0]["index_in_sae"] == 7
    body = {"messages": TALK, "include_feature_indexes": [1, 7], "aggregate_by": "max"}
    for token in ember(address, "/chat-attribution/compute-features", body)["tokens"]:
        strengths = [of["activation_strength"] for of in token["attributions"]]
        assert strengths == sorted(strengths, reverse=True)
        assert {of["id"] for of in token["attributions"]} == {uuid(1), uuid(7)}


def test_a_contrast_tells_pairs_apart(address: str) -> None:
    first, second = ([[{"role": "user", "content": f"{of} the {word}"}] for of in ("see", "hear")] for word in "ab")
    ships, breads = ([[{"role": "user", "content": f"{of} the {word}"}] for of in "ab"] for word in ("ship", "bread"))
    found = ember(address, "/chat-attribution/contrast", {"dataset_1": ships, "dataset_2": breads, "k_to_add": 1})
    assert found["dataset_1_features"][0]["label"] == "ship"
    assert [feature["label"] for feature in found["dataset_2_features"]] == ["bread"]
    told(ask(address, EMBER + "/chat-attribution/contrast", {"dataset_1": first, "dataset_2": second[:1]}), 400)


def test_what_pushes_a_token_is_what_the_library_says(address: str, serving: Serving) -> None:
    talk = [{"role": "user", "content": "the ship and the river piano"}]
    asked = {"messages": talk, "startIndex": 6, "endIndex": 6, "model": "planted"}
    found = ember(address, "/attributions/compute-logit-attribution", asked)
    expected = serving.client.features.attribute(talk, 6)
    values = {of.feature.uuid: pytest.approx(of.gradient) for of in expected.by_feature(None)}
    told_values = {of["id"]: of["value"] for of in (*found["to_ablate"], *found["to_add"])}
    assert told_values == {id: value for id, value in values.items() if value != 0}
    assert all(of["value"] > 0 for of in found["to_ablate"])
    assert all(of["value"] < 0 for of in found["to_add"])
    assert {token["index"] for of in found["to_ablate"] for token in of["tokens"]} <= set(range(6))
    assert (found["num_input_tokens"], found["token"]) == (6, expected.token)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/features/lookup", {"indices": [99]}, 404, "0 to 11"),
        ("/features/lookup", {"indices": [-1]}, 422, "indices.0: "),
        ("/features/lookup", {"indices": ["1"]}, 422, "valid integer"),
        ("/features/lookup", {"indices": [10**30]}, 404, "0 to 11"),
        ("/features/lookup", {"indices": [1], "model": "other"}, 404, "there is no model 'other' here: models are "),
        ("/features/lookup", {"indices": list(range(9_000))}, 422, "at most 8192 items"),
        ("/features/rerank", {"query": "river", "feature_ids": ["ship"]}, 404, "'ship' is no feature's id"),
        ("/features/rerank", {"query": "river", "feature_ids": [stable_uuid("x")]}, 404, "no feature here has the id"),
        ("/features/rerank", {"query": " ", "feature_ids": [uuid(1)]}, 400, "query"),
        ("/attributions/neighbors", {"feature_indices": [1], "space": "moon"}, 400, "spaces are "),
        ("/attributions/neighbors", {"feature_indices": [1], "top_k": 0}, 422, "top_k: "),
        ("/chat-attribution/compute-features", {"messages": []}, 422, "messages: "),
        ("/chat-attribution/compute-features", {"messages": TALK * 10_000}, 422, "at most 1000 items"),
        ("/chat-attribution/compute-features", {"messages": [{"role": "user", "content": 5}]}, 422, "messages.0.cont"),
        ("/chat-attribution/compute-features", {"messages": [[]]}, 422, "messages.0: "),
        ("/chat-attribution/compute-features", {"messages": TALK, "aggregate_by": "luck"}, 422, "aggregate_by: "),
        ("/chat-attribution/compute-features", {"messages": TALK, "include_feature_indexes": [99]}, 404, "0 to 11"),
        (
            "/attributions/compute-logit-attribution",
            {"messages": TALK, "startIndex": 1, "endIndex": 2},
            400,
            "about one",
        ),
        ("/attributions/compute-logit-attribution", {"messages": TALK, "startIndex": 0, "endIndex": 0}, 400, "before"),
        ("/attributions/compute-logit-attribution", {"messages": TALK, "startIndex": 99, "endIndex": 99}, 400, "token"),
        ("/attributions/compute-logit-attribution", {"messages": TALK}, 422, "startIndex: Field required"),
        ("/nothing", {}, 404, "Not Found"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    address: str, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    assert message in told(ask(address, EMBER + path, body), status)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"indices": [1e999]}',
        b'{"indices": [NaN]}',
        b'{"indices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"indices": [' + b"9" * 10_000 + b"]}",
    ],
    ids=lambda content: repr(content[:16]),
)
def test_a_body_that_is_no_request_is_refused(address: str, content: bytes) -> None:
    response = ask(address, EMBER + "/features/lookup", content=content, headers={"Content-Type": "application/json"})
    assert told(response, response.status_code)
    assert response.status_code in (400, 422)


def test_half_a_surrogate_pair_is_read_as_the_replacement_character(address: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "\ud83d piano"}]}).encode()
    headers = {"Content-Type": "application/json"}
    response = ask(address, EMBER + "/chat-attribution/compute-features", content=body, headers=headers)
    assert response.status_code == 200
    assert "\N{REPLACEMENT CHARACTER} piano" in "".join(token["token"] for token in response.json()["tokens"])
