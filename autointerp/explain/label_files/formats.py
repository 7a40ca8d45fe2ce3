"""Files to rows: CSV, TSV, JSON, JSON lines and Parquet, packed or not; folders are read by `folders`.

A row is a mapping of column names to cells, with its place as it is told to a user. What the columns mean is not known
here (`columns`). JSON may be nested, as feature pages and downloads of other tools are: a list under `explanations`,
`features` or `results` gives a row for each of its entries, with what stands beside the list in each of them. An object
whose keys are features, with labels or rows for values, is a list of rows too.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.corpus.sources.files import kind_suffix, open_text
from autointerp.errors import CorpusError, PipelineError, in_one_line
from autointerp.explain.label_files.columns import COLUMNS, FEATURE, LABEL, column_fault, has_columns, is_export
from autointerp.explain.label_files.faults import Faults
from autointerp.identity import parse_feature_id
from autointerp.json_text import parse_json

FORMATS = (
    ".csv, .tsv, .json, .jsonl and .parquet files, compressed or not, and from folders of Delphi's results and of"
    " Neuronpedia's bulk files"
)
_NESTED = ("features", "explanations", "results")
_ESCAPED = re.compile(r"\A'(?='*[=+\-@\t\r])")


class Row(NamedTuple):
    """A row of a file: where it stands, for example `line 12`, and its cells by column."""

    place: str
    cells: Mapping[str, Any]


def rows_of_file(path: Path, faults: Faults) -> Iterator[Row]:
    """The rows of a file of labels.

    Args:
        path: Of the file.
        faults: Gets what is wrong with single rows.

    Raises:
        PipelineError: If the file is of no known format, or can't be read on.
    """
    suffix = kind_suffix(path)
    read = _READERS.get(suffix)
    if not path.is_file() or read is None:
        what = f"ends with {suffix or 'no suffix'}" if path.is_file() else "is not a file"
        raise PipelineError(f"{path} {what}", f"labels are read from {FORMATS}")
    try:
        yield from read(path, faults)
    except CorpusError as error:  # from where all text is read
        raise PipelineError(error.problem, error.remedy) from error


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if (fault := column_fault(names)) is not None:
        raise PipelineError(f"{path}: {fault.problem}", fault.remedy)


def _csv_rows(path: Path, faults: Faults) -> Iterator[Row]:
    with open_text(path) as file:
        header = file.readline().removesuffix("\n")
        delimiter = _delimiter(header)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        _check_columns(path, names)
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        is_ours = is_export(names)
        while True:
            try:
                cells = next(lines, None)
            except csv.Error as error:
                problem = f"no valid CSV ({error})"
                faults.add(f"line {lines.line_num + 1}", problem, "mend that line; what follows was not read")
                return
            if cells is None:
                return
            place = f"line {lines.line_num + 1}"
            if len(cells) > len(names):
                faults.add(place, "more cells than the header has", "put text with commas into double quotes")
            elif cells:
                # What our exports put before a text that a spreadsheet would run is no part of the text.
                as_meant = [_ESCAPED.sub("", cell) for cell in cells] if is_ours else cells
                yield Row(place, dict(zip(names, as_meant, strict=False)))


def _delimiter(header: str) -> str:
    """What stands between the columns: what the header shows to, since a spreadsheet may write semicolons or tabs."""
    for delimiter in (",", "\t", ";"):
        if all(has_columns(next(csv.reader([header], delimiter=delimiter), []), name) for name in (FEATURE, LABEL)):
            return delimiter
    return ","


def _jsonl_rows(path: Path, faults: Faults) -> Iterator[Row]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            place = f"line {number}"
            if not line.strip():
                continue
            try:
                value = parse_json(line)
            except json.JSONDecodeError as error:
                faults.add(place, f"no valid JSON ({error})", "mend that line")
                continue
            yield from _object_rows(value, place, faults)


def _json_rows(path: Path, faults: Faults) -> Iterator[Row]:
    with open_text(path) as file:
        try:
            value = parse_json(file.read())
        except json.JSONDecodeError as error:
            raise PipelineError(f"{path}: no valid JSON ({error})", "mend it, or write JSON lines (.jsonl)") from error
    if isinstance(value, list):
        for number, entry in enumerate(value, start=1):
            yield from _object_rows(entry, f"entry {number}", faults)
    elif isinstance(value, dict) and value and all(parse_feature_id(name) is not None for name in value):
        for name, entry in value.items():
            row = entry if isinstance(entry, dict) else {LABEL: entry}
            yield from _object_rows({FEATURE: name} | row, f"key {name}", faults)
    else:
        yield from _object_rows(value, "", faults)


def _object_rows(value: Any, place: str, faults: Faults) -> Iterator[Row]:
    """The rows of a JSON object; what is no object, or lacks a column, is a fault."""
    if not isinstance(value, dict):
        faults.add(place, "not a JSON object", 'write {"feature": 650, "label": "…"}')
        return
    nested = [name for name in _NESTED if isinstance(value.get(name), list)]
    beside = {name: cell for name, cell in value.items() if not isinstance(cell, dict | list)}
    for name in nested:
        for number, entry in enumerate(value[name], start=1):
            within = f"{place}, {name} {number}".removeprefix(", ")
            if isinstance(entry, dict):
                # The words of an explanation may be called `text`; a feature's text is a context.
                words = {LABEL: entry["text"]} if name == "explanations" and "text" in entry else {}
                entry = beside | words | entry
            yield from _object_rows(entry, within, faults)
    if nested:
        return
    if (fault := column_fault(list(value))) is not None:
        faults.add(place, fault.problem, fault.remedy)
    else:
        yield Row(place, value)


def _parquet_rows(path: Path, faults: Faults) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names)
            wanted = [name for name in names if any(has_columns([name], kind) for kind in COLUMNS)]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(f"row {number}", cells)
    except pa.ArrowException as error:
        raise PipelineError(f"{path} is no valid Parquet file ({in_one_line(error)})", "write it again") from error
    except OSError as error:
        raise PipelineError(f"{path} can't be read ({error.strerror})", "check its permissions") from error


_READERS = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".parquet": _parquet_rows,
}
