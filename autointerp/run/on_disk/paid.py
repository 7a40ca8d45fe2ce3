"""Who pays for a run's calls, and what they have cost."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autointerp.llm.read_journal import Paid


def payer(name: str, folder: Path, journal: str | None) -> str:
    """Who pays, in the journal: a run folder's own holds that run's payments only, wherever the folder is moved.

    Args:
        name: The run's.
        folder: Where it lies.
        journal: The journal that it shares with others, as `llm.journal` says; None for its own.
    """
    return "" if journal is None else f"{name} in {folder.absolute()}"


def find_paid(name: str, folder: Path, journal: str | None) -> "Paid | None":
    """What a run's calls have cost, those too whose answers no result has used yet.

    Args:
        name: The run's.
        folder: Where it lies.
        journal: As in `payer`.

    Returns:
        None where there is no journal.

    Raises:
        RunError: If the journal can't be read.
    """
    path = folder / "journal.sqlite" if journal is None else Path(journal).expanduser()
    if not path.exists():
        return None
    from autointerp.llm.read_journal import read_paid  # most runs that are looked at have none

    return read_paid(path, payer(name, folder, journal))
