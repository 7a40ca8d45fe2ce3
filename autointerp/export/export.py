"""Exporting a run: the format by name or by the file's suffix, the file or folder in place only when it is whole."""

from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import ExportError, file_error
from autointerp.export.options import ExportOptions, Order
from autointerp.export.registry import FORMATS, load_format
from autointerp.store.reader import Reader
from autointerp.whole_file import whole_file, whole_folder


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: The file or folder.
        format: Its format.
        n_rows: Rows: in most formats one a label, and one for each feature without a label.
    """

    path: Path
    format: str
    n_rows: int


def export_run(
    run: str | Path | Reader,
    path: str | Path,
    format_name: str | None = None,
    options: ExportOptions | None = None,
) -> Exported:
    """Write a run's scored explanations, with their provenance, to one file or folder.

    Features without a label have a line too, with their status and failures, unless the options leave them out or the
    format has no room for them. Memory is bounded, and a run that is going on is not held up. The file has a temporary
    name until it is whole.

    Args:
        run: The run folder, or a reader of its store.
        path: The file, one that exists is replaced; or the folder, new or empty.
        format_name: A key of `export.registry.FORMATS`; by default the file's suffix.
        options: What is exported; by default all current true labels and all features without one.

    Raises:
        ExportError: If the format is unknown, the options don't fit it, or the file can't be written.
        FilterError: If a score is asked for that no label has.
        DiskFullError: If there is no room; an earlier file of this name is kept.

    Example:
        >>> autointerp.export_run("runs/demo", "labels.jsonl").n_rows
        12
    """
    target = Path(path)
    chosen = options or ExportOptions()
    name = _format_of(target, format_name)
    wanted = load_format(name)
    if chosen.contexts and not wanted.has_contexts:
        raise ExportError(f"{name} has no room for contexts", "export jsonl, or leave contexts out")
    if chosen.baselines and not wanted.has_baselines:
        raise ExportError(f"{name} has no room for shuffled labels", "leave baselines out, or export another format")
    reader = run if isinstance(run, Reader) else Reader(run)
    reader.sources()  # before anything is made: where there is no store, this says so
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (whole_folder if wanted.is_folder else whole_file)(target) as unfinished:
            n_rows = wanted.write(Order(reader, chosen, unfinished, target.name, name))
    except OSError as error:
        raise file_error(error, target, ExportError) from error
    return Exported(target, name, n_rows)


def _format_of(path: Path, format_name: str | None) -> str:
    if format_name is not None:
        return format_name
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise ExportError(
            f"the suffix of {path} names no export format", f"name one with --format: {', '.join(FORMATS)}"
        )
    return suffix
