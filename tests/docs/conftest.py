"""One small run for all pages, and a world of its own for each."""

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autointerp import load_pipeline, run_pipeline
from tests.docs.pages import ROOT, read_page
from tests.docs.world import MINE, World
from tests.run.planted import FEATURES, LABELLED, RARE, plant


@dataclass(frozen=True, slots=True)
class SmallRun:
    """A folder with a finished run in `runs/demo` and `runs/mine`, and what pages have run there already."""

    folder: Path
    done: set[tuple[str, ...]] = field(default_factory=set)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    folder = tmp_path_factory.mktemp("small")
    file = folder / MINE
    more = ["[contexts]", "n_pool_tiles = 128", "[explain]", 'explainer = "outside"', 'labels = "planted.csv"']
    file.write_text(plant(folder).toml("mine", Path("runs"), *more), encoding="utf-8")
    true = [f"{index}," + " ".join(FEATURES[index]) for index in LABELLED[:-1]]
    # One is wrong, so that the demo's lines have a worst label; one is of a feature that is too rare: a failure.
    rows = ["feature,label", *true, f"{LABELLED[-1]},customs and taxes", f"{RARE},quasars"]
    (folder / "planted.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with contextlib.chdir(folder):
        outcome = run_pipeline(load_pipeline(MINE))
    assert outcome.n_failed == 0
    shutil.copytree(folder / "runs/mine", folder / "runs/demo")
    return SmallRun(folder)


@pytest.fixture
def world(small_run: SmallRun, tmp_path: Path) -> World:
    """A world in which the files of the README lie already: the other pages go on from there."""
    shown = tmp_path / "shown"
    shown.mkdir()
    for block in read_page(ROOT / "README.md").blocks:
        if block.file is not None:
            (shown / block.file).write_text(block.text, encoding="utf-8")
    return World(shown, small_run.folder, small_run.done)
