"""The lock of a run folder: held by the process that runs there, and gone with it however it ends."""

import fcntl
import time
from pathlib import Path
from typing import IO

from autointerp.errors import RunError, no_locks, says_no_locks

LOCK_FILE = "run.lock"
# Who asks whether a run is under way holds its lock for a moment.
_LOOKED_AT_S = 0.5


def hold(lock: IO[str], path: Path) -> None:
    """Take the lock of a run folder.

    Raises:
        RunError: If another process has it, or the file system has no locks.
    """
    until = time.monotonic() + _LOOKED_AT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise RunError(
                    f"another process is running in {path}", "wait for it, or choose another name"
                ) from error
            time.sleep(_LOOKED_AT_S / 10)
        except OSError as error:
            raise (no_locks(path / LOCK_FILE, RunError) if says_no_locks(error) else error) from error
        else:
            return


def is_under_way(path: Path) -> bool:
    """Whether a process is running in a run folder; on a file system that can't tell, it is believed to be."""
    try:
        with (path / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
