"""Exporting a run: the format by name or by the file's suffix, the file in place only when it is whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from autointerp.errors import ExportError, file_error
from autointerp.export.csv import write_csv
from autointerp.export.items import ExportOptions, Provenance, export_items, provenance
from autointerp.export.jsonl import write_jsonl
from autointerp.store.reader import Reader
from autointerp.whole_file import whole_file

ExportFormat = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: The file.
        format: Its format.
        n_rows: Lines: one a label, and one for each feature without a label.
    """

    path: Path
    format: ExportFormat
    n_rows: int


def export_run(
    run: str | Path | Reader,
    path: str | Path,
    format_name: str | None = None,
    options: ExportOptions | None = None,
) -> Exported:
    """Write a run's scored explanations, with their provenance, to one file.

    Features without a label have a line too, with their status and failures, unless the options leave them out. Memory
    is bounded, and a run that is going on is not held up. The file has a temporary name until it is whole.

    Args:
        run: The run folder, or a reader of its store.
        path: The file; one that exists is replaced.
        format_name: `jsonl`, `csv` or `parquet`; by default the file's suffix.
        options: What is exported; by default all current true labels and all features without one.

    Raises:
        ExportError: If the format is unknown, the options don't fit it, or the file can't be written.
        FilterError: If a score is asked for that no label has.
        DiskFullError: If there is no room; an earlier file of this name is kept.
    """
    target = Path(path)
    chosen = options or ExportOptions()
    wanted = _format_of(target, format_name)
    if chosen.contexts and wanted != "jsonl":
        raise ExportError(f"{wanted} has no room for contexts", "export jsonl, or leave contexts out")
    reader = run if isinstance(run, Reader) else Reader(run)
    known = provenance(reader)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as unfinished:
            n_rows = _write(wanted, reader, chosen, known, unfinished)
    except OSError as error:
        raise file_error(error, target, ExportError) from error
    return Exported(target, wanted, n_rows)


def _write(wanted: ExportFormat, reader: Reader, options: ExportOptions, known: Provenance, path: Path) -> int:
    items = export_items(reader, options, known)
    if wanted == "csv":
        return write_csv(items, known, path)
    if wanted == "parquet":
        from autointerp.export.parquet import write_parquet  # slow to import

        return write_parquet(items, known, path)
    return write_jsonl(items, known, path, contexts=options.contexts)


def _format_of(path: Path, format_name: str | None) -> ExportFormat:
    name = format_name if format_name is not None else path.suffix.removeprefix(".").lower()
    found = next((known for known in FORMATS if known == name), None)
    if found is None:
        what = f"the suffix of {path}" if format_name is None else f"{format_name!r}"
        raise ExportError(f"{what} names no export format", f"one of {', '.join(FORMATS)}")
    return found
