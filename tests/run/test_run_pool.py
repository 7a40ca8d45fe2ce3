"""The pool is embedded once for a run, whatever commands ask for it, and the run's content does not show how often."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.embedder import Embedder
from autointerp.run.on_disk.folder import hold_run_folder
from autointerp.run.session import Session
from tests.run.planted import LABELLED, Planted

pytestmark = pytest.mark.slow

FEW = LABELLED[:3]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that the model is run on, from here on; the model is the real one."""
    forward = Embedder._forward
    texts_run: list[str] = []

    def counted(self: Embedder, texts: Sequence[str], *, side_by_side: bool = False) -> Iterator[Any]:
        texts_run.extend(texts)
        return forward(self, texts, side_by_side=side_by_side)

    monkeypatch.setattr(Embedder, "_forward", counted)
    return texts_run


def pipeline_of(planted: Planted, tmp_path: Path, name: str, features: Sequence[int]) -> Pipeline:
    file = tmp_path / f"{name}.toml"
    file.write_text(planted.toml(name, tmp_path / "runs"), encoding="utf-8")
    overrides = (f"features.indices={','.join(map(str, features))}", "contexts.n_pool_tiles=256")
    return load_pipeline(str(file), overrides)


def window_texts(pipeline: Pipeline) -> set[str]:
    """Texts of the windows of peaks, without those that the corpus as it comes has too."""
    with hold_run_folder(pipeline) as folder:
        (source,) = Session(pipeline, folder).each_source()
        return set(source.peak_windows.texts) - set(source.pool.texts)


def kept_file(pipeline: Pipeline) -> Path:
    (file,) = (pipeline.run_folder / "pool").rglob("peaks.safetensors")
    return file


def test_contexts_of_further_features_and_recall_embed_no_window_again(
    planted: Planted, tmp_path: Path, embedded: list[str]
) -> None:
    few = pipeline_of(planted, tmp_path, "asked-twice", FEW)
    run_pipeline(few, ("corpus", "collect", "contexts"))
    windows = window_texts(few)
    assert len(windows) > 60
    assert windows <= set(embedded)
    assert len(windows & set(embedded)) == sum(text in windows for text in embedded), "a window was embedded twice"
    embedded.clear()
    every = pipeline_of(planted, tmp_path, "asked-twice", LABELLED)
    run_pipeline(every)
    # A feature may fire in the very window of the pool.
    firing = {
        context.text
        for contexts in open_run(every.run_folder).reader.feature_contexts(LABELLED)
        for context in contexts.of("explain", active=True)
    }
    assert firing & set(embedded), "further features' contexts were not embedded"
    assert windows & set(embedded) <= firing, "a window was embedded again"
    assert len(windows - set(embedded)) > 60

    kept_file(every).unlink()
    at_once = pipeline_of(planted, tmp_path, "asked-once", LABELLED)
    run_pipeline(at_once)
    assert open_run(every.run_folder).reader.content_digest() == open_run(at_once.run_folder).reader.content_digest()


def test_a_damaged_or_foreign_file_changes_nothing_but_the_time(
    planted: Planted, tmp_path: Path, embedded: list[str]
) -> None:
    whole = pipeline_of(planted, tmp_path, "whole", LABELLED)
    run_pipeline(whole)
    few = pipeline_of(planted, tmp_path, "damaged", FEW)
    run_pipeline(few, ("corpus", "collect", "contexts"))
    windows = window_texts(few)
    good = kept_file(few).read_bytes()
    kept_file(few).write_bytes(good[: len(good) // 2])
    embedded.clear()
    more = pipeline_of(planted, tmp_path, "damaged", LABELLED[:4])
    run_pipeline(more, ("contexts",))
    assert windows <= set(embedded), "a damaged file was taken"
    assert kept_file(more).read_bytes() == good

    other = load_pipeline(str(tmp_path / "damaged.toml"), ("name=other", "seed=1"))
    run_pipeline(other, ("corpus", "collect", "contexts"))
    kept_file(more).write_bytes(kept_file(other).read_bytes())
    every = pipeline_of(planted, tmp_path, "damaged", LABELLED)
    run_pipeline(every)
    assert kept_file(every).read_bytes() == good
    assert open_run(every.run_folder).reader.content_digest() == open_run(whole.run_folder).reader.content_digest()


def test_a_run_started_over_leaves_no_embeddings_behind(planted: Planted, tmp_path: Path) -> None:
    pipeline = pipeline_of(planted, tmp_path, "fresh", FEW)
    run_pipeline(pipeline, ("corpus", "collect", "contexts"))
    assert kept_file(pipeline).is_file()
    run_pipeline(pipeline, ("corpus",), fresh=True)
    assert not (pipeline.run_folder / "pool").exists()
