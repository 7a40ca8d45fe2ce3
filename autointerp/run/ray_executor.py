"""Shards on Ray: actors that each hold a source, and take one shard after another.

A shard goes to whichever worker is free; its part is a file that only depends on the shard. A worker that dies (its
machine is lost, it runs out of memory) is replaced, and its shard is done again; since a part is one file under one
name, it counts once. This is the only file that imports Ray.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from autointerp.collect.settings import CollectSettings
from autointerp.errors import AutointerpError, CollectError
from autointerp.run.shard_task import ShardTask, do_shard
from autointerp.subject.model import EMBEDDED_MODEL
from autointerp.subject.source import Source, load_source

if TYPE_CHECKING:
    from autointerp.config import Pipeline

logger = logging.getLogger(__name__)

_MOST_DEATHS_A_SHARD = 3


class CollectWorker:
    """What runs in a worker's process."""

    def __init__(self, pipeline: "Pipeline", settings: CollectSettings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._source: Source | None = None

    def collect(self, task: ShardTask) -> int | AutointerpError:
        """Do one shard; an error of ours comes back as a value, since Ray would wrap one that is raised."""
        torch.set_num_threads(1)  # as in `executor.one_thread_a_shard`
        try:
            if self._source is None:
                self._source = load_source(self._pipeline.subject, self._pipeline.coder)
            return do_shard(self._source, self._settings, task)
        except AutointerpError as error:
            return error


def collect_on_ray(pipeline: "Pipeline", settings: CollectSettings, todo: list[ShardTask]) -> Iterator[int]:
    """Do shards on Ray workers.

    Args:
        pipeline: `pipeline.ray` says how many workers, with which resources, and on which cluster; without an
            address, Ray is started on this machine, reachable from it alone, and stopped at the end.
        settings: What to collect.
        todo: The shards.

    Yields:
        Counted tokens of each shard, as they are done.

    Raises:
        AutointerpError: What a worker raised.
        CollectError: If workers die again and again over one shard, or Ray can't be reached.
    """
    config = pipeline.ray
    for_workers = _with_absolute_folders(pipeline)
    ray = _import_ray(config.address)
    with _running(ray, pipeline):
        worker_class = ray.remote(num_cpus=config.cpus_per_worker, num_gpus=config.gpus_per_worker)(CollectWorker)
        waiting = list(reversed(todo))
        n_deaths = dict.fromkeys(todo, 0)
        n_workers = min(config.n_workers, len(todo))
        idle = [worker_class.remote(for_workers, settings) for _ in range(n_workers)]
        busy: dict[Any, tuple[Any, ShardTask]] = {}
        try:
            while waiting or busy:
                while idle and waiting:
                    worker, task = idle.pop(), waiting.pop()
                    busy[worker.collect.remote(task)] = (worker, task)
                finished, _ = ray.wait(list(busy), num_returns=1)
                worker, task = busy.pop(finished[0])
                try:
                    result = ray.get(finished[0])
                except ray.exceptions.RayActorError as error:
                    n_deaths[task] += 1
                    if n_deaths[task] >= _MOST_DEATHS_A_SHARD:
                        raise CollectError(
                            f"{n_deaths[task]} workers died over the shard {task.shard_file}",
                            "see Ray's logs; if memory ran out, lower collect.batch_size or corpus.blocks_per_shard",
                        ) from error
                    logger.warning("a worker died over %s; the shard is done again", task.shard_file)
                    waiting.append(task)
                    idle.append(worker_class.remote(for_workers, settings))
                    continue
                if isinstance(result, AutointerpError):
                    raise result
                idle.append(worker)
                yield result
        finally:
            for worker in [*idle, *(worker for worker, _ in busy.values())]:
                ray.kill(worker)


def _with_absolute_folders(pipeline: "Pipeline") -> "Pipeline":
    """The pipeline for workers that stand in another folder; names of the hub and of embedded models stay."""
    subject, coder = pipeline.subject, pipeline.coder
    if subject.model != EMBEDDED_MODEL:
        subject = subject.model_copy(update={"model": _absolute_if_folder(subject.model)})
    if coder.path is not None:
        coder = coder.model_copy(update={"path": _absolute_if_folder(coder.path)})
    return pipeline.model_copy(update={"subject": subject, "coder": coder})


def _absolute_if_folder(name_or_path: str) -> str:
    folder = Path(name_or_path).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name_or_path


def _import_ray(address: str | None) -> Any:
    """Import Ray with the environment that it reads on import."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Without it Ray, told to be on 127.0.0.1, takes the machine's outside address, and listens on all of them.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    return ray


@contextlib.contextmanager
def _running(ray: Any, pipeline: "Pipeline") -> Iterator[None]:
    """Ray as the caller has it, or on the cluster at `ray.address`, or started here for this once."""
    if ray.is_initialized():
        yield
        return
    config = pipeline.ray
    try:
        if config.address is None:
            n_cpus = int(-(-config.n_workers * config.cpus_per_worker // 1))
            ray.init(
                num_cpus=max(1, n_cpus),
                num_gpus=int(-(-config.n_workers * config.gpus_per_worker // 1)),
                _node_ip_address="127.0.0.1",
                include_dashboard=False,
                configure_logging=True,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        else:
            ray.init(address=config.address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = config.address or "this machine"
        first_line = str(error).strip().splitlines()[0]
        raise CollectError(
            f"Ray can't be started on {where} ({first_line})", "check ray.address, or set ray.n_workers = 0"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
