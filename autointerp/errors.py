"""Every exception of the library.

    AutointerpError                 what went wrong, and what to do about it
    ├── PipelineError               a pipeline file, a key in it, or a --set override is wrong
    ├── CorpusError                 text can't be read, or there is too little of it
    ├── SubjectError                the model, the coder or the hook point
    │   └── WidthMismatchError      the coder does not fit the hook point
    ├── CollectError                the pass over the corpus
    │   ├── ActivationRangeError    an activation is negative where it can't be, or not finite
    │   └── ShardError              a shard file is missing, cut short or of another run
    ├── LeakError                   contexts of two splits share their document, or nearly their text
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
    │   └── UnknownFeatureError     no such feature in this store
    ├── FilterError                 a filter on features is out of range, or asks for a score that no label has
    ├── SearchError                 a query or one of its options can't be answered
    ├── ExportError                 an export's file or options are wrong
    ├── RunError                    the run folder
    │   └── RunMismatchError        the folder belongs to another configuration
    └── DiskFullError               no space left where the run is written

An exception stops the run (or the command). What concerns one feature only (a refusal, too few contexts) is a
`records.Failure`, kept in the store, and the run goes on.
"""

import errno
import os
from pathlib import Path

# A limit on the size of files, or of a user's share of the disk, stops a write as a full disk does.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AutointerpError(Exception):
    """Base class: one sentence on what is wrong, one on what to do about it.

    Both are positional, so that the exception survives pickling between Ray workers.

    Attributes:
        problem: What went wrong, naming the file, key or feature. No trailing period.
        remedy: What the user can do. No trailing period.
        faults: Where there are many of a kind, such as rows of a file: each on a line of its own.
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


class CollectError(AutointerpError):
    """The pass over the corpus can't go on."""


class ActivationRangeError(CollectError):
    """An activation is not finite, or negative where the coder can't give one."""


class ShardError(CollectError):
    """A shard file is missing, cut short, or belongs to another run."""


class LeakError(AutointerpError):
    """Contexts of two splits share their document, or nearly their text."""


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


class FilterError(AutointerpError):
    """A filter on features is out of range, or asks for a score that no label has."""


class SearchError(AutointerpError):
    """A query or one of its options can't be answered."""


class ExportError(AutointerpError):
    """An export's file or options are wrong."""


class RunError(AutointerpError):
    """The run folder can't be used."""


class RunMismatchError(RunError):
    """The run folder belongs to another configuration."""


class DiskFullError(AutointerpError):
    """No space left where the run is written."""


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
