"""What room a Ray cluster has, and the watch over it: that its head is there, and that somebody works."""

import time
from typing import TYPE_CHECKING, Any

from autointerp.errors import CollectError
from autointerp.run.workers.ray_cluster import answers

if TYPE_CHECKING:
    from autointerp.config import RayConfig

LOOK_EVERY_S = 2.0
# Ray ends the driver's process when the head has been away for 60 s. A head that is restarted may take a while.
_HEAD_AWAY_AT_MOST_S = 20.0
GO_ON = "run again when it is there: shards that are finished are kept"


class ClusterWatch:
    """The cluster, as its driver sees it."""

    def __init__(self, ray: Any, config: "RayConfig") -> None:
        self._ray = ray
        self._config = config
        # A Ray client may not reach the head's own port: then it can't be watched.
        address = ray.get_runtime_context().gcs_address
        self._head = address if answers(address) else None
        self._last_look = time.monotonic()
        self._head_away_since: float | None = None
        self._unstaffed_since: float | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the head is away just now."""
        return self._head is not None and not answers(self._head)

    @property
    def n_fitting(self) -> int:
        """Workers that all nodes together have room for, if nothing else runs there."""
        return sum(_n_fitting(node, self._config) for node in self._nodes())

    @property
    def asked(self) -> str:
        """What each worker asks for."""
        return _amount({"CPU": self._config.cpus_per_worker, "GPU": self._config.gpus_per_worker})

    @property
    def there_is(self) -> str:
        """The nodes, and what of them is free."""
        nodes = self._nodes()
        each = ", ".join(map(_amount, nodes[:4])) + (", …" if len(nodes) > 4 else "")
        free = _amount(self._ray.available_resources())
        return f"{len(nodes)} node{'' if len(nodes) == 1 else 's'} ({each}), of that free {free}"

    def look(self, *, is_staffed: bool) -> None:
        """Look at the cluster, if the last look is a few seconds ago.

        Args:
            is_staffed: Whether a worker's process stands.

        Raises:
            CollectError: If the head has been away for too long, or no worker could start in time.
        """
        now = time.monotonic()
        if now - self._last_look < LOOK_EVERY_S:
            return
        self._last_look = now
        is_away = self.is_lost
        self._head_away_since = (self._head_away_since or now) if is_away else None
        if self._head_away_since is not None and now - self._head_away_since > _HEAD_AWAY_AT_MOST_S:
            raise CollectError(f"the head of the Ray cluster, {self._head}, is gone", GO_ON)
        self._unstaffed_since = None if is_staffed or is_away else (self._unstaffed_since or now)
        if self._unstaffed_since is not None and now - self._unstaffed_since > self._config.start_timeout_s:
            raise CollectError(
                f"no Ray worker could start within {self._config.start_timeout_s:g} s: each asks for {self.asked}, and "
                f"the cluster has {self.there_is}",
                "lower ray.gpus_per_worker or ray.cpus_per_worker, add a node, or wait until others are done "
                "(ray.start_timeout_s says how long)",
            )

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]


def _n_fitting(resources: dict[str, float], config: "RayConfig") -> int:
    n_by_cpu = resources.get("CPU", 0.0) / config.cpus_per_worker
    n_by_gpu = resources.get("GPU", 0.0) / config.gpus_per_worker if config.gpus_per_worker else n_by_cpu
    return int(min(n_by_cpu, n_by_gpu) + 1e-6)


def _amount(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0.0):g} CPU + {resources.get('GPU', 0.0):g} GPU"
