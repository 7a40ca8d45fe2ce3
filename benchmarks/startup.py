"""What a command costs before it has done anything: CPU and wall-clock seconds of whole processes.

    python -m benchmarks.startup RUN [--before CHECKOUT] [--times 5]

RUN is a finished run of the demo; it is only read. With `--before`, each command of this checkout takes turns with the
same command of another, so that both meet the same load. CPU is user and system time of the process and its children,
as the kernel accounts it. The floor under every command is what Python and the libraries take to import.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]
_COMMAND = "from autointerp.cli import main; main()"
_FLOOR = (
    "pass",
    "import numpy",
    "import duckdb",
    "import pydantic",
    "import typer",
    "import tokenizers",
    "import torch",
)
_ABOVE_THE_FLOOR = ("import torch; from transformers import BertModel", "import sentence_transformers")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process.

    Attributes:
        cpu_s: User and system time.
        wall_s: From its start to its end.
    """

    cpu_s: float
    wall_s: float


def measure(checkout: Path, code: str, arguments: tuple[str, ...]) -> Cost:
    """Run Python code on a checkout's package in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it has been waited for
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - began)


def median(costs: list[Cost]) -> str:
    """CPU and wall-clock of the median run of each."""
    return f"{statistics.median(c.cpu_s for c in costs):6.2f} {statistics.median(c.wall_s for c in costs):6.2f}"


def commands(run: str, scratch: str) -> tuple[tuple[str, ...], ...]:
    """The commands whose cost a user feels."""
    return (
        ("--help",),
        ("search", "--help"),
        ("run", "--help"),
        ("run", "nothing.toml"),
        ("demo", "--set", "corpus.n_tken=5"),
        ("status", f"{scratch}/nowhere"),
        ("show", run, "999999"),
        ("status", run),
        ("show", run, "1057"),
        ("neighbors", run, "1057"),
        ("search", run, "error handling"),
        ("export", run, f"{scratch}/labels.csv"),
        ("export", run, f"{scratch}/labels.jsonl"),
    )


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    run = str(arguments.run.resolve())
    checkouts = [_HERE] if arguments.before is None else [arguments.before.resolve(), _HERE]
    columns = ["CPU s  wall s"] if arguments.before is None else ["before: CPU s, wall s", "after: CPU s, wall s"]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning; median of {arguments.times}")
    for code in (*_FLOOR, *_ABOVE_THE_FLOOR):
        print(f"{median([measure(_HERE, code, ()) for _ in range(arguments.times)])}  python -c '{code}'", flush=True)
    print("   |   ".join(columns))
    with tempfile.TemporaryDirectory() as scratch:
        for command in commands(run, scratch):
            costs: dict[Path, list[Cost]] = {checkout: [] for checkout in checkouts}
            for _ in range(arguments.times):
                for checkout in checkouts:
                    costs[checkout].append(measure(checkout, _COMMAND, command))
            told = " ".join(command).replace(run, "RUN").replace(scratch, ".")
            print(f"{'   |   '.join(median(of) for of in costs.values())}  autointerp {told}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
