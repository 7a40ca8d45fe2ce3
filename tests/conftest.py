"""The planted parts, made once for all tests."""

import os
from pathlib import Path

import pytest

from tests.making import make_once
from tests.run.planted import Planted, plant


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, since its fixtures are made in each, unless it names another group."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once; pytest-xdist gives each of its processes a subfolder of it."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def planted(shared_folder: Path) -> Planted:
    return Planted(make_once(shared_folder / "planted", plant))
