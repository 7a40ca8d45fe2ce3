"""Text sources to documents, each with an id that a person can find it by.

| kind        | `path`                                   | document            | id                            |
|-------------|------------------------------------------|---------------------|-------------------------------|
| docstrings  |                                          | one definition      | `json.decoder:JSONDecoder`    |
| text        | a txt or md file; a folder of any files  | one file            | `notes/a.txt`                 |
|             | a txt or md file of 3,000 characters     | one section         | `notes/a.txt#2`, from 1       |
| jsonl       | a file, or a folder of jsonl files       | one line            | `a.jsonl#12`, from 1          |
| parquet     | a file, or a folder of parquet files     | one row             | `a.parquet#12`, from 0        |
| huggingface | a dataset's name, or its folder          | one row             | `name/train#12`, from 0       |

A folder is read in sorted order, with the folders in it. Where `CorpusConfig.chat` is set, the column holds
conversations, and each is one document, as the template of `corpus.chat` writes it.

A row that does not fit (no text, a number, a conversation that the template refuses) is left out and counted with its
reason in the counts. What can't be read at all stops the run, and so does a file whose first row lacks the column, so
that no part of a corpus goes missing unseen.

A document is on one side of the split between explaining and scoring, so a book must not be a single one. A long txt or
md file is cut into sections of about 1,500 characters (750 to 3,000): at blank lines; inside a longer paragraph at line
ends; inside a longer line at sentence ends, else at spaces. The sections one after another are the file's text again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from autointerp.config import CorpusConfig
from autointerp.corpus.chat import CONVERSATION_KEYS, ChatTemplate, looks_like_conversation
from autointerp.corpus.counts import DocumentCounts, Unfit
from autointerp.corpus.docstrings import iter_docstring_documents
from autointerp.errors import CorpusError
from autointerp.json_text import parse_json
from autointerp.records import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A stream has no end to wait for where the column is a wrong one.
_MOST_UNFIT_ROWS = 10_000

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


class _Row(NamedTuple):
    document_id: str
    value: object  # what the column holds


def iter_documents(
    config: CorpusConfig, tokenizer: PreTrainedTokenizerBase | None = None, *, counts: DocumentCounts | None = None
) -> Iterator[Document]:
    """Yield the corpus's documents, in a fixed order, none of them empty.

    Args:
        config: The source.
        tokenizer: The subject's, whose template renders conversations; needed where `config.chat` is set.
        counts: Gets the rows that are left out, as far as they were read.

    Raises:
        CorpusError: If the source is missing or can't be read, or lacks the column, or holds no text at all, or (with
            `config.chat`) there is no template.
    """
    counts = counts or DocumentCounts()
    read_value = _value_reader(config, tokenizer)
    n_rows = n_documents = 0
    first_unfit: tuple[str, Unfit] | None = None
    for n_rows, row in enumerate(_iter_source(config), start=1):
        text = row.value if isinstance(row.value, Unfit) else read_value(row.value)
        if isinstance(text, str):
            n_documents += 1
            yield Document(row.document_id, text)
            continue
        counts.reject(text.reason, f"{row.document_id} {text.detail}")
        if first_unfit is None and text != Unfit.empty():
            first_unfit = row.document_id, text
        if n_documents == 0 and first_unfit is not None and n_rows >= _MOST_UNFIT_ROWS:
            break
    if n_documents == 0:
        raise _nothing_fits(config, n_rows, first_unfit)


def _value_reader(config: CorpusConfig, tokenizer: PreTrainedTokenizerBase | None) -> Callable[[object], str | Unfit]:
    if not config.chat:
        return _read_value
    assert tokenizer is not None, "conversations are rendered by a tokenizer"
    return ChatTemplate(tokenizer, config).render


def _read_value(value: object) -> str | Unfit:
    if value is None or (isinstance(value, str) and not value.strip()):
        return Unfit.empty()
    if isinstance(value, str):
        return value
    if looks_like_conversation(value):
        return Unfit("not text", "is a list of messages, not text", "set corpus.chat = true")
    return Unfit("not text", f"is {type(value).__name__}, not text", "set corpus.column to the one with the text")


def _nothing_fits(config: CorpusConfig, n_rows: int, first_unfit: tuple[str, Unfit] | None) -> CorpusError:
    name = config.path or config.kind
    if first_unfit is None:
        return CorpusError(f"the corpus {name} holds no text", Unfit.empty().remedy)
    document_id, unfit = first_unfit
    rows = "the one row" if n_rows == 1 else f"none of {n_rows:,} rows"
    verb = "can't be used" if n_rows == 1 else "can be used"
    return CorpusError(f"of the corpus {name} {rows} {verb} ({document_id} {unfit.detail})", unfit.remedy)


def _iter_source(config: CorpusConfig) -> Iterator[_Row]:
    if config.kind == "docstrings":
        for document in iter_docstring_documents():
            yield _Row(document.document_id, document.text)
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


def _read_file(path: Path, name: str, config: CorpusConfig) -> Iterator[_Row]:
    suffix = path.suffix.lower()
    if config.kind == "jsonl" or suffix == ".jsonl":
        yield from _read_jsonl(path, name, config)
    elif config.kind == "parquet" or suffix == ".parquet":
        yield from _read_parquet(path, name, config)
    else:
        for section in _cut_text(name, _read_text(path)):
            yield _Row(section.document_id, section.text)


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


def _read_jsonl(path: Path, name: str, config: CorpusConfig) -> Iterator[_Row]:
    column: str | None = None
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                place = f"{path} line {number}"
                row = _json_object(line, place)
                column = column or _choose_column(config, list(row), place)
                yield _Row(f"{name}#{number}", row.get(column, _lacks(column)))
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _json_object(line: str, place: str) -> dict[str, object]:
    try:
        row = parse_json(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{place} is not JSON ({error.msg})", "mend or remove that line") from error
    if not isinstance(row, dict):
        raise CorpusError(f"{place} is not a JSON object", 'write it as {"text": "…"}')
    return row


def _read_parquet(path: Path, name: str, config: CorpusConfig) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            column = _choose_column(config, file.schema_arrow.names, str(path))
            number = 0
            for batch in file.iter_batches(columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield _Row(f"{name}#{number}", value)
                    number += 1
    except pa.ArrowException as error:
        raise CorpusError(f"{path} is not a readable parquet file ({_first_line(error)})", "write it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_huggingface(config: CorpusConfig) -> Iterator[_Row]:
    import datasets

    assert config.path is not None, "CorpusConfig requires a path for this kind"
    prefix = "/".join(part for part in (config.path, config.subset, config.dataset_split) if part)
    try:
        rows = datasets.load_dataset(
            config.path, config.subset, split=config.dataset_split, revision=config.revision, streaming=True
        )
        column: str | None = None
        if rows.column_names is not None:
            column = _choose_column(config, rows.column_names, prefix)
            rows = rows.select_columns(column)  # other columns may be images, which cost time to decode
        for number, row in enumerate(rows):
            column = column or _choose_column(config, list(row), prefix)
            yield _Row(f"{prefix}#{number}", row.get(column, _lacks(column)))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(
            f"the Hugging Face dataset {prefix} can't be loaded ({_first_line(error)})",
            "check corpus.path, subset, dataset_split and the network, or give a local dataset folder",
        ) from error


def _choose_column(config: CorpusConfig, columns: list[str], place: str) -> str:
    """The column to read: the one that is asked for, or the first there is of those that usually hold it."""
    usual = CONVERSATION_KEYS if config.chat else ("text",)
    wanted = usual if config.column is None else (config.column,)
    for column in wanted:
        if column in columns:
            return column
    names = " or ".join(repr(column) for column in wanted)
    raise CorpusError(f"{place} has no {names}", f"set corpus.column to one of {', '.join(columns) or '(none)'}")


def _lacks(column: str) -> Unfit:
    return Unfit("no such column", f"has no {column!r}", "set corpus.column to one that is there")


def _not_utf8(path: Path, error: UnicodeDecodeError) -> CorpusError:
    return CorpusError(f"{path} is not UTF-8 text (byte {error.start})", "convert it to UTF-8, or leave it out")


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(f"{path} can't be read ({error.strerror or error})", "check that it exists and its permissions")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
