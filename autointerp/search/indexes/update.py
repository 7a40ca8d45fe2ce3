"""Making an index folder from a store, and extending it as labels and scores come.

1. The folder is held against the store: it belongs to it if labels spread over the folder are, in the store, at the
   places where the folder has them, with the same vectors.
2. One that belongs is extended: the labels after its last one are added behind its rows, and scores after the last one
   that it has are written into its columns. Which labels and scores are current is worked out again only where the
   fingerprint of a stage has changed.
3. Codes are written once enough labels lack one (until then those are compared one by one), and centroids are made anew
   once there are twice as many labels as they were made from: labels drift away from them.
4. The manifest comes last. A process that is killed leaves the folder in the state of before.

What does not belong, or is damaged, is made anew under another name and put into its place.
"""

import fcntl
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import SearchError
from autointerp.search.indexes.columns import GROWING_FILES, Columns, ColumnWriter, add_scorer
from autointerp.search.indexes.ivf import extend_codes, write_codes
from autointerp.search.indexes.manifest import (
    FORMAT,
    Manifest,
    UnusableIndexError,
    digest_of_pages,
    read_manifest,
    sizes_of,
    write_manifest,
)
from autointerp.search.indexes.words import WordIndex, WordWriter
from autointerp.store.label_rows import LabelState
from autointerp.store.reader import Reader

logger = logging.getLogger(__name__)

WORDS = "words"
MOST_UNCODED = 20_000
_PIECE = 200_000
_SAMPLED = 16
_GROWTH = 2


class IndexBusyError(SearchError):
    """Another process is at work on the index."""


def index_folder(store: Path, embedder: str) -> Path:
    """Where the index of a store's labels lies, as one embedder has embedded them."""
    readable = "".join(c if c.isalnum() or c in "-." else "-" for c in embedder)[:40].strip(".") or "embedder"
    return store.parent / "index" / f"{readable}-{hashlib.sha256(embedder.encode()).hexdigest()[:8]}"


def belongs_to(folder: Path, manifest: Manifest, reader: Reader) -> bool:
    """Whether the labels of a folder are those of a store: so of some that are spread over it."""
    columns = Columns(folder, manifest.n_rows, manifest.dim)
    rows = np.unique(np.linspace(0, manifest.n_rows - 1, _SAMPLED).astype(np.int64))
    places = columns.place[rows].tolist()
    found = reader.label_sample(manifest.embedder, places)
    for row, place, (explanation, _) in zip(rows.tolist(), places, columns.texts(rows.tolist()), strict=True):
        known, vector = found.get(place, ("", []))
        if known != explanation or not np.array_equal(
            np.array(vector, np.float32).astype(np.float16), columns.vectors[row]
        ):
            return False
    return True


def usable_manifest(folder: Path, reader: Reader, state: LabelState) -> Manifest:
    """The manifest of a folder that belongs to a store in the same or an earlier state.

    Raises:
        UnusableIndexError: If there is none, it is damaged, or it belongs to another store.
    """
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError as error:
        raise UnusableIndexError(f"there is no index at {folder}", "run `autointerp index`") from error
    then = manifest.state
    is_later = (
        then.version == state.version
        and then.n_embeddings <= state.n_embeddings
        and then.n_scores <= state.n_scores
        and then.n_features <= state.n_features
    )
    try:
        has_words = WordIndex(folder / WORDS, manifest.n_rows).is_whole
    except (ValueError, OSError) as error:
        raise UnusableIndexError(f"{folder / WORDS} can't be opened ({error})", "run `autointerp index`") from error
    if not has_words:
        raise UnusableIndexError(f"{folder / WORDS} lacks labels", "run `autointerp index`")
    if not is_later or not belongs_to(folder, manifest, reader):
        raise UnusableIndexError(f"the index at {folder} belongs to another store", "run `autointerp index`")
    return manifest


def update_index(reader: Reader, embedder: str, *, wait: bool = True) -> Manifest:
    """Bring the index folder of a store up to its state: extend it, or make it where it can't be used.

    Args:
        reader: Of the store.
        embedder: Whose embeddings.
        wait: Wait for another process that is at work on it.

    Raises:
        IndexBusyError: If another process is at work on it, and is not waited for.
        OSError: If the folder can't be written.
    """
    folder = index_folder(reader.path, embedder)
    folder.parent.mkdir(exist_ok=True)
    with _held(folder, wait=wait):
        with reader.session():
            state = reader.label_state()
            try:
                manifest = usable_manifest(folder, reader, state)
            except UnusableIndexError as error:
                logger.info("%s: made anew", error.problem)
                manifest = None
        if manifest is not None and manifest.state == state:
            return manifest
        if manifest is not None and 2 * manifest.n_current >= manifest.n_rows:
            return _Update(folder, reader, manifest, state).run()
        return _make(folder, reader, embedder, state)


def _make(folder: Path, reader: Reader, embedder: str, state: LabelState) -> Manifest:
    for left in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    unfinished.mkdir()
    nothing = LabelState(state.version, 0, 0, state.n_features, {}, state.fingerprints)
    empty = Manifest(FORMAT, embedder, 0, 0, 0, 0, 0, "", (), (), (), nothing, {}, "")
    try:
        manifest = _Update(unfinished, reader, empty, state).run()
        if folder.exists():
            replaced = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
            folder.rename(replaced)
            unfinished.rename(folder)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return manifest


@contextmanager
def _held(folder: Path, *, wait: bool) -> Iterator[None]:
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise IndexBusyError(f"another process is at work on {folder}", "wait for it") from error
        yield


@dataclass
class _Update:
    """One extension of a folder, from nothing too.

    Attributes:
        folder: The index folder.
        reader: Of the store.
        earlier: What the folder holds.
        state: Of the store, to be reached.
    """

    folder: Path
    reader: Reader
    earlier: Manifest
    state: LabelState

    def run(self) -> Manifest:
        """Bring the folder to the state, and say so in its manifest."""
        manifest = self._with_rows(self.earlier)
        if not manifest.n_rows:
            raise SearchError(f"{self.reader.path} has no labels embedded with {manifest.embedder}", "index it first")
        columns = Columns(self.folder, manifest.n_rows, manifest.dim, writable=True)
        then, now = self.earlier.state, self.state
        if now.fingerprints.get("explain") != then.fingerprints.get("explain") or now.n_features != then.n_features:
            self._refresh(columns)
        manifest = self._with_scores(manifest, columns)
        manifest = self._with_codes(manifest, columns)
        names = (*GROWING_FILES, manifest.codes)
        for name in names:
            with (self.folder / name).open("rb") as file:
                os.fsync(file.fileno())
        columns.flush()
        sizes = sizes_of(self.folder, names)
        manifest = replace(
            manifest,
            n_current=int(np.count_nonzero(columns.current)),
            state=self.state,
            sizes=sizes,
            digest=digest_of_pages(self.folder, sizes),
        )
        write_manifest(self.folder, manifest)
        for codes in self.folder.glob("codes-*"):
            if codes.name != manifest.codes:
                with suppress(OSError):
                    codes.unlink()
        logger.info("the index at %s holds %d labels", self.folder, manifest.n_rows)
        return manifest

    def _with_rows(self, manifest: Manifest) -> Manifest:
        words = WordWriter(self.folder / WORDS)
        if words.n_rows() > manifest.n_rows:  # a process was killed after it had put them in
            words.drop_from(manifest.n_rows)
        sources, explainers = list(manifest.sources), list(manifest.explainers)
        n_rows, dim = manifest.n_rows, manifest.dim
        writer = ColumnWriter(self.folder, n_rows, dim, len(manifest.scorers)) if n_rows else None
        for first in range(manifest.state.n_embeddings, self.state.n_embeddings, _PIECE):
            end = min(first + _PIECE, self.state.n_embeddings)
            rows = self.reader.label_rows(manifest.embedder, first, end)
            if not rows.labels:
                continue
            if writer is None:
                dim = rows.embeddings.shape[1]
                writer = ColumnWriter(self.folder, 0, dim, 0)
            writer.add(rows, _numbered(rows.source_ids, sources), _numbered(rows.explainers, explainers))
            words.add(n_rows, rows.labels)
            n_rows += len(rows.labels)
        words.commit()
        return replace(manifest, n_rows=n_rows, dim=dim, sources=tuple(sources), explainers=tuple(explainers))

    def _refresh(self, columns: Columns) -> None:
        for first in range(0, self.state.n_embeddings, _PIECE):
            place, density, is_current = self.reader.label_standing(self.earlier.embedder, first, first + _PIECE)
            rows = np.searchsorted(columns.place, place)
            known = rows < columns.n_rows
            columns.current[rows[known]] = is_current[known]
            columns.density[rows[known]] = density[known]

    def _with_scores(self, manifest: Manifest, columns: Columns) -> Manifest:
        then, now = self.earlier.state, self.state
        scorers = list(manifest.scorers)
        first = then.n_scores
        if _of_scorers(then) != _of_scorers(now):
            first = 0
            for scorer in range(len(scorers)):
                columns.value(scorer)[:] = np.nan
                columns.interval(scorer)[:] = np.nan
        for start in range(first, now.n_scores, _PIECE):
            found = self.reader.label_scores(manifest.embedder, start, min(start + _PIECE, now.n_scores))
            n_known = len(scorers)
            number = _numbered(found.scorers, scorers)
            for scorer in range(n_known, len(scorers)):
                add_scorer(self.folder, scorer, manifest.n_rows)
            rows = np.searchsorted(columns.place, found.place)
            for scorer in np.unique(number).tolist():
                of_it = number == scorer
                columns.value(scorer)[rows[of_it]] = found.values[of_it, 0]
                columns.interval(scorer)[rows[of_it]] = found.values[of_it, 1:]
        return replace(manifest, scorers=tuple(scorers))

    def _with_codes(self, manifest: Manifest, columns: Columns) -> Manifest:
        n_rows = manifest.n_rows
        if n_rows > _GROWTH * manifest.n_trained:
            codes = f"codes-{n_rows}-{n_rows}"
            write_codes(self.folder / codes, columns.vectors)
            return replace(manifest, codes=codes, n_trained=n_rows, n_coded=n_rows)
        if n_rows - manifest.n_coded > max(MOST_UNCODED, n_rows // 50):
            codes = f"codes-{manifest.n_trained}-{n_rows}"
            extend_codes(self.folder / manifest.codes, self.folder / codes, columns.vectors)
            return replace(manifest, codes=codes, n_coded=n_rows)
        return manifest


def _of_scorers(state: LabelState) -> dict[str, str]:
    return {stage: made_by for stage, made_by in state.fingerprints.items() if stage != "explain"}


def _numbered(names: list[str], known: list[str]) -> NDArray[np.int64]:
    """The number of each name; names that are not known yet are put behind those that are."""
    number = {name: place for place, name in enumerate(known)}
    found = np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)
    known[:] = number
    return found
