"""The planted model, made once for all tests."""

import pytest

from tests.run.planted import Planted, plant


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))
