"""What a condition from words costs when it is asked for first, and after that.

    python -m benchmarks.steer conditional RUN [--texts 400] [words …]

RUN is a finished run of a causal model; a copy of it is asked, in which nothing is kept. Each of the words is asked for
by one client, the first once more by a client that is opened anew, which finds what the other kept beside the run.
Told are seconds of the processor, without loading the model, and how many blocks of the corpus were run.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import autointerp
from autointerp.records import SourceRecord
from autointerp.run.live import LiveRun

_WORDS = ("a file that is missing", "dates and times", "a list of numbers")


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("words", nargs="*", default=_WORDS)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    n_run, run_blocks = [0], LiveRun.run_blocks

    def count(self: LiveRun, source: SourceRecord, blocks: np.ndarray) -> Any:
        n_run[0] += len(blocks)
        return run_blocks(self, source, blocks)

    vars_of: Any = LiveRun
    vars_of.run_blocks = count
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(args.run, copy, ignore=shutil.ignore_patterns("own_texts*"))

        def ask(client: autointerp.Client, words: str, told: str) -> None:
            list(client.run.firings(["loads the model"]))
            n_run[0], began = 0, time.process_time()
            found = client.features.AutoConditional(words, false_alarms=0.1, n_texts=args.texts)
            seconds = time.process_time() - began
            is_found = "a condition" if found.condition is not None else "none"
            print(f"| {words!r}, {told} | {seconds:.1f} | {n_run[0]} | {is_found} |", flush=True)

        print(f"{args.texts} texts, {args.threads} thread, load {os.getloadavg()[0]:.1f}\n")
        print("| | s of the processor | blocks run | found |\n|---|---|---|---|")
        client = autointerp.open(copy)
        for number, words in enumerate(args.words):
            ask(client, words, "first" if not number else "the same client")
        ask(autointerp.open(copy), args.words[0], "another client")
        kept = list((copy / "pool").glob("*/own_texts*"))
        print(f"\nkept beside the run: {sum(file.stat().st_size for file in kept) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
