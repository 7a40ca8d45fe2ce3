"""A folder that Hugging Face's `datasets` loads: the rows of our Parquet in shards, with a data card as `README.md`."""

import pyarrow.parquet as pq

from autointerp.export.card import data_card
from autointerp.export.options import ExportFormat, Order
from autointerp.export.parquet import schema, tables

_ROWS_A_SHARD = 500_000


def write_datasets(order: Order) -> int:
    """Write the folder, and return the number of rows."""
    n_rows, n_shards, of_shard = 0, 0, 0
    columns = schema(order)
    folder = order.path / "data"
    folder.mkdir()
    writer: pq.ParquetWriter | None = None
    try:
        for table in tables(order):
            if writer is None or of_shard >= _ROWS_A_SHARD:
                if writer is not None:
                    writer.close()
                writer = pq.ParquetWriter(folder / f"train-{n_shards:05}.parquet", columns, compression="zstd")
                n_shards, of_shard = n_shards + 1, 0
            if table.num_rows:  # the library can't read a group without rows
                writer.write_table(table)
            n_rows, of_shard = n_rows + table.num_rows, of_shard + table.num_rows
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        pq.ParquetWriter(folder / "train-00000.parquet", columns).close()
    (order.path / "README.md").write_text(data_card(order, n_rows), encoding="utf-8")
    return n_rows


FORMAT = ExportFormat(write_datasets, is_folder=True)
