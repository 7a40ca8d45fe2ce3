"""Batch job: embed the labels of finished or growing runs for search, as `ray job submit` starts it.

    ray job submit --working-dir . -- python pipelines/build_index.py runs/gpt2-small runs/gemma-2-2b

Labels that the embedder has embedded already are left alone.
"""

import argparse
import logging
import sys
from pathlib import Path

from autointerp import AutointerpError
from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.search.index import index_labels
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer


def main() -> int:
    """Index every run named; the exit status is that of the job."""
    parser = argparse.ArgumentParser(description="Embed the labels of runs for search.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--embedder", default=EmbedderConfig().model, help="model folder or name")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")

    try:
        embedder = Embedder(EmbedderConfig(model=arguments.embedder))
        for run in arguments.runs:
            reader = Reader(run)
            reader.sources()  # a folder without a store is told before one is made there
            indexed = index_labels(reader, Writer(run), embedder)
            print(f"{run}: {indexed.n_added} labels embedded now, {indexed.n_labels} in all")
    except AutointerpError as error:
        print(f"build_index: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
