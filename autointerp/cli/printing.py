"""Printing what a command found: lines for people, or JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import typer

from autointerp.valid_text import visible


def print_result(content: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print the one or the other.

    Args:
        content: Of records, dictionaries, lists and what JSON has.
        lines: The same for people; read only where they are printed.
        as_json: Which.
    """
    if as_json:
        typer.echo(json.dumps(_plain(content), ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(map(visible, lines)))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(inner) for name, inner in asdict(value).items()}
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else value
