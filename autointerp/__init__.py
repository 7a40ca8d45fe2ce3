"""Label the features of sparse autoencoders and transcoders, and score how far each label can be trusted.

    from autointerp import open_run

    run = open_run("runs/demo")
    for hit in run.search("error handling", top_k=5):
        print(hit.feature_index, hit.label, hit.scores)

The names below are loaded when they are first used, so that `autointerp.collect` and `autointerp.subject` work on a
machine that has only torch, transformers and numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autointerp.config import Pipeline
    from autointerp.config.file import load_pipeline
    from autointerp.errors import AutointerpError
    from autointerp.export.export import export_run
    from autointerp.library.agreement import judge_agreement
    from autointerp.library.compare import compare_runs
    from autointerp.library.run import Run, open_run
    from autointerp.records import FeatureFilter
    from autointerp.run.pipeline import run_pipeline

__all__ = [
    "AutointerpError",
    "FeatureFilter",
    "Pipeline",
    "Run",
    "compare_runs",
    "export_run",
    "judge_agreement",
    "load_pipeline",
    "open_run",
    "run_pipeline",
]

_HOMES = {
    "AutointerpError": "autointerp.errors",
    "FeatureFilter": "autointerp.records",
    "Pipeline": "autointerp.config",
    "Run": "autointerp.library.run",
    "compare_runs": "autointerp.library.compare",
    "export_run": "autointerp.export.export",
    "judge_agreement": "autointerp.library.agreement",
    "load_pipeline": "autointerp.config.file",
    "open_run": "autointerp.library.run",
    "run_pipeline": "autointerp.run.pipeline",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("autointerp")
    if name not in _HOMES:
        raise AttributeError(f"module 'autointerp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    # For tab completion and `help`, which find only what is loaded otherwise.
    return sorted({*globals(), *__all__, "__version__"})
