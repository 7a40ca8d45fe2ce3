"""Cases of a provider and what it does: all for one provider, and for the other only what its own client has to read.

A status means the same to both (`troubles.read_problem`), and so do waits, repairs and the ledger of batches. What is
each client's own is the wire: its SDK's errors, its envelopes, its way to find a batch again.
"""

from collections.abc import Collection, Mapping
from typing import Any, get_args

import pytest

from tests.loopback.server import Provider


def cases(of_one: Provider, done: Mapping[str, Any], *, of_each: Collection[str]) -> list[Any]:
    """Every name of `done` with its values for one provider, and those of `of_each` for the other too."""
    assert set(of_each) <= set(done), "a case that there is not"
    made = []
    for provider in get_args(Provider):
        for name, values in done.items():
            if provider == of_one or name in of_each:
                values = values if isinstance(values, tuple) else (values,)
                made.append(pytest.param(provider, *values, id=f"{provider}-{name}"))
    return made
