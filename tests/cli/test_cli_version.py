"""The program says which version it is, by whatever name it is called."""

import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import autointerp

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_told_by_the_command_and_by_the_package() -> None:
    command = [sys.executable, "-m", "autointerp", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"autointerp {version('autointerp')}\n"
    assert autointerp.__version__ == version("autointerp")


def test_the_licence_that_the_metadata_names_lies_in_the_project() -> None:
    assert metadata("autointerp")["License-Expression"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
