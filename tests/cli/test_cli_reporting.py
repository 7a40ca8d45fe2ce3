"""What a batch job's log shows of a stage under way."""

import pytest

from autointerp.cli import reporting
from autointerp.cli.reporting import ConsoleReporter


def test_the_time_left_is_the_stage_s_own_where_it_knows_and_else_guessed_from_the_items(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_LINE_EVERY_S", 0.0)
    with ConsoleReporter() as reporter:
        reporter.progress("collect", 0, 4)
        reporter.progress("collect", 2, 4, "9 tokens/s", seconds_left=7200.0)
        reporter.progress("explain", 0, 4, "nothing is left")
        reporter.progress("explain", 1, 4, "nothing is left")
        reporter.progress("explain", 2, 4, "nothing is left")
    first, told, before, began, guessed = capsys.readouterr().err.splitlines()
    assert first == "collect   0 of 4"
    assert told == "collect   2 of 4; 9 tokens/s, 2 h 0 min left"
    assert before == "explain   0 of 4; nothing is left"
    # The first item may have waited for what all share, so nothing is guessed from it.
    assert began == "explain   1 of 4; nothing is left"
    assert guessed.startswith("explain   2 of 4, about ")
    assert guessed.endswith(" left; nothing is left")
