"""Who pays for a run's calls, into which journal, and what they have cost."""

from pathlib import Path
from typing import TYPE_CHECKING

from autointerp.errors import RunError

if TYPE_CHECKING:
    from autointerp.llm.failed_calls import FailedCalls
    from autointerp.llm.journal import Paid


def journal_path(folder: Path, journal: str | None) -> Path:
    """The file of paid answers.

    Args:
        folder: The run's.
        journal: The one that it shares with others, as `llm.journal` says; None for its own.
    """
    return folder / "journal.sqlite" if journal is None else Path(journal).expanduser()


def payer(name: str, folder: Path, journal: str | None) -> str:
    """Who pays, in the journal: a run folder's own holds that run's payments only, wherever the folder is moved.

    Args:
        name: The run's.
        folder: Where it lies; by whichever link it is reached, the payer is one.
        journal: As in `journal_path`.
    """
    return "" if journal is None else f"{name} in {folder.resolve()}"


def find_paid(name: str, folder: Path, journal: str | None, *, has_paid: bool) -> "Paid | None":
    """What a run's calls have cost, those too whose answers no result has used yet.

    Args:
        name: The run's.
        folder: Where it lies.
        journal: As in `journal_path`.
        has_paid: Whether its stages know of calls that were paid for: then a journal that it shares has to be there.

    Returns:
        None where there is no journal.

    Raises:
        RunError: If the journal can't be read, or is not where it was shared.
    """
    path = journal_path(folder, journal)
    if not path.exists():
        if journal is None or not has_paid:
            return None
        raise RunError(
            f"the journal {path} (llm.journal) is not there",
            "put it back" if path.is_absolute() else "ask from the folder in which the run was started",
        )
    from autointerp.llm.journal import read_paid  # most runs that are looked at have none

    return read_paid(path, payer(name, folder, journal))


def find_failed_calls(name: str, folder: Path, journal: str | None, n: int) -> "FailedCalls":
    """A run's calls that failed for good; none where there is no journal.

    Args:
        name: The run's.
        folder: Where it lies.
        journal: As in `journal_path`.
        n: So many of the last are told.

    Raises:
        RunError: If the journal can't be read.
    """
    from autointerp.llm.failed_calls import NO_FAILED_CALLS, read_failed_calls

    path = journal_path(folder, journal)
    return read_failed_calls(path, payer(name, folder, journal), n) if path.exists() else NO_FAILED_CALLS
