"""How many requests a second a server answers: in one process, and with one replica and several on Ray Serve.

    python -m benchmarks.serve_ray RUN [--replicas 1 2] [--clients 16] [--requests 48] [--tokens 32]

RUN is a finished run whose model chats; it is only read. Each server is the command itself, in a process of its own;
clients ask by HTTP, each the next conversation as soon as it has its answer, by seeds that are the same for all
servers. One round is not counted. Beside requests a second stands how long the server took to begin, how many of its
answers are those of the server in one process, and what the machine had to do besides (its load before).
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

_COMMAND = "from autointerp.cli import main; main()"
_BEGINS_WITHIN_S = 600
_TOPICS = ("a river", "tea", "the moon", "bread", "a bridge", "chess", "snow", "trains")


@dataclass(frozen=True, slots=True)
class Measured:
    """One server.

    Attributes:
        name: What it is.
        begin_s: From its start to its address.
        answers: By seed.
        seconds: That all answers took.
        load: Of the machine, a minute's mean, before.
    """

    name: str
    begin_s: float
    answers: tuple[str, ...]
    seconds: float
    load: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.answers) / self.seconds


def measure(run: Path, n_replicas: int, n_clients: int, n_requests: int, n_tokens: int) -> Measured:
    """Begin a server, ask it, and end it; 0 replicas for one process."""
    on_ray = ["--ray", "--replicas", str(n_replicas)] if n_replicas else []
    command = [sys.executable, "-c", _COMMAND, "serve", str(run), "--port", "0", "--n-waiting", "1000", *on_ray]
    load, began = os.getloadavg()[0], time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None, "the server did not begin"
            begin_s = time.monotonic() - began

            def ask(seed: int) -> str:
                talk = [{"role": "user", "content": f"Tell me about {_TOPICS[seed % len(_TOPICS)]}."}]
                body = {"messages": talk, "max_tokens": n_tokens, "seed": seed, "temperature": 0.6, "top_p": 0.9}
                reply = httpx.post(f"{found.group()}/v1/chat/completions", json=body, timeout=_BEGINS_WITHIN_S)
                return str(reply.raise_for_status().json()["choices"][0]["message"]["content"])

            with ThreadPoolExecutor(n_clients) as pool:
                list(pool.map(ask, range(n_clients)))
                began = time.monotonic()
                answers = tuple(pool.map(ask, range(n_requests)))
                seconds = time.monotonic() - began
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)
    name = f"{n_replicas} replica{'s' if n_replicas > 1 else ''} on Ray" if n_replicas else "one process"
    return Measured(name, begin_s, answers, seconds, load)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=32)
    given = parser.parse_args()
    first: Measured | None = None
    print("| server | begins, s | requests/s | of one process | same answers | load before |")
    print("|---|---|---|---|---|---|")
    for n in [0, *given.replicas]:
        of = measure(given.run, n, given.clients, given.requests, given.tokens)
        first = first or of
        n_same = sum(a == b for a, b in zip(of.answers, first.answers, strict=True))
        told = f"{of.rate:.2f} | {of.rate / first.rate:.2f} | {n_same} of {len(of.answers)} | {of.load:.1f} |"
        print(f"| {of.name} | {of.begin_s:.0f} | {told}", flush=True)


if __name__ == "__main__":
    main()
