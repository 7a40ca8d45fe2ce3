"""Commands as a user gives them, in the tests' own process."""

import pytest

from autointerp.cli import main


def exit_status(*arguments: str) -> int:
    """How a command ends."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that does all that it was asked to."""
    capsys.readouterr()
    assert exit_status(*arguments) == 0
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that can't do what it was asked to."""
    capsys.readouterr()
    assert exit_status(*arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("autointerp: ")]
    assert len(lines) == 1
    return lines[0]
