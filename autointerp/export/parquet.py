"""Parquet with typed columns, written some thousand features at a time.

Besides the flat columns that CSV has too there are lists: `histogram`, and of structs `top_tokens`, `following_tokens`,
`top_logits` and `bottom_logits`, with the fields of `records.InputToken`, `NextToken` and `TokenLogit`; and
`top_tokens_n_missed`, the most by which a count in `top_tokens` can be too low.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.export.options import ExportFormat, Order
from autointerp.store.export_rows.columns import LIST_COLUMNS, Column, flat_columns


def write_parquet(order: Order) -> int:
    """Write the lines to a new file, and return their number."""
    n_rows = 0
    # Opened here: pyarrow refuses a name that is not UTF-8.
    with order.path.open("wb") as file, pq.ParquetWriter(file, schema(order), compression="zstd") as writer:
        for table in tables(order):
            writer.write_table(table)
            n_rows += table.num_rows
    return n_rows


def schema(order: Order) -> pa.Schema:
    """The columns and their types."""
    return pa.schema({name: column.kind for name, column in _columns(order.reader.scorers()).items()})


def tables(order: Order) -> Iterator[pa.Table]:
    """The rows, some thousand features at a time."""
    return order.reader.export_rows(_columns, order.options.where, baselines=order.options.baselines)


def _columns(scorers: Sequence[str]) -> dict[str, Column]:
    return {**flat_columns(scorers), **LIST_COLUMNS}


FORMAT = ExportFormat(write_parquet)
