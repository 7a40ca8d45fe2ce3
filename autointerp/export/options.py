"""What is exported, chosen by options, and where to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autointerp.records import EVERY_FEATURE, FeatureFilter
from autointerp.store.reader import Reader


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Which features go into an export, and how much of each.

    Attributes:
        where: Only labels, and features without one, that pass.
        baselines: Also shuffled labels.
        contexts: Also the features' contexts of both splits; not every format has room for them.
    """

    where: FeatureFilter = EVERY_FEATURE
    baselines: bool = False
    contexts: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One export to be written.

    Attributes:
        reader: Of the run's store.
        options: What is exported.
        path: The file or folder to write; it has another name until it is whole.
        name: The name that it will have.
        format_name: The format.
    """

    reader: Reader
    options: ExportOptions
    path: Path
    name: str
    format_name: str


class Write(Protocol):
    """Writes an order, and returns the number of its rows."""

    def __call__(self, order: Order) -> int:
        """Write it.

        Raises:
            ExportError: If the format has no room for what is asked.
            FilterError: If a name is asked for that the run does not know.
            OSError: If the file can't be written.
        """


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """How a format is written.

    Attributes:
        write: Writes it.
        is_folder: Whether it is a folder, not a file.
        has_contexts: Whether it has room for contexts.
        has_baselines: Whether it has room for shuffled labels.
    """

    write: Write
    is_folder: bool = False
    has_contexts: bool = False
    has_baselines: bool = True
