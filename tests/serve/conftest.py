"""A run that is served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import autointerp
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.serving import answering


@pytest.fixture(scope="module")
def serving(planted_runs: Path) -> Serving:
    """What is served: the run, whose model has a second name too."""
    aliases = {"smollm2-135m-instruct": "planted@0-res-12"}
    serving = Serving(
        autointerp.open(planted_runs / "runs/demo"),
        Limits(n_steering_prompts=12, steering_tokens=6, false_alarms=0.15),
        aliases,
    )
    assert list(serving.warm()) == []
    return serving


@pytest.fixture(scope="module")
def address(serving: Serving) -> Iterator[str]:
    """Where it answers."""
    with answering(make_app(serving)) as at:
        yield at
