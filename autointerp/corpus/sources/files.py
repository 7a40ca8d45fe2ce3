"""Files of text, compressed or not, to text.

1. A file that is compressed (gzip, Zstandard, bzip2, xz) is told by its first bytes, and unpacked while it is read. Its
   kind is told by its name without the suffix of the compression: `a.jsonl.zst` is JSON Lines.
2. Text is UTF-8; a byte order mark at its beginning makes it UTF-16 or UTF-32, and is no part of the text. Other
   encodings are not guessed: the error says where the first byte is that UTF-8 can't have.
"""

from __future__ import annotations

import codecs
import io
import lzma
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from autointerp.errors import CorpusError, in_one_line
from autointerp.valid_text import valid_text

_PACKING_SUFFIXES = frozenset({".gz", ".zst", ".bz2", ".xz"})
_SAME_KINDS = {".ndjson": ".jsonl"}
_PACKINGS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
# Of bzip2 the first letters are plain ones; behind them a block begins (by digits of pi), or the end (of its root).
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_ZIP = b"PK\x03\x04"
# The name of the format is plain letters too; what follows it is not.
_TAR = re.compile(rb"ustar( {2})?\x00")
_TAR_AT = 257
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD_BYTES = 1024


def list_files(root: Path, suffixes: frozenset[str]) -> list[tuple[Path, str]]:
    """The files to read, sorted, each with its name in ids.

    Args:
        root: A file, taken whatever its name, or a folder.
        suffixes: Kinds of files to take of a folder, and of the folders in it, as `kind_suffix` gives them.

    Raises:
        CorpusError: If there is none.
    """
    if root.is_file():
        return [(root, valid_text(root.name))]
    if not root.is_dir():
        raise CorpusError(f"there is no file or folder {root}", "correct corpus.path (or --text)")
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if kind_suffix(path) in suffixes and path.is_file()
    )
    if not names:
        raise CorpusError(
            f"the folder {root} holds no {', '.join(sorted(suffixes))} file", "put text there, or correct corpus.path"
        )
    return [(root / name, valid_text(name)) for name in names]


def kind_suffix(path: Path) -> str:
    """What the name says of the kind of file, in lower case: `.jsonl` for `a.jsonl`, `a.jsonl.gz` and `a.ndjson`."""
    suffix = path.suffix.lower()
    if suffix in _PACKING_SUFFIXES:
        suffix = path.with_suffix("").suffix.lower()
    return _SAME_KINDS.get(suffix, suffix)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file for reading text, line by line or in parts; each kind of line end is given as a line feed.

    Raises:
        CorpusError: Then or while reading: if the file can't be read, is damaged, or is not text.
    """
    packing: str | None = None
    try:
        with _open_unpacked(path) as (file, packing):
            yield io.TextIOWrapper(file, encoding=_find_encoding(path, file))
    except UnicodeDecodeError as error:
        raise _not_text(path, error) from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        if packing is not None and not (isinstance(error, OSError) and error.errno):
            raise CorpusError(
                f"{path} is damaged or not whole ({packing}: {in_one_line(error)})", "fetch or write it again"
            ) from error
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> CorpusError:
    """What to say of a file that the system does not give."""
    reason = (error.strerror if isinstance(error, OSError) else None) or in_one_line(error)
    return CorpusError(f"{path} can't be read ({reason})", "check that it exists and its permissions")


@contextmanager
def _open_unpacked(path: Path) -> Iterator[tuple[io.BufferedReader, str | None]]:
    """A file's bytes, unpacked, and how they were packed."""
    import pyarrow as pa

    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        head = file.peek(_HEAD_BYTES)
        packing = next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), None)
        if _BZIP2.match(head):
            packing = "bz2"
        if packing == "xz":
            file = io.BufferedReader(stack.enter_context(lzma.open(file)))
        elif packing is not None:
            unpacked = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(file, "r"), packing))
            file = io.BufferedReader(unpacked)
        yield file, packing


def _find_encoding(path: Path, file: io.BufferedReader) -> str:
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    if head.startswith(_ZIP) or _TAR.match(head, _TAR_AT):
        raise CorpusError(f"{path} is an archive of files, not a text", "unpack it, and give the folder")
    marked = next((encoding for mark, encoding in _ENCODINGS.items() if head.startswith(mark)), None)
    if marked is None and head.count(0) * 4 > len(head):
        raise CorpusError(
            f"{path} is not UTF-8 text (it has zero bytes, as UTF-16 and binary files have)",
            "convert it to UTF-8 (`iconv -f UTF-16LE -t UTF-8`), or leave it out",
        )
    return marked or "utf-8-sig"


def _not_text(path: Path, error: UnicodeDecodeError) -> CorpusError:
    if error.encoding != "utf-8":
        return CorpusError(
            f"{path} is not {error.encoding.upper()} text, as its byte order mark says ({error.reason})",
            "convert it to UTF-8, or leave it out",
        )
    line_number, byte = _find_undecodable(path)
    return CorpusError(
        f"{path} is not UTF-8 text (line {line_number} has the byte 0x{byte:02X})",
        "convert it to UTF-8 (from Latin-1 or Windows-1252: `iconv -f WINDOWS-1252 -t UTF-8`), or leave it out",
    )


def _find_undecodable(path: Path) -> tuple[int, int]:
    """The line, from 1, and the byte that UTF-8 can't have there; a decoder knows only where in its part it stood."""
    with _open_unpacked(path) as (file, _):
        for line_number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return line_number, line[error.start]
    raise AssertionError(f"{path} has changed while it was read")
