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

Half a surrogate pair in a text, which UTF-8 can't hold, becomes U+FFFD; such documents are counted too.

A document is on one side of the split between explaining and scoring, so a book must not be a single one: a long txt or
md file is cut into sections by `corpus.sections`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autointerp.config import CorpusConfig
from autointerp.corpus.chat import ChatTemplate, looks_like_conversation
from autointerp.corpus.counts import DocumentCounts, Unfit
from autointerp.corpus.docstrings import iter_docstring_documents
from autointerp.corpus.files import kind_suffix, list_files, open_text
from autointerp.corpus.rows import Row, read_huggingface, read_jsonl, read_parquet
from autointerp.corpus.sections import cut_text
from autointerp.errors import CorpusError
from autointerp.records import Document
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A stream has no end to wait for where the column is a wrong one.
_MOST_UNFIT_ROWS = 10_000

_SUFFIXES = {
    "text": frozenset({".txt", ".md", ".jsonl", ".parquet"}),
    "jsonl": frozenset({".jsonl"}),
    "parquet": frozenset({".parquet"}),
}


def iter_documents(
    config: CorpusConfig, tokenizer: PreTrainedTokenizerBase | None = None, *, counts: DocumentCounts | None = None
) -> Iterator[Document]:
    """Yield the corpus's documents, in a fixed order, none of them empty.

    Args:
        config: The source.
        tokenizer: The subject's, whose template renders conversations; needed where `config.chat` is set.
        counts: Gets the rows that are left out, and those whose text had to be made valid, as far as they were read.

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
            yield _document(row.document_id, text, counts)
            continue
        counts.reject(text.reason, f"{row.document_id} {text.detail}")
        if first_unfit is None and text != Unfit.empty():
            first_unfit = row.document_id, text
        if n_documents == 0 and first_unfit is not None and n_rows >= _MOST_UNFIT_ROWS:
            break
    if n_documents == 0:
        raise _nothing_fits(config, n_rows, first_unfit)


def _document(document_id: str, text: str, counts: DocumentCounts) -> Document:
    valid = valid_text(text)
    counts.n_mended += valid is not text
    return Document(document_id, valid)


def _value_reader(config: CorpusConfig, tokenizer: PreTrainedTokenizerBase | None) -> Callable[[object], str | Unfit]:
    if not config.chat:
        return _read_value
    assert tokenizer is not None, "conversations are rendered by a tokenizer"
    return ChatTemplate(tokenizer, config).render


def _read_value(value: object) -> str | Unfit:
    if value is None or value == "":
        return Unfit.empty()
    if isinstance(value, str):
        return Unfit.empty() if value.isspace() else value
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


def _iter_source(config: CorpusConfig) -> Iterator[Row]:
    if config.kind == "docstrings":
        for document in iter_docstring_documents():
            yield Row(document.document_id, document.text)
    elif config.kind == "huggingface":
        yield from read_huggingface(config)
    else:
        assert config.path is not None, "CorpusConfig requires a path for this kind"
        for path, name in list_files(Path(config.path), _SUFFIXES[config.kind]):
            yield from _read_file(path, name, config)


def _read_file(path: Path, name: str, config: CorpusConfig) -> Iterator[Row]:
    suffix = kind_suffix(path)
    if config.kind == "jsonl" or suffix == ".jsonl":
        yield from read_jsonl(path, name, config)
    elif config.kind == "parquet" or suffix == ".parquet":
        yield from read_parquet(path, name, config)
    else:
        with open_text(path) as text:
            for section in cut_text(name, text):
                yield Row(section.document_id, section.text)
