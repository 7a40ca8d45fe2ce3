"""Batch job: label and score features, as `ray job submit` starts it.

    ray job submit --working-dir . -- python pipelines/label.py gemma-2-2b --set ray.address=auto --sample 1000

Submitted again, it goes on from what is finished. The run folder (`runs`) must be on storage that all nodes share.
"""

import argparse
import logging
import signal
import sys

from autointerp import AutointerpError, load_pipeline, run_pipeline


def main() -> int:
    """Run all stages of one pipeline; the exit status is that of the job."""
    parser = argparse.ArgumentParser(description="Label and score the features of one pipeline.")
    parser.add_argument("pipeline", help="a pipeline file, or a ready-made one's name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override any key")
    parser.add_argument("--features", help="only these, for example 0-99,650")
    parser.add_argument("--sample", type=int, help="a uniform sample of this many")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)

    overrides = list(arguments.set)
    if arguments.features is not None:
        overrides += [f'features.indices="{arguments.features}"', "features.sample=unset"]
    if arguments.sample is not None:
        overrides += [f"features.sample={arguments.sample}", "features.indices=unset"]
    # `ray job stop` and schedulers send SIGTERM; then the run ends as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        outcome = run_pipeline(load_pipeline(arguments.pipeline, tuple(overrides)))
    except AutointerpError as error:
        print(f"label: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("label: stopped; submitted again, it goes on from what is finished", file=sys.stderr)
        return 143
    print(f"{outcome.n_features} features asked for, {outcome.n_failed} results missing: {outcome.folder.path}")
    return 1 if outcome.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
