"""Making the map of a source's labels, which takes seconds to minutes; and reading it, held against current labels."""

import logging
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from autointerp.errors import SearchError
from autointerp.records.label_map import LabelMap, MapPlan
from autointerp.search.maps.clusters import describe_clusters, find_clusters
from autointerp.search.maps.file import map_path, read_map, write_map
from autointerp.search.maps.layout import MIN_DIST, N_NEIGHBORS, beginning, lay_out, nearest
from autointerp.store.reader import Reader

logger = logging.getLogger(__name__)


def make_map(reader: Reader, embedder: str, source_id: str, seed: int = 0, *, fresh: bool = False) -> LabelMap:
    """Lay the labels of a source out in the plane, and keep it beside the store.

    A map of the very same labels is left as it is; one of most of them keeps its shape.

    Args:
        reader: Of the store.
        embedder: Whose embeddings.
        source_id: The source.
        seed: Of the layout.
        fresh: Take no account of an earlier map.

    Raises:
        SearchError: If the source has no label that is embedded.
        OSError: If the map can't be written.
    """
    points, embeddings = reader.embedded_points(embedder, source_id)
    if not len(embeddings):
        raise SearchError(
            f"{source_id} has no labels embedded with {embedder}", "run `autointerp explain` and `autointerp index`"
        )
    path = map_path(reader.path, source_id)
    earlier = None if fresh else _earlier(reader, embedder, source_id)
    if earlier is not None and earlier.plan.seed == seed and np.array_equal(earlier.digest, points.digest):
        return earlier
    near = nearest(embeddings, min(N_NEIGHBORS, len(embeddings)), seed)
    begin = beginning(embeddings, points, near, earlier)
    xy = lay_out(embeddings, near, begin, seed)
    cluster = find_clusters(xy, seed)
    plan = MapPlan(
        source_id=source_id,
        embedder=embedder,
        seed=seed,
        n_neighbors=near.rows.shape[1],
        min_dist=MIN_DIST,
        made_at=datetime.now(UTC),
        version=version("autointerp"),
        umap_version=version("umap-learn"),
    )
    made = LabelMap(
        plan, points.feature_index, points.digest, xy, cluster, describe_clusters(points.labels, cluster, xy)
    )
    write_map(path, made)
    logger.info("%d labels of %s lie on the map at %s", len(made), source_id, path)
    return made


def current_map(reader: Reader, source_id: str) -> LabelMap | None:
    """The map of a source's labels, without those that are not current any more; None where none was made.

    Raises:
        SearchError: If its file is damaged.
    """
    kept = read_map(map_path(reader.path, source_id))
    if kept is None:
        return None
    if kept.plan.source_id != source_id:
        raise SearchError(f"the map of {source_id} is of {kept.plan.source_id}", "run `autointerp map` again")
    now = reader.label_digests(source_id)
    on_it = np.isin(kept.digest, now)
    return kept.only(on_it, int(len(now) - np.count_nonzero(on_it)))


def _earlier(reader: Reader, embedder: str, source_id: str) -> LabelMap | None:
    try:
        kept = read_map(map_path(reader.path, source_id))
    except SearchError as error:
        logger.warning("%s: it is made anew", error.problem)
        return None
    return kept if kept is not None and kept.plan.embedder == embedder else None
