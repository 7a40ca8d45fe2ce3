"""Errors over the wire: the same class with the same problem and remedy as where they were raised."""

from collections.abc import Iterator, Mapping
from typing import Any

from autointerp.errors import AbortError, AutointerpError, RemoteError


def plain_error(error: AutointerpError) -> dict[str, Any]:
    """What JSON can hold of an error."""
    plain: dict[str, Any] = {
        "kind": _kind(type(error)).__name__,
        "problem": error.problem,
        "remedy": error.remedy,
        "faults": list(error.faults),
    }
    if isinstance(error, AbortError):
        plain |= {"text": error.text, "condition": error.condition, "position": error.position}
    return plain


def read_error(plain: Any) -> AutointerpError | None:
    """Read what `plain_error` gave; None where it is something else. An unknown class is a `RemoteError`."""
    match plain:
        case {"kind": str(kind), "problem": str(problem), "remedy": str(remedy), "faults": list(faults)}:
            told = tuple(map(str, faults))
        case _:
            return None
    of = _KINDS.get(kind, RemoteError)
    if issubclass(of, AbortError):
        return of(problem, remedy, told, **_of_abort(plain))
    return of(problem, remedy, told)


def _of_abort(plain: Mapping[str, Any]) -> dict[str, Any]:
    position = plain.get("position")
    return {
        "text": str(plain.get("text", "")),
        "condition": str(plain.get("condition", "")),
        "position": position if isinstance(position, int) else None,
    }


def _classes(of: type[AutointerpError]) -> Iterator[type[AutointerpError]]:
    yield of
    for kind in of.__subclasses__():
        yield from _classes(kind)


# Those of `autointerp.errors` alone: whatever else derives from them may want other arguments.
_KINDS = {kind.__name__: kind for kind in _classes(AutointerpError) if kind.__module__ == AutointerpError.__module__}


def _kind(of: type[AutointerpError]) -> type[AutointerpError]:
    """The class, or the closest of its own that the other side knows."""
    return next(kind for kind in of.__mro__ if _KINDS.get(kind.__name__) is kind)
