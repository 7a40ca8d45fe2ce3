"""The export formats by name, each in a module of its own as its `FORMAT`; a file's suffix may be the name."""

from importlib import import_module

from autointerp.errors import ExportError
from autointerp.export.options import ExportFormat

FORMATS = {
    "jsonl": "autointerp.export.jsonl",
    "csv": "autointerp.export.csv",
    "parquet": "autointerp.export.parquet",
    "datasets": "autointerp.export.datasets",
    "neuronpedia": "autointerp.export.neuronpedia",
    "saebench": "autointerp.export.saebench",
}


def load_format(name: str) -> ExportFormat:
    """A format by name.

    Raises:
        ExportError: If there is none of this name.
    """
    if name not in FORMATS:
        raise ExportError(f"{name!r} is no export format", f"name one with --format: {', '.join(FORMATS)}")
    found: ExportFormat = import_module(FORMATS[name]).FORMAT
    return found
