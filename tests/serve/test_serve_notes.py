"""What people write, over HTTP: kept, read back, bounded, and refused where it makes no sense."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import autointerp
from autointerp.records.notes import ListedFeature
from autointerp.serve.app import Access, make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.asking import SOURCE, ask, call, told
from tests.serve.serving import answering

RIVER = f"{SOURCE}:1"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which nobody else writes notes beside."""
    copy = tmp_path_factory.mktemp("notes") / "runs/demo"
    return shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("notes.sqlite*"))


@pytest.fixture(scope="module")
def at(run: Path) -> Iterator[str]:
    with answering(make_app(Serving(autointerp.open(run), Limits()))) as address:
        yield address


def test_stars_votes_and_comments_are_kept_and_read_back(at: str) -> None:
    assert ask(at, "/api/notes/star", {"feature": RIVER}).json()["is_starred"]
    said = ask(at, "/api/notes/comment", {"feature": RIVER, "text": SCRIPT, "author": "Ada"}).json()
    for value, author in ((1, "Ada"), (1, "Bob"), (-1, "Eve")):
        ask(at, "/api/notes/vote", {"feature": RIVER, "value": value, "author": author})
    notes = ask(at, f"/api/notes?feature={RIVER}").json()
    assert [comment["text"] for comment in notes["comments"]] == [SCRIPT]
    (votes,) = notes["votes"]
    assert (votes["approval"], votes["n_for"], votes["n_against"]) == (1, 2, 1)
    assert [star["label"] for star in ask(at, "/api/stars").json()["stars"]] == ["river"]
    assert not ask(at, "/api/notes/star", {"feature": RIVER, "starred": False}).json()["is_starred"]
    assert call("DELETE", at, f"/api/notes/comments/{said['comment_id']}").status_code == 204
    assert ask(at, f"/api/notes?feature={RIVER}").json()["comments"] == []


def test_a_label_of_ones_own_is_scored_and_told_with_the_notes(at: str) -> None:
    response = ask(at, "/api/labels", {"feature": RIVER, "label": SCRIPT, "author": "Ada"})
    assert response.status_code == 201
    own = response.json()
    assert (own["label"], own["problems"]) == (SCRIPT, {})
    assert {of["scorer"]: of["judge"] for of in own["scores"]}["detection"] == "local"
    assert ask(at, f"/api/notes?feature={RIVER}").json()["labels"] == [own]
    assert call("DELETE", at, f"/api/labels/{own['explanation_id']}").status_code == 204
    assert ask(at, f"/api/notes?feature={RIVER}").json()["labels"] == []


def test_a_list_is_made_filled_changed_put_in_order_and_deleted(at: str) -> None:
    response = ask(at, "/api/lists", {"name": "Water", "test_text": "a ship on the river"})
    assert response.status_code == 201
    path = f"/api/lists/{response.json()['list_id']}"
    features = [f"{SOURCE}:{index}" for index in (0, 1, 3)]
    assert ask(at, f"{path}/features", {"features": features, "note": "wet"}).json()["n_features"] == 3
    assert call("PUT", at, f"{path}/features", {"features": features[::-1]}).status_code == 200
    ask(at, f"{path}/features/remove", {"features": [features[0]]})
    assert call("PATCH", at, path, {"description": SCRIPT}).json()["description"] == SCRIPT
    found = ask(at, path).json()
    assert [(of["index"], of["label"], of["note"]) for of in found["features"]] == [
        (3, None, "wet"),
        (1, "river", "wet"),
    ]
    assert found["test_text"] == "a ship on the river"
    assert [of["index"] for of in ask(at, f"{path}?offset=1&limit=1").json()["features"]] == [1]
    assert [of["name"] for of in ask(at, f"/api/notes?feature={RIVER}").json()["lists"]] == ["Water"]
    assert [of["name"] for of in ask(at, "/api/lists").json()["lists"]] == ["Water"]
    assert call("DELETE", at, path).status_code == 204
    assert "there is no list" in told(ask(at, path), 404)


def test_a_list_keeps_features_of_a_source_that_is_not_served(at: str, run: Path) -> None:
    made = autointerp.open(run).lists.new("elsewhere")
    autointerp.open(run).run.notes.add_to_list(made.id, [ListedFeature("other@0-res-3", 5), ListedFeature(SOURCE, 99)])
    features = ask(at, f"/api/lists/{made.id}").json()["features"]
    assert [(of["feature"], of["is_served"]) for of in features] == [
        ("other@0-res-3:5", False),
        (f"{SOURCE}:99", False),
    ]
    made.delete()


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/notes/star", {"feature": f"{SOURCE}:99"}, 404, "has no feature 99"),
        ("/api/notes/star", {"feature": "other@0-res-3:1"}, 404, "there is no source"),
        ("/api/notes/star", {"feature": "../../etc:1"}, 404, "there is no source"),
        ("/api/notes/star", {"feature": RIVER, "starred": "yes"}, 422, "starred"),
        ("/api/notes/vote", {"feature": RIVER, "value": 3}, 422, "value"),
        ("/api/notes/vote", {"feature": RIVER, "value": 1, "explanation_id": "' OR 1=1 --"}, 404, "no label"),
        ("/api/notes/vote", {"feature": f"{SOURCE}:3", "value": 1}, 404, "has no label"),
        ("/api/notes/vote", {"feature": RIVER, "value": 1, "author": "a\nb"}, 400, "more than one line"),
        ("/api/notes/comment", {"feature": RIVER, "text": ""}, 400, "is empty"),
        ("/api/notes/comment", {"feature": RIVER, "text": "a" * 2**20}, 400, "has 1,048,576 characters"),
        ("/api/notes/comment", {"feature": RIVER, "text": "\x00"}, 400, "U+0000"),
        ("/api/notes/comment", {"feature": RIVER, "text": ["a"]}, 422, "text"),
        ("/api/labels", {"feature": RIVER, "label": "a" * 501}, 400, "has 501 characters"),
        ("/api/labels", {"feature": f"{SOURCE}:99", "label": "a"}, 404, "has no feature 99"),
        ("/api/lists", {"name": " "}, 400, "is empty"),
        ("/api/lists", {"name": "a" * 201}, 400, "has 201 characters"),
        ("/api/lists/none/features", {"features": [RIVER]}, 404, "there is no list"),
        ("/api/lists/none/features", {"features": [RIVER] * 10_001}, 422, "features"),
        ("/api/lists/none/features", {"features": []}, 422, "features"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    at: str, path: str, body: dict[str, object], status: int, message: str
) -> None:
    assert message in told(ask(at, path, body), status)


def test_ten_thousand_features_in_a_list_are_told_a_page_at_a_time(at: str, run: Path) -> None:
    made = autointerp.open(run).lists.new("long")
    items = [ListedFeature(SOURCE, index % 12) for index in range(12)]
    items += [ListedFeature("other@0-res-3", index) for index in range(9_988)]
    autointerp.open(run).run.notes.add_to_list(made.id, items)
    ask(at, f"/api/lists/{made.id}/features", {"features": [RIVER], "note": "again"})
    found = ask(at, f"/api/lists/{made.id}").json()
    assert (found["n_features"], len(found["features"])) == (10_000, 1_000)
    made.delete()


def test_other_sites_write_nothing_and_a_key_is_needed_where_there_is_one(at: str, run: Path) -> None:
    body = {"feature": RIVER}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert "pages of other sites" in told(ask(at, "/api/notes/star", body, headers=headers), 403)
    as_form = {"Content-Type": "text/plain"}
    assert ask(at, "/api/notes/star", content=b'{"feature": "%s"}' % RIVER.encode(), headers=as_form).status_code == 422
    with answering(make_app(Serving(autointerp.open(run), Limits()), Access(key="right key"))) as other:
        for given in ({}, {"X-Api-Key": "wrong"}, {"X-Api-Key": ""}):
            assert ask(other, "/api/notes/star", body, headers=given).status_code == 401
        assert ask(other, "/api/notes/star", body, headers={"X-Api-Key": "right key"}).status_code == 200
        assert (
            ask(other, "/api/notes/star", body | {"starred": False}, headers={"X-Api-Key": "right key"}).status_code
            == 200
        )
    assert ask(at, "/api/stars").json()["stars"] == []
