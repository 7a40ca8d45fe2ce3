"""Label the features of sparse autoencoders and transcoders, and score how far each label can be trusted.

    import autointerp

    client = autointerp.open("runs/demo")
    print(client.features.search("error handling", top_k=5))

- What a run found: `open` gives a `Client` of one run or several, which finds features, compares them and answers SQL.
  It gives `Feature`s in a `FeatureGroup`, whose comparison with a number is a `Condition`. `open_run` gives one `Run`,
  which answers in records, by a `FeatureFilter` or a `TableQuery`; `export_run` writes it into a file.
- Asking its model: a `Variant` has `FeatureEdits`, at the tokens of an `EditScope`; `client.chat` answers as it does.
- Making a run: `load_pipeline` reads a `Pipeline` from its file, and `run_pipeline` runs it.
- Comparing: `compare_runs`, `judge_agreement`, `try_explainers`.
- What goes wrong is an `AutointerpError`: one line that says what to do.

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
    from autointerp.library.client import Client, open
    from autointerp.library.compare import compare_runs
    from autointerp.library.conditions import Condition
    from autointerp.library.feature import Feature, FeatureGroup
    from autointerp.library.feature_edits import FeatureEdit, FeatureEdits
    from autointerp.library.run import Run, open_run
    from autointerp.library.try_explainers import try_explainers
    from autointerp.library.variant import Variant
    from autointerp.records import FeatureFilter
    from autointerp.records.feature_table import TableQuery
    from autointerp.records.live import EditScope
    from autointerp.run.pipeline import run_pipeline

__all__ = [
    "AutointerpError",
    "Client",
    "Condition",
    "EditScope",
    "Feature",
    "FeatureEdit",
    "FeatureEdits",
    "FeatureFilter",
    "FeatureGroup",
    "Pipeline",
    "Run",
    "TableQuery",
    "Variant",
    "compare_runs",
    "export_run",
    "judge_agreement",
    "load_pipeline",
    "open",
    "open_run",
    "run_pipeline",
    "try_explainers",
]

_HOMES = {
    "AutointerpError": "autointerp.errors",
    "Client": "autointerp.library.client",
    "Condition": "autointerp.library.conditions",
    "EditScope": "autointerp.records.live",
    "Feature": "autointerp.library.feature",
    "FeatureEdit": "autointerp.library.feature_edits",
    "FeatureEdits": "autointerp.library.feature_edits",
    "FeatureFilter": "autointerp.records",
    "FeatureGroup": "autointerp.library.feature",
    "Pipeline": "autointerp.config",
    "Run": "autointerp.library.run",
    "TableQuery": "autointerp.records.feature_table",
    "Variant": "autointerp.library.variant",
    "compare_runs": "autointerp.library.compare",
    "export_run": "autointerp.export.export",
    "judge_agreement": "autointerp.library.agreement",
    "load_pipeline": "autointerp.config.file",
    "open": "autointerp.library.client",
    "open_run": "autointerp.library.run",
    "run_pipeline": "autointerp.run.pipeline",
    "try_explainers": "autointerp.library.try_explainers",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("autointerp")
    if name not in _HOMES:
        raise AttributeError(f"module 'autointerp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    # For tab completion and `help`: what is not loaded yet too, and no helper of this module.
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})
