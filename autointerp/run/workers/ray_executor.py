"""Shards on Ray: workers that each hold the sources, and take one shard after another.

1. As many workers are asked for as `ray.n_workers` says. Those that the cluster has room for start; the others join
   when room comes. None within `ray.start_timeout_s` is an error.
2. A worker that has loaded model and coders gets shards: one at a time on a CPU; on a GPU a few, so that the firings
   of one are sorted on the CPU while the GPU works on another.
3. A worker that dies (its machine is lost, it runs out of memory) gives its shards back, and another is asked for in
   its place. A part is one file under one name, which depends on its shard alone, so a shard that is done again
   counts once.

Nothing is waited for without an end: a call of Ray's that can hang is bounded, and the head is looked at every few
seconds.

Ray's own `max_restarts` and `max_task_retries` would not do. A retried call stays with its actor: where a node is lost
and there is no room to restart it, the shard waits for ever, though another worker is free. And a retry is used up at
each attempt to reach a lost node, several in a second, so their number doesn't tell how often a shard has killed its
worker.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autointerp.collect.settings import CollectSettings
from autointerp.errors import AutointerpError, CollectError
from autointerp.run.workers.ray_cluster import import_ray, one_line, running
from autointerp.run.workers.ray_watch import GO_ON, LOOK_EVERY_S, ClusterWatch
from autointerp.run.workers.ray_worker import MOST_AT_ONCE, CollectWorker, WorkerPlace
from autointerp.run.workers.shard_task import ShardTask
from autointerp.subject.model import EMBEDDED_MODEL

if TYPE_CHECKING:
    from autointerp.config import Pipeline

logger = logging.getLogger(__name__)

_MOST_DEATHS = 3  # over one shard, or of one worker before it has loaded


def collect_on_ray(pipeline: "Pipeline", settings: list[CollectSettings], todo: list[ShardTask]) -> Iterator[ShardTask]:
    """Do shards on Ray workers.

    Args:
        pipeline: `pipeline.ray` says how many workers, with which resources, and on which cluster; without an
            address, Ray is started on this machine, reachable from it alone, and stopped at the end.
        settings: What to collect, for each source.
        todo: The shards, at least one.

    Yields:
        Each shard, when it is done.

    Raises:
        AutointerpError: What a worker raised.
        ShardError: If a worker does not share the run folder.
        CollectError: If Ray can't be reached or is lost, no worker can start, or workers die again and again.
    """
    config = pipeline.ray
    for_workers = _with_absolute_folders(pipeline)
    ray = import_ray(config.address)
    n_cpus, n_gpus = config.n_workers * config.cpus_per_worker, config.n_workers * config.gpus_per_worker
    with running(ray, config.address, n_cpus, n_gpus), _probes(todo) as shared:
        options = {"num_cpus": config.cpus_per_worker, "num_gpus": config.gpus_per_worker}
        if config.gpus_per_worker > 0:
            options["max_concurrency"] = MOST_AT_ONCE
        actors = ray.remote(**options)(CollectWorker)
        crew = _Crew(ray, lambda: actors.remote(for_workers, settings), ClusterWatch(ray, config), todo, shared)
        try:
            yield from crew.work(config.n_workers)
        except ray.exceptions.RayError as error:
            raise CollectError(f"Ray stopped the run ({one_line(error)})", GO_ON) from error
        finally:
            crew.dismiss()


@dataclass(eq=False, slots=True)
class _Worker:
    actor: Any
    n_failed_starts: int
    place: WorkerPlace | None = None
    is_lost: bool = False

    def __str__(self) -> str:
        return "a worker" if self.place is None else f"the worker {self.place.process} on {self.place.host}"


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that a worker has not answered yet; `task` is that of a `collect`."""

    worker: _Worker
    step: Literal["place", "load", "collect"]
    task: ShardTask | None = None


class _Crew:
    """The workers, and what each is doing."""

    def __init__(
        self,
        ray: Any,
        new_actor: Callable[[], Any],
        watch: ClusterWatch,
        todo: list[ShardTask],
        shared: list[Path],
    ) -> None:
        self._ray = ray
        self._new_actor = new_actor
        self._watch = watch
        self._shared = shared
        self._waiting = list(reversed(todo))
        self._n_deaths = dict.fromkeys(todo, 0)
        self._calls: dict[Any, _Call] = {}
        self._workers: list[_Worker] = []
        self._free: list[_Worker] = []  # once for each shard that the worker could take

    def work(self, n_workers: int) -> Iterator[ShardTask]:
        """Do all shards, with at most so many workers."""
        n_wanted, n_fit = min(n_workers, len(self._waiting)), self._watch.n_fitting
        if n_fit < n_wanted:
            logger.warning(
                "the cluster has room for %d of %d workers, at %s each: %s; more start when there is more room",
                n_fit,
                n_wanted,
                self._watch.asked,
                self._watch.there_is,
            )
        for _ in range(n_wanted):
            self._start(n_failed_starts=0)
        while self._waiting or any(call.task for call in self._calls.values()):
            while self._free and self._waiting:
                worker, task = self._free.pop(), self._waiting.pop()
                self._calls[worker.actor.collect.remote(task)] = _Call(worker, "collect", task)
            answered, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=LOOK_EVERY_S)
            self._watch.look(is_staffed=bool(self._free) or any(c.step != "place" for c in self._calls.values()))
            for reference in answered:
                task_done = self._take(self._calls.pop(reference), reference)
                if task_done is not None:
                    yield task_done

    def dismiss(self) -> None:
        """End all workers, also those that have not started."""
        if self._watch.is_lost:
            return  # Ray would wait for it; workers of a lost head end by themselves
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def _start(self, n_failed_starts: int) -> None:
        worker = _Worker(self._new_actor(), n_failed_starts)
        self._workers.append(worker)
        self._calls[worker.actor.place.remote()] = _Call(worker, "place")

    def _take(self, call: _Call, reference: Any) -> ShardTask | None:
        """Take a worker's answer; the shard, if one is done."""
        worker, exceptions = call.worker, self._ray.exceptions
        try:
            answer = self._ray.get(reference)
        except (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            if getattr(error, "actor_init_failed", False):
                raise _cannot_start(error) from error
            self._lose(call, error)
            return None
        except exceptions.RuntimeEnvSetupError as error:
            raise _cannot_start(error) from error
        except exceptions.RayTaskError as error:
            raise CollectError(
                f"{worker} failed ({one_line(error)})",
                "see its log among Ray's; if memory ran out, lower collect.batch_size",
            ) from error
        if isinstance(answer, AutointerpError):
            raise answer
        if call.task is not None:
            for file in call.task.out_files:
                list(file.parent.iterdir())  # has a disk on the network show what the worker wrote
            logger.debug("%s was done by %s", call.task.shard_file.name, worker)
            self._free.extend([] if worker.is_lost else [worker])
        elif call.step == "place":
            worker.place = answer
            n_tasks_each = -(-len(self._n_deaths) // len(self._workers))
            self._calls[worker.actor.load.remote(n_tasks_each, self._shared)] = _Call(worker, "load")
        else:
            logger.info("%s is ready", worker)
            worker.n_failed_starts = 0
            self._free.extend([worker] * answer)
        return call.task

    def _lose(self, call: _Call, error: Exception) -> None:
        """Give a dead worker's shard back, and ask for another worker, once for all its shards."""
        worker, task = call.worker, call.task
        if task is not None:
            self._n_deaths[task] += 1
            if self._n_deaths[task] >= _MOST_DEATHS:
                raise CollectError(
                    f"{self._n_deaths[task]} workers died over the shard {task.shard_file} ({one_line(error)})",
                    "see Ray's logs; if memory ran out, lower collect.batch_size or corpus.blocks_per_shard",
                ) from error
            logger.warning("%s died over %s; the shard is done again", worker, task.shard_file)
            self._waiting.append(task)
        if worker.is_lost:
            return
        worker.is_lost = True
        self._ray.kill(worker.actor)  # it may only be out of reach
        self._free = [other for other in self._free if other is not worker]
        self._workers.remove(worker)
        n_failed_starts = worker.n_failed_starts + (task is None)
        if n_failed_starts >= _MOST_DEATHS:
            raise CollectError(
                f"{n_failed_starts} workers died before they had loaded model and coders ({one_line(error)})",
                "see Ray's logs; if memory ran out, ask for more of ray.cpus_per_worker, so that fewer share a machine",
            ) from error
        self._start(n_failed_starts)


def _cannot_start(error: Exception) -> CollectError:
    return CollectError(
        f"a Ray worker can't start ({one_line(error)})",
        "every node needs the same Python, with autointerp and Ray in the same versions as here",
    )


@contextlib.contextmanager
def _probes(todo: list[ShardTask]) -> Iterator[list[Path]]:
    """Files in the folders that workers must share: one of the corpus, and a new one beside the parts of each source.

    A worker that sees them reads the same corpus, and what it writes comes here: not to a folder of the same name on a
    disk of its own.
    """
    name = f".shared-{uuid.uuid4().hex}"
    probes = [file.with_name(name) for file in todo[0].out_files]
    try:
        for probe in probes:
            probe.touch()
        yield [todo[0].shard_file, *probes]
    finally:
        for probe in probes:
            probe.unlink(missing_ok=True)


def _with_absolute_folders(pipeline: "Pipeline") -> "Pipeline":
    """The pipeline for workers that stand in another folder; names of the hub and of embedded models stay."""
    subject = pipeline.subject
    folder = Path(subject.model).expanduser()
    if subject.model != EMBEDDED_MODEL and folder.is_dir():
        subject = subject.model_copy(update={"model": str(folder.absolute())})
    coders = []
    for coder in pipeline.coder:
        path = Path(coder.path or "").expanduser()
        is_here = coder.path is not None and path.exists()
        coders.append(coder.model_copy(update={"path": str(path.absolute())}) if is_here else coder)
    return pipeline.model_copy(update={"subject": subject, "coder": tuple(coders)})
