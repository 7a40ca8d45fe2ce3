"""An index whose rows are shared out over Ray actors, behind the call of one index, for more than a machine holds."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.errors import SearchError
from autointerp.run.workers.ray_cluster import import_ray, one_line, running
from autointerp.search.indexes.base import Closest
from autointerp.search.indexes.manifest import Manifest
from autointerp.search.indexes.shards import Shard, share_out, together

_ANSWER_WITHIN_S = 600.0


class IndexOnRay:
    """Asks every shard, and puts their answers together.

    Args:
        ray: From `import_ray`, running.
        folder: The index folder, on a disk that all machines share.
        manifest: What it says of itself.
        n_shards: Actors; each makes codes of its rows where there are none yet.
    """

    def __init__(self, ray: Any, folder: Path, manifest: Manifest, n_shards: int) -> None:
        self._ray = ray
        self._shards = share_out(manifest.n_rows, n_shards)
        actor = ray.remote(num_cpus=1)(Shard)
        shared = (folder.absolute(), manifest.n_rows, manifest.dim)
        self._actors = [actor.remote(*shared, first, end) for first, end in self._shards]

    def closest(
        self, vector: Float32[np.ndarray, " dim"], n_rows: int, allowed: Bool[np.ndarray, " row"] | None = None
    ) -> Closest:
        """See `VectorIndex.closest`.

        Raises:
            SearchError: If a shard does not answer.
        """
        asked = [
            actor.closest.remote(vector, n_rows, None if allowed is None else allowed[first:end])
            for actor, (first, end) in zip(self._actors, self._shards, strict=True)
        ]
        try:
            found = self._ray.get(asked, timeout=_ANSWER_WITHIN_S)
        except self._ray.exceptions.RayError as error:
            raise SearchError(
                f"a shard of the index does not answer ({one_line(error)})", "see that all machines share its folder"
            ) from error
        return together(found, self._shards)


@contextlib.contextmanager
def index_on_ray(folder: Path, manifest: Manifest, n_shards: int, address: str | None = None) -> Iterator[IndexOnRay]:
    """An index on Ray, as long as the block lasts.

    Args:
        folder: The index folder.
        manifest: What it says of itself.
        n_shards: Actors.
        address: Of a cluster; None to start Ray on this machine.

    Raises:
        CollectError: If Ray can't be reached or started.
    """
    ray = import_ray(address)
    with running(ray, address, n_shards, 0):
        yield IndexOnRay(ray, folder, manifest, n_shards)
