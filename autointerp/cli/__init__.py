"""The command line: `autointerp`."""

from autointerp.cli.main import main

__all__ = ["main"]
