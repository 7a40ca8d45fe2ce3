"""Files and folders that are whole or not there: written under another name, and renamed when they are finished."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autointerp.errors import disk_full, is_disk_full


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write under; the file has its own name once the block has ended and all is on the disk.

    After an exception there is no new file, and an earlier one of this name is as it was. Only a process that is killed
    leaves its unfinished file behind, as `.NAME.XXXXXXXX.part`.

    Args:
        path: The file; its folder exists.

    Raises:
        DiskFullError: If there is no space left.
        OSError: If the file can't be written for another reason.
    """
    if path.is_dir():  # as "." and ".." are, and the empty path: a name to write under can be made of none of them
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # Two processes, on two machines that share a disk, may write one file at once.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and is_disk_full(error):
            raise disk_full(path) from error
        if isinstance(error, OSError) and error.filename == str(unfinished):
            error.filename = str(path)  # whoever reads of it knows this name only
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to write into; it has its own name once the block has ended and all is on the disk.

    After an exception there is no new folder. Only a process that is killed leaves its unfinished folder behind, as
    `.NAME.XXXXXXXX.part`.

    Args:
        path: The folder: not there, or empty; what it is in exists.

    Raises:
        DiskFullError: If there is no space left.
        OSError: If there is such a folder with anything in it, or another file, or it can't be written.
    """
    if not path.name or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        unfinished.mkdir()
        yield unfinished
        for file in unfinished.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        unfinished.rename(path)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and is_disk_full(error):
            raise disk_full(path) from error
        if isinstance(error, OSError) and str(error.filename).startswith(str(unfinished)):
            error.filename = str(path)  # whoever reads of it knows this name only
        raise
