"""CSV of RFC 4180 in UTF-8: flat columns, an empty cell where there is no value.

A text cell that a spreadsheet would run as a formula (it begins with =, +, -, @, a tab or a carriage return) gets an
apostrophe in front, as OWASP advises ("CSV Injection"); so does one that begins with apostrophes and then one of these,
so that whoever takes one apostrophe off has every text back (`explain.label_files` does).
"""

import csv
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from autointerp.export.flat import Cell, flat_columns, flat_row
from autointerp.export.items import ExportItem, Provenance

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(items: Iterable[ExportItem], known: Provenance, path: Path) -> int:
    """Write the lines to a new file, and return their number."""
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(flat_columns(known)))
        writer.writeheader()
        for item in items:
            writer.writerow({name: _cell(value) for name, value in flat_row(item, known).items()})
            n_rows += 1
    return n_rows


def no_formula(text: str) -> str:
    """A text as a cell that no spreadsheet runs."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def _cell(value: Cell) -> Cell:
    if isinstance(value, str):
        return no_formula(value)
    return value.isoformat() if isinstance(value, datetime) else value
