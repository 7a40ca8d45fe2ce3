"""CSV of RFC 4180 in UTF-8: flat columns, an empty cell where there is no value.

A text cell that a spreadsheet would run as a formula (it begins with =, +, -, @, a tab or a carriage return) gets an
apostrophe in front, as OWASP advises ("CSV Injection"); so does one that begins with apostrophes and then one of these,
so that whoever takes one apostrophe off has every text back (`explain.label_files` does).

Where people wrote anything about the run's features, there are columns for it (`export.notes`).
"""

import csv
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autointerp.export.notes import NOTE_COLUMNS, flat_notes, read_notes
from autointerp.export.options import ExportFormat, Order
from autointerp.store.export_rows.columns import Column, flat_columns
from autointerp.store.export_rows.expressions import moment

_FORMULA = r"^'*[=+\-@\t\r]"


def write_csv(order: Order) -> int:
    """Write the lines to a new file, and return their number."""
    options, n_rows, notes = order.options, 0, read_notes(order.reader)
    with order.path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_columns(order.reader.scorers()), *(NOTE_COLUMNS if notes else ())])
        for table in order.reader.export_rows(_columns, options.where, baselines=options.baselines):
            cells = [_cells(column) for column in table.columns]
            if notes:
                keys = [table[name].to_pylist() for name in ("source_id", "feature_index", "explanation_id")]
                told = [
                    flat_notes(notes.get((source, index)), label) for source, index, label in zip(*keys, strict=True)
                ]
                cells += [[no_formula(cell) for cell in column] for column in zip(*told, strict=True)]
            writer.writerows(zip(*cells, strict=True))
            n_rows += table.num_rows
    return n_rows


def no_formula(text: str) -> str:
    """A text as a cell that no spreadsheet runs."""
    return f"'{text}" if re.match(_FORMULA, text) else text


def _columns(scorers: Sequence[str]) -> dict[str, Column]:
    # Moments as text already: pyarrow imports pandas to make Python's of them.
    return {
        name: Column(pa.string(), moment(column.sql)) if pa.types.is_timestamp(column.kind) else column
        for name, column in flat_columns(scorers).items()
    }


def _cells(column: pa.ChunkedArray) -> Sequence[Any]:
    if pa.types.is_string(column.type):
        runs = pc.match_substring_regex(column, _FORMULA)
        if pc.any(runs).as_py():
            column = pc.if_else(runs, pc.binary_join_element_wise("'", column, ""), column)
    cells: list[Any] = column.to_pylist()
    return cells


FORMAT = ExportFormat(write_csv)
