"""Replicas on Ray Serve: one a GPU, or as many as are asked for, which share the processors.

Ray passes on what is asked, and has lost replicas begun anew; its own HTTP is not started. With no address, Ray is
started on this machine, reachable from it alone, and stopped at the end.
"""

import logging
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from autointerp.devices import n_gpus
from autointerp.errors import CollectError, ServeError
from autointerp.run.workers.ray_cluster import import_ray, one_line, running
from autointerp.serve.knows import Begin, Question
from autointerp.serve.replica import Kind, Replica, Served
from autointerp.serve.spread import ComingAnswer, ComingPieces

# Replicas are begun anew within some seconds after they were lost.
_LOOK_EVERY_S = 2.0
_LAST_ANSWERS_S = 5.0
_ONGOING = 10_000  # how many may ask is told before they do


class RayReplicas:
    """Replicas of one Serve application.

    Args:
        handle: Asks them.
        n: How many.
    """

    def __init__(self, handle: Any, n: int) -> None:
        import ray
        from ray.serve.exceptions import ReplicaUnavailableError

        errors = ray.exceptions
        self.n = n
        self.lost: tuple[type[Exception], ...] = (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.NodeDiedError,
            ReplicaUnavailableError,
        )
        self.failed: tuple[type[Exception], ...] = (errors.RayTaskError,)
        self._handle = handle
        self._writing = handle.options(stream=True)

    def ask(self, kind: Kind, question: Question[Any]) -> ComingAnswer:
        """Send a question to one."""
        asked: ComingAnswer = self._handle.ask.remote(kind, question)
        return asked

    def write(self, begins: Sequence[Begin]) -> ComingPieces:
        """Have one write answers."""
        writing: ComingPieces = self._writing.write.remote(begins)
        return writing

    def troubles(self) -> Sequence[str]:
        """What is not served, a line each.

        Raises:
            AutointerpError: If nothing is.
        """
        told: Sequence[str] | Exception = self._handle.troubles.remote().result()
        if isinstance(told, Exception):
            raise told
        return told


@contextmanager
def deployed(served: Served, n: int | None = None, address: str | None = None) -> Iterator[RayReplicas]:
    """Replicas that have loaded their models, while the `with` block lasts.

    Args:
        served: What is served.
        n: How many; where None, one a GPU, and one where there is none.
        address: Of a cluster.

    Raises:
        ServeError: If Ray is not installed, can't be reached or started, or no replica can.
        AutointerpError: If nothing can be served.
    """
    # Ray has its workers give way to all other processes, which who waits for an answer would feel.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray = import_ray(address)
        from ray import serve
    except ImportError as error:
        raise ServeError("Ray is not installed", "pip install 'autointerp[ray]'") from error
    name = f"autointerp-{uuid.uuid4().hex[:8]}"
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with _started(ray, address):
        n = n or max(1, int(ray.cluster_resources().get("GPU", 0)))
        deployment = serve.deployment(
            num_replicas=n,
            max_ongoing_requests=_ONGOING,
            health_check_period_s=_LOOK_EVERY_S,
            graceful_shutdown_timeout_s=_LAST_ANSWERS_S,
            ray_actor_options=_share(ray.nodes(), n),
        )(Replica)
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        try:
            try:
                handle = serve.run(deployment.bind(served), name=name, route_prefix=None)
            except RuntimeError as error:
                raise ServeError(
                    f"no replica can start ({one_line(error)})", "see Ray's logs, or serve without --ray"
                ) from error
            yield RayReplicas(handle, n)
        finally:
            if address is None:
                serve.shutdown()
            else:
                serve.delete(name)


@contextmanager
def _started(ray: Any, address: str | None) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(running(ray, address, len(os.sched_getaffinity(0)), n_gpus()))
        except CollectError as error:
            raise ServeError(error.problem, "check --ray-address, or serve without --ray") from error
        yield


def _share(nodes: Sequence[Any], n: int) -> dict[str, float]:
    """What each of some replicas gets: a GPU, or a share of one, where there are any; else of the processors."""
    of_nodes = [node["Resources"] for node in nodes if node["Alive"]]
    all_gpus, all_cpus = (sum(of.get(kind, 0) for of in of_nodes) for kind in ("GPU", "CPU"))
    if all_gpus:
        return {"num_gpus": 1 / math.ceil(n / all_gpus), "num_cpus": min(1.0, all_cpus / n)}
    most = max(of.get("CPU", 0) for of in of_nodes)
    return {"num_gpus": 0, "num_cpus": min(most, float(int(all_cpus / n)) or all_cpus / n)}
