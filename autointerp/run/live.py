"""The subject of a finished run, to be asked about texts of today: loaded once, at the first question."""

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from autointerp.corpus.reader import ShardReader
from autointerp.errors import SubjectError
from autointerp.live.firings import WindowFirings, run_blocks
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import GenerationLimits
from autointerp.live.subject import LiveSubject
from autointerp.records import SourceRecord
from autointerp.run.session import Session, open_session


class LiveRun:
    """A run's subject; loaded at the first question, once, whichever thread asks.

    Args:
        folder: The run's folder.

    Attributes:
        limits: What its generator takes on; to be set before that is first asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.limits = GenerationLimits()
        self._folder = folder
        self._lock = threading.Lock()
        self._generator: Generator | None = None

    def of_source(self, source: SourceRecord) -> LiveSubject:
        """The subject, with a coder that has as many features as the store says.

        Raises:
            RunError: If there is no run in the folder, or one of another version.
            SubjectError: If the model or a coder can't be loaded any more, or is another one.
        """
        with self._lock:
            live = self._session.live_subject
        n_features = live.source(source.source_id).n_features
        if n_features != source.n_features:
            raise SubjectError(
                f"the coder of {source.source_id} has {n_features:,} features now, and had {source.n_features:,} when "
                "the run was made",
                "put that coder where it was; run.json in the run's folder says where",
            )
        return live

    def generator(self, source: SourceRecord) -> Generator:
        """What generates answers from the subject; one of a run, whoever asks.

        Raises:
            RunError: As of `of_source`.
            SubjectError: The same, and if the subject has no language-model head.
        """
        live = self.of_source(source)
        with self._lock:
            if self._generator is None:
                self._generator = Generator(live, self.limits)
            return self._generator

    def run_blocks(self, source: SourceRecord, block_indices: Int64[np.ndarray, " block"]) -> list[WindowFirings]:
        """Run blocks of the run's own corpus again.

        Args:
            source: Whose firings are read.
            block_indices: In any order.

        Returns:
            The firings on each block, at their positions in it.

        Raises:
            RunError: As of `of_source`.
            SubjectError: The same.
            ShardError: If the corpus is not there any more, or damaged.
        """
        live = self.of_source(source)
        blocks, n_tokens = self._session.blocks.read(block_indices), self._session.blocks.n_tokens(block_indices)
        mask = np.arange(blocks.token_ids.shape[1]) < n_tokens[:, None]
        n_at_once = max(1, live.n_tokens_at_once // live.block_length)
        found: list[WindowFirings] = []
        for start in range(0, len(block_indices), n_at_once):
            of = slice(start, start + n_at_once)
            ran = run_blocks(live, [live.source(source.source_id)], blocks.token_ids[of], mask[of], blocks.counted[of])
            found += (of_block for (of_block,) in ran)
        return found

    @property
    def blocks(self) -> ShardReader:
        """The run's own corpus.

        Raises:
            RunError: As of `of_source`.
            ShardError: If it is not there any more, or damaged.
        """
        return self._session.blocks

    @property
    def fingerprint(self) -> str:
        """Of the run's model, coders and corpus, and of the settings that they were read with.

        Raises:
            RunError: As of `of_source`.
        """
        return self._session.contexts_fingerprint

    def kept_file(self, source_id: str, name: str) -> Path:
        """A file beside the run, for what of a source can be computed again.

        Raises:
            RunError: As of `of_source`.
        """
        return self._session.folder.pool_file(source_id, name)

    @property
    def seed(self) -> int:
        """Of the run's pipeline."""
        return self._session.pipeline.seed

    @property
    def dtypes(self) -> Sequence[str]:
        """What numbers the model and the coders compute in."""
        pipeline = self._session.pipeline
        return [pipeline.subject.dtype, *(coder.dtype for coder in pipeline.coder)]

    @cached_property
    def _session(self) -> Session:
        return open_session(self._folder)
