"""Parquet with typed columns, written some thousand lines at a time.

Besides the flat columns that CSV has too there are lists: `histogram`, and of structs `top_tokens`, `following_tokens`,
`top_logits` and `bottom_logits`, with the fields of their records; and `top_tokens_n_missed`, the most by which a count
in `top_tokens` can be too low.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

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
_N_MISSED = "top_tokens_n_missed"
_LOGITS = pa.list_(pa.struct({"token": pa.string(), "logit": pa.float64()}))
_LIST_TYPES = {
    "histogram": pa.list_(pa.int64()),
    "top_tokens": pa.list_(pa.struct({"token": pa.string(), "n_active": pa.int64(), "mean_activation": pa.float64()})),
    "following_tokens": pa.list_(pa.struct({"token": pa.string(), "n_peaks": pa.int64(), "lift": pa.float64()})),
    "top_logits": _LOGITS,
    "bottom_logits": _LOGITS,
}


def flat_types(known: Provenance) -> dict[str, pa.DataType]:
    """The flat columns' types in Arrow."""
    return {name: _ARROW_TYPES[kind] for name, kind in flat_columns(known).items()}


def write_parquet(items: Iterable[ExportItem], known: Provenance, path: Path) -> int:
    """Write the lines to a new file, and return their number."""
    schema = pa.schema(flat_types(known) | {_N_MISSED: pa.int64()} | _LIST_TYPES)
    rows = (flat_row(item, known) | _of_feature(item) for item in items)
    n_rows = 0
    # Opened here: pyarrow refuses a name that is not UTF-8.
    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            n_rows += len(some)
    return n_rows


def _of_feature(item: ExportItem) -> dict[str, Any]:
    feature = item.labelled.feature
    tokens = {name: getattr(feature, name) for name in _LIST_TYPES if name != "histogram"}
    return {
        _N_MISSED: feature.top_tokens_n_missed,
        "histogram": list(feature.histogram),
        **{name: [asdict(token) for token in found] for name, found in tokens.items()},
    }
