"""Search at scale: how fast, how much of what comparing all would find, how much memory.

    python -m benchmarks.search [--labels 100000] [--folder FOLDER] [--quick]

The labels are synthetic, 384 dimensions, clustered like those of a real run (`benchmarks.label_vectors`), the queries
are drawn in the same way. In one run, on one machine, beside one another: a plain scan of numpy and one of DuckDB; all
labels compared (`LabelsInMemory`); the index folder, in a process of its own that opens it. Times are of one query
after another, after the query is embedded. `--quick` makes 20,000 labels, for a check that all of this runs.
"""

import argparse
import importlib
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
from jaxtyping import Bool, Float32, Int64

from autointerp.records import EVERY_FEATURE, FeatureFilter, SearchHit
from autointerp.search.engine import SearchEngine
from autointerp.search.indexes.base import Closest
from autointerp.search.indexes.folder import LabelsInFolder
from autointerp.search.indexes.update import belongs_to, index_folder, update_index, usable_manifest
from autointerp.store.reader import Reader
from benchmarks.label_vectors import DIM
from benchmarks.search_labels import EMBEDDER, FEW, SCORER, LabelsOfNoStore, true_closest

N_QUERIES = 200
SCANS = 20
FEW_PASS = FeatureFilter(min_score={SCORER: FEW})
IN_MEMORY = 1_000_000


class _Known:
    """Gives the vectors of queries that were drawn beforehand."""

    name = EMBEDDER

    def __init__(self, queries: Sequence[str], vectors: Float32[np.ndarray, "query dim"]) -> None:
        self._vectors = dict(zip(queries, vectors, strict=True))

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        return np.stack([self._vectors[text] for text in texts])


def by_meaning(
    labels: LabelsInFolder, vectors: Float32[np.ndarray, "query dim"], allowed: Bool[np.ndarray, " row"] | None
) -> Callable[[int], Closest]:
    """The closest labels of an index folder."""
    return lambda query: labels.closest(vectors[query], 10, allowed)


def by_search(engine: SearchEngine, texts: Sequence[str], where: FeatureFilter) -> Callable[[int], list[SearchHit]]:
    """What a user gets."""
    return lambda query: engine.search(texts[query], 10, where, min_relevance=0.0)


def by_sql(connection: duckdb.DuckDBPyConnection, sql: str, vectors: Sequence[Sequence[float]]) -> Callable[[int], Any]:
    """DuckDB's own scan."""
    return lambda query: connection.execute(sql, [vectors[query]]).fetchall()


def timed(what: str, ask: Callable[[int], Any], n: int) -> list[Any]:
    """Ask one query after another and print how long each took, by the clock and of the processor."""
    answers, wall, cpu = [], [], []
    for query in range(n):
        began, began_cpu = time.perf_counter(), time.process_time()
        answers.append(ask(query))
        cpu.append(1000 * (time.process_time() - began_cpu))
        wall.append(1000 * (time.perf_counter() - began))
    p50, p95, cpu_p50 = statistics.median(wall), float(np.quantile(wall, 0.95)), statistics.median(cpu)
    print(f"  {what:48} p50 {p50:8.2f} ms   p95 {p95:8.2f} ms   processor {cpu_p50:8.2f} ms", flush=True)
    return answers


def recall(found: Sequence[Sequence[int]], truth: Int64[np.ndarray, "query rank"]) -> float:
    """Share of the true closest that are among those found."""
    shares = [len(set(rows) & set(true.tolist())) / len(true) for rows, true in zip(found, truth, strict=True)]
    return statistics.mean(shares)


def own_memory_mb() -> float:
    """Anonymous memory of this process, which no other shares and no file is behind."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def measure_index(folder: Path, n_labels: int, sampled: dict[int, tuple[str, list[float]]]) -> None:
    """Open an index folder and search it; in a process of its own, of which the memory is told."""
    store = LabelsOfNoStore(folder, n_labels)
    store.sampled = sampled
    texts, vectors = store.queries(N_QUERIES)
    reader = cast(Reader, store)
    importlib.import_module("faiss")
    before = own_memory_mb()
    began = time.perf_counter()
    path = index_folder(store.path, EMBEDDER)
    manifest = usable_manifest(path, reader, store.label_state())
    labels = LabelsInFolder(path, manifest)
    print(f"  opened in {time.perf_counter() - began:.2f} s (with the check that it is of this store)")
    for what, where in (("all", EVERY_FEATURE), ("1 % pass", FEW_PASS)):
        began = time.perf_counter()
        allowed = labels.passing(where)
        print(f"  {what}: which labels pass, once a filter: {1000 * (time.perf_counter() - began):.1f} ms")
        found = timed(f"{what}: by meaning", by_meaning(labels, vectors, allowed), N_QUERIES)
        best = [rows[np.argsort(-similarity, kind="stable")[:10]].tolist() for rows, similarity in found]
        truth, _ = true_closest(labels.all_vectors, vectors, 10, allowed)
        print(f"  {what}: recall@10 {recall(best, truth):.4f}")
        engine = SearchEngine(reader, _Known(texts, vectors), exact_below=0)
        engine.search(texts[0], 10, where, min_relevance=0.0)
        timed(f"{what}: the whole search, with words and hits", by_search(engine, texts, where), N_QUERIES)
    print(f"  memory of its own: {own_memory_mb() - before:.0f} MB")


def main() -> None:
    """Make the labels, the index, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/search-at-scale"))
    parser.add_argument("--keep", action="store_true", help="leave the index folder, and use one that is there")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    n_labels = 20_000 if asked.quick else asked.labels
    asked.folder.mkdir(parents=True, exist_ok=True)
    store = LabelsOfNoStore(asked.folder, n_labels)
    print(f"{n_labels:,} labels, {N_QUERIES} queries")
    began, began_cpu = time.perf_counter(), time.process_time()
    manifest = update_index(cast(Reader, store), EMBEDDER)
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    print(f"index folder: made in {wall:.0f} s ({cpu:.0f} s of the processor), labels drawn with it", flush=True)
    folder = index_folder(store.path, EMBEDDER)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"  {size / 1e6:,.0f} MB on disk, {size / n_labels:.0f} bytes a label")
    belongs_to(folder, manifest, cast(Reader, store))  # draws what is looked up at opening
    worker = multiprocessing.get_context("spawn").Process(
        target=measure_index, args=(asked.folder, n_labels, store.sampled)
    )
    worker.start()
    worker.join()
    if n_labels <= IN_MEMORY:
        scans(store, n_labels)
    if not asked.keep:
        shutil.rmtree(asked.folder / "index")


def scans(store: LabelsOfNoStore, n_labels: int) -> None:
    """The plain scans, and all labels compared as a run of this size without an index does."""
    table = store.label_table(EMBEDDER)
    texts, vectors = store.queries(N_QUERIES)
    print("comparing all")

    def by_numpy(query: int) -> Any:
        similarity = table.embeddings @ vectors[query]
        return np.argpartition(-similarity, 10)[:10]

    timed("numpy, float32", by_numpy, SCANS)
    known = [vector.tolist() for vector in vectors]
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute(f"CREATE TABLE labels (label INTEGER, fixed FLOAT[{DIM}], list FLOAT[])")
        import pyarrow as pa

        for first in range(0, n_labels, 50_000):
            some = table.embeddings[first : first + 50_000]
            batch = pa.table(
                {
                    "label": np.arange(first, first + len(some), dtype=np.int32),
                    "list": pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), DIM).cast(pa.list_(pa.float32())),
                }
            )
            connection.register("batch", batch)
            connection.execute(f"INSERT INTO labels SELECT label, list::FLOAT[{DIM}], list FROM batch")
        for function, column, kind in (
            ("array_cosine_similarity", "fixed", f"FLOAT[{DIM}]"),
            ("list_cosine_similarity", "list", "FLOAT[]"),
        ):
            sql = f"SELECT label FROM labels ORDER BY {function}({column}, ?::{kind}) DESC LIMIT 10"
            timed(f"DuckDB, {function}", by_sql(connection, sql, known), SCANS)
    engine = SearchEngine(cast(Reader, store), _Known(texts, vectors), exact_below=n_labels + 1)
    for what, where in (("all", EVERY_FEATURE), ("1 % pass", FEW_PASS)):
        engine.search(texts[0], 10, where, min_relevance=0.0)
        timed(f"{what}: the whole search", by_search(engine, texts, where), SCANS)


if __name__ == "__main__":
    main()
