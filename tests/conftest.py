"""The planted parts, and a finished run of them, made once for all tests."""

import contextlib
import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from autointerp import load_pipeline, run_pipeline
from tests.browsers import WITHOUT
from tests.making import make_once
from tests.run.planted import FEATURES, LABELLED, RARE, Planted, plant

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
# Half a minute and more of work each, begun first: else one process ends alone with what is left of them.
LONG = (
    "run/test_run_dry_run.py",
    "run/test_run_ray_cluster.py",
    "score/test_label_free.py",
    "run/test_run_graph.py",
    "run/test_run_batch.py",
    "run/test_run_distinct.py",
    "run/test_run_generation.py",
    "search/test_search_index_folder.py",
    "score/test_score_surprisal.py",
    "run/test_run_calibrate.py",
    "run/test_run_intervention.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first; the order within a file stays."""
    rank = {f"tests/{file}": place for place, file in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


def pytest_collection_finish() -> None:
    """Keep what was imported out of the garbage collector's way, which else goes through all of it again and again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what no browser looked at."""
    left_out = [of for of in terminalreporter.stats.get("skipped", ()) if WITHOUT in str(of.longrepr)]
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} tests are left out: {WITHOUT}")


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
