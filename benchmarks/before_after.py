"""How long it takes to find the features that fire before and after one, and what the index of firings holds.

    python -m benchmarks.before_after RUN            a run folder: all of its features
    python -m benchmarks.before_after --drawn        131,072 drawn features, 64 of them on each token, two sources

The counts of a run are compared with those of a product of sparse matrices, which is done for all features at once.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.sparse

from autointerp.collect.firing_index import FiringIndex, Spans
from autointerp.config import Pipeline
from autointerp.contexts.before_after import BeforeAfter, IndexedSource
from autointerp.records import FiringNeighbors
from autointerp.run.on_disk.folder import hold_run_folder, read_run_file
from autointerp.run.session import Session, SourceSession

_REACH, _N_NEIGHBORS = 8, 10
_N_BLOCKS, _N_POSITIONS, _N_FEATURES, _N_PER_TOKEN = 1024, 128, 131_072, 64
_N_TIMED = 200


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--drawn", action="store_true")
    arguments = parser.parse_args()
    if arguments.drawn:
        _drawn()
    elif arguments.run is not None:
        _of_run(arguments.run)
    else:
        parser.error("name a run, or --drawn")


def _of_run(path: Path) -> None:
    pipeline = Pipeline.model_validate(read_run_file(path)["pipeline"])
    pipeline = pipeline.model_copy(update={"runs": str(path.parent), "name": path.name})
    with hold_run_folder(pipeline) as folder:
        session = Session(pipeline, folder)
        (source, *_) = session.reader.sources()
        started = time.perf_counter()
        index = SourceSession(session, source.source_id).explain_firings(source.n_features, _REACH)
        print(f"{source.source_id}: loaded and indexed in {time.perf_counter() - started:.2f} s")
    _tell(index)
    found = _time_all(
        BeforeAfter([IndexedSource("s", source.hook, index)], _N_NEIGHBORS), "s", range(source.n_features)
    )
    has = np.array([[len(of.upstream) > 0, len(of.downstream) > 0] for of in found])
    fires = np.array([index.n_fired(feature) > 0 for feature in range(source.n_features)])
    print(f"of {fires.sum()} features that fire there {has.any(axis=1).sum()} have a neighbor", end=", ")
    print(f"{has[:, 0].sum()} upstream and {has[:, 1].sum()} downstream")
    _compare_with_a_product(index)


def _drawn() -> None:
    """Features whose densities fall off as 1 / rank, up to a bound, without anything in common."""
    draw = np.random.default_rng(0)
    weight = 1 / (20 + np.arange(_N_FEATURES))
    chosen = draw.choice(_N_FEATURES, size=(_N_BLOCKS * _N_POSITIONS, _N_PER_TOKEN), p=weight / weight.sum())
    token, feature = np.divmod(np.unique(np.arange(len(chosen))[:, None] * _N_FEATURES + chosen), _N_FEATURES)
    block, position = np.divmod(token, _N_POSITIONS)
    spans = Spans(np.zeros(_N_BLOCKS, np.int32), np.full(_N_BLOCKS, _N_POSITIONS, np.int32), _N_POSITIONS)
    started = time.perf_counter()
    index = FiringIndex.build(block, position, feature.astype(np.int32), spans, n_features=_N_FEATURES, reach=_REACH)
    print(f"{len(token):,} firings indexed in {time.perf_counter() - started:.1f} s")
    _tell(index)
    sources = [
        IndexedSource(name, f"blocks.{layer}.hook_resid_pre", index) for layer, name in enumerate(("early", "late"))
    ]
    features = np.sort(draw.choice(_N_FEATURES, _N_TIMED, replace=False))
    _time_all(BeforeAfter(sources, _N_NEIGHBORS), "early", features.tolist())


def _tell(index: FiringIndex) -> None:
    n = sum(index.n_fired(feature) for feature in range(index.n_features))
    print(
        f"{index.n_tokens:,} tokens, {n:,} firings: {index.n_bytes / 1e6:,.1f} MB, {index.n_bytes / n:.1f} bytes each"
    )


def _time_all(before_after: BeforeAfter, source_id: str, features: Iterable[int]) -> list[FiringNeighbors]:
    started = time.perf_counter()
    found = [before_after.of(source_id, feature) for feature in features]
    seconds = time.perf_counter() - started
    print(f"neighbors of {len(found)} features in {seconds:.2f} s, {1000 * seconds / len(found):.2f} ms each")
    return found


def _compare_with_a_product(index: FiringIndex) -> None:
    """Counts of what fires before, of all pairs of features, by `count` and by one product of sparse matrices."""
    started = time.perf_counter()
    counted = np.stack([index.count(feature, index, "before") for feature in range(index.n_features)])
    seconds = time.perf_counter() - started
    cell, feature, n_cells = index.firings()
    shape, ones = (n_cells, index.n_features), np.ones(len(cell), np.int32)
    started = time.perf_counter()
    fires = scipy.sparse.csr_matrix((ones, (cell, feature)), shape)
    before = sum(scipy.sparse.csr_matrix((ones, (cell + d, feature)), shape) for d in range(1, index.reach + 1))
    before.data[:] = 1
    product = (fires.T.tocsr() @ before).toarray()
    print(f"what fires before, of all pairs: {seconds:.2f} s, and {time.perf_counter() - started:.2f} s as a product")
    print(f"pairs that differ: {int((counted != product).sum())} of {product.size:,}")


if __name__ == "__main__":
    main()
