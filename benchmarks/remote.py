"""What a call of the library costs over HTTP beside the same call on the folder, on this machine.

    python -m benchmarks.remote runs/demo

A server is started by the command line, in a process of its own. Each call is made in turn here and there, and the
median of each is told, with their ratio; answers are compared first.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import autointerp
from autointerp import Client

TEXT = "raise ValueError when the key is missing from the table, and return None where nothing was found. " * 4
CALLS: dict[str, Callable[[Client], Any]] = {
    "search, 10 of all": lambda client: client.features.search("error handling", top_k=10),
    "look-up of 100": lambda client: client.features.lookup(range(100)),
    "a feature's page (`view`)": lambda client: client.features.get(1).view().feature,
    "inspect a text, top 10": lambda client: [of.feature for of in client.features.inspect(TEXT).top(10)],
    "SQL": lambda client: client.sql("SELECT count(*) FROM features").rows,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--times", type=int, default=15)
    asked = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "autointerp", "serve", asked.run, "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = next(line for line in server.stdout if " at http://" in line).split()[-1]
        here, there = autointerp.open(asked.run), autointerp.open(address)
        print("| call | folder, ms | HTTP, ms | ratio |\n|---|---|---|---|")
        for name, call in CALLS.items():
            assert call(here) == call(there), name
            spent: tuple[list[float], list[float]] = ([], [])
            for _ in range(asked.times):
                for client, seconds in zip((here, there), spent, strict=True):
                    began = time.perf_counter()
                    call(client)
                    seconds.append(time.perf_counter() - began)
            one, other = (1_000 * median(of) for of in spent)
            print(f"| {name} | {one:.1f} | {other:.1f} | {other / one:.2f} |", flush=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
