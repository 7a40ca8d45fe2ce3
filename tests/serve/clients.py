"""The unmodified clients of Goodfire's Ember and of Neuronpedia, where `make test` put them, each apart from ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOODFIRE = Path(__file__).parents[2] / ".goodfire"
needs_goodfire = pytest.mark.skipif(
    not (GOODFIRE / ".installed").exists(), reason="`make test` installs goodfire where an index has it"
)
NEURONPEDIA = Path(__file__).parents[2] / ".neuronpedia"
needs_neuronpedia = pytest.mark.skipif(
    not (NEURONPEDIA / ".installed").exists(), reason="`make test` installs neuronpedia where an index has it"
)
# Goodfire's client asks for the main thread's event loop, and makes none.
_BEFORE = "import asyncio\nasyncio.set_event_loop(asyncio.new_event_loop())\n"


def printed_by_goodfire(program: str) -> str:
    """What a program that imports the client prints."""
    return _printed(_BEFORE + program, GOODFIRE, None)


def printed_by_neuronpedia(program: str, folder: Path) -> str:
    """What a program that imports Neuronpedia's client prints, which looks for its settings in the current folder."""
    return _printed(program, NEURONPEDIA, folder)


def _printed(program: str, client: Path, folder: Path | None) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(client)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
