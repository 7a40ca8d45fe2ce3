"""The explainer `outside`: labels that somebody else wrote, read from a file, to be scored like ours.

The file has the columns `feature` (an index, or `model@source:index`), `label` and, if it likes, `author`; others are
passed over. It is CSV with a header, JSON lines or Parquet, told by its ending. Where it holds labels of several
authors, `explain.author` names the one whose are taken; then only those rows count.

Everything that is wrong with the file stops the run before any work, with the place named: a label that went astray
would be scored as its author's.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.base import BaseExplainer, Tools
from autointerp.explain.not_a_label import label_problem
from autointerp.identity import feature_id, fingerprint, parse_feature_id
from autointerp.json_text import parse_json
from autointerp.records import Explanation, Failure, FeatureEvidence
from autointerp.valid_text import valid_text

UNKNOWN_AUTHOR = "unknown author"
_FORMATS = ".csv, .jsonl and .parquet"
_N_AUTHORS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class OutsideLabel:
    """A label of the file.

    Attributes:
        source_id: The source that the row names; None where it names none.
        feature_index: The feature.
        label: The text, on one line.
        author: Who wrote it; None where the row does not say.
        place: Where it stands, for example `line 12`.
    """

    source_id: str | None
    feature_index: int
    label: str
    author: str | None
    place: str


@dataclass(frozen=True, slots=True)
class OutsideLabels:
    """The labels of a file that count.

    Attributes:
        path: The file.
        labels: In its order; no two of one feature as it is written.
    """

    path: Path
    labels: tuple[OutsideLabel, ...]

    @property
    def fingerprint(self) -> str:
        """Of what the labels say, wherever the file lies and in whatever order they stand."""
        rows = [[label.source_id or "", label.feature_index, label.label, label.author] for label in self.labels]
        return fingerprint("outside labels", sorted(rows, key=lambda row: row[:2]))

    def by_source(self, n_features: Mapping[str, int]) -> dict[str, dict[int, OutsideLabel]]:
        """The labels by source and feature.

        Args:
            n_features: Of each source of the run.

        Raises:
            PipelineError: If a label is of another source or past a source's width, names no source where the run has
                several, or if two are of one feature.
        """
        found: dict[str, dict[int, OutsideLabel]] = {source_id: {} for source_id in n_features}
        for label in self.labels:
            where = f"{self.path}, {label.place}"
            if label.source_id is None and len(found) > 1:
                raise PipelineError(
                    f"{where}: feature {label.feature_index} could be of any of {len(found)} sources",
                    f"name it as {feature_id(next(iter(found)), label.feature_index)}",
                )
            source_id = next(iter(found)) if label.source_id is None else label.source_id
            if source_id not in found:
                raise PipelineError(
                    f"{where}: the label is of another source, {source_id}",
                    f"leave in the file only labels of {', '.join(found)}",
                )
            if label.feature_index >= n_features[source_id]:
                raise PipelineError(
                    f"{where}: {source_id} has no feature {label.feature_index}",
                    f"its features are 0 to {n_features[source_id] - 1}",
                )
            other = found[source_id].setdefault(label.feature_index, label)
            if other is not label:
                raise _twice(self.path, label, other)
        return found


class OutsideExplainer(BaseExplainer):
    """An explainer that gives each feature the label that the file has for it.

    Args:
        tools: With a config that names the file.

    Raises:
        PipelineError: If something is wrong with the file.
    """

    name = "outside"
    reads_labels = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        labels = outside_labels(tools.config)
        self._path = labels.path
        self._labels = {(label.source_id, label.feature_index): label for label in labels.labels}

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """What the labels say.

        Raises:
            PipelineError: If something is wrong with the file.
        """
        return (outside_labels(config).fingerprint,)

    @classmethod
    def labelled(cls, config: ExplainConfig, n_features: Mapping[str, int]) -> Mapping[str, Sequence[int]]:
        """The features of the file.

        Raises:
            PipelineError: If something is wrong with the file.
        """
        labels = outside_labels(config).by_source(n_features)
        return {source_id: sorted(of_source) for source_id, of_source in labels.items()}

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Give the file's label; `NoLabel` where it has none."""
        index = evidence.feature_index
        label = self._labels.get((evidence.source_id, index)) or self._labels.get((None, index))
        if label is None:
            return self.failure(evidence, "NoLabel", f"{self._path} has no label for it")
        detail = {"file": self._path.name, "place": label.place}
        return self.explanation(evidence, label.label, model=label.author or UNKNOWN_AUTHOR, detail=detail)


def outside_labels(config: ExplainConfig) -> OutsideLabels:
    """The labels that a pipeline with the explainer `outside` takes.

    Raises:
        PipelineError: If something is wrong with the file.
    """
    if config.labels is None:
        raise PipelineError("the explainer 'outside' reads labels from a file", "name it as explain.labels")
    return read_labels(Path(config.labels).expanduser(), config.author)


def read_labels(path: Path, author: str | None) -> OutsideLabels:
    """Read a file of labels.

    Args:
        path: Of the file.
        author: Whose labels are taken; None where they are all of one.

    Raises:
        PipelineError: If something is wrong with the file; the place in it is named.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise PipelineError(
            f"the file of labels {path} can't be read ({error.strerror})", "mend explain.labels"
        ) from error
    return _read(path, author, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, author: str | None, mtime_ns: int, n_bytes: int) -> OutsideLabels:
    """Read a file as it is now: it is asked for several times in a run, and may have millions of rows."""
    if not path.is_file():
        raise PipelineError(f"{path} is not a file", f"labels are read from {_FORMATS} files")
    taken: dict[tuple[str | None, int], OutsideLabel] = {}
    authors: set[str | None] = set()
    twice: PipelineError | None = None
    for place, row in _rows_of(path):
        where = f"{path}, {place}"
        by = _author(row, where)
        authors.add(by)
        if author is not None and by != author:
            continue
        label = _label(row, by, place, where)
        other = taken.setdefault((label.source_id, label.feature_index), label)
        if other is not label:
            twice = twice or _twice(path, label, other)
    # Several authors mostly means two labels of a feature too, and is what to mend.
    _check_authors(path, author, authors)
    if twice is not None:
        raise twice
    return OutsideLabels(path, tuple(taken.values()))


def _check_authors(path: Path, author: str | None, authors: Set[str | None]) -> None:
    names = sorted(name or UNKNOWN_AUTHOR for name in authors)
    shown = ", ".join(names[:_N_AUTHORS_SHOWN]) + (", …" if len(names) > _N_AUTHORS_SHOWN else "")
    if not names:
        raise PipelineError(f"{path} holds no labels", "write one a row, in the columns feature and label")
    if author is not None and author not in authors:
        raise PipelineError(f"{path} holds no labels of {author!r}", f"set explain.author to one of: {shown}")
    if author is None and len(names) > 1:
        raise PipelineError(f"{path} holds labels of {len(names)} authors ({shown})", "choose one with explain.author")


def _twice(path: Path, label: OutsideLabel, other: OutsideLabel) -> PipelineError:
    name = feature_id(label.source_id, label.feature_index) if label.source_id else f"feature {label.feature_index}"
    return PipelineError(f"{path}, {other.place} and {label.place}: two labels for {name}", "leave one of them")


def _label(row: Mapping[str, Any], author: str | None, place: str, where: str) -> OutsideLabel:
    source_id, index = _feature(row["feature"], where)
    text = row["label"]
    if _is_missing(text):
        text = ""
    if not isinstance(text, str):
        raise PipelineError(f"{where}: the label is {text!r}, which is no text", "put it in quotes, or mend that row")
    text = valid_text(text)
    problem = label_problem(text, "")
    # A refusal in words is somebody's label all the same, and may be a true one.
    if problem is not None and problem[0] != "Refusal":
        raise PipelineError(f"{where}: {problem[1]}", "mend that row, or leave it out")
    return OutsideLabel(source_id, index, " ".join(text.split()), author, place)


def _feature(value: object, where: str) -> tuple[str | None, int]:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of integers in which some row lacks one
    is_number = isinstance(value, int) and not isinstance(value, bool)
    parsed = parse_feature_id(str(value).strip()) if is_number or isinstance(value, str) else None
    if parsed is None:
        shown = "nothing" if _is_missing(value) or value == "" else repr(value)
        raise PipelineError(f"{where}: the feature is {shown}", "give an index such as 650, or model@source:650")
    return parsed


def _author(row: Mapping[str, Any], where: str) -> str | None:
    author = row.get("author")
    if _is_missing(author):
        return None
    if not isinstance(author, str):
        raise PipelineError(f"{where}: the author is {author!r}, which is no text", "mend that row")
    return valid_text(author).strip() or None


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


# --- formats --------------------------------------------------------------------------------------------------------


def _rows_of(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a file with its place, as it is told to a user.

    Raises:
        PipelineError: If the ending is unknown, or the file is none of its format.
    """
    read = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}.get(path.suffix.lower())
    if read is None:
        raise PipelineError(f"{path} ends with {path.suffix or 'no suffix'}", f"labels are read from {_FORMATS} files")
    try:
        yield from read(path)
    except OSError as error:
        raise PipelineError(f"{path} can't be read ({error.strerror})", "check its permissions") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        lines = reader.reader  # which knows the line also where it can't be read
        try:
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                place = f"line {lines.line_num}"
                if None in row:
                    raise PipelineError(
                        f"{path}, {place}: more cells than the header has", "put text with commas into double quotes"
                    )
                yield place, row
        except csv.Error as error:
            raise PipelineError(f"{path}, line {lines.line_num}: no valid CSV ({error})", "mend that line") from error
        except UnicodeDecodeError as error:
            raise _not_utf8(path, f"after line {lines.line_num}") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = parse_json(text) if text else {}
            except UnicodeDecodeError as error:
                raise _not_utf8(path, place) from error
            except json.JSONDecodeError as error:
                raise PipelineError(f"{path}, {place}: no valid JSON ({error})", "mend that line") from error
            if not text:
                continue
            if not isinstance(row, dict):
                raise PipelineError(f"{path}, {place}: not a JSON object", 'write {"feature": 650, "label": "…"}')
            _check_columns(f"{path}, {place}", row)
            yield place, row


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names)
            wanted = [name for name in ("feature", "label", "author") if name in names]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except pa.ArrowException as error:
        said = " ".join(str(error).split())
        raise PipelineError(f"{path} is no valid Parquet file ({said})", "write it again") from error


def _check_columns(where: object, names: Sequence[str] | Mapping[str, Any]) -> None:
    for name in ("feature", "label"):
        if name not in names:
            there = ", ".join(map(str, names)) or "none"
            raise PipelineError(f"{where}: there is no column {name!r}", f"name a column so; there are: {there}")


def _not_utf8(path: Path, place: str) -> PipelineError:
    return PipelineError(f"{path}, {place}: not UTF-8", "save the file as UTF-8")
