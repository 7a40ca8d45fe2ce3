"""A file is whole or not there, and a full disk has one wording."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from autointerp.errors import DiskFullError, disk_full, is_disk_full
from autointerp.whole_file import whole_file


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with whole_file(path) as unfinished:
        unfinished.write_text("half")
        assert not path.exists()
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PermissionError(errno.EACCES, "Permission denied")])
def test_what_breaks_off_leaves_the_earlier_file_and_no_other(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("earlier")

    def write_half() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", ".", "..", "/", "folder"])
def test_a_folder_in_the_file_s_place_is_told_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError), whole_file(Path(name)):
        pytest.fail("it is not begun")


def test_two_who_write_one_file_don_t_write_into_each_others(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # whoever ends last


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_error_however_it_comes(number: int, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError) as caught, whole_file(tmp_path / "a.json"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == (
        f"no space left while writing {tmp_path / 'a.json'}: free some and run the same command again; what was "
        "finished is kept"
    )
    assert disk_full().problem == "no space left on the disk"


def test_a_library_that_quotes_the_system_is_understood_and_another_error_is_none_of_a_full_disk() -> None:
    assert is_disk_full(ValueError(f"IO Error: could not write: {os.strerror(errno.ENOSPC)} (os error 28)"))
    assert not is_disk_full(PermissionError(errno.EACCES, "Permission denied"))
    assert not is_disk_full(sqlite3.OperationalError("database is locked"))
