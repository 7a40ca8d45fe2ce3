"""The parts of one source's shards on disk, put together as they come.

    shard-00000.safetensors …   parts of shards, until they are folded
    folded.safetensors          what all shards before a certain one came to

Parts are folded a few at a time, in the order of shards, so disk and memory hold the samples of a few shards, however
long the corpus is. Which shards are folded together does not depend on who did them, or when, so the result doesn't.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from autointerp.collect.merge import SHARDS_PER_FOLD, ShardPart, finish, fold
from autointerp.collect.settings import CollectSettings
from autointerp.collect.shards import load_part, save_part
from autointerp.errors import ShardError
from autointerp.identity import fingerprint
from autointerp.records import Collected

logger = logging.getLogger(__name__)


class SourceParts:
    """Parts of one source's shards.

    Attributes:
        n_folded: Shards, from the first, that have been folded.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        fingerprints: Sequence[str],
        settings: CollectSettings,
        occurrences: Int64[np.ndarray, " token"] | None = None,
    ):
        """Find what an earlier run left.

        Args:
            folder: Of this source; made if it is missing.
            names: Of each shard, in corpus order.
            fingerprints: Of all that decides each shard's part.
            settings: What is kept.
            occurrences: Counted tokens of each id in the corpus, as `finish` takes them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files = [folder / f"{name}.safetensors" for name in names]
        self._fingerprints = list(fingerprints)
        self._settings = settings
        self._occurrences = occurrences
        self.n_folded = self._count_folded()
        for file in self._files[: self.n_folded]:
            file.unlink(missing_ok=True)

    @property
    def _folded_file(self) -> Path:
        return self._folder / "folded.safetensors"

    def file(self, shard_index: int) -> Path:
        """Where the part of a shard goes."""
        return self._files[shard_index]

    def fingerprint_of(self, shard_index: int) -> str:
        """Of all that decides the part of a shard."""
        return self._fingerprints[shard_index]

    def is_done(self, shard_index: int) -> bool:
        """Whether a shard's part is there, whole and made with the same settings, or folded already.

        A file that is neither is removed, so that it is not folded while its shard is collected again.
        """
        if shard_index < self.n_folded:
            return True
        if not self._files[shard_index].is_file():
            return False
        try:
            load_part(self._files[shard_index], self._fingerprints[shard_index])
        except ShardError as error:
            logger.warning("%s; it is collected again", error.problem)
            self._files[shard_index].unlink(missing_ok=True)
            return False
        return True

    def fold_finished(self) -> None:
        """Fold the next few shards, and the few after them, as far as they are done."""
        while self.n_folded + SHARDS_PER_FOLD <= len(self._files):
            following = range(self.n_folded, self.n_folded + SHARDS_PER_FOLD)
            if not all(self._files[index].is_file() for index in following):
                return
            folded = fold(self._load_folded(), [self._load(index) for index in following], self._settings)
            n_folded = following.stop
            save_part(self._folded_file, ShardPart(n_folded, folded), self._folded_fingerprint(n_folded))
            self.n_folded = n_folded
            for index in following:
                self._files[index].unlink()

    def result(self) -> Collected:
        """What all shards together come to.

        Raises:
            ShardError: If a part is missing or damaged.
        """
        self.fold_finished()  # an earlier run may have ended before it did
        folded = self._load_folded()
        rest = [self._load(index) for index in range(self.n_folded, len(self._files))]
        if rest:
            folded = fold(folded, rest, self._settings)
        assert folded is not None, "a corpus has a shard"
        return finish(folded, self._settings, self._occurrences)

    def _load(self, shard_index: int) -> Collected:
        return load_part(self._files[shard_index], self._fingerprints[shard_index]).collected

    def _load_folded(self) -> Collected | None:
        if self.n_folded == 0:
            return None
        return load_part(self._folded_file, self._folded_fingerprint(self.n_folded)).collected

    def _folded_fingerprint(self, n_folded: int) -> str:
        return fingerprint(self._fingerprints[:n_folded])

    def _count_folded(self) -> int:
        if not self._folded_file.is_file():
            return 0
        try:
            n_folded = load_part(self._folded_file).shard_index
            load_part(self._folded_file, self._folded_fingerprint(n_folded))
        except ShardError as error:
            logger.warning("%s; its shards are collected again", error.problem)
            return 0
        return n_folded
