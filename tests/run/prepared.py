"""Runs that have their contexts, made once and copied: to collect and embed takes longer than most that follows."""

import shutil
from collections.abc import Callable
from pathlib import Path

from autointerp import run_pipeline
from autointerp.config import ExplainConfig, FeaturesConfig, Pipeline
from autointerp.identity import fingerprint
from autointerp.run.fingerprints import identity_settings
from tests.making import make_once

WithContexts = Callable[[Pipeline], Pipeline]


def lay_out(pipeline: Pipeline, folder: Path) -> Pipeline:
    """Put a run with the contexts of all features in the place of a pipeline's run.

    Args:
        pipeline: What is to be run; there is nothing in its place yet.
        folder: Where the runs that are copied lie, one for all pipelines whose contexts are the same.

    Returns:
        The pipeline.
    """
    everything = {"features": FeaturesConfig(), "explain": ExplainConfig()}

    def make(made: Path) -> None:
        placed = {"runs": str(made.parent), "name": made.name}
        run_pipeline(pipeline.model_copy(update=placed | everything), ("corpus", "collect", "contexts"))

    name = f"contexts-{fingerprint(identity_settings(pipeline))[:16]}"
    shutil.copytree(make_once(folder / name, make), pipeline.run_folder)
    return pipeline
