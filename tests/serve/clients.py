"""The unmodified client of Goodfire's Ember, where `make test` put it: apart, since it needs an older httpx."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOODFIRE = Path(__file__).parents[2] / ".goodfire"
needs_goodfire = pytest.mark.skipif(
    not (GOODFIRE / ".installed").exists(), reason="`make test` installs goodfire where an index has it"
)
# The client asks for the main thread's event loop, and makes none.
_BEFORE = "import asyncio\nasyncio.set_event_loop(asyncio.new_event_loop())\n"


def printed_by_goodfire(program: str) -> str:
    """What a program that imports the client prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BEFORE + program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(GOODFIRE)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
