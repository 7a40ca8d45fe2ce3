"""Classes by the name that a pipeline gives them: ours, or a user's as `module:Class` or `path/to/file.py:Class`.

Classes are imported when they are asked for: who uses none that asks a language model loads no provider's SDK.
"""

import difflib
import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from autointerp.errors import AutointerpError, PipelineError, in_one_line

_NOT_A_USERS = frozenset({"autointerp"}) | sys.stdlib_module_names
_HOW = "write it as module:Class or path/to/file.py:Class"


# SHA-256 of the text of each user's file as it was last read, by the name of the module made of it.
_READ: dict[str, str] = {}


def load_class(name: str, kind: str, built_in: Mapping[str, str], base: type[Any]) -> type[Any]:
    """Find a class; a user's file is read anew whenever it has changed.

    Args:
        name: As the pipeline has it.
        kind: What the class is, with its article, for messages: `an explainer`, `a scorer`.
        built_in: Ours: `module:Class` by name.
        base: What it must derive from; what it declares as `ClassVar` must be there, and of that type.

    Raises:
        PipelineError: If there is no such file, module or class, if it can't be imported, or is none of the kind.
    """
    place, _, class_name = built_in.get(name, name).rpartition(":")
    if not place or not class_name:
        close = difflib.get_close_matches(name, built_in, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise PipelineError(f"there is no {_bare(kind)} {name!r}", f"one of {', '.join(built_in)}, or {_HOW}{meant}")
    module = _read_file(Path(place), kind) if place.endswith(".py") else _import_module(place, kind)
    found = getattr(module, class_name, None)
    if found is None:
        raise PipelineError(f"{place} has no class {class_name!r}", _HOW)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PipelineError(
            f"{class_name} in {place} is not {kind}", f"derive it from {base.__module__}.{base.__qualname__}"
        )
    abstract = sorted(getattr(found, "__abstractmethods__", ()))
    wanted = _class_attributes(base)
    missing = [*abstract, *(name for name in wanted if getattr(found, name, None) in (None, ""))]
    if missing:
        raise PipelineError(
            f"the {_bare(kind)} {class_name} in {place} lacks {', '.join(missing)}", "add it to the class"
        )
    for attribute, type_of_it in wanted.items():
        given = getattr(found, attribute)
        try:
            type_of_it.validate_python(given, strict=True)
        except ValidationError as error:
            fault = error.errors()[0]["msg"]
            raise PipelineError(
                f"the {_bare(kind)} {class_name} in {place} has {attribute} = {given!r}: {fault}", "mend the class"
            ) from None
    return found


def _class_attributes(base: type[Any]) -> dict[str, TypeAdapter[Any]]:
    """What checks the attributes that a class declares as `ClassVar`, by their names."""
    hints = get_type_hints(base, include_extras=True)
    return {name: TypeAdapter(get_args(hint)[0]) for name, hint in hints.items() if get_origin(hint) is ClassVar}


@contextmanager
def called_by_us(made: object, doing: str) -> Iterator[None]:
    """Tell in one line what a user's own class raises in the `with` block; what ours raises is ours to mend.

    Args:
        made: Of the class, or the class itself.
        doing: What it was to do, for the message: `the scorer 'mine' on feature 3`.

    Raises:
        PipelineError: In place of what the user's code raised.
    """
    try:
        yield
    except AutointerpError:
        raise
    except Exception as error:
        cls = made if isinstance(made, type) else type(made)
        files = {str(file) for base in _bases_of_users(cls) if (file := source_file(base)) is not None}
        if not files:
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        place = f", {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
        raise PipelineError(
            f"{doing} failed ({in_one_line(error, with_kind=True)}{place})", "mend that file"
        ) from error


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
    digests: dict[str, None] = {}
    for base in _bases_of_users(cls):
        file = source_file(base)
        if base.__module__ in _READ:
            digests[_READ[base.__module__]] = None
        elif file is not None:
            try:
                digests[hashlib.sha256(file.read_bytes()).hexdigest()] = None
            except OSError as error:
                raise PipelineError(f"the file {file} can't be read ({error.strerror})", "put it back") from error
    return list(digests)


def _bases_of_users(cls: type) -> list[type]:
    """A class and its bases, without those of our own package and of Python's."""
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] not in _NOT_A_USERS]


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
    digest = hashlib.sha256(source).hexdigest()
    if _READ.get(module.__name__) == digest:
        return sys.modules[module.__name__]
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except AutointerpError:
        raise
    except (Exception, SystemExit) as error:
        raise _raises(str(path), kind, error) from error
    _READ[module.__name__] = digest
    return module


def _raises(place: str, kind: str, error: BaseException) -> PipelineError:
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return PipelineError(
        f"the {_bare(kind)} in {place} can't be imported ({in_one_line(error, with_kind=True)}{line})", "mend that file"
    )


def _bare(kind: str) -> str:
    return kind.split()[-1]
