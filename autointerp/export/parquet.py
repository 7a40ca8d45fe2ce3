"""Parquet with typed, flat columns, written some thousand lines at a time."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.export.flat import flat_columns, flat_row
from autointerp.export.items import ExportItem, Provenance

_ROWS_PER_GROUP = 10_000
_ARROW_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def write_parquet(items: Iterable[ExportItem], known: Provenance, path: Path) -> int:
    """Write the lines to a new file, and return their number."""
    schema = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in flat_columns(known).items()])
    rows = (flat_row(item, known) for item in items)
    n_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            n_rows += len(some)
    return n_rows
