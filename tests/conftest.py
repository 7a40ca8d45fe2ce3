"""The planted parts, and a finished run of them, made once for all tests."""

import contextlib
import os
from pathlib import Path

import pytest

from autointerp import load_pipeline, run_pipeline
from tests.making import make_once
from tests.run.planted import FEATURES, LABELLED, RARE, Planted, plant


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once; pytest-xdist gives each of its processes a subfolder of it."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def planted(shared_folder: Path) -> Planted:
    return Planted(make_once(shared_folder / "planted", plant))


@pytest.fixture(scope="session")
def planted_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `runs/demo` is a finished run, whose labels are the true words of its features."""
    folder = tmp_path_factory.mktemp("library")
    rows = ["feature,label", *(f"{index},{' '.join(FEATURES[index])}" for index in (*LABELLED, RARE))]
    (folder / "planted.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    more = ["[contexts]", "n_pool_tiles = 128", "[explain]", 'explainer = "outside"', 'labels = "planted.csv"']
    (folder / "demo.toml").write_text(plant(folder).toml("demo", Path("runs"), *more), encoding="utf-8")
    with contextlib.chdir(folder):
        assert run_pipeline(load_pipeline("demo.toml")).n_failed == 0
    return folder


@pytest.fixture(autouse=True)
def no_width_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables keep to COLUMNS, which the shell of whoever runs the tests, or pytest-xdist, may have set."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def smollm2_cache(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged SmolLM2, unpacked once for all tests into a cache folder of theirs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_folder / "cache"))
