"""Pages and search of a server at 131,072 features: clock, processor and weight, alone and twenty requests at once.

    python -m benchmarks.serve [--features 131072] [--with-contexts 4096] [--requests 200] [--folder FOLDER] [--quick]
        [--beside CHECKOUT]

The store is that of `benchmarks.serve_table`: each feature with a label of six words and four scores, and embeddings of
labels like those of `benchmarks.search`. Besides, each feature has forty stored neighbors, and the first of them
(`--with-contexts`) 180 contexts of 32 tokens each, about what the demo's have. There is no pass over a corpus: what
fires on the same tokens is not counted. It is served by the command, a process of its own. Feature pages are of
features with contexts: at first sight each is of another feature, again each was asked for before. Queries of searches
are all different, and embedded by the server. Processor time is the server's, of all its threads, by request. Then the
same while another process writes: a transaction of 200 scores each fifth of a second. `--beside` starts a server of
another checkout of the program too, and asks the two in turn.
"""

import argparse
import http.client
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import duckdb
import numpy as np

from benchmarks.export import make_store
from benchmarks.serve_table import PAGE, SOURCE, embed, write_on

_TOKENS = 22
_AT_ONCE = 20
_FIRST_WITHIN_S = 120
_TEXT = "river months error handling of names keys in a dictionary winter weather closing brackets after numbers"
_WORDS = _TEXT.split()
_MAKE = """
UPDATE sources SET histogram_edges = [2.0 ** x for x in range(-6, 7)];
INSERT INTO neighbors BY NAME SELECT '{source}' AS source_id, i::INTEGER AS feature_index, space,
    rank::INTEGER AS rank, ((i + 1 + hash(i * 41 + rank) % ({n} - 1)) % {n})::INTEGER AS neighbor_index,
    1 - rank / 40 AS similarity
FROM range({n}) t(i) CROSS JOIN unnest(['coactivation', 'decoder']) s(space) CROSS JOIN range(20) r(rank) ORDER BY i;
INSERT INTO contexts BY NAME SELECT uuid()::VARCHAR AS context_id, '{source}' AS source_id,
    i::INTEGER AS feature_index,
    if(k < 30, 'top', if(k < 90, 'quantile', if(k < 150, 'pool', 'silent_similar'))) AS kind,
    if(k < 60, 'explain', 'score') AS split,
    [list_extract({words}, 1 + (hash(i * 180 + k * 32 + x) % {n_words})::BIGINT) for x in range(32)] AS tokens,
    [(hash(i * 180 + k * 32 + x) % 50000)::INTEGER for x in range(32)] AS token_ids,
    [(if(k < 90 AND x BETWEEN 14 AND 17, 10 * unit(i * 180 + k, x), 0))::FLOAT for x in range(32)] AS activations,
    list_max(activations) AS max_activation, (list_position(activations, list_max(activations)) - 1)::INTEGER AS peak,
    if(k < 90, k % 10, NULL)::INTEGER AS quantile, 'document ' || (k * 7 + i) AS document_id,
    k * 1000 + i AS block_index, 0 AS start, k::INTEGER AS place, 'c' AS fingerprint,
    'document ' || (k * 7 + i) AS group_id, []::INTEGER[] AS decoy
FROM range({n_with}) t(i) CROSS JOIN range(180) r(k) ORDER BY i, k;
"""


def make(folder: Path, n: int, n_with: int) -> None:
    """Make the store."""
    make_store(folder, n, _TOKENS)
    embed(folder, n)
    with duckdb.connect(str(folder / "store.duckdb")) as store:
        store.execute(_MAKE.format(source=SOURCE, n=n, n_with=n_with, words=repr(_WORDS), n_words=len(_WORDS)))


def take_away(folder: Path) -> None:
    """Take away what `write_on` has written, also of a run before that was stopped: it would not be written again."""
    with duckdb.connect(str(folder / "store.duckdb")) as store:
        store.execute("DELETE FROM scores WHERE scorer = 'more'")


@contextmanager
def served(folder: Path, program: Path | None = None) -> Iterator[tuple[int, int, float]]:
    """The folder served by the command: its process, its port, and seconds from the command to the first page."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, "-m", "autointerp", "serve", str(folder.absolute()), "--port", str(port)]
    environment = os.environ if program is None else {**os.environ, "PYTHONPATH": str(program.absolute())}
    process = subprocess.Popen(
        command, cwd=program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - began > _FIRST_WITHIN_S:
                raise SystemExit("the server does not answer")
            time.sleep(0.02)
        yield process.pid, port, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_FIRST_WITHIN_S)) as connection:
        try:
            connection.request("GET", f"{PAGE}/0")
            return connection.getresponse().status == 200
        except OSError:
            return False


def processor_s(pid: int) -> float:
    """Processor time that a process has used, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(port: int, paths: Sequence[str], at_once: int) -> tuple[list[float], list[int]]:
    """Ask for paths, so many at once, each thread by a connection that stays: milliseconds and bytes of each."""

    def ask_some(own: Sequence[str]) -> list[tuple[float, int]]:
        found = []
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
            for path in own:
                began = time.perf_counter()
                connection.request("GET", path, headers={"Accept": "text/html"})
                reply = connection.getresponse()
                body = reply.read()
                if reply.status != 200:
                    raise SystemExit(f"{path}: {reply.status} {body[:200]!r}")
                found.append((1000 * (time.perf_counter() - began), len(body)))
        return found

    with ThreadPoolExecutor(at_once) as pool:
        found = [one for some in pool.map(ask_some, [paths[i::at_once] for i in range(at_once)]) for one in some]
    return [took for took, _ in found], [size for _, size in found]


def report(servers: Sequence[tuple[str, int, int]], n: int, n_with: int, seen: int) -> None:
    """Time each kind of request, alone and twenty at once, and print a table.

    Args:
        servers: Name, process and port of each.
        n: Requests of each kind.
        n_with: Features with contexts.
        seen: So many of them were shown before.
    """

    def feature(i: int, suffix: str = "") -> str:
        return f"{PAGE}/{(seen + i) % n_with}{suffix}"

    def query(i: int) -> str:
        return "+".join(_WORDS[(seen + i * 7 + j * (1 + i // 17)) % len(_WORDS)] for j in range(4)) + f"+{seen + i}"

    kinds: Sequence[tuple[str, Callable[[int], str], bool]] = (
        ("feature, first sight (HTML)", feature, True),
        ("feature, again (HTML)", lambda i: feature(i % 20), False),
        ("feature, first sight (JSON)", lambda i: feature(i + 2 * n, ".json"), True),
        ("feature, again (JSON)", lambda i: feature(i % 20, ".json"), False),
        ("search (JSON)", lambda i: f"/search.json?q={query(i)}", True),
        ("table, sorted and filtered (JSON)", lambda i: f"{PAGE}.json?sort=score:fuzzing&q={_WORDS[i % 10]}", False),
    )
    print(
        "| what | at once | server | p50 ms | p99 ms | server's processor ms | most kB |\n|---|---|---|---|---|---|---|"
    )
    for what, path, is_new in kinds:
        for at_once in (1, _AT_ONCE):
            for server, pid, port in servers:
                asked = [path(i + (n if is_new and at_once > 1 else 0)) for i in range(n)]
                before = processor_s(pid)
                took, sizes = ask(port, asked, at_once)
                cpu = 1000 * (processor_s(pid) - before) / n
                p50, p99 = statistics.median(took), float(np.quantile(took, 0.99))
                told = f"{what} | {at_once} | {server} | {p50:.0f} | {p99:.0f} | {cpu:.1f} | {max(sizes) / 1000:,.0f}"
                print(f"| {told} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the store, serve it, and print what requests took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=131_072)
    parser.add_argument("--with-contexts", type=int, default=4_096)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--quick", action="store_true", help="2,000 features, 400 with contexts, 20 requests each")
    chosen = parser.parse_args(arguments)
    n, n_with, requests = chosen.features, chosen.with_contexts, chosen.requests
    if chosen.quick:
        n, n_with, requests = 2_000, 400, 20
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "made"
        if not (folder / "store.duckdb").exists():
            make(folder, n, n_with)
        take_away(folder)
        with ExitStack() as stack:
            servers = []
            for name, program in (("this", None), ("beside", chosen.beside)):
                if name == "this" or program is not None:
                    pid, port, first_s = stack.enter_context(served(folder, program))
                    servers.append((name, pid, port))
                    print(f"{n:,} features, {n_with:,} with contexts; {name}: first page after {first_s:.1f} s")
                    ask(port, ["/search.json?q=a"], 1)  # the embedder is loaded
            print(f"\nNobody writes (load {os.getloadavg()[0]:.1f}):\n", flush=True)
            report(servers, requests, n_with, 1)
            spawn = multiprocessing.get_context("spawn")
            stop = spawn.Event()
            writing = spawn.Process(target=write_on, args=(folder, stop))
            writing.start()
            try:
                time.sleep(5)
                print(f"\nAnother process writes (load {os.getloadavg()[0]:.1f}):\n", flush=True)
                report(servers, requests, n_with, 1 + 4 * requests)
            finally:
                stop.set()
                writing.join()
        take_away(folder)
    print(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
