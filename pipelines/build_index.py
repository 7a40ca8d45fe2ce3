"""Batch job: embed the labels of runs for search, as `ray job submit` starts it.

    ray job submit --working-dir . -- python pipelines/build_index.py runs/gpt2-small runs/gemma-2-2b

Each run's labels are embedded by the embedder of its own pipeline; those that it has embedded already are left alone.
"""

import argparse
import logging
import sys
from pathlib import Path

import autointerp
from autointerp.run.on_disk.folder import read_pipeline


def main() -> int:
    """Index every run named; the exit status is that of the job."""
    parser = argparse.ArgumentParser(description="Embed the labels of runs for search.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")

    try:
        for run in arguments.runs:
            pipeline = read_pipeline(run)
            autointerp.run_pipeline(pipeline.model_copy(update={"runs": str(run.parent), "name": run.name}), ("index",))
            print(f"{run}: {autointerp.open_run(run).reader.n_labels()} labels are in the index")
    except autointerp.AutointerpError as error:
        print(f"build_index: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
