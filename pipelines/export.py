"""Batch job: write the scored explanations of runs to files, as `ray job submit` starts it.

    ray job submit --working-dir . -- python pipelines/export.py runs/gpt2-small exports/gpt2-small.parquet

The format follows the file's suffix (.jsonl, .csv or .parquet), or is named.
"""

import argparse
import logging
import sys
from pathlib import Path

from autointerp import AutointerpError, export_run
from autointerp.export.options import ExportOptions


def main() -> int:
    """Export one run; the exit status is that of the job."""
    parser = argparse.ArgumentParser(description="Write the scored explanations of a run to a file.")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("file", type=Path, help="file or folder to write")
    parser.add_argument("--format", help="by default the file's suffix")
    parser.add_argument("--contexts", action="store_true", help="each feature's contexts too (.jsonl only)")
    parser.add_argument("--baselines", action="store_true", help="shuffled labels too")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")

    try:
        options = ExportOptions(contexts=arguments.contexts, baselines=arguments.baselines)
        written = export_run(arguments.run, arguments.file, arguments.format, options)
    except AutointerpError as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"{written.n_rows} rows in {written.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
