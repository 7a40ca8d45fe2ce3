"""The unmodified client of Goodfire's Ember, in an environment of its own: it pins an older httpx than ours."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

WANTED = ("goodfire==0.3.5", "httpx>=0.27.2,<0.28")
# The client finds no event loop of its own where there is none.
_BEFORE = """
import asyncio, json, sys
asyncio.set_event_loop(asyncio.new_event_loop())
import goodfire
client = goodfire.Client(api_key="a key", base_url=sys.argv[1])
def told(**result):
    print(json.dumps(result))
"""


def install(folder: Path) -> None:
    """Get the client, and the httpx that it pins; what else it needs we have in versions that it takes."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "site"), *WANTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PIP_CONSTRAINT": ""})
    (folder / "why").write_text(done.stderr if done.returncode else "", encoding="utf-8")


def told_by_goodfire(environment: Path, address: str, program: str) -> Any:
    """What a program of the client's tells, in JSON."""
    if why := (environment / "why").read_text(encoding="utf-8"):
        pytest.skip(f"goodfire can't be installed: {why.splitlines()[-1]}")
    code = _BEFORE + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, address],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(environment / "site")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
