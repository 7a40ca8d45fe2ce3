"""Classes by the name that a pipeline gives them: ours, or a user's as `module:Class` or `path/to/file.py:Class`.

Classes are imported when they are asked for: who uses none that asks a language model loads no provider's SDK.
"""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from autointerp.errors import AutointerpError, PipelineError

_NOT_A_USERS = frozenset({"autointerp"}) | sys.stdlib_module_names
_HOW = "write it as module:Class or path/to/file.py:Class"


def load_class(name: str, kind: str, built_in: Mapping[str, str], base: type[Any]) -> type[Any]:
    """Find a class; a user's file is read anew each time.

    Args:
        name: As the pipeline has it.
        kind: What the class is, with its article, for messages: `an explainer`, `a scorer`.
        built_in: Ours: `module:Class` by name.
        base: What it must derive from.

    Raises:
        PipelineError: If there is no such file, module or class, if it can't be imported, or is none of the kind.
    """
    place, _, class_name = built_in.get(name, name).rpartition(":")
    if not place or not class_name:
        raise PipelineError(f"there is no {_bare(kind)} {name!r}", f"one of {', '.join(built_in)}, or {_HOW}")
    module = _read_file(Path(place), kind) if place.endswith(".py") else _import_module(place, kind)
    found = getattr(module, class_name, None)
    if found is None:
        raise PipelineError(f"{place} has no class {class_name!r}", _HOW)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PipelineError(
            f"{class_name} in {place} is not {kind}", f"derive it from {base.__module__}.{base.__qualname__}"
        )
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing or not isinstance(getattr(found, "name", None), str) or not getattr(found, "name", ""):
        raise PipelineError(
            f"the {_bare(kind)} {class_name} in {place} lacks {', '.join(missing) or 'name'}", "add it to the class"
        )
    return found


def source_file(cls: type) -> Path | None:
    """The file that a class is written in; None where it was typed in."""
    try:
        return Path(inspect.getfile(cls))
    except (OSError, TypeError):
        return None


def source_digests(cls: type) -> list[str]:
    """SHA-256 of each file that a class and its bases are written in, our own package's left out.

    Ours have a `version` instead, so that a new release of the program does not by itself do all features anew.

    Raises:
        PipelineError: If a file is gone.
    """
    users = (base for base in cls.__mro__ if base.__module__.partition(".")[0] not in _NOT_A_USERS)
    files = dict.fromkeys(file for base in users if (file := source_file(base)) is not None)
    try:
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    except OSError as error:
        raise PipelineError(f"the file {error.filename} can't be read ({error.strerror})", "put it back") from error


def _import_module(name: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise PipelineError(f"there is no module {name!r} for {kind}", f"install it, or {_HOW}") from None
        raise _raises(name, kind, error) from error
    except AutointerpError:
        raise
    except Exception as error:
        raise _raises(name, kind, error) from error


def _read_file(path: Path, kind: str) -> ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"there is no file {path} for {kind} ({error.strerror})", _HOW) from error
    # Under a name that no import can mean. It is listed while it is read, as dataclasses and pydantic look it up. Read
    # by hand, since an import would take compiled code of the same second and size for current.
    module = ModuleType(f"{_bare(kind)} file {path.resolve()}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except AutointerpError:
        raise
    except (Exception, SystemExit) as error:
        raise _raises(str(path), kind, error) from error
    return module


def _raises(place: str, kind: str, error: BaseException) -> PipelineError:
    said = " ".join(str(error).split())
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return PipelineError(
        f"the {_bare(kind)} in {place} can't be imported ({type(error).__name__}: {said}{line})", "mend that file"
    )


def _bare(kind: str) -> str:
    return kind.split()[-1]
