"""What runs in the process of a Ray worker: it holds the sources, and does shards."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from autointerp.collect.settings import CollectSettings
from autointerp.errors import AutointerpError, ShardError
from autointerp.run.workers.shard_task import ShardTask, do_shard, n_shards_at_once
from autointerp.subject.source import Sources, load_sources

if TYPE_CHECKING:
    from autointerp.config import Pipeline

# Shards on one worker that has a GPU; how many there really are, it says itself.
MOST_AT_ONCE = 16

# A disk on the network may show a new file late.
_SEEN_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where a worker is.

    Attributes:
        host: The machine's name.
        process: Id of the process there.
    """

    host: str
    process: int


class CollectWorker:
    """Does shards. Errors of ours come back as values, since Ray would wrap one that is raised."""

    def __init__(self, pipeline: "Pipeline", settings: list[CollectSettings]) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._sources: Sources | None = None

    def place(self) -> WorkerPlace:
        """Where this is; it answers as soon as the process stands."""
        return WorkerPlace(socket.gethostname(), os.getpid())

    def load(self, n_tasks: int, shared: Sequence[Path]) -> int | AutointerpError:
        """See that folders are shared, and load model and coders.

        Args:
            n_tasks: About how many shards there are for this worker.
            shared: Files in the folders that this machine must share with the driver's, absolute paths.

        Returns:
            How many of them it does at once: one on a CPU; on a GPU a few, as `executor` does in one process.
        """
        torch.set_num_threads(1)
        try:
            _see(shared)
            self._sources = load_sources(self._pipeline.subject, self._pipeline.coder)
        except AutointerpError as error:
            return error
        if self._sources.subject.device.type == "cpu":
            return 1
        return min(MOST_AT_ONCE, n_shards_at_once(self._sources, self._settings, n_tasks))

    def collect(self, task: ShardTask) -> AutointerpError | None:
        """Do one shard; `load` has been called."""
        assert self._sources is not None
        torch.set_num_threads(1)  # as in `shard_task.one_thread_a_shard`; it holds for this thread
        try:
            do_shard(self._sources, self._settings, task)
        except AutointerpError as error:
            return error
        return None


def _see(files: Sequence[Path]) -> None:
    until = time.monotonic() + _SEEN_WITHIN_S
    for file in files:
        while not file.is_file():
            if time.monotonic() > until:
                raise ShardError(
                    f"the machine {socket.gethostname()} does not see {file}",
                    "workers must see the run folder under the same absolute path: put `runs` on storage they share",
                )
            time.sleep(0.2)
