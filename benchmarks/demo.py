"""`autointerp demo` as a new user runs it: each stage's time, memory, and each scorer's median beside shuffled labels.

    python -m benchmarks.demo [--sample N]
    python -m benchmarks.demo --few

The second measures what contexts of 6 features, and then of 10 more, cost in a collected run: each in a process of its
own, as commands are, and a last one that asks for nothing new.

Run on a machine that does nothing else; the load that is printed says whether it did. Memory is the largest resident
set of the process, as the kernel accounts it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autointerp import open_run
from autointerp.cli.tables import summary_rows
from autointerp.run.pipeline import STAGES

# Features asked for in all, command after command.
_FEW = (6, 16, 16)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a part of a run took.

    Attributes:
        stage: Its name.
        wall: Seconds by the clock.
        cpu: Seconds of CPU, over all threads.
        line: The stage's own summary.
    """

    stage: str
    wall: float
    cpu: float
    line: str


def main() -> None:
    """Measure, and print what it took and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="features, in place of the demo's own number")
    parser.add_argument("--few", action="store_true", help="contexts of a few features, then of a few more")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.few:
            _measure_few(Path(folder))
        else:
            _measure_demo(Path(folder), arguments.sample)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _measure_demo(runs: Path, sample: int | None) -> None:
    taken = _run(runs, sample, STAGES)
    wall, cpu = sum(one.wall for one in taken), sum(one.cpu for one in taken)
    print("part        wall  share    CPU")
    for one in taken:
        print(f"{one.stage:<9} {one.wall:5.1f} s  {one.wall / wall:4.0%} {one.cpu:5.1f} s")
    print(f"{'all':<9} {wall:5.1f} s  100% {cpu:5.1f} s")
    print("\n".join(one.line for one in taken if one.line))
    run = open_run(runs / "demo")
    size = sum(file.stat().st_size for file in (runs / "demo").rglob("*") if file.is_file())
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{memory / 2**20:.2f} GiB of memory, {size / 2**20:.0f} MiB on disk")
    print(f"{len(run.reader.explanations())} labels")
    print("\n".join(summary_rows(run.score_summary())))
    print(f"content digest {run.reader.content_digest()}")


def _measure_few(runs: Path) -> None:
    _run(runs, None, ("corpus", "collect"))
    for n_features in _FEW:
        imports, contexts = _run(runs, n_features, ("contexts",))
        print(
            f"{imports.wall:4.1f} + {contexts.wall:4.1f} s, {imports.cpu + contexts.cpu:4.1f} s of CPU: {contexts.line}"
        )


def _run(runs: Path, sample: int | None, stages: Sequence[str]) -> list[Taken]:
    command = [sys.executable, "-m", "benchmarks.demo_worker", str(runs), str(sample or ""), *stages]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [Taken(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    main()
