"""Explainers by the name that a pipeline gives them: ours, or a user's as `module:Class` or `path/to/file.py:Class`.

Classes are imported when they are asked for: who uses none that asks a language model loads no provider's SDK.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from autointerp.errors import AutointerpError, PipelineError
from autointerp.explain.base import BaseExplainer

BUILT_IN = {
    "keywords": "autointerp.explain.keywords:KeywordsExplainer",
    "examples": "autointerp.explain.examples:ExamplesExplainer",
    "contrastive": "autointerp.explain.contrastive:ContrastiveExplainer",
    "evidence": "autointerp.explain.evidence:EvidenceExplainer",
    "best_of": "autointerp.explain.best_of:BestOfExplainer",
    "outside": "autointerp.explain.outside:OutsideExplainer",
}
_HOW = "write it as module:Class or path/to/file.py:Class"


def load_explainer(name: str) -> type[BaseExplainer]:
    """Find an explainer's class; a user's file is read anew each time.

    Args:
        name: As `explain.explainer` has it.

    Raises:
        PipelineError: If there is no such file, module or class, if it can't be imported, or is no explainer.
    """
    place, _, class_name = BUILT_IN.get(name, name).rpartition(":")
    if not place or not class_name:
        raise PipelineError(f"there is no explainer {name!r}", f"one of {', '.join(BUILT_IN)}, or {_HOW}")
    module = _read_file(Path(place)) if place.endswith(".py") else _import_module(place)
    found = getattr(module, class_name, None)
    if found is None:
        raise PipelineError(f"{place} has no class {class_name!r}", _HOW)
    if not (isinstance(found, type) and issubclass(found, BaseExplainer)):
        raise PipelineError(
            f"{class_name} in {place} is not an explainer",
            "derive it from autointerp.explain.llm_explainer.LlmExplainer or autointerp.explain.base.BaseExplainer",
        )
    if found.__abstractmethods__ or not isinstance(getattr(found, "name", None), str) or not found.name:
        missing = ", ".join(sorted(found.__abstractmethods__)) or "name"
        raise PipelineError(f"the explainer {class_name} in {place} lacks {missing}", "add it to the class")
    return found


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise PipelineError(f"there is no module {name!r} for an explainer", f"install it, or {_HOW}") from None
        raise _raises(name, error) from error
    except AutointerpError:
        raise
    except Exception as error:
        raise _raises(name, error) from error


def _read_file(path: Path) -> ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"there is no file {path} for an explainer ({error.strerror})", _HOW) from error
    # Under a name that no import can mean. It is listed while it is read, as dataclasses and pydantic look it up. Read
    # by hand, since an import would take compiled code of the same second and size for current.
    module = ModuleType(f"explainer file {path.resolve()}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except AutointerpError:
        raise
    except (Exception, SystemExit) as error:
        raise _raises(str(path), error) from error
    return module


def _raises(place: str, error: BaseException) -> PipelineError:
    said = " ".join(str(error).split())
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return PipelineError(
        f"the explainer in {place} can't be imported ({type(error).__name__}: {said}{line})", "mend that file"
    )
