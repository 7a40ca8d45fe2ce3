"""What is asked about what is served: values that can be sent to wherever the model is.

A question is a function of what knows the answer, and so is a beginning of a chat. Both can be pickled: they are
functions and classes of a module, with their arguments. So either is answered in this process or in another one.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from autointerp.library.chat.completions import ChatStream
from autointerp.library.client import Client
from autointerp.serve.limits import Limits
from autointerp.serve.names import Names

T = TypeVar("T")


class Knows(Protocol):
    """What questions are asked of."""

    @property
    def client(self) -> Client: ...
    @property
    def names(self) -> Names: ...
    @property
    def limits(self) -> Limits: ...


Question = Callable[[Knows], T]
Begin = Callable[[Any], ChatStream]
"""Asks for an answer, of a `Knows`; may take its time, and raise what is wrong with the request."""
