"""JSON lines: one object a label, nested, with the scores' details and, where asked for, the contexts."""

from autointerp.export.options import ExportFormat, Order
from autointerp.store.export_rows.select import nested_column

_FEATURES_AT_ONCE = 5_000
_FEATURES_WITH_CONTEXTS = 200


def write_jsonl(order: Order) -> int:
    """Write the lines to a new file, and return their number."""
    options = order.options
    column = nested_column(contexts=options.contexts)
    tables = order.reader.export_rows(
        lambda _: {"line": column},
        options.where,
        baselines=options.baselines,
        n_features=_FEATURES_WITH_CONTEXTS if options.contexts else _FEATURES_AT_ONCE,
    )
    n_rows = 0
    with order.path.open("w", encoding="utf-8", newline="\n") as file:
        for table in tables:
            file.writelines(f"{line}\n" for line in table["line"].to_pylist())
            n_rows += table.num_rows
    return n_rows


FORMAT = ExportFormat(write_jsonl, has_contexts=True)
