"""Every exception of the library.

    AutointerpError                 what went wrong, and what to do about it
    ├── PipelineError               a pipeline file, a key in it, or a --set override is wrong
    ├── CorpusError                 text can't be read, or there is too little of it
    ├── SubjectError                the model, the coder or the hook point
    │   └── WidthMismatchError      the coder does not fit the hook point
    ├── GenerationError             what was asked of the live subject can't be generated
    │   ├── BusyError               as many requests wait as may
    │   ├── TooLongError            a prompt or an answer is longer than it may be
    │   ├── TimeLimitError          a request took longer than it may
    │   ├── VariantError            an edit, its strength or its condition makes no sense
    │   └── AbortError              a condition held that ends the answer
    ├── CollectError                the pass over the corpus
    │   ├── ActivationRangeError    an activation is negative where it can't be, or not finite
    │   └── ShardError              a shard file is missing, cut short or of another run
    ├── LeakError                   contexts of two splits share their document, or nearly their text
    ├── PuzzleError                 a file of planted features can't be read, or says what makes no sense
    ├── CalibrationError            a judge's calibration is damaged, of another judge, or of too little
    ├── PromptError                 a prompt file is missing, or its variables don't match what it is given
    ├── LanguageModelError          a provider said no to all further calls
    │   ├── NoKeyError              no API key in the environment
    │   ├── KeyRefusedError         the provider refuses the key, or the account is out of credit
    │   ├── ModelNotServedError     the provider does not know the model
    │   ├── BudgetError             the next call would pass `max_cost_usd`
    │   └── TooManyFailuresError    more than `max_failed_share` of the questions to a model fail
    ├── StoreError                  the run's DuckDB file
    │   ├── NewerStoreError         written by a newer version of this program
    │   ├── StoreBusyError          another process holds the file for longer than we wait
    │   ├── UnknownFeatureError     no such feature in this store
    │   └── UnknownSourceError      no such source, or several and none is named
    ├── FilterError                 a filter on features is out of range, or asks for a score that no label has
    ├── SearchError                 a query or one of its options can't be answered
    ├── CompareError                there is nothing, or more than one thing, to compare
    ├── ExportError                 an export's file or options are wrong
    ├── NoteError                   what somebody wrote about a feature can't be kept as it is
    │   ├── UnknownNoteError        no such list, comment or label of one's own
    │   └── NotesFileError          the file of notes can't be used
    ├── RunError                    the run folder
    │   └── RunMismatchError        the folder belongs to another configuration
    ├── ServeError                  the server can't start, or can't answer a request
    │   ├── UnknownModelError       no source that is served has this name
    │   └── UnknownRunError         no run that is served has this name
    ├── RemoteError                 a server can't be reached, or answers otherwise than it should
    ├── FileError                   a file or folder can't be used, whatever it was to be used for
    └── DiskFullError               no space left where the run is written

An exception stops the run (or the command). What concerns one feature only (a refusal, too few contexts) is a
`records.Failure`, kept in the store, and the run goes on.
"""

import errno
import os
from pathlib import Path

# What the operating system may say of a path, and what to do then.
_AT_A_PATH = {
    errno.EACCES: ("{path} may not be used (permission denied)", "check the permissions of it and of its folder"),
    errno.EPERM: ("{path} may not be used (not permitted)", "check the permissions of it and of its folder"),
    errno.EROFS: ("{path} is on a disk that can only be read", "choose a place that can be written"),
    errno.ENOENT: ("there is no {path}, or no folder for it", "check how it is spelled, and where links lead"),
    errno.ENOTDIR: ("on the way to {path} a file stands where a folder should", "choose another place"),
    errno.EEXIST: ("{path} is in the way", "move it away, or choose another place"),
    errno.EISDIR: ("{path} is a folder, and a file is needed", "give another, or move it away"),
    errno.ELOOP: ("the links at {path} lead in a circle", "mend them"),
    errno.ENAMETOOLONG: ("the name {path} is longer than the file system takes", "choose a shorter one"),
    errno.EMFILE: ("{path} can't be opened (too many files are)", "raise the limit that `ulimit -n` shows"),
    errno.EIO: ("the disk fails at {path} (input/output error)", "check the disk"),
    errno.ESTALE: ("the network has lost {path} (stale file handle)", "see that the disk is there, and try again"),
}
_SHOWN = 120
_SAID = 200

# A limit on the size of files, or of a user's share of the disk, stops a write as a full disk does.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AutointerpError(Exception):
    """Base class: one sentence on what is wrong, one on what to do about it.

    Both are positional, so that the exception survives pickling between Ray workers.

    Attributes:
        problem: What went wrong, naming the file, key or feature. No trailing period.
        remedy: What the user can do. No trailing period.
        faults: Where there are many of a kind, such as rows of a file: each on a line of its own.

    Example:
        >>> try:
        ...     client.features.get(99)
        ... except autointerp.AutointerpError as error:
        ...     print(error)
        planted@0-res-12 has no feature 99: its features are 0 to 11
    """

    def __init__(self, problem: str, remedy: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(problem, remedy, faults)
        self.problem = problem
        self.remedy = remedy
        self.faults = faults

    def __str__(self) -> str:
        return "\n  ".join([f"{self.problem}: {self.remedy}", *self.faults])


class PipelineError(AutointerpError):
    """A pipeline file, a key in it, or a `--set` override is wrong."""


class CorpusError(AutointerpError):
    """Text can't be read, or there is too little of it."""


class SubjectError(AutointerpError):
    """The model, the coder or the hook point can't be loaded."""


class WidthMismatchError(SubjectError):
    """The coder's input width is not that of the hook point."""


class GenerationError(AutointerpError):
    """What was asked of the live subject can't be generated."""


class BusyError(GenerationError):
    """As many requests wait as may."""


class TooLongError(GenerationError):
    """A prompt or an answer is longer than it may be."""


class TimeLimitError(GenerationError):
    """A request took longer than it may."""


class VariantError(GenerationError):
    """An edit, its strength or its condition makes no sense, or is of another model."""


class AbortError(GenerationError):
    """A condition held that ends the answer.

    Attributes:
        text: What was generated up to there.
        condition: What held.
        position: Of the token at which it held, counted from the prompt's first; None where nobody knows.
    """

    def __init__(
        self,
        problem: str,
        remedy: str,
        faults: tuple[str, ...] = (),
        *,
        text: str = "",
        condition: str = "",
        position: int | None = None,
    ) -> None:
        super().__init__(problem, remedy, faults)
        self.text = text
        self.condition = condition
        self.position = position


class CollectError(AutointerpError):
    """The pass over the corpus can't go on."""


class ActivationRangeError(CollectError):
    """An activation is not finite, or negative where the coder can't give one."""


class ShardError(CollectError):
    """A shard file is missing, cut short, or belongs to another run."""


class LeakError(AutointerpError):
    """Contexts of two splits share their document, or nearly their text."""


class PuzzleError(AutointerpError):
    """A file of planted features can't be read, or says what makes no sense."""


class CalibrationError(AutointerpError):
    """A judge's calibration can't be read or written, is of another judge, or has too little to go by."""


class PromptError(AutointerpError):
    """A prompt file is missing, or its variables don't match what it is given."""


class LanguageModelError(AutointerpError):
    """A provider said no to all further calls."""


class NoKeyError(LanguageModelError):
    """No API key in the environment."""


class KeyRefusedError(LanguageModelError):
    """The provider refuses the key, or the account is out of credit."""


class ModelNotServedError(LanguageModelError):
    """The provider does not know the model."""


class BudgetError(LanguageModelError):
    """The next call would pass the budget."""


class TooManyFailuresError(LanguageModelError):
    """More of the questions to a model fail than the run allows."""


class StoreError(AutointerpError):
    """The run's DuckDB file can't be used."""


class NewerStoreError(StoreError):
    """The store was written by a newer version of this program."""


class StoreBusyError(StoreError):
    """Another process holds the store for longer than we wait."""


class UnknownFeatureError(StoreError):
    """No such feature in this store."""


class UnknownSourceError(StoreError):
    """No such source, or several and none is named."""


class FilterError(AutointerpError):
    """A filter on features is out of range, or asks for a score that no label has."""


class SearchError(AutointerpError):
    """A query or one of its options can't be answered."""


class CompareError(AutointerpError):
    """There is nothing, or more than one thing, to compare."""


class ExportError(AutointerpError):
    """An export's file or options are wrong."""


class NoteError(AutointerpError):
    """What somebody wrote about a feature can't be kept as it is."""


class UnknownNoteError(NoteError):
    """There is no such list, comment or label of one's own."""


class NotesFileError(NoteError):
    """The file of notes can't be used."""


class RunError(AutointerpError):
    """The run folder can't be used."""


class RunMismatchError(RunError):
    """The run folder belongs to another configuration."""


class ServeError(AutointerpError):
    """The server can't start, or can't answer a request."""


class UnknownModelError(ServeError):
    """No source that is served has this name."""


class UnknownRunError(ServeError):
    """No run that is served has this name."""


class RemoteError(AutointerpError):
    """A server that runs are asked of can't be reached, or answers otherwise than it should."""


class FileError(AutointerpError):
    """A file or folder can't be used, whatever it was to be used for."""


class DiskFullError(AutointerpError):
    """No space left where the run is written."""


def in_one_line(error: BaseException, *, with_kind: bool = False) -> str:
    """What an exception says, for the brackets of a line of ours: its beginning, where it says much.

    Args:
        error: Anybody's; its kind stands for words that it does not have.
        with_kind: Whether its kind comes first in any case: what libraries say is often a bare name or number.
    """
    said = " ".join(str(error).split())
    said = (said if len(said) <= _SAID else f"{said[:_SAID]}…").rstrip(".: ")
    kind = type(error).__name__
    return f"{kind}: {said}" if said and with_kind else said or kind


def file_error(error: Exception, path: Path | None = None, kind: type[AutointerpError] = FileError) -> AutointerpError:
    """The error of ours for what the operating system said of a file or folder, itself or quoted by a library.

    Args:
        error: An OSError, or what quotes one.
        path: What it is about, where the error does not name it.
        kind: The class, where the caller's own is more telling; a full disk is a `DiskFullError` in any case.
    """
    named = getattr(error, "filename", None)
    where = Path(named) if isinstance(named, str) else path
    if is_disk_full(error):
        return disk_full(where)
    said = getattr(error, "strerror", None) or in_one_line(error)
    number = _said_number(error)
    problem, remedy = _AT_A_PATH.get(number or 0, (f"{{path}} can't be used ({said})", "mend that, and try again"))
    if where is None:
        return kind(f"a file can't be used ({said})", remedy)
    shown = str(where)
    # A name that is no UTF-8 has half-characters that can't be printed.
    shown = (shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…").encode("utf-8", "backslashreplace").decode()
    return kind(problem.replace("{path}", shown), remedy)


def is_of_a_path(error: Exception) -> bool:
    """Whether it says, or quotes, what the operating system says of a path that can't be used."""
    return is_disk_full(error) or _said_number(error) is not None


def _said_number(error: Exception) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in _AT_A_PATH:
        return number
    said = str(error).lower()
    return next((known for known in _AT_A_PATH if os.strerror(known).lower() in said), None)


def no_locks(path: Path, kind: type[AutointerpError]) -> AutointerpError:
    """The error of a file system, a network's for example, on which no file can be locked."""
    return kind(
        f"the file system of {path.parent} takes no locks",
        "set `runs` to a folder on another disk, or copy the run folder to one",
    )


def says_no_locks(error: OSError) -> bool:
    """Whether a lock was refused because the file system has none, not because another process holds one."""
    return error.errno in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def disk_full(path: Path | None = None) -> DiskFullError:
    """The error of a full disk, in its one wording.

    Args:
        path: What could not be written, where that is known.
    """
    what = "no space left on the disk" if path is None else f"no space left while writing {path}"
    return DiskFullError(what, "free some and run the same command again; what was finished is kept")


def is_disk_full(error: Exception) -> bool:
    """Whether the operating system says that there is no room to write, itself or quoted by a library."""
    said = str(error).lower()
    return getattr(error, "errno", None) in _NO_ROOM or any(os.strerror(number).lower() in said for number in _NO_ROOM)
