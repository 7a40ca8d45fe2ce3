"""The file of a map, beside the store: it is written once, whole, and read by everyone."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import SearchError
from autointerp.records.label_map import NO_CLUSTER, LabelMap, MapCluster, MapPlan
from autointerp.whole_file import whole_file

FORMAT = 1


def map_path(store: Path, source_id: str) -> Path:
    """Where the map of a source's labels lies."""
    readable = "".join(c if c.isalnum() or c in "-." else "-" for c in source_id)[:60].strip(".") or "source"
    return store.parent / "map" / f"{readable}-{hashlib.sha256(source_id.encode()).hexdigest()[:8]}.npz"


def write_map(path: Path, made: LabelMap) -> None:
    """Keep a map.

    Raises:
        OSError: If it can't be written; DiskFullError.
    """
    plan = asdict(made.plan) | {"made_at": made.plan.made_at.isoformat()}
    about = json.dumps({"format": FORMAT, "plan": plan, "clusters": [asdict(of) for of in made.clusters]})
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(
            file,
            about=np.frombuffer(about.encode(), np.uint8),
            feature_index=made.feature_index,
            digest=made.digest,
            xy=made.xy,
            cluster=made.cluster,
        )


def read_map(path: Path) -> LabelMap | None:
    """The map that is kept; None where there is none.

    Raises:
        SearchError: If the file is damaged, or of another version of this program.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            about: Mapping[str, Any] = json.loads(bytes(kept["about"]).decode())
            if about["format"] != FORMAT:
                raise SearchError(f"{path} is of another version of this program", "run `autointerp map` again")
            plan = about["plan"]
            found = LabelMap(
                plan=MapPlan(**{**plan, "made_at": datetime.fromisoformat(plan["made_at"])}),
                feature_index=kept["feature_index"].astype(np.int32, casting="safe"),
                digest=kept["digest"].astype(np.uint64, casting="safe"),
                xy=kept["xy"].astype(np.float32, casting="safe"),
                cluster=kept["cluster"].astype(np.int32, casting="safe"),
                clusters=tuple(MapCluster(**{**of, "words": tuple(of["words"])}) for of in about["clusters"]),
            )
        if not _is_whole(found):
            raise ValueError("its parts don't fit each other")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise SearchError(f"{path} is damaged ({error})", "run `autointerp map` again") from error
    return found


def _is_whole(of: LabelMap) -> bool:
    n = len(of.feature_index)
    shapes = (of.feature_index.shape, of.digest.shape, of.cluster.shape, of.xy.shape)
    in_range = (of.cluster >= NO_CLUSTER) & (of.cluster < len(of.clusters))
    return shapes == ((n,), (n,), (n,), (n, 2)) and bool(np.isfinite(of.xy).all() and in_range.all())
