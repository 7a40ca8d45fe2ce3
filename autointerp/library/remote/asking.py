"""What callers give, as it is sent."""

from typing import Any, TypeVar

from pydantic import ValidationError

from autointerp.errors import AutointerpError
from autointerp.library.remote.shapes import Asked
from autointerp.store.known import shown

A = TypeVar("A", bound=Asked)


def asked_as(model: type[A], error: type[AutointerpError], /, **given: Any) -> A:
    """A question as it is sent.

    Args:
        model: Its shape.
        error: What is raised where it has another.
        given: What it says.

    Raises:
        AutointerpError: That error.
    """
    try:
        return model(**given)
    except (ValidationError, RecursionError) as fault:
        if not isinstance(fault, ValidationError):
            raise error("what is asked is nested too deeply to be sent", "ask for less at once") from fault
        (first, *_) = fault.errors()
        where = ".".join(map(str, first["loc"])) or "it"
        told = first["msg"].lower()
        raise error(f"{where} can't be {shown(first['input'])} ({told})", "give what the method's help says") from None
