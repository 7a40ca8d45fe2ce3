"""`autointerp demo` as a new user runs it: wall-clock, memory, and each scorer's median beside shuffled labels.

    python -m benchmarks.demo [--sample N]

Run on a machine that does nothing else. Memory is the largest resident set of the process, as the kernel accounts it.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autointerp import open_run
from autointerp.cli.tables import summary_rows


def main() -> None:
    """Run the demo in a process of its own, and print what it took and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="features, in place of the demo's own number")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("autointerp")), "demo", "--runs", folder]
        if arguments.sample is not None:
            command += ["--sample", str(arguments.sample)]
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = open_run(Path(folder) / "demo")
        size = sum(file.stat().st_size for file in (Path(folder) / "demo").rglob("*") if file.is_file())
        print(f"{seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU on {os.cpu_count()} cores")
        print(f"{used.ru_maxrss / 2**20:.2f} GiB of memory, {size / 2**20:.0f} MiB on disk")
        print(f"{len(run.reader.explanations())} labels")
        print("\n".join(summary_rows(run.score_summary())))


if __name__ == "__main__":
    main()
