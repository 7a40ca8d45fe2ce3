"""Text sources to documents, each with an id that a person can find it by.

| kind        | `path`                                   | document            | id                            |
|-------------|------------------------------------------|---------------------|-------------------------------|
| docstrings  |                                          | one definition      | `json.decoder:JSONDecoder`    |
| text        | a txt or md file; a folder of any files  | one file            | `notes/a.txt`                 |
|             | a txt or md file of 3,000 characters     | one section         | `notes/a.txt#2`, from 1       |
| jsonl       | a file, or a folder of jsonl files       | one line            | `a.jsonl#12`, from 1          |
| parquet     | a file, or a folder of parquet files     | one row             | `a.parquet#12`, from 0        |
| huggingface | a dataset's name, or its folder          | one row             | `name/train#12`, from 0       |

A folder is read in sorted order, with the folders in it. Empty texts are skipped; whatever can't be read stops the run,
so that no part of a corpus goes missing unseen.

A document is on one side of the split between explaining and scoring, so a book must not be a single one. A long txt or
md file is cut into sections of about 1,500 characters (750 to 3,000): at blank lines; inside a longer paragraph at line
ends; inside a longer line at sentence ends, else at spaces. The sections one after another are the file's text again.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from autointerp.config import CorpusConfig
from autointerp.corpus.docstrings import iter_docstring_documents
from autointerp.errors import CorpusError
from autointerp.records import Document

logger = logging.getLogger(__name__)

_SECTION_CHARACTERS = 1_500
_LEAST_SECTION_CHARACTERS = _SECTION_CHARACTERS // 2
_LEAST_LONG_FILE_CHARACTERS = 2 * _SECTION_CHARACTERS

# Where a text may be cut, the best places first, each behind the match: blank lines, line ends, sentence ends (scripts
# without spaces have their own full stops), spaces.
_CUTS = (
    re.compile(r"\n(?:[ \t]*\n)+"),
    re.compile(r"\n"),
    re.compile(r"[.!?…][\"'”\u2019»)\]]*\s+|[\u3002\uff01\uff1f]+[」』”\u2019]*"),
    re.compile(r"\s+"),
)

_PROSE_SUFFIXES = frozenset({".txt", ".md"})
_SUFFIXES = {
    "text": _PROSE_SUFFIXES | {".jsonl", ".parquet"},
    "jsonl": frozenset({".jsonl"}),
    "parquet": frozenset({".parquet"}),
}


def iter_documents(config: CorpusConfig) -> Iterator[Document]:
    """Yield the corpus's documents, in a fixed order, none of them empty.

    Raises:
        CorpusError: If the source is missing or can't be read, or lacks the column, or holds no text at all.
    """
    n_documents = 0
    for document in _iter_source(config):
        if document.text.strip():
            n_documents += 1
            yield document
    if n_documents == 0:
        raise CorpusError(
            f"the corpus {config.path or config.kind} holds no text", "give a source with at least one document in it"
        )


def _iter_source(config: CorpusConfig) -> Iterator[Document]:
    if config.kind == "docstrings":
        yield from iter_docstring_documents()
    elif config.kind == "huggingface":
        yield from _read_huggingface(config)
    else:
        assert config.path is not None, "CorpusConfig requires a path for this kind"
        for path, name in _list_files(Path(config.path), config.kind):
            yield from _read_file(path, name, config)


def _list_files(root: Path, kind: str) -> list[tuple[Path, str]]:
    """List the files to read, sorted, each with its name in ids."""
    if root.is_file():
        return [(root, root.name)]
    if not root.is_dir():
        raise CorpusError(f"there is no file or folder {root}", "correct corpus.path (or --text)")
    suffixes = _SUFFIXES[kind]
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in suffixes and path.is_file()
    )
    if not names:
        raise CorpusError(
            f"the folder {root} holds no {', '.join(sorted(suffixes))} file", "put text there, or correct corpus.path"
        )
    return [(root / name, name) for name in names]


def _read_file(path: Path, name: str, config: CorpusConfig) -> Iterator[Document]:
    suffix = path.suffix.lower()
    if config.kind == "jsonl" or suffix == ".jsonl":
        yield from _read_jsonl(path, name, config.column)
    elif config.kind == "parquet" or suffix == ".parquet":
        yield from _read_parquet(path, name, config.column)
    else:
        yield from _cut_text(name, _read_text(path))


def _cut_text(name: str, text: str) -> Iterator[Document]:
    """Yield a short text as one document, a long one section by section."""
    if len(text) < _LEAST_LONG_FILE_CHARACTERS:
        yield Document(name, text)
        return
    for number, section in enumerate(_gather_sections(_cut_pieces(text, _CUTS)), start=1):
        yield Document(f"{name}#{number}", section)


def _cut_pieces(text: str, cuts: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    """Cut a text into pieces no longer than a section, only those that are too long at the lesser places."""
    if len(text) <= _SECTION_CHARACTERS:
        yield text
    elif not cuts:
        for start in range(0, len(text), _SECTION_CHARACTERS):
            yield text[start : start + _SECTION_CHARACTERS]
    else:
        ends = [match.end() for match in cuts[0].finditer(text)]
        for start, end in pairwise([0, *ends, len(text)]):
            yield from _cut_pieces(text[start:end], cuts[1:])


def _gather_sections(pieces: Iterator[str]) -> list[str]:
    """Gather consecutive pieces; a heading or a last line alone would be too short for a block of tokens."""
    sections: list[str] = []
    section = ""
    for piece in pieces:
        if len(section) >= _LEAST_SECTION_CHARACTERS and len(section) + len(piece) > _SECTION_CHARACTERS:
            sections.append(section)
            section = ""
        section += piece
    if len(section) < _LEAST_SECTION_CHARACTERS:
        section = sections.pop() + section
    return [*sections, section]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_jsonl(path: Path, name: str, column: str) -> Iterator[Document]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield Document(f"{name}#{number}", _json_text(line, f"{path} line {number}", column))
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _json_text(line: str, place: str, column: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{place} is not JSON ({error.msg})", "mend or remove that line") from error
    if not isinstance(row, dict):
        raise CorpusError(f"{place} is not a JSON object", f'write it as {{"{column}": "…"}}')
    if column not in row:
        raise _no_column(place, column, list(row))
    return _checked_text(row[column], place, column)


def _read_parquet(path: Path, name: str, column: str) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if column not in columns:
                raise _no_column(str(path), column, columns)
            number = 0
            for batch in file.iter_batches(columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield Document(f"{name}#{number}", _checked_text(value, f"{path} row {number}", column))
                    number += 1
    except pa.ArrowException as error:
        raise CorpusError(f"{path} is not a readable parquet file ({_first_line(error)})", "write it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_huggingface(config: CorpusConfig) -> Iterator[Document]:
    import datasets

    assert config.path is not None, "CorpusConfig requires a path for this kind"
    prefix = "/".join(part for part in (config.path, config.subset, config.dataset_split) if part)
    try:
        rows = datasets.load_dataset(
            config.path, config.subset, split=config.dataset_split, revision=config.revision, streaming=True
        )
        for number, row in enumerate(rows):
            if config.column not in row:
                raise _no_column(prefix, config.column, list(row))
            place = f"{prefix}#{number}"
            yield Document(place, _checked_text(row[config.column], place, config.column))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(
            f"the Hugging Face dataset {prefix} can't be loaded ({_first_line(error)})",
            "check corpus.path, subset, dataset_split and the network, or give a local dataset folder",
        ) from error


def _checked_text(value: object, place: str, column: str) -> str:
    """Return a text value; a null counts as empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(
            f"{column!r} at {place} is {type(value).__name__}, not text", "set corpus.column to the one with the text"
        )
    return value


def _no_column(place: str, column: str, columns: list[str]) -> CorpusError:
    return CorpusError(f"{place} has no {column!r}", f"set corpus.column to one of {', '.join(columns) or '(none)'}")


def _not_utf8(path: Path, error: UnicodeDecodeError) -> CorpusError:
    return CorpusError(f"{path} is not UTF-8 text (byte {error.start})", "convert it to UTF-8, or leave it out")


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(f"{path} can't be read ({error.strerror or error})", "check that it exists and its permissions")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
