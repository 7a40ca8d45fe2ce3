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
conversations, and each is one document, as the template of `corpus.sources.chat` writes it. With docstrings, every
other document is made one, by `corpus.sources.questions`.

A row that does not fit (no text, a number, a conversation that the template refuses) is left out and counted with its
reason in the counts. What can't be read at all stops the run, and so does a file whose first row lacks the column, so
that no part of a corpus goes missing unseen.

Where `CorpusConfig.token_column` is set the rows hold tokens, and no text. Each is a document then, as nothing tells
where in it one ends.

Half a surrogate pair in a text, which UTF-8 can't hold, becomes U+FFFD; such documents are counted too.

A document is on one side of the split between explaining and scoring, so a book must not be a single one: a long txt or
md file is cut into sections by `corpus.sources.sections`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from autointerp.config import CorpusConfig
from autointerp.corpus.counts import MOST_UNFIT, DocumentCounts, Unfit
from autointerp.corpus.sources.chat import ChatTemplate, looks_like_conversation
from autointerp.corpus.sources.docstrings import iter_docstring_documents
from autointerp.corpus.sources.files import kind_suffix, list_files, open_text
from autointerp.corpus.sources.questions import ask_about
from autointerp.corpus.sources.rows import Row, is_stream, read_huggingface, read_jsonl, read_parquet
from autointerp.corpus.sources.sections import cut_text
from autointerp.corpus.vocabulary import count_ids
from autointerp.errors import CorpusError
from autointerp.records import Document
from autointerp.records.corpus import TokenizedDocument
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_ValueT = TypeVar("_ValueT")

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
    for row in _iter_fitting(config, _value_reader(config, tokenizer), counts):
        yield _document(row, counts)


def iter_tokenized(
    config: CorpusConfig, tokenizer: PreTrainedTokenizerBase, *, counts: DocumentCounts | None = None
) -> Iterator[TokenizedDocument]:
    """Yield the rows of a corpus that is tokenized already, without padding, none of them empty.

    Args:
        config: The source, with its `token_column`.
        tokenizer: The subject's, which must have made the tokens. Nothing in such a corpus tells whether it has.
        counts: Gets the rows that are left out, as far as they were read.

    Raises:
        CorpusError: As `iter_documents`, and if a token is not in the vocabulary.
    """
    n_ids = count_ids(tokenizer)
    for row in _iter_fitting(config, partial(_read_tokens, tokenizer), counts or DocumentCounts()):
        token_ids = row.value
        if not 0 <= min(token_ids) <= max(token_ids) < n_ids:
            strange = next(token_id for token_id in token_ids if not 0 <= token_id < n_ids)
            raise CorpusError(
                f"{row.document_id} has the token {strange}, and the subject's tokenizer {n_ids:,} tokens",
                "give tokens that this tokenizer made, or the text itself by corpus.column",
            )
        yield TokenizedDocument(row.document_id, token_ids, row.group_id)


class _Fitting(NamedTuple, Generic[_ValueT]):
    document_id: str
    value: _ValueT
    group_id: str


def _iter_fitting(
    config: CorpusConfig, read_value: Callable[[object], _ValueT | Unfit], counts: DocumentCounts
) -> Iterator[_Fitting[_ValueT]]:
    n_rows = n_documents = 0
    example: tuple[str, Unfit] | None = None
    for row in _iter_source(config):
        n_rows += 1
        value = row.value if isinstance(row.value, Unfit) else read_value(row.value)
        if not isinstance(value, Unfit):
            n_documents += 1
            group_id = row.document_id if config.groups == "document" else row.group_id
            yield _Fitting(row.document_id, value, group_id)
            continue
        counts.reject(value.reason, f"{row.document_id} {value.detail}")
        if example is None or example[1] == Unfit.empty() != value:
            example = row.document_id, value
        if n_documents == 0 and n_rows == MOST_UNFIT:
            error = _nothing_fits(config, f"none of the first {n_rows:,} rows can be used", example)
            if is_stream(config):
                raise error
            logger.warning("%s; reading on to the end", error.problem)
    if n_documents > 0:
        return
    if example is None or example[1] == Unfit.empty():
        raise CorpusError(f"the corpus {_name(config)} holds no text", Unfit.empty().remedy)
    said = "the one row can't be used" if n_rows == 1 else f"none of {n_rows:,} rows can be used"
    raise _nothing_fits(config, said, example)


def _nothing_fits(config: CorpusConfig, said: str, example: tuple[str, Unfit]) -> CorpusError:
    document_id, unfit = example
    return CorpusError(f"of the corpus {_name(config)} {said} ({document_id} {unfit.detail})", unfit.remedy)


def _name(config: CorpusConfig) -> str:
    return config.path or config.kind


def _document(row: _Fitting[str], counts: DocumentCounts) -> Document:
    valid = valid_text(row.value)
    counts.n_mended += valid is not row.value
    return Document(row.document_id, valid, row.group_id)


def _value_reader(config: CorpusConfig, tokenizer: PreTrainedTokenizerBase | None) -> Callable[[object], str | Unfit]:
    if not config.chat:
        return _read_value
    assert tokenizer is not None, "conversations are rendered by a tokenizer"
    template = ChatTemplate(tokenizer, config.chat_template)
    if config.kind == "docstrings":
        return lambda value: _read_value(value) if isinstance(value, str) else template.render(value)
    return template.render


def _read_value(value: object) -> str | Unfit:
    if value is None or value == "":
        return Unfit.empty()
    if isinstance(value, str):
        return Unfit.empty() if value.isspace() else value
    if looks_like_conversation(value):
        return Unfit("not text", "is a list of messages, not text", "set corpus.chat = true")
    return Unfit("not text", f"is {type(value).__name__}, not text", "set corpus.column to the one with the text")


def _read_tokens(tokenizer: PreTrainedTokenizerBase, value: object) -> tuple[int, ...] | Unfit:
    if value is None:
        return Unfit.empty()
    strange = None if isinstance(value, list) else type(value).__name__
    if isinstance(value, list) and (kinds := [kind for kind in dict.fromkeys(map(type, value)) if kind is not int]):
        strange = f"a list with {kinds[0].__name__}"
    if strange is not None:
        return Unfit(
            "not token ids", f"is {strange}, not a list of token ids", "set corpus.token_column to one of them"
        )
    assert isinstance(value, list)
    # Padding stands at the ends, and nothing else needs looking at.
    padding = tokenizer.pad_token_id
    start, end = 0, len(value)
    while start < end and value[start] == padding:
        start += 1
    while end > start and value[end - 1] == padding:
        end -= 1
    return tuple(value[start:end]) if start < end else Unfit.empty()


def _iter_source(config: CorpusConfig) -> Iterator[Row]:
    if config.kind == "docstrings":
        for number, document in enumerate(iter_docstring_documents()):
            is_asked_about = config.chat and number % 2 == 1
            value = ask_about(document, Random(document.document_id)) if is_asked_about else document.text
            yield Row(document.document_id, value, document.group_id)
    elif config.kind == "huggingface":
        yield from read_huggingface(config)
    else:
        assert config.path is not None, "CorpusConfig requires a path for this kind"
        files = list_files(Path(config.path), _SUFFIXES[config.kind])
        for path, name in files:
            for row in _read_file(path, name, config):
                # Of the only file the sections are kept apart: there is nothing else to grade by.
                yield row._replace(group_id="") if config.kind == "text" and len(files) == 1 else row


def _read_file(path: Path, name: str, config: CorpusConfig) -> Iterator[Row]:
    suffix = kind_suffix(path)
    if config.kind == "jsonl" or suffix == ".jsonl":
        yield from read_jsonl(path, name, config)
    elif config.kind == "parquet" or suffix == ".parquet":
        yield from read_parquet(path, name, config)
    else:
        with open_text(path) as text:
            for section in cut_text(name, text):
                yield Row(section.document_id, section.text, section.group_id)
