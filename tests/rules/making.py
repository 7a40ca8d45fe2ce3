"""Contexts of given tokens."""

from dataclasses import replace

from autointerp.records import Context
from tests.store.making import make


def of_tokens(tokens: tuple[str, ...], activations: tuple[float, ...]) -> Context:
    """A context of these tokens."""
    return replace(make.context(0), tokens=tokens, activations=activations, token_ids=tuple(range(len(tokens))))
