"""What a user can cause ends in one line that says what to do, and status 1; nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from autointerp.cli.starting_file import starting_file
from autointerp.config.file import load_pipeline, pipeline_path, ready_made
from tests.command import complaint, exit_status
from tests.run.planted import FEATURES, Planted


@pytest.fixture(scope="module")
def collected(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline file whose run has been collected."""
    folder = tmp_path_factory.mktemp("collected")
    file = folder / "p.toml"
    file.write_text(planted.toml("p", folder / "runs"), encoding="utf-8")
    exit_status("collect", str(file))
    return file


def pipeline_file(planted: Planted, folder: Path, *more: str) -> str:
    file = folder / "p.toml"
    file.write_text(planted.toml("p", folder / "runs", *more), encoding="utf-8")
    return str(file)


def test_a_missing_pipeline_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no pipeline file 'nothing.toml'" in complaint(capsys, "run", "nothing.toml")


def test_a_wrong_key(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = pipeline_file(planted, tmp_path)
    assert "there is no key `corpus.n_token`" in complaint(capsys, "run", file, "--set", "corpus.n_token=5")


def test_a_file_of_labels_with_several_faults(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("feature,label\n0,ship\nx,river\n1,\n")
    more = ["[explain]", 'explainer = "outside"', f'labels = "{tmp_path / "labels.csv"}"']
    assert exit_status("run", pipeline_file(planted, tmp_path, *more)) == 1
    first, *faults = capsys.readouterr().err.splitlines()[-3:]
    assert first.startswith("autointerp: ")
    assert first.endswith("labels.csv has 2 faults: mend these rows, or leave them out")
    assert [fault[:10] for fault in faults] == ["  line 3: ", "  line 4: "]
    assert not (tmp_path / "runs/p/corpus").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("subject.model=./no-such-model", "there is no folder ./no-such-model"),
        ("coder.path=no-such-coder", "there is no coder folder no-such-coder"),
        ("coder.hook=blocks.9.hook_resid_post", "blocks.9"),
        ("corpus.path=no-such-file.jsonl", "no-such-file.jsonl"),
        ("corpus.column=body", "body"),
        ("subject.device=cuda:7", "cuda:7"),
    ],
)
def test_parts_that_do_not_exist(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    assert message in complaint(capsys, "collect", pipeline_file(planted, tmp_path), "--set", override)


def test_a_coder_of_another_width(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    override = "subject.model=all-minilm-l6-v2"
    line = complaint(capsys, "collect", pipeline_file(planted, tmp_path), "--set", override)
    assert "width 128" in line
    assert "384" in line


def test_an_empty_corpus(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    file = pipeline_file(planted, tmp_path)
    line = complaint(capsys, "collect", file, "--set", "corpus.kind=text", "--set", f"corpus.path={tmp_path}/empty")
    assert "empty" in line


def test_a_corpus_too_small_for_any_feature(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.txt").write_text("a ship on the river and a tiger in the forest " * 3, encoding="utf-8")
    file = pipeline_file(planted, tmp_path)
    overrides = ["--set", "corpus.kind=text", "--set", f"corpus.path={tmp_path}/one.txt"]
    assert "no feature of planted@" in complaint(capsys, "run", file, *overrides)


def test_no_key(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = pipeline_file(planted, tmp_path, "[explain]", 'explainer = "examples"', "[explain.model]", 'model = "m"')
    assert "OPENAI_API_KEY is not set" in complaint(capsys, "run", file)


def test_a_stage_before_its_time(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "`autointerp collect`" in complaint(capsys, "explain", pipeline_file(planted, tmp_path))


def test_labels_are_asked_for_before_there_are_any(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "`autointerp explain`" in complaint(capsys, "index", str(collected))
    assert exit_status("score", str(collected)) == 1
    assert "are not tried by this command: run `autointerp explain`" in capsys.readouterr().err


def test_what_was_lost_of_a_finished_stage_is_made_again(planted: Planted, tmp_path: Path) -> None:
    file = pipeline_file(planted, tmp_path)
    run = tmp_path / "runs" / "p"
    assert exit_status("collect", file) == 0
    collected = run / "collect" / "0-res-12" / "collected.safetensors"
    before = collected.read_bytes()
    collected.unlink()
    next((run / "corpus").glob("shard-*.npz")).unlink()
    assert exit_status("collect", file) == 0
    assert collected.read_bytes() == before


def test_runs_that_is_a_file(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("not a folder", encoding="utf-8")
    assert "a file stands where a folder should" in complaint(capsys, "collect", pipeline_file(planted, tmp_path))


def test_starting_over_keeps_the_answers_that_were_paid_for(planted: Planted, tmp_path: Path) -> None:
    file = pipeline_file(planted, tmp_path)
    run = tmp_path / "runs" / "p"
    run.mkdir(parents=True)
    (run / ".run.json.0badcafe.part").write_text("{", encoding="utf-8")  # killed before its first file was whole
    assert exit_status("collect", file) == 0
    (run / "journal.sqlite").write_bytes(b"paid")
    assert exit_status("collect", file, "--no-resume") == 0
    assert (run / "journal.sqlite").read_bytes() == b"paid"


def test_two_ways_of_choosing_features(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "run", pipeline_file(planted, tmp_path), "--features", "0", "--sample", "3")
    assert "exclude each other" in line


def test_a_run_folder_of_another_configuration(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "collect", str(collected), "--set", "seed=5")
    assert "belongs to another configuration (seed is 0 there, 5 now)" in line


def test_a_run_folder_of_an_earlier_version(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = collected.parent / "runs/p/run.json"
    now = file.read_text(encoding="utf-8")
    content = json.loads(now)
    del content["settings"]["corpus.groups"]
    file.write_text(json.dumps(content), encoding="utf-8")
    line = complaint(capsys, "collect", str(collected))
    file.write_text(now, encoding="utf-8")
    assert "was made by an earlier version of autointerp, which had no `corpus.groups`" in line
    assert "restore the setting" not in line


def test_a_mended_path_may_take_over_a_folder_in_which_nothing_is_finished(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pipeline_file(planted, tmp_path)
    assert "nosuch.jsonl" in complaint(capsys, "collect", file, "--set", "corpus.path=nosuch.jsonl")
    assert exit_status("collect", file) == 0


@pytest.mark.parametrize("option", ["detection=7", "detection", "detection=nan", "=0.5x"])
def test_a_least_score_that_is_none(collected: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert "from 0 to 1" in complaint(capsys, "search", str(collected.parent / "runs/p"), "x", "--min-score", option)


def test_an_unknown_feature(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(collected.parent / "runs" / "p")
    assert f"0 to {len(FEATURES) - 1}" in complaint(capsys, "show", run, "99")
    assert "is not a feature" in complaint(capsys, "show", run, "ship")


def test_a_folder_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path) in complaint(capsys, "status", str(tmp_path))


def test_a_store_from_a_newer_version(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = pipeline_file(planted, tmp_path)
    exit_status("collect", file)
    store = tmp_path / "runs" / "p" / "store.duckdb"
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE schema_version SET version = 999")
    assert "newer" in complaint(capsys, "status", str(store.parent))
    assert "newer" in complaint(capsys, "run", file)


def test_a_second_process_in_the_same_folder(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with (collected.parent / "runs" / "p" / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is running" in complaint(capsys, "run", str(collected))


def test_a_folder_that_holds_something_else(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "runs" / "p" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work", encoding="utf-8")
    for option in ("--resume", "--no-resume"):
        assert "holds files but no run" in complaint(capsys, "run", pipeline_file(planted, tmp_path), option)
    assert precious.read_text(encoding="utf-8") == "years of work"


@pytest.mark.slow
def test_a_full_disk_is_told_and_what_was_finished_is_gone_on_from(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A file-size limit makes the kernel refuse to write on, as a full disk does, to a process of our own.
    file = pipeline_file(planted, tmp_path)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "from autointerp.cli import main\n"
        f"main(['collect', {file!r}])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert result.returncode == 1, result.stderr
    assert "no space" in result.stderr.splitlines()[-1]
    assert exit_status("collect", file) == 0


def test_a_starting_file_that_exists_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.toml").write_text("mine", encoding="utf-8")
    assert "exists already" in complaint(capsys, "new", str(tmp_path / "my.toml"))
    assert (tmp_path / "my.toml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ready_made())
def test_a_starting_file_loads_to_what_it_was_begun_from(name: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(starting_file(pipeline_path(name), path), encoding="utf-8")
    assert load_pipeline(str(path)).model_copy(update={"name": name}) == load_pipeline(name)
