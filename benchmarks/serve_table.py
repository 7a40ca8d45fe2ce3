"""The page of a source and its map at 131,072 features: how long the server takes, and how much it sends.

    python -m benchmarks.serve_table [--features 131072] [--requests 40] [--folder FOLDER] [--map] [--quick]

The store is that of `benchmarks.export` (`--tokens 22`): each feature with a label of six words and four scores. It is
served as `autointerp serve` does, in a thread, and asked over HTTP, one request after another; each kind of request
with a different page or word each time. Processor time is that of the server and of who asks, in one process. Then the
same while another process writes: a transaction of 200 scores each fifth of a second. `--map` gives the labels
embeddings drawn like those of `benchmarks.search`, makes the map where there is none, and fetches its points. A store
in `--folder` is kept, and found again.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import duckdb
import httpx
import numpy as np
import uvicorn

import autointerp
from autointerp.errors import StoreBusyError
from autointerp.records import Score, ScoreWithTrials
from autointerp.search.maps.file import map_path
from autointerp.search.maps.make import make_map
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.server import configured, listen
from autointerp.serve.serving import Serving
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from benchmarks.export import make_store
from benchmarks.label_vectors import SyntheticLabels

SOURCE = "made@0-res"
PAGE = "/made/0-res"
_TOKENS = 22
_WORDS = ("river", "months", "error", "handling", "names", "keys", "winter", "weather", "closing", "brackets")
_PAUSE_S = 0.2
_AT_ONCE = 200
_EMBEDDED_AT_ONCE = 16_384


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The run of a folder, served; its address."""
    serving = Serving(autointerp.open(folder), Limits())
    with closing(listen("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(configured(make_app(serving)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def timed(client: httpx.Client, what: str, path: Callable[[int], str], n: int) -> None:
    """Ask for one path after another, and print how long each took and how much came."""
    took, cpu, size = [], [], 0
    for number in range(n):
        began, began_cpu = time.perf_counter(), time.process_time()
        reply = client.get(path(number))
        took.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - began_cpu))
        reply.raise_for_status()
        size = len(reply.content)
    p50, p99, p50_cpu = statistics.median(took), float(np.quantile(took, 0.99)), statistics.median(cpu)
    print(f"| {what} | {p50:.0f} | {p99:.0f} | {p50_cpu:.0f} | {size / 1000:,.0f} |", flush=True)


def ask(address: str, n: int, when: str) -> None:
    """Time what is asked of a source's page."""
    word = _WORDS.__getitem__
    kinds: Sequence[tuple[str, Callable[[int], str]]] = (
        ("as it opens (HTML)", lambda i: f"{PAGE}?page={i + 1}"),
        ("sorted by a score (HTML)", lambda i: f"{PAGE}?sort=score:detection&order=desc&page={i + 1}"),
        ("sorted by a score (JSON)", lambda i: f"{PAGE}.json?sort=score:recall&page={i + 1}"),
        ("sorted by label (JSON)", lambda i: f"{PAGE}.json?sort=label&page={i + 1}"),
        (
            "words, sorted by a score (JSON)",
            lambda i: f"{PAGE}.json?q={word(i % 10)}+{word((i + 3) % 10)}&sort=score:fuzzing",
        ),
        (
            "two scores, density and words, sorted by density (JSON)",
            lambda i: (
                f"{PAGE}.json?min_score=detection:.7&min_score=recall:.{5 + i % 4}&density_to=.2&sort=density"
                + f"&q={word(i % 10)}"
            ),
        ),
        ("one state, sorted by state (JSON)", lambda i: f"{PAGE}.json?state=scored&sort=state&page={i + 1}"),
    )
    print(f"\n{when}\n\n| what | p50 ms | p99 ms | processor p50 ms | kB |\n|---|---|---|---|---|")
    with httpx.Client(base_url=address, timeout=60) as client:
        for what, path in kinds:
            timed(client, what, path, n)


def write_on(folder: Path, stop: Event) -> None:
    """Add scores of a scorer of its own until it is told to stop."""
    writer, place = Writer(folder), 0
    labels = Reader(folder).explanations(range(0, min(_AT_ONCE * 50, Reader(folder).source(SOURCE).n_features)), SOURCE)
    while not stop.wait(_PAUSE_S):
        some = [labels[(place + i) % len(labels)] for i in range(_AT_ONCE)]
        place += _AT_ONCE
        try:
            writer.add_scores([_graded(of.explanation_id, f"{place}") for of in some])
        except StoreBusyError:
            continue


def _graded(explanation_id: str, made_by: str) -> ScoreWithTrials:
    score = Score(explanation_id, "more", "judge", "balanced accuracy", 0.5, 0.4, 0.6, 2, 0, {}, made_by)
    return ScoreWithTrials(score, (), ())


def embed(folder: Path, n: int) -> str:
    """Give labels embeddings, where they have none; whose they are."""
    name = "all-minilm-l6-v2"
    if Reader(folder).n_embedded(name) == 0:
        writer = Writer(folder)
        ids = [of.explanation_id for of in Reader(folder).explanations(source_id=SOURCE)]
        _, vectors = SyntheticLabels().draw(n, 0)
        for first in range(0, n, _EMBEDDED_AT_ONCE):
            some = slice(first, first + _EMBEDDED_AT_ONCE)
            writer.add_label_embeddings(ids[some], name, vectors[some])
    return name


def make_the_map(folder: Path, n: int) -> None:
    """Make the map, and print how long it took."""
    name = embed(folder, n)
    began, began_cpu = time.perf_counter(), time.process_time()
    made = make_map(Reader(folder), name, SOURCE, fresh=True)
    took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    print(
        f"\nmap of {len(made):,} labels: {took:.0f} s, {cpu:.0f} s of processor, {len(made.clusters)} clusters",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the store, serve it, and print what requests took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=131_072)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--map", action="store_true")
    parser.add_argument("--quick", action="store_true", help="2,000 features and three requests each")
    chosen = parser.parse_args(arguments)
    n, requests = (2_000, 3) if chosen.quick else (chosen.features, chosen.requests)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "made"
        if not (folder / "store.duckdb").exists():
            make_store(folder, n, _TOKENS)
        if chosen.map and not map_path(folder / "store.duckdb", SOURCE).exists():
            make_the_map(folder, n)
        with served(folder) as address:
            began = time.perf_counter()
            httpx.get(address + PAGE, timeout=60).raise_for_status()
            print(f"\n{n:,} features; the first page of a new server {1000 * (time.perf_counter() - began):.0f} ms")
            ask(address, requests, "Nobody writes:")
            if chosen.map:
                with httpx.Client(base_url=address, timeout=60) as client:
                    timed(client, "map (HTML)", lambda i: f"{PAGE}/map", requests)
                    timed(client, "points of the map", lambda i: f"{PAGE}/map/points.json", min(requests, 10))
            spawn = multiprocessing.get_context("spawn")
            stop = spawn.Event()
            writing = spawn.Process(target=write_on, args=(folder, stop))
            writing.start()
            try:
                time.sleep(5)
                ask(address, requests, "While another process writes:")
            finally:
                stop.set()
                writing.join()
        with duckdb.connect(str(folder / "store.duckdb")) as store:
            store.execute("DELETE FROM scores WHERE scorer = 'more'")
    print(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
