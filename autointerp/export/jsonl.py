"""JSON lines: one object a label, nested, with the scores' details and, where asked for, the contexts.

What people wrote about a feature (`store.notes`) stands in its lines as `notes`, where there is anything.
"""

from autointerp.export.notes import nested_notes, read_notes
from autointerp.export.options import ExportFormat, Order
from autointerp.records.notes import FeatureNotes
from autointerp.store.export_rows.columns import FEATURE_INDEX, SOURCE_ID
from autointerp.store.export_rows.select import nested_column

_FEATURES_AT_ONCE = 5_000
_FEATURES_WITH_CONTEXTS = 200


def write_jsonl(order: Order) -> int:
    """Write the lines to a new file, and return their number."""
    options, notes = order.options, read_notes(order.reader)
    column = nested_column(contexts=options.contexts)
    tables = order.reader.export_rows(
        lambda _: {"source_id": SOURCE_ID, "feature_index": FEATURE_INDEX, "line": column},
        options.where,
        baselines=options.baselines,
        n_features=_FEATURES_WITH_CONTEXTS if options.contexts else _FEATURES_AT_ONCE,
    )
    n_rows = 0
    with order.path.open("w", encoding="utf-8", newline="\n") as file:
        for table in tables:
            rows = zip(*(table[name].to_pylist() for name in ("source_id", "feature_index", "line")), strict=True)
            file.writelines(f"{_with_notes(line, notes.get((source, index)))}\n" for source, index, line in rows)
            n_rows += table.num_rows
    return n_rows


def _with_notes(line: str, notes: FeatureNotes | None) -> str:
    """A line with what people wrote about its feature, where there is anything."""
    return line if notes is None else f'{line[:-1]}, "notes": {nested_notes(notes)}}}'


FORMAT = ExportFormat(write_jsonl, has_contexts=True)
