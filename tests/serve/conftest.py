"""A run that is served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import autointerp
from autointerp.serve.app import make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.serve.serving import answering

# Short, since the planted model reads 64 tokens at once.
_TEMPLATE = (
    "{% for message in messages %}{{ message.role[0] }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


@pytest.fixture(scope="module")
def talking_run(planted_runs: Path) -> Iterator[Path]:
    """The planted run while its model has a chat template."""
    template = planted_runs / "model" / "chat_template.jinja"
    template.write_text(_TEMPLATE, encoding="utf-8")
    yield planted_runs / "runs/demo"
    template.unlink()


@pytest.fixture(scope="module")
def serving(talking_run: Path) -> Serving:
    """What is served: the run, whose model has a second name too."""
    serving = Serving(autointerp.open(talking_run), Limits(), {"smollm2-135m-instruct": "planted@0-res-12"})
    assert list(serving.warm()) == []
    return serving


@pytest.fixture(scope="module")
def address(serving: Serving) -> Iterator[str]:
    """Where it answers."""
    with answering(make_app(serving)) as at:
        yield at
