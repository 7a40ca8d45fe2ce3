"""Notes by a client over HTTP and by one of the folder: what either writes, both read."""

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import autointerp
from autointerp import Client
from autointerp.errors import NoteError, RemoteError, UnknownFeatureError, UnknownNoteError
from autointerp.library.remote.notes import RemoteNotes
from autointerp.records.notes import ListedFeature
from autointerp.serve.app import Access, make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.store.notes.notes import Notes
from tests.serve.asking import SOURCE
from tests.serve.serving import answering

RIVER = (SOURCE, 1)


@pytest.fixture(scope="module")
def run(planted_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which nobody else writes notes beside."""
    copy = tmp_path_factory.mktemp("noted") / "runs/demo"
    return shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("notes.sqlite*"))


@pytest.fixture(scope="module")
def both(run: Path) -> Iterator[dict[str, Client]]:
    with answering(make_app(Serving(autointerp.open(run), Limits()))) as at:
        yield {"folder": autointerp.open(run), "http": autointerp.open(at)}


@pytest.fixture(params=["folder", "http"])
def client(request: pytest.FixtureRequest, both: dict[str, Client]) -> Client:
    """Who writes."""
    return both[request.param]


def test_stars_votes_and_comments_are_written_and_read_alike(client: Client, both: dict[str, Client]) -> None:
    feature = client.features.get(1)
    assert feature.explanation_id is not None
    feature.star()
    feature.vote(-1, author="Ada")
    said = feature.comment("two\nlines <b>", author="Ada")
    local, remote = (of.features.get(1).notes() for of in both.values())
    assert local == remote
    assert (remote.is_starred, remote.comments, remote.approval(feature.explanation_id)) == (True, (said,), -1)
    assert both["folder"].run.notes.of_features() == both["http"].run.notes.of_features() == {RIVER: remote}
    assert both["folder"].run.notes.stars() == both["http"].run.notes.stars()
    assert [of.label for of in client.starred()] == ["river"]
    assert client.feature_of_label(feature.explanation_id) == feature
    feature.unstar()
    feature.vote(0, author="Ada")
    client.delete_comment(said.comment_id)
    assert both["folder"].run.notes.of_features() == both["http"].run.notes.of_features() == {}


def test_lists_are_made_filled_put_in_order_and_deleted_alike(client: Client, both: dict[str, Client]) -> None:
    made = client.lists.new("Water", "what is wet", test_text="a ship")
    made.add([0, 1], note="wet")
    made.add(3)
    made.change(description="boats")
    client.run.notes.add_to_list(made.id, [ListedFeature("other@0-res-3", 5)])
    made.move(3, -1)
    made.remove("other@0-res-3:5")
    made.order([1, 3, 0])
    local, remote = (of.lists.get(made.id) for of in both.values())
    assert local.items == remote.items
    assert [(of.feature_index, of.note) for of in remote.items] == [(1, "wet"), (3, ""), (0, "wet")]
    assert (remote.name, remote.description, remote.test_text, len(remote)) == ("Water", "boats", "a ship", 3)
    assert [of.index for of in remote.features] == [1, 3, 0]
    assert repr(both["folder"].lists) == repr(both["http"].lists)
    assert [of.name for of in client.features.get(1).notes().lists] == ["Water"]
    made.delete()
    assert [len(of.lists) for of in both.values()] == [0, 0]


def test_a_label_of_ones_own_is_scored_by_whoever_keeps_the_run(client: Client, both: dict[str, Client]) -> None:
    own = client.features.get(1).write_label("rivers", author="Ada")
    assert {of.scorer: of.value > 0.9 for of in own.scores}["detection"]
    assert both["folder"].run.notes.labels() == both["http"].run.notes.labels() == [own]
    for of in both.values():
        assert [label.explanation.label for label in of.features.get(1).view().labels[:2]] == ["river", "rivers"]
        assert of.feature_of_label(own.explanation_id).index == 1
    client.delete_label(own.explanation_id)
    assert client.run.notes.labels() == []


def test_what_makes_no_sense_is_refused_in_the_same_words(both: dict[str, Client]) -> None:
    def told(by: Client) -> list[str]:
        made = by.lists.new("short")
        lines = []
        for of, wrong in (
            (NoteError, lambda: by.features.get(1).comment("")),
            (NoteError, lambda: by.features.get(1).vote(7)),
            (NoteError, lambda: by.lists.new("a\nb")),
            (NoteError, lambda: made.order([1])),
            (UnknownNoteError, lambda: by.features.get(1).vote(1, explanation_id="none")),
            (UnknownNoteError, lambda: by.lists.get("none")),
            (UnknownNoteError, lambda: by.delete_comment("none")),
            (UnknownNoteError, lambda: by.delete_label("none")),
            (UnknownNoteError, lambda: made.move(1, 1)),
            (UnknownFeatureError, lambda: made.add(99)),
        ):
            with pytest.raises(of) as raised:
                wrong()
            lines.append(str(raised.value))
        made.delete()
        return lines

    assert told(both["folder"]) == told(both["http"])


def test_a_server_keeps_nothing_about_what_does_not_exist(both: dict[str, Client]) -> None:
    notes = both["http"].run.notes
    for wrong in (
        lambda: notes.star((SOURCE, 99)),
        lambda: notes.comment((SOURCE, 99), "there"),
        lambda: notes.vote(RIVER, "none", 1),
    ):
        with pytest.raises((UnknownFeatureError, UnknownNoteError)):
            wrong()
    assert notes.of_features() == {}


def test_nothing_is_written_without_the_key(run: Path) -> None:
    with answering(make_app(Serving(autointerp.open(run), Limits()), Access(key="a key"))) as at:
        with pytest.raises(RemoteError):
            autointerp.open(at)
        keyed = autointerp.open(at, api_key="a key")
        keyed.features.get(1).star()
        keyed.features.get(1).unstar()


def test_every_method_of_notes_is_asked_of_the_server() -> None:
    public = {name for name, _ in inspect.getmembers(Notes, inspect.isfunction) if not name.startswith("_")}
    assert public - {"of_feature"} == {name for name in vars(RemoteNotes) if not name.startswith("_")}
