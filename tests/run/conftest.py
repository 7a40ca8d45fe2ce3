"""The tiny model and its shards, and runs over the planted parts up to their contexts, each made once for all tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import Pipeline
from tests.run import tiny
from tests.run.prepared import WithContexts, lay_out


@pytest.fixture(scope="session")
def with_contexts(shared_folder: Path) -> WithContexts:
    """Lays out the run of a pipeline up to its contexts, so that a test begins behind them; gives the pipeline."""
    return lambda pipeline: lay_out(pipeline, shared_folder)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(scope="session")
def shard_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tiny.save_shards(tmp_path_factory.mktemp("blocks"), [8, 8, 6])


@pytest.fixture
def make_pipeline(model_folder: Path, tmp_path: Path) -> Callable[..., Pipeline]:
    """Makes a pipeline over the tiny model, with a coder of an architecture."""

    def make(architecture: str = "standard", *, batch_size: int = 3, n_workers: int = 0, **settings: Any) -> Pipeline:
        folder = tmp_path / f"coder-{architecture}"
        if not folder.exists():
            tiny.save_coder(folder, architecture, **settings)
        return Pipeline.model_validate(
            {
                "name": "tiny",
                "seed": 5,
                "subject": {"model": str(model_folder), "name": "tiny", "device": "cpu"},
                "coder": {"path": str(folder)},
                "collect": {
                    "n_top": 4,
                    "n_fired": 3,
                    "n_pool_blocks": 6,
                    "context_length": 5,
                    "batch_size": batch_size,
                },
                "ray": {"n_workers": n_workers, "cpus_per_worker": 0.5},
            }
        )

    return make
