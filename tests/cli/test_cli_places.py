"""Files and folders that can't be used, by whatever door they come: one line and status 1."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autointerp.config import EmbedderConfig
from autointerp.config.file import load_pipeline
from autointerp.embedder import Embedder
from autointerp.errors import ExportError, PipelineError
from autointerp.export.export import export_run
from autointerp.search.embed_labels import index_labels
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.run.planted import Planted
from tests.store.making import make
from tests.unprivileged import run_unprivileged

LOOKS = [
    ("status", "RUN"),
    ("show", "RUN", "0"),
    ("neighbors", "RUN", "0"),
    ("search", "RUN", "error handling", "--rerank"),
    ("export", "RUN", "OUT/labels.jsonl"),
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run of two labelled features, indexed, in a folder that can only be read."""
    folder = tmp_path / "run"
    writer = Writer(folder)
    labels = [make.explanation(0, "raising an exception"), make.explanation(1, "winter weather")]
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    writer.add_contexts([make.contexts(0), make.contexts(1)], "c1")
    writer.add_explanations(labels)
    writer.add_scores([make.graded(label) for label in labels])
    index_labels(Reader(folder), writer, Embedder(EmbedderConfig(device="cpu")))
    writer.path.chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def command(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    result = run_unprivileged([sys.executable, "-m", "autointerp", *arguments])
    return result.returncode, result.stdout, result.stderr


def complaint(*arguments: str) -> str:
    """The one line of a command that can't do what it is asked to."""
    status, _, errors = command(*arguments)
    assert status == 1, errors
    (line,) = errors.splitlines()
    return line


@pytest.mark.parametrize("look", LOOKS)
def test_a_run_that_can_only_be_read_is_looked_at(run: Path, tmp_path: Path, look: tuple[str, ...]) -> None:
    arguments = [part.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for part in look]
    status, output, errors = command(*arguments)
    assert (status, errors) == (0, "")
    assert output
    assert [path.name for path in run.iterdir()] == ["store.duckdb"]


def test_a_run_folder_that_may_not_be_entered_is_told(run: Path) -> None:
    run.chmod(0)
    assert "may not be used (permission denied)" in complaint("status", str(run))


def folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize("look", LOOKS)
def test_a_store_that_may_not_be_read_is_told_by_every_command(
    run: Path, tmp_path: Path, look: tuple[str, ...]
) -> None:
    (run / "store.duckdb").chmod(0)
    arguments = [part.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for part in look]
    assert "store.duckdb may not be used (permission denied): check the permissions" in complaint(*arguments)


@pytest.mark.parametrize(
    ("make_bad", "told"), [(folder_there, "is a folder, and a file is needed"), (circle, "lead in a circle")]
)
def test_what_is_no_file_is_told(run: Path, make_bad: Callable[[Path], None], told: str) -> None:
    run.chmod(0o755)
    make_bad(run / "store.duckdb")
    assert told in complaint("status", str(run))


def test_where_nothing_can_be_written_each_command_that_writes_says_so(
    planted: Planted, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(planted.toml("p", run / "runs"), encoding="utf-8")
    told = "may not be used (permission denied): check the permissions of it and of its folder"
    assert told in complaint("collect", str(tmp_path / "p.toml"))
    assert told in complaint("new", str(run / "my.toml"))
    assert told in complaint("export", str(run), str(run / "labels.csv"))
    assert told in complaint("export", str(run), str(run / "more" / "labels.csv"))


@pytest.mark.parametrize("part", ["run.json", "corpus/manifest.json", "run.lock"])
def test_a_part_of_a_run_that_can_not_be_read_is_told(planted: Planted, tmp_path: Path, part: str) -> None:
    file, folder = tmp_path / "p.toml", tmp_path / "runs" / "p"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    (folder / "corpus").mkdir(parents=True)
    manifest = '{"digest": "", "n_tokens": 0, "n_blocks": 0, "shards": []}'
    for name in ("run.json", "corpus/manifest.json", "run.lock"):
        (folder / name).write_text(manifest, encoding="utf-8")
    (folder / part).chmod(0)
    assert f"{part} may not be used (permission denied)" in complaint("collect", str(file))


def test_what_was_collected_and_may_not_be_read_is_not_called_missing(tmp_path: Path) -> None:
    file = tmp_path / "collected.safetensors"
    file.touch()
    file.chmod(0)
    code = f"from pathlib import Path; from autointerp.collect.shards import load_part; load_part(Path({str(file)!r}))"
    told = run_unprivileged([sys.executable, "-c", code]).stderr.splitlines()[-1]
    assert "ShardError" in told
    assert "may not be used (permission denied)" in told


def test_names_too_long_or_in_the_way_are_told(planted: Planted, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("n" * 300, tmp_path / "runs"), encoding="utf-8")
    assert "is longer than the file system takes: choose a shorter one" in complaint("collect", str(file))
    assert "is longer than the file system takes" in complaint("run", "x" * 300)
    assert "is longer than the file system takes" in complaint("show", "x" * 300, "0")
    assert "a file stands where a folder should" in complaint(
        "collect", str(file), "--set", 'name="p"', "--set", f'runs="{file}"'
    )
    assert "is not UTF-8" in complaint("show", os.fsdecode(b"\xff"), "0")


def test_what_can_not_be_used_is_an_error_of_ours_in_python_too(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match="is longer than the file system takes"):
        load_pipeline(str(tmp_path / ("x" * 300)))
    with pytest.raises(ExportError, match="is in the way"):
        export_run(run, tmp_path / "file" / "labels.csv")


def test_an_export_into_a_new_folder_says_that_it_made_it(run: Path, tmp_path: Path) -> None:
    _, told, _ = command("export", str(run), str(tmp_path / "exports" / "labels.csv"))
    assert told == f"Wrote 2 rows to {tmp_path / 'exports' / 'labels.csv'}, in a new folder\n"
    _, told, _ = command("export", str(run), str(tmp_path / "exports" / "labels.csv"))
    assert told == f"Wrote 2 rows to {tmp_path / 'exports' / 'labels.csv'}\n"
