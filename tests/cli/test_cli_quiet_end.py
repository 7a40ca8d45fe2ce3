"""A command ends without a word of its libraries."""

import subprocess
import sys
from pathlib import Path

SEARCH = "from autointerp.cli import main; main(['status', {folder!r}])"


def test_nothing_is_printed_behind_the_one_line_of_an_error(tmp_path: Path) -> None:
    code = SEARCH.format(folder=str(tmp_path / "nowhere"))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("autointerp: there is no ")
