"""Rows of JSON Lines, Parquet files and Hugging Face datasets: each the value of one column, with its id.

What can't be read at all stops the run, and so does a file whose first row lacks the column. A row that can't be read
while its file can is given as why.

A file is read as it is asked for. In memory are one line, or so many rows of a Parquet file as are 16 MiB together, if
all are of about one size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from autointerp.config import CorpusConfig
from autointerp.corpus.counts import Unfit
from autointerp.corpus.sources.chat import CONVERSATION_KEYS
from autointerp.corpus.sources.files import open_text, unreadable
from autointerp.errors import CorpusError, in_one_line
from autointerp.hub import stream_from_hub
from autointerp.json_text import parse_json
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

# What data sets call a column of token ids.
TOKEN_COLUMNS = ("input_ids", "tokens")
_BATCH_BYTES = 16 * 2**20
_MOST_BATCH_ROWS = 8192


class Row(NamedTuple):
    """One row of the corpus.

    Attributes:
        document_id: Names it for a person.
        value: What the column holds, or an `Unfit`.
        group_id: What it belongs to; empty where nothing is known of that.
    """

    document_id: str
    value: object
    group_id: str = ""


def read_jsonl(path: Path, name: str, config: CorpusConfig) -> Iterator[Row]:
    """Yield the rows of one JSON Lines file; `name` stands for it in ids.

    Raises:
        CorpusError: If it can't be read, a line is no JSON object, or the first one lacks the column.
    """
    column: str | None = None
    with open_text(path) as lines:
        number = 0
        for line in lines:  # by no `enumerate`, which would hold the line while its value is used
            number += 1
            if line.isspace():
                continue
            place = f"{path} line {number}"
            row = _json_object(line, place)
            del line  # which may take as much memory as there is for it once
            column = column or _choose_column(config, list(row), place)
            value = row.get(column, _lacks(config, column))
            group_id = _group_of(row.get(config.group_column or ""), config, place)
            del row
            yield Row(f"{name}#{number}", value, group_id)


def _json_object(line: str, place: str) -> dict[str, object]:
    try:
        row = parse_json(line)
    except json.JSONDecodeError as error:
        remedy = "mend or remove that line"
        if line.lstrip().startswith("["):
            remedy = "write each object of the list on a line of its own (`jq -c '.[]'`)"
        raise CorpusError(f"{place} is not JSON ({error.msg})", remedy) from error
    if not isinstance(row, dict):
        raise CorpusError(f"{place} is not a JSON object", 'write it as {"text": "…"}')
    return row


def read_parquet(path: Path, name: str, config: CorpusConfig) -> Iterator[Row]:
    """Yield the rows of one Parquet file; `name` stands for it in ids.

    Raises:
        CorpusError: If it can't be read, or lacks the column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Opened here: pyarrow refuses a name that is not UTF-8.
        with path.open("rb") as raw, pq.ParquetFile(raw) as file:
            column = _choose_column(config, file.schema_arrow.names, str(path))
            number = 0
            for batch in file.iter_batches(_batch_rows(file.metadata, column), columns=_wanted(column, config)):
                groups = repeat(None) if config.group_column is None else batch.column(config.group_column)
                for value, group in zip(batch.column(column), groups, strict=False):
                    known = None if group is None else _to_python(group)
                    group_id = _group_of(known, config, f"{path} row {number}")
                    yield Row(f"{name}#{number}", _to_python(value), group_id)
                    number += 1
    except pa.ArrowException as error:
        raise CorpusError(f"{path} is not a readable parquet file ({in_one_line(error)})", "write it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _batch_rows(metadata: FileMetaData, column: str) -> int:
    """Rows to read at once: as many as are some MiB by the largest mean of a row group."""
    largest = 1
    for group in (metadata.row_group(index) for index in range(metadata.num_row_groups)):
        chunks = (group.column(index) for index in range(group.num_columns))
        # A list lies in chunks below its column, and a column's own name may have dots.
        n_bytes = sum(c.total_uncompressed_size for c in chunks if f"{c.path_in_schema}.".startswith(f"{column}."))
        largest = max(largest, n_bytes // max(group.num_rows, 1))
    return min(max(_BATCH_BYTES // largest, 1), _MOST_BATCH_ROWS)


def _to_python(value: Any) -> object:
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return Unfit("not UTF-8", f"is not UTF-8 ({error.reason})", "write the file again, with text in UTF-8")


def is_stream(config: CorpusConfig) -> bool:
    """Whether the corpus comes over the network, with an end that may be far or nowhere; files end."""
    return config.kind == "huggingface" and config.path is not None and not Path(config.path).is_dir()


def read_huggingface(config: CorpusConfig) -> Iterator[Row]:
    """Yield the rows of a Hugging Face dataset, or of a folder of one.

    Raises:
        CorpusError: If it can't be loaded, or its first row lacks the column.
    """
    import datasets

    assert config.path is not None, "CorpusConfig requires a path for this kind"
    prefix = "/".join(part for part in (config.path, config.subset, config.dataset_split) if part)
    remedy = (
        "check corpus.path, subset, dataset_split and the network, or give its files by corpus.kind = 'jsonl' or "
        "'parquet'"
    )

    def open_rows() -> Any:
        rows = datasets.load_dataset(
            config.path, config.subset, split=config.dataset_split, revision=config.revision, streaming=True
        )
        if rows.column_names is None:
            return rows
        # Other columns may be images, which cost time to decode.
        return rows.select_columns(_wanted(_choose_column(config, rows.column_names, prefix), config))

    try:
        column: str | None = None
        what = f"the Hugging Face dataset {prefix}"
        rows = stream_from_hub(open_rows, what, remedy, CorpusError) if is_stream(config) else open_rows()
        for number, row in enumerate(rows):
            column = column or _choose_column(config, list(row), prefix)
            group_id = _group_of(row.get(config.group_column or ""), config, f"{prefix}#{number}")
            yield Row(f"{prefix}#{number}", row.get(column, _lacks(config, column)), group_id)
    except ImportError as error:
        raise CorpusError(
            f"the Hugging Face dataset {prefix} needs a package that is not installed ({in_one_line(error)})",
            "install it, or give files that need none",
        ) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(
            f"the Hugging Face dataset {prefix} can't be loaded ({in_one_line(error)})", remedy
        ) from error


def _choose_column(config: CorpusConfig, columns: list[str], place: str) -> str:
    """The column to read: the one that is asked for, or the first there is of those that usually hold it."""
    if config.group_column is not None and config.group_column not in columns:
        remedy = f"set corpus.group_column to one of {', '.join(columns) or '(none)'}"
        raise CorpusError(f"{place} has no {config.group_column!r}", remedy)
    usual = CONVERSATION_KEYS if config.chat else ("text",)
    asked = config.token_column or config.column
    wanted = usual if asked is None else (asked,)
    for column in wanted:
        if column in columns:
            return column
    names = " or ".join(repr(column) for column in wanted)
    remedy = f"set {_key(config)} to one of {', '.join(columns) or '(none)'}"
    if asked is None and (tokens := [column for column in TOKEN_COLUMNS if column in columns]):
        remedy += f"; or, as the corpus is tokenized already, corpus.token_column to {tokens[0]}"
    raise CorpusError(f"{place} has no {names}", remedy)


def _wanted(column: str, config: CorpusConfig) -> list[str]:
    """The columns to read, each once."""
    return list(dict.fromkeys(name for name in (column, config.group_column) if name is not None))


def _group_of(value: object, config: CorpusConfig, place: str) -> str:
    """The group that a row names; empty where it names none."""
    column = config.group_column
    is_nan = isinstance(value, float) and math.isnan(value)
    if column is None or value is None or is_nan or (isinstance(value, str) and not value.strip()):
        return ""
    if isinstance(value, (list, dict, bytes, Unfit)):
        kind = "no UTF-8 text" if isinstance(value, Unfit) else f"a {type(value).__name__}"
        raise CorpusError(
            f"{place}: {column!r} is {kind}, which names no group", "set corpus.group_column to one of text or numbers"
        )
    return valid_text(f"{column}={value}")


def _key(config: CorpusConfig) -> str:
    return "corpus.column" if config.token_column is None else "corpus.token_column"


def _lacks(config: CorpusConfig, column: str) -> Unfit:
    return Unfit("no such column", f"has no {column!r}", f"set {_key(config)} to one that is there")
