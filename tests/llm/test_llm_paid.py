"""What a run has paid is read from its journal wherever it lies, and the journal is left as it is."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autointerp import open_run
from autointerp.cli import main
from autointerp.errors import RunError
from autointerp.records import Usage
from autointerp.run.on_disk.paid import find_paid, payer
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.unprivileged import run_unprivileged

PAY = """
import os, sys
from pathlib import Path
from autointerp.llm.journal import Journal, Payment
from autointerp.llm.protocol import RawAnswer
journal = Journal(Path(sys.argv[1]))
cost_usd = float(sys.argv[3]) if sys.argv[3] else None
answer = RawAnswer("yes", "complete", "m", 1, 0, 1, 0)
journal.put("key", answer, Payment(sys.argv[4], "m", 10, cost_usd)).result()
if sys.argv[2] == "killed":
    os._exit(0)
journal.close()
"""


def pay(folder: Path, *, killed: bool, cost_usd: float | None = 0.5, payer: str = "") -> None:
    """Have another process pay half a dollar, and close its journal or not."""
    end = "killed" if killed else "closed"
    command = [sys.executable, "-c", PAY, str(folder / "journal.sqlite"), end, str(cost_usd or ""), payer]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_paid_is_told_of_a_copy_that_can_only_be_read(tmp_path: Path, killed: bool) -> None:
    folder = tmp_path / "run"
    Writer(folder).set_run(RunRecord("run", {"llm": {"journal": None}}, "0", datetime.now(UTC)))
    pay(folder, killed=killed)
    before = sorted(path.name for path in folder.iterdir())
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    result = run_unprivileged([sys.executable, "-m", "autointerp", "status", str(folder)])
    assert (result.returncode, result.stderr) == (0, "")
    assert "paid in all, as the journal says: $0.5000\n" in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_damaged_journal_does_not_keep_the_status_from_being_told(tmp_path: Path) -> None:
    Writer(tmp_path).set_run(RunRecord("run", {"llm": {"journal": None}}, "0", datetime.now(UTC)))
    (tmp_path / "journal.sqlite").write_bytes(b"no database" * 1000)
    result = run_unprivileged([sys.executable, "-m", "autointerp", "status", str(tmp_path)])
    assert (result.returncode, result.stderr) == (0, "")
    assert "paid in all: unknown (the journal " in result.stdout


def test_calls_whose_price_is_not_known_are_not_told_as_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Writer(tmp_path).set_run(RunRecord("run", {"llm": {"journal": None}}, "0", datetime.now(UTC)))
    pay(tmp_path, killed=False, cost_usd=None)
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path)])
    assert "says: $0.0000, and calls besides whose price is unknown\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["paid"] == {"known_usd": 0.0, "is_all": False, "problem": None}


def test_without_a_journal_nothing_is_said_to_be_paid(tmp_path: Path) -> None:
    assert find_paid("run", tmp_path, None, has_paid=True) is None
    pay(tmp_path, killed=False)
    assert find_paid("run", tmp_path, None, has_paid=True) == (0.5, True)
    assert find_paid("another", tmp_path, str(tmp_path / "journal.sqlite"), has_paid=True) == (0.0, True)


def test_a_run_is_one_payer_by_whichever_link_its_folder_is_reached(tmp_path: Path) -> None:
    (tmp_path / "disk" / "run").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    shared = tmp_path / "shared"
    shared.mkdir()
    pay(shared, killed=False, payer=payer("run", tmp_path / "runs" / "run", "shared"))
    journal = str(shared / "journal.sqlite")
    for folder in (tmp_path / "runs" / "run", tmp_path / "disk" / "run", tmp_path / "disk" / ".." / "runs" / "run"):
        assert find_paid("run", folder, journal, has_paid=True) == (0.5, True)
    assert find_paid("run", tmp_path / "run", journal, has_paid=True) == (0.0, True)


@pytest.mark.parametrize(
    ("journal", "what_to_do"),
    [("shared.sqlite", "ask from the folder in which the run was started"), ("/nowhere/shared.sqlite", "put it back")],
)
def test_a_shared_journal_that_is_not_there_is_told_once_something_was_paid(
    journal: str, what_to_do: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = Writer(tmp_path)
    writer.set_run(RunRecord("run", {"llm": {"journal": journal}}, "0", datetime.now(UTC)))
    assert open_run(tmp_path).paid() is None
    writer.set_stage("explain", "fingerprint", "stopped", usage=Usage(n_calls=1, input_tokens=9, output_tokens=1))
    problem = f"the journal {journal} (llm.journal) is not there"
    with pytest.raises(RunError) as caught:
        open_run(tmp_path).paid()
    assert (caught.value.problem, caught.value.remedy) == (problem, what_to_do)
    with pytest.raises(SystemExit) as ended:
        main(["status", str(tmp_path)])
    assert ended.value.code == 0
    assert f"paid in all: unknown ({problem}: {what_to_do})\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path), "--json"])
    paid = json.loads(capsys.readouterr().out)["paid"]
    assert paid == {"known_usd": None, "is_all": False, "problem": f"{problem}: {what_to_do}"}
