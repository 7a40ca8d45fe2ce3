"""Reading a file of labels: all that is wrong with it is told at once, before anything is run."""

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from autointerp.errors import PipelineError
from autointerp.explain.label_files.columns import Cells
from autointerp.explain.label_files.faults import Faults
from autointerp.explain.label_files.folders import find_rows, is_of_another_layer
from autointerp.explain.label_files.formats import Row
from autointerp.identity import feature_id, fingerprint

_LOG = logging.getLogger(__name__)
UNKNOWN_AUTHOR = "unknown author"
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
        said: What else the row says of it: `method`, `hook_point`, `scores`.
    """

    source_id: str | None
    feature_index: int
    label: str
    author: str | None
    place: str
    said: Mapping[str, Any] = field(default_factory=dict)


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
        faults = Faults(self.path)
        for label in self.labels:
            source_id = next(iter(found)) if label.source_id is None else label.source_id
            if label.source_id is None and len(found) > 1:
                faults.add(
                    label.place,
                    f"feature {label.feature_index} could be of any of {len(found)} sources",
                    f"name it as {feature_id(next(iter(found)), label.feature_index)}",
                )
            elif source_id not in found:
                faults.add(
                    label.place,
                    f"the label is of another source, {source_id}",
                    f"leave in the file only labels of {', '.join(found)}",
                )
            elif label.feature_index >= n_features[source_id]:
                faults.add(
                    label.place,
                    f"{source_id} has no feature {label.feature_index}",
                    f"its features are 0 to {n_features[source_id] - 1}",
                )
            elif is_of_another_layer(label.said.get("hook_point"), source_id):
                faults.add(
                    label.place,
                    f"the label is of the hook point {label.said['hook_point']}, and the source is {source_id}",
                    "give labels of the layer that the source is of",
                )
            else:
                other = found[source_id].setdefault(label.feature_index, label)
                if other.label != label.label:
                    _add_twice(faults, label, other)
        faults.raise_any()
        return found


def read_labels(path: Path, author: str | None) -> OutsideLabels:
    """Read a file of labels, or a folder of Delphi's.

    Args:
        path: Of the file.
        author: Whose labels are taken; None where they are all of one.

    Raises:
        PipelineError: If something is wrong with the file; the places in it are named.
    """
    try:
        rows = find_rows(path)
        status = [(str(file), (known := file.stat()).st_mtime_ns, known.st_size) for file in rows.files]
    except OSError as error:
        raise PipelineError(
            f"the file of labels {path} can't be read ({error.strerror})", "mend explain.labels"
        ) from error
    return _read(path, author, fingerprint(status))


@lru_cache(maxsize=4)
def _read(path: Path, author: str | None, status: str) -> OutsideLabels:
    """Read files as they are now: they are asked for several times in a run, and may have millions of rows."""
    rows, faults = find_rows(path), Faults(path)
    taken: dict[tuple[str | None, int], OutsideLabel] = {}
    authors: dict[str | None, set[str | None]] = {}
    twice: list[tuple[OutsideLabel, OutsideLabel]] = []
    for row in rows.read(faults):
        try:
            label = _label(row, author, authors)
        except PipelineError as error:
            faults.add(row.place, error.problem, error.remedy)
            continue
        if label is not None:
            other = taken.setdefault((label.source_id, label.feature_index), label)
            if other.label != label.label:
                twice.append((label, other))
    if not _add_author_fault(faults, author, authors):
        if rows.may_repeat:
            if twice:
                _LOG.warning(
                    "%s: %s features have several labels of one author; the first of each is taken",
                    path,
                    f"{len({(label.source_id, label.feature_index) for label, _ in twice}):,}",
                )
        else:
            # Several authors mostly means two labels of a feature too, and is what to mend.
            for label, other in twice:
                _add_twice(faults, label, other)
    faults.raise_any()
    if not taken:
        raise PipelineError(f"{path} holds no labels", "write one a row, in the columns feature and label")
    return OutsideLabels(path, tuple(taken.values()))


def _label(row: Row, author: str | None, authors: dict[str | None, set[str | None]]) -> OutsideLabel | None:
    """The label of a row; None if it is none, or another author's."""
    cells = Cells.read(row.cells)
    if not cells.is_label:
        return None
    by, method = cells.author(), cells.method()
    authors.setdefault(by, set()).add(method)
    if author is not None and author not in {by, _name(by, method)}:
        return None
    source_id, index = cells.feature()
    return OutsideLabel(source_id, index, cells.label(), by, row.place, cells.said())


def _name(author: str | None, method: str | None) -> str:
    """An author who wrote by several methods, by one of them."""
    return f"{author or UNKNOWN_AUTHOR} by {method or 'an unknown method'}"


def _add_author_fault(faults: Faults, author: str | None, authors: Mapping[str | None, Set[str | None]]) -> bool:
    """Note that it is not clear whose labels are taken, or that there are none of that author."""
    names = sorted(
        name
        for by, methods in authors.items()
        for name in ([by or UNKNOWN_AUTHOR] if len(methods) == 1 else [_name(by, method) for method in methods])
    )
    shown = ", ".join(names[:_N_AUTHORS_SHOWN]) + (", …" if len(names) > _N_AUTHORS_SHOWN else "")
    known = set(authors) | {_name(by, method) for by, methods in authors.items() for method in methods}
    if author is not None and names and author not in known:
        faults.add("", f"it holds no labels of {author!r}", f"set explain.author to one of: {shown}")
    elif (author is None and len(names) > 1) or len(authors.get(author, ())) > 1:
        faults.add("", f"it holds labels of {len(names)} authors ({shown})", "choose one with explain.author")
    else:
        return False
    return True


def _add_twice(faults: Faults, label: OutsideLabel, other: OutsideLabel) -> None:
    name = feature_id(label.source_id, label.feature_index) if label.source_id else f"feature {label.feature_index}"
    faults.add(f"{other.place} and {label.place}", f"two labels for {name}", "leave one of them")
