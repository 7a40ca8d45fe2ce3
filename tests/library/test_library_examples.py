"""Every example in a docstring of the library is run, on a run of the planted model."""

import contextlib
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp import library

_RUNNER_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What a user calls by a client: each of their public methods shows how.
_SHOWN = (
    "client.Client",
    "features.Features",
    "attributing.AttributingFeatures",
    "conditioning.ConditioningFeatures",
    "feature.Feature",
    "feature.FeatureGroup",
    "feature_edits.FeatureEdits",
    "variant.Variant",
    "chat.chat.Chat",
    "chat.completions.Completions",
)
_NOT_CALLED = {"is_same"}  # by a sign


def modules() -> list[str]:
    """Those of the library, and those of which it gives something to users."""
    own = [found.name for found in pkgutil.walk_packages(library.__path__, "autointerp.library.")]
    given = (getattr(autointerp, name).__module__ for name in autointerp.__all__)
    return sorted({*own, *given, "autointerp.store.sql"})


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        yield from (test for test in finder.find(importlib.import_module(name), name) if test.examples)


@pytest.mark.parametrize("test", list(examples()), ids=lambda test: test.name.removeprefix("autointerp.library."))
def test_an_example_does_what_it_shows(test: doctest.DocTest, planted_runs: Path) -> None:
    said: list[str] = []
    with contextlib.chdir(planted_runs):
        test.globs = {"autointerp": autointerp, "client": autointerp.open("runs/demo")}
        doctest.DocTestRunner(verbose=False, optionflags=_RUNNER_FLAGS).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("path", _SHOWN)
def test_every_public_method_shows_how_it_is_used(path: str) -> None:
    module, _, name = path.rpartition(".")
    of: type[Any] = getattr(importlib.import_module(f"autointerp.library.{module}"), name)
    bare = [
        member
        for member, value in vars(of).items()
        if not member.startswith("_") and member not in _NOT_CALLED and inspect.isfunction(value)
        if not getattr(value, "__isabstractmethod__", False)
        if ">>>" not in (inspect.getdoc(value) or "")
    ]
    assert bare == [], f"{name} has members without an example"


# What they compare takes a run of its own: docs/compare.md shows them.
_NEEDS_MORE = {"Pipeline", "compare_runs", "judge_agreement", "try_explainers"}


def test_every_name_that_a_user_imports_shows_how_it_is_used() -> None:
    bare = {name for name in autointerp.__all__ if ">>>" not in (getattr(autointerp, name).__doc__ or "")}
    assert bare <= _NEEDS_MORE
