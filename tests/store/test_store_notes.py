"""What people write, kept beside the store: bounds, several writers, a killed one, a full disk, no place to write."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from autointerp.errors import DiskFullError, NoteError, NotesFileError, StoreBusyError, UnknownNoteError
from autointerp.records.notes import LONGEST_COMMENT, MOST_LISTED, FeatureNotes, ListedFeature
from autointerp.store.notes.notes import Notes
from tests.unprivileged import run_unprivileged

RIVER = ("m@s", 1)
NOTHING = FeatureNotes(is_starred=False, comments=(), votes=(), labels=(), lists=())
_PROGRAM = "import sys\nfrom autointerp.store.notes.notes import Notes\nnotes = Notes(sys.argv[1])\n"


def run(program: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _PROGRAM + program, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_looking_for_notes_makes_no_file(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert notes.of_feature(RIVER) == NOTHING
    assert (notes.stars(), notes.lists(), notes.labels(), notes.of_features()) == ([], [], [], {})
    assert os.listdir(tmp_path) == []


def test_a_star_is_given_once_and_taken_away(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    for feature in (RIVER, ("m@s", 2), RIVER):
        notes.star(feature)
    assert [star.feature_index for star in notes.stars()] == [2, 1]
    notes.unstar(RIVER)
    assert not notes.of_feature(RIVER).is_starred
    assert set(notes.of_features()) == {("m@s", 2)}


def test_who_votes_again_changes_the_vote(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    for value, author in ((1, "Ada"), (1, "Bob"), (-1, "Ada"), (1, ""), (0, "")):
        notes.vote(RIVER, "label", value, author)
    found = notes.of_feature(RIVER)
    assert {vote.author: vote.value for vote in found.votes} == {"Ada": -1, "Bob": 1}
    assert (found.approval("label"), found.approval("another")) == (0, 0)
    with pytest.raises(NoteError, match="is no vote"):
        notes.vote(RIVER, "label", 2)


def test_comments_keep_what_was_written_and_their_order(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    texts = ["<script>alert(1)</script>", "'; DROP TABLE comments; --", "عربي\n\n🎹 \ud83d"]
    for text in texts:
        notes.comment(RIVER, f"  {text}\r\n", author="Ada")
    found = notes.of_feature(RIVER).comments
    assert [comment.text for comment in found] == [*texts[:2], "عربي\n\n🎹 \ufffd"]
    notes.delete_comment(found[0].comment_id)
    with pytest.raises(UnknownNoteError, match="there is no comment"):
        notes.delete_comment(found[0].comment_id)
    assert len(notes.of_feature(RIVER).comments) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (" \n ", "is empty"),
        ("a" * (LONGEST_COMMENT + 1), "has 10,001 characters"),
        ("a" * 2**20, "has 1,048,576 characters"),
        ("a\x00b", r"control character U\+0000"),
        ("\x1b[2J", r"control character U\+001B"),
        ("abc\u202edcba", r"control character U\+202E"),
        (7, "is no text"),
    ],
)
def test_a_comment_that_can_not_be_kept_is_refused_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(NoteError, match=problem):
        Notes(tmp_path).comment(RIVER, text)
    assert os.listdir(tmp_path) == []


def test_a_list_has_features_in_an_order_each_once(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    made = notes.new_list("Robert'); DROP TABLE lists;--", test_text="one\ntwo")
    notes.add_to_list(made.list_id, [ListedFeature("m@s", 3, "why"), ListedFeature("m@s", 1), ListedFeature("n@t", 1)])
    notes.add_to_list(made.list_id, [ListedFeature("m@s", 1, "now why"), ListedFeature("m@s", 3)])
    assert notes.listed(made.list_id) == [
        ListedFeature("m@s", 3, "why"),
        ListedFeature("m@s", 1, "now why"),
        ListedFeature("n@t", 1),
    ]
    notes.order_list(made.list_id, [("n@t", 1), ("m@s", 3), ("m@s", 1)])
    notes.remove_from_list(made.list_id, [("m@s", 3), ("m@s", 99)])
    assert [(of.source_id, of.feature_index) for of in notes.listed(made.list_id)] == [("n@t", 1), ("m@s", 1)]
    with pytest.raises(NoteError, match="other features than the list has"):
        notes.order_list(made.list_id, [("n@t", 1)])
    (changed,) = notes.of_feature(RIVER).lists
    assert (changed.n_features, changed.name) == (2, "Robert'); DROP TABLE lists;--")
    assert notes.change_list(made.list_id, description="of water").test_text == "one\ntwo"
    notes.delete_list(made.list_id)
    assert notes.of_features() == {}
    with pytest.raises(UnknownNoteError, match="there is no list"):
        notes.listed(made.list_id)


def test_a_list_that_would_be_too_long_stays_as_it_was(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    made = notes.new_list("long")
    notes.add_to_list(made.list_id, (ListedFeature("m@s", index) for index in range(MOST_LISTED)))
    with pytest.raises(NoteError, match="would have 10,001 features"):
        notes.add_to_list(made.list_id, [ListedFeature("m@s", MOST_LISTED)])
    assert len(notes.listed(made.list_id)) == MOST_LISTED


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    program = "for n in range(40): notes.comment(('m@s', 1), f'{sys.argv[1]} {n}'); notes.star(('m@s', n))\n"
    writers = [run(program, tmp_path) for _ in range(3)]
    assert [writer.communicate()[1] for writer in writers] == ["", "", ""]
    notes = Notes(tmp_path)
    assert len(notes.of_feature(RIVER).comments) == 120
    assert len(notes.stars()) == 40


def test_a_writer_that_is_killed_amid_a_change_leaves_what_was_before(tmp_path: Path) -> None:
    program = "with notes._writing() as file:\n    file.execute(\"INSERT INTO stars VALUES ('m@s', 9, '')\")\n"
    program += "    print('inside', flush=True); import time; time.sleep(60)\n"
    Notes(tmp_path).star(RIVER)
    writer = run(program, tmp_path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "inside\n"
    assert len(Notes(tmp_path).stars()) == 1  # readers go on meanwhile
    with pytest.raises(StoreBusyError, match="others write into"):
        Notes(tmp_path, timeout_s=0.05).unstar(RIVER)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    Notes(tmp_path).star(("m@s", 2))
    assert [star.feature_index for star in Notes(tmp_path).stars()] == [2, 1]


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    notes.comment(RIVER, "before")
    program = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    program += "resource.setrlimit(resource.RLIMIT_FSIZE, (110_000, 110_000))\n"
    program += "from autointerp.errors import NotesFileError\n"
    program += "try:\n    for n in range(100): notes.comment(('m@s', 1), 'x' * 9_000)\n"
    program += "except NotesFileError as error: print(error)\n"
    said, complaint = run(program, tmp_path).communicate()
    assert complaint == ""
    assert "check the disk, and the room on it" in said
    found = Notes(tmp_path).of_feature(RIVER).comments
    assert found[0].text == "before"
    assert 1 < len(found) < 100
    Notes(tmp_path).comment(RIVER, "after")

    def fill() -> None:
        with notes._writing() as file:
            file.execute("PRAGMA max_page_count = 1")  # what SQLite says then is what it says of a full disk
            for n in range(1_000):
                file.execute("INSERT INTO stars VALUES (?, 0, '')", (f"{n}" * 1_000,))

    with pytest.raises(DiskFullError, match="no space left"):
        fill()
    assert notes.stars() == []


def test_where_nobody_may_write_notes_are_read_and_a_change_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for has_file in (False, True):
        if has_file:
            Notes(folder).star(RIVER)
            (folder / "notes.sqlite").chmod(0o444)
        folder.chmod(0o555)
        program = _PROGRAM + "from autointerp.errors import NotesFileError\nprint(len(notes.stars()))\n"
        program += "try: notes.star(('m@s', 2))\nexcept NotesFileError as error: print(error)\n"
        done = run_unprivileged([sys.executable, "-c", program, str(folder)])
        folder.chmod(0o755)
        assert done.stderr == ""
        n, refused = done.stdout.splitlines()
        assert int(n) == has_file
        assert refused.startswith("no notes can be kept in run/notes.sqlite (nobody may write there): ")
        assert str(tmp_path) not in refused


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"not a database" * 100, "is damaged, or no file of notes"), (None, "holds other tables, and no notes")],
)
def test_a_file_that_is_no_notes_is_left_as_it_is(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "notes.sqlite"
    if content is None:
        with sqlite3.connect(path) as file:
            file.execute("CREATE TABLE others (a)")
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(NotesFileError, match=problem):
        Notes(tmp_path).stars()
    with pytest.raises(NotesFileError, match=problem):
        Notes(tmp_path).star(RIVER)
    assert path.read_bytes()[100:] == content[100:]


def test_a_file_of_the_first_version_is_read_as_it_is_and_brought_up_to_date_by_a_change(tmp_path: Path) -> None:
    Notes(tmp_path).star(RIVER)
    with sqlite3.connect(tmp_path / "notes.sqlite") as file:
        for table in ("models", "source_sets"):
            file.execute(f"DROP TABLE {table}")
        file.execute("PRAGMA user_version = 1")
    with pytest.raises(UnknownNoteError, match="nobody has named a model"):
        Notes(tmp_path).model("m")
    assert len(Notes(tmp_path).stars()) == 1
    Notes(tmp_path).new_model("m", 2)
    assert Notes(tmp_path).model("m").layers == 2
    assert len(Notes(tmp_path).stars()) == 1


def test_a_file_of_a_newer_version_is_told(tmp_path: Path) -> None:
    Notes(tmp_path).star(RIVER)
    with sqlite3.connect(tmp_path / "notes.sqlite") as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(NotesFileError, match="has version 99, this program knows up to 2"):
        Notes(tmp_path).stars()
