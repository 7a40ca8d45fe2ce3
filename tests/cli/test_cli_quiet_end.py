"""A command ends without a word of its libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = "from autointerp.cli import main; main(['status', {folder!r}])"


def test_nothing_is_printed_behind_the_one_line_of_an_error(tmp_path: Path) -> None:
    code = SEARCH.format(folder=str(tmp_path / "nowhere"))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("autointerp: there is no ")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_help_ends_well_where_the_shell_has_closed_a_stream(closed: str) -> None:
    code = "from autointerp.cli import main; main()"
    command = ["sh", "-c", f'"$0" "$@" {closed}', sys.executable, "-c", code, "search", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert ("Usage: " in result.stdout) == (closed == "2>&-")
