"""The file itself: locked, killed, full, broken, older, newer, not ours."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autointerp.errors import DiskFullError, NewerStoreError, StoreBusyError, StoreError
from autointerp.records import ScoreWithTrials, TokenCount
from autointerp.store import connection, schema
from autointerp.store.connection import reading, writing
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import SOURCE, make


def start(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Run a Python program beside the test, up to its first line of output."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


HOLD_FOR_WRITING = """
import sys
from pathlib import Path
from autointerp.store.connection import writing
with writing(Path(sys.argv[1]), 10) as connection:
    connection.execute("INSERT INTO neighbors SELECT 'tiny@1-res-64', range, 'decoder', 0, 1, 0.5 FROM range(10000)")
    print("ready", flush=True)
    sys.stdin.readline()
"""

READ_ALL_THE_TIME = """
import sys
from autointerp.store.reader import Reader
reader = Reader(sys.argv[1])
n_last, n_reads = -1, 0
print("ready", flush=True)
while n_last < 12:
    explanations = reader.explanations()
    assert len(explanations) >= n_last, "a label has vanished"
    assert len(explanations) % 3 == 0, "half a transaction was seen"
    n_last, n_reads = len(explanations), n_reads + 1
print(n_reads)
"""

FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from autointerp.errors import DiskFullError
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import make
writer = Writer(sys.argv[1])
room = Path(writer.path).stat().st_size + 50_000
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    writer.add_explanations([make.explanation(i, str(i) * 2000) for i in range(2000)])
except DiskFullError as error:
    print(error)
print([explanation.label for explanation in Reader(sys.argv[1]).explanations()])
"""


def test_a_reader_in_another_process_works_while_a_run_is_writing(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    process = start(READ_ALL_THE_TIME, str(tmp_path))
    for first in range(0, 12, 3):
        writer.add_explanations([make.explanation(first + i) for i in range(3)])
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert int(output) >= 1


def test_a_store_that_stays_locked_is_an_error_that_says_so(tmp_path: Path) -> None:
    store = Writer(tmp_path).path
    holder = start(HOLD_FOR_WRITING, str(store))
    try:
        with pytest.raises(StoreBusyError, match="another process"):
            Reader(tmp_path, timeout_s=0.1).sources()
        with pytest.raises(StoreBusyError, match="another process"):
            Writer(tmp_path, timeout_s=0.1)
    finally:
        holder.kill()
        holder.communicate()


def test_a_writer_killed_in_a_transaction_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_explanations([make.explanation(1)])
    before = writer.content_digest()
    holder = start(HOLD_FOR_WRITING, str(writer.path))
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert Reader(tmp_path).content_digest() == before
    writer.add_explanations([make.explanation(2)])
    assert [e.feature_index for e in Reader(tmp_path).explanations()] == [1, 2]


def test_an_exception_in_a_transaction_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    before = writer.content_digest()

    def write_half() -> None:
        with writing(writer.path, 1) as opened:
            opened.execute("INSERT INTO stages VALUES ('explain', 'f', 'done', 1, 0, '{}', NULL)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert writer.content_digest() == before


def test_a_full_disk_is_said_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_explanations([make.explanation(1, "kept")])
    before = writer.content_digest()
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    told, still_read = done.stdout.splitlines()
    assert told.startswith(f"no space left while writing {writer.path}")
    assert still_read == "['kept']"
    assert Reader(tmp_path).content_digest() == before


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (duckdb.IOException('IO Error: Could not write file "x": No space left on device'), DiskFullError),
        (OSError(122, "Disk quota exceeded"), DiskFullError),
        (PermissionError(13, "Permission denied"), StoreError),
        (duckdb.Error("Corrupt database file: computed checksum"), StoreError),
    ],
)
def test_what_duckdb_or_the_system_says_becomes_an_error_of_ours(
    tmp_path: Path, said: Exception, error: type[StoreError]
) -> None:
    assert type(connection.store_error(said, tmp_path / "store.duckdb")) is error


def test_a_folder_without_a_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        Reader(tmp_path / "nothing").sources()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 1000])
def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    store = tmp_path / "store.duckdb"
    store.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        Reader(tmp_path).sources()
    if content:
        with pytest.raises(StoreError, match="is damaged"):
            Writer(tmp_path)
        assert store.read_bytes() == content


def test_a_store_cut_short_is_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_explanations([make.explanation(i, "label" * i) for i in range(2000)])
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(StoreError, match="is damaged"):
        Reader(tmp_path).explanations()


@pytest.mark.parametrize("statement", ["CREATE TABLE accounts (id INTEGER)", "CREATE VIEW accounts AS SELECT 1"])
def test_another_program_s_duckdb_file_is_refused_and_left_alone(tmp_path: Path, statement: str) -> None:
    store = tmp_path / "store.duckdb"
    with duckdb.connect(str(store)) as other:
        other.execute(statement)
    for open_it in (lambda: Reader(tmp_path).sources(), lambda: Writer(tmp_path)):
        with pytest.raises(StoreError, match="no store of autointerp"):
            open_it()
    with duckdb.connect(str(store)) as other:
        assert other.execute("SHOW TABLES").fetchall() == [("accounts",)]


@pytest.mark.parametrize("name", ["labels.csv", "run.json", "labels.jsonl", "labels.parquet"])
def test_a_file_that_duckdb_would_read_as_a_table_is_no_store(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({"label": ["heat"]}), file)
    else:
        file.write_text('{"label": "heat"}\n', encoding="utf-8")
    before = file.read_bytes()
    for open_it in (lambda: Reader(file).sources(), lambda: Writer(file)):
        with pytest.raises(StoreError, match="or no store"):
            open_it()
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["md:mine", ":memory:", "s3:mine", "sqlite:mine", "file:mine"])
def test_a_folder_is_a_folder_though_duckdb_knows_its_name_as_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Writer(name).add_source(make.source())
    assert (tmp_path / name / "store.duckdb").is_file()
    assert Reader(name).sources() == [make.source()]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    with duckdb.connect(str(writer.path)) as newer:
        newer.execute("INSERT INTO schema_version VALUES (9999)")
    for open_it in (lambda: Reader(tmp_path).sources(), lambda: Writer(tmp_path)):
        with pytest.raises(NewerStoreError, match="schema version 9999"):
            open_it()


def test_a_store_of_an_older_version_is_migrated_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path)
    writer.add_explanations([make.explanation(1)])
    known = schema.known_migrations()
    step = schema.Migration(len(known) + 1, "ALTER TABLE explanations ADD COLUMN mood VARCHAR DEFAULT 'fair'")
    for module in (schema, connection):
        monkeypatch.setattr(module, "known_migrations", lambda: (*known, step))
    assert Reader(tmp_path).dataframe("explanations")["mood"].tolist() == ["fair"]
    with reading(writer.path, 1) as opened:
        assert schema.store_version(opened, writer.path) == len(known) + 1


def test_a_store_of_the_first_version_gets_room_for_later_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = schema.known_migrations()[:1]
    with monkeypatch.context() as patch:
        for module in (schema, connection):
            patch.setattr(module, "known_migrations", lambda: first)
        old = Writer(tmp_path).path
    with duckdb.connect(str(old)) as opened:
        opened.execute(
            "INSERT INTO sources VALUES ('tiny@1-res-64', 'tiny', 'blocks.1', 'coder', 64, 'docstrings', 10000, [0.5])"
        )
        opened.execute(
            "INSERT INTO features VALUES ('tiny@1-res-64', 3, 100, 0.01, 4.25, 1.125, [0, 3, 5], 'ok',"
            " [{'token': ' Wärme', 'n_active': 7, 'mean_activation': 1.5},"
            " {'token': '熱', 'n_active': 3, 'mean_activation': 0.5}])"
        )
    before = replace(
        make.feature(3),
        top_tokens_n_missed=0,
        following_tokens=(),
        n_sampled_peaks=0,
        n_followed_peaks=0,
        top_logits=(),
        bottom_logits=(),
    )
    reader = Reader(tmp_path)
    assert reader.features() == [before]
    assert reader.sources() == [make.source()]
    # A collect stage that was killed under the older program goes on under this one.
    writer = Writer(tmp_path)
    writer.add_source(make.source())
    writer.add_features([make.feature(3), make.feature(4)])
    assert reader.features() == [before, make.feature(4)]


def test_a_store_of_the_second_version_gets_room_for_what_is_said_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = schema.known_migrations()[:2]
    with monkeypatch.context() as patch:
        for module in (schema, connection):
            patch.setattr(module, "known_migrations", lambda: second)
        old = Writer(tmp_path).path
    plain = make.explanation(3)
    with duckdb.connect(str(old)) as opened:
        opened.execute(
            "INSERT INTO explanations VALUES (?, 'tiny@1-res-64', 3, 'heat and fire', 'keywords', 'local', NULL, 0.0,"
            " '2026-11-21 09:30:00.25', 'e1', NULL)",
            [plain.explanation_id],
        )
    reader = Reader(tmp_path)
    assert reader.explanations() == [plain]
    # An explain stage that was killed under the older program goes on under this one.
    told = replace(make.explanation(4), side="output", n_contexts=20, detail={"place": "line 3"})
    Writer(tmp_path).add_explanations([plain, told])
    assert reader.explanations() == [plain, told]


def test_a_store_of_the_third_version_equals_one_written_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third = schema.known_migrations()[:3]
    with monkeypatch.context() as patch:
        for module in (schema, connection):
            patch.setattr(module, "known_migrations", lambda: third)
        old = Writer(tmp_path / "old").path
    labels = [
        replace(make.explanation(1), excludes='ice, "dry" — 氷\\', detail={"candidates": [], "model": "m"}),
        replace(make.explanation(2), excludes="ice"),
        make.explanation(3),
    ]
    details = [
        r'{"candidates": [], "excludes": "ice, \"dry\" \u2014 \u6c37\\", "model": "m"}',
        '{"excludes": "ice"}',
        "{}",
    ]
    score = make.graded(labels[0]).score
    detail = {**score.detail, "undefined": {"auroc": 'no "metric": "it", no'}}
    metrics = [("detection", "balanced accuracy"), ("recall", 'F1, of "mass" recall')]
    moment = make.moment.replace(tzinfo=None)
    with duckdb.connect(str(old)) as opened:
        for label, written in zip(labels, details, strict=True):
            opened.execute(
                "INSERT INTO explanations VALUES (?, ?, ?, ?, ?, 'local', NULL, 0.0, ?, 'e1', NULL, NULL, NULL, ?)",
                [label.explanation_id, SOURCE, label.feature_index, label.label, label.explainer, moment, written],
            )
        for scorer, metric in metrics:
            before = json.dumps({**detail, "metric": metric}, sort_keys=True)
            opened.execute(
                "INSERT INTO scores VALUES (?, ?, 'local', ?, ?, ?, 2, 1, ?, ?, 1, 's1')",
                [score.explanation_id, scorer, score.value, score.ci_low, score.ci_high, before, SOURCE],
            )
    reader = Reader(tmp_path / "old")
    assert reader.explanations() == labels
    scores = [replace(score, scorer=scorer, metric=metric, detail=detail) for scorer, metric in metrics]
    assert reader.scores() == scores
    now = Writer(tmp_path / "now")
    now.add_explanations(labels)
    now.add_scores([ScoreWithTrials(score, ()) for score in scores])
    assert reader.content_digest() == now.content_digest()


def test_a_store_of_the_fifth_version_gets_todays_spelling_of_a_kind_and_what_contexts_have_come_to_say(
    tmp_path: Path,
) -> None:
    contexts, score = make.contexts(3), make.graded(make.explanation(3)).score
    turned = replace(
        contexts,
        contexts=tuple(replace(c, kind="silent_neighbor", group_id=c.document_id) for c in contexts.contexts),
    )
    score = replace(score, detail={**score.detail, "specificity_by_kind": {"silent_neighbor": 0.5}})
    writer = Writer(tmp_path)
    writer.add_source(make.source())
    writer.add_contexts([turned], "c1")
    writer.add_explanations([make.explanation(3)])
    writer.add_scores([ScoreWithTrials(score, ())])
    with duckdb.connect(str(writer.path)) as opened:
        opened.execute("UPDATE contexts SET kind = 'silent_neighbour'")
        opened.execute("UPDATE scores SET detail = replace(detail::VARCHAR, 'silent_neighbor', 'silent_neighbour')")
        opened.execute("ALTER TABLE contexts DROP COLUMN group_id")
        opened.execute("ALTER TABLE contexts DROP COLUMN decoy")
        opened.execute("ALTER TABLE trials DROP COLUMN prompt")
        opened.execute("ALTER TABLE trials DROP COLUMN simulated")
        opened.execute("ALTER TABLE features DROP COLUMN top_tokens.element.n_occurrences")
        opened.execute("DROP TABLE doses")
        opened.execute("DELETE FROM schema_version WHERE version > 5")
    assert Reader(tmp_path).feature_contexts([3]) == [turned]
    assert Reader(tmp_path).scores() == [score]


def test_a_store_of_the_seventh_version_gets_room_for_simulated_activations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make.graded(make.explanation(3)), make.graded(make.explanation(4), "simulation")
    told = replace(new.trials[0], verdict=None, probability=None, simulated=(0.0, 2.5, 10.0))
    writer = Writer(tmp_path)
    writer.add_source(make.source())
    writer.add_explanations([make.explanation(3), make.explanation(4)])
    writer.add_scores([old])
    with duckdb.connect(str(writer.path)) as opened:
        opened.execute("ALTER TABLE trials DROP COLUMN simulated")
        opened.execute("ALTER TABLE features DROP COLUMN top_tokens.element.n_occurrences")
        opened.execute("DROP TABLE doses")
        opened.execute("DELETE FROM schema_version WHERE version > 7")
    reader = Reader(tmp_path)
    assert reader.trials(old.score.explanation_id) == list(old.trials)
    Writer(tmp_path).add_scores([replace(new, trials=(told, new.trials[1]))])
    assert reader.trials(new.score.explanation_id) == [told, new.trials[1]]


def test_a_store_of_the_eighth_version_does_not_say_how_often_its_tokens_occur(tmp_path: Path) -> None:
    counted = TokenCount(" Wärme", 7, 1.5, 90)
    writer = Writer(tmp_path)
    writer.add_source(make.source())
    writer.add_features([replace(make.feature(3), top_tokens=(counted,)), make.feature(5, 0.0, "dead")])
    with duckdb.connect(str(writer.path)) as opened:
        opened.execute("ALTER TABLE features DROP COLUMN top_tokens.element.n_occurrences")
        opened.execute("DROP TABLE doses")
        opened.execute("DELETE FROM schema_version WHERE version > 8")
    assert [of.top_tokens for of in Reader(tmp_path).features()] == [(replace(counted, n_occurrences=None),), ()]
    Writer(tmp_path).add_features([replace(make.feature(4), top_tokens=(counted,))])
    assert Reader(tmp_path).feature(4).top_tokens == (counted,)


def test_a_migration_that_fails_leaves_the_older_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path)
    known = schema.known_migrations()
    step = schema.Migration(len(known) + 1, "CREATE TABLE half (x INTEGER); SELECT nonsense")
    with monkeypatch.context() as patch:
        for module in (schema, connection):
            patch.setattr(module, "known_migrations", lambda: (*known, step))
        with pytest.raises(StoreError):
            Reader(tmp_path).sources()
    with reading(writer.path, 1) as opened:
        assert schema.store_version(opened, writer.path) == len(known)


def test_what_a_killed_process_left_of_a_new_store_is_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "store.duckdb.new").write_bytes(b"half")
    Writer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["store.duckdb"]


def test_a_folder_whose_name_is_not_utf8_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run\udcff"
    folder.mkdir()
    with pytest.raises(StoreError, match="is not UTF-8, which DuckDB needs: rename the folder"):
        Writer(folder)
