"""The clients that are served, installed once."""

from pathlib import Path

import pytest

from tests.making import make_once
from tests.serve.clients import install


@pytest.fixture(scope="session")
def goodfire(shared_folder: Path) -> Path:
    """Where the unmodified client of Ember is."""
    return make_once(shared_folder / "goodfire", install)
