"""A small GPT-2 and coders that SAELens saved, through the whole pass, by each executor."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from autointerp.config import Pipeline
from autointerp.corpus.shard_files import load_shard
from autointerp.errors import ActivationRangeError, CollectError, ShardError, SubjectError, WidthMismatchError
from autointerp.run.workers.executor import CollectProgress, collect_settings, collect_shards
from autointerp.run.workers.ray_cluster import import_ray
from autointerp.run.workers.ray_worker import CollectWorker
from autointerp.run.workers.shard_task import ShardTask, one_thread_a_shard
from autointerp.subject.source import Sources, load_sources
from tests.run.tiny import N_POSITIONS, assert_same, collect, save_coder, with_coders


@pytest.mark.parametrize(
    ("architecture", "settings"), [("standard", {}), ("jumprelu", {}), ("topk", {"k": 5})], ids=lambda value: str(value)
)
def test_collect_equals_a_recomputation_from_stored_activations(
    architecture: str,
    settings: dict[str, Any],
    make_pipeline: Callable[..., Pipeline],
    shard_files: list[Path],
    tmp_path: Path,
) -> None:
    pipeline = make_pipeline(architecture, **settings)
    collected = collect(pipeline, shard_files, tmp_path / "out")
    dense, counted = _stored_activations(load_sources(pipeline.subject, pipeline.coder), shard_files)
    values = dense[counted]
    statistics = collected.statistics
    assert statistics.n_tokens == counted.sum()
    assert statistics.n_active.tolist() == (values > 0).sum(axis=0).tolist()
    assert statistics.max_activation == pytest.approx(values.max(axis=0), rel=1e-5)
    assert statistics.activation_sum == pytest.approx(values.sum(axis=0, dtype=float), rel=1e-5)
    if architecture != "topk":
        assert statistics.n_active[3] == 0
        assert statistics.n_active[4] == statistics.n_tokens
    peaks = (dense * counted[:, :, None]).max(axis=1)
    windows = collected.top.dense()
    for feature in range(40):
        rows = np.flatnonzero(collected.top.feature == feature)
        ranked = sorted((block for block in range(22) if peaks[block, feature] > 0), key=lambda b: -peaks[b, feature])
        assert len(rows) == min(4, len(ranked))
        assert collected.top.peak[rows] == pytest.approx(peaks[ranked[:4], feature], rel=1e-5)
        for row in rows:
            block, start = collected.top.block_index[row], collected.top.window_start[row]
            inside = (dense * counted[:, :, None])[block, start : start + 5, feature]
            assert windows[row, : len(inside)] == pytest.approx(inside, rel=1e-5)


def _stored_activations(sources: Sources, shard_files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Every activation of the corpus, block by block, each block in a forward pass of its own."""
    dense, counted = [], []
    for shard in map(load_shard, shard_files):
        for row in range(len(shard.token_ids)):
            n = int(shard.n_tokens[row])
            ids = torch.from_numpy(shard.token_ids[row : row + 1, :n])
            (read,) = sources.read_counted(ids, torch.ones_like(ids), torch.ones_like(ids).bool())
            activations = sources.sources[0].coder.encode(read).numpy()
            dense.append(np.pad(activations, ((0, N_POSITIONS - n), (0, 0))))
            counted.append(shard.counted[row])
    return np.stack(dense), np.stack(counted)


def test_batch_size_changes_results_by_rounding_only(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    one = collect(make_pipeline(batch_size=1), shard_files, tmp_path / "1")
    for batch_size in (3, 100):
        other = collect(make_pipeline(batch_size=batch_size), shard_files, tmp_path / str(batch_size))
        assert_same(one, other, exactly=False)


@pytest.mark.parametrize(("gigabytes", "n_passes"), [(0.1, 1), (1000, 4)])
def test_the_model_runs_once_a_core_or_as_often_as_memory_allows(
    gigabytes: float, n_passes: int, make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sysconf, read_counted = os.sysconf, Sources.read_counted
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    n_pages = int(gigabytes * 1e9 / sysconf("SC_PAGE_SIZE"))
    monkeypatch.setattr(os, "sysconf", lambda name: n_pages if name == "SC_PHYS_PAGES" else sysconf(name))
    under_way: list[None] = []
    most: list[int] = []

    def watched(self: Sources, *batch: torch.Tensor) -> list[torch.Tensor]:
        under_way.append(None)
        most.append(len(under_way))
        time.sleep(0.02)
        under_way.pop()
        return read_counted(self, *batch)

    monkeypatch.setattr(Sources, "read_counted", watched)
    collect(make_pipeline(batch_size=1), shard_files, tmp_path / "out")
    assert max(most) == n_passes


@pytest.mark.slow
@pytest.mark.usefixtures("ray_alone")
def test_no_one_and_two_ray_workers_give_equal_results_also_when_a_worker_dies(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    (here,) = collect_shards(make_pipeline(), shard_files, [tmp_path / "0"], lambda _: None)
    n_done: list[int] = []

    def kill_the_worker(progress: CollectProgress) -> None:
        n_done.append(progress.n_done)
        if progress.n_done == 1:
            (worker,) = _our_workers()
            os.kill(worker, signal.SIGKILL)

    (one,) = collect_shards(make_pipeline(n_workers=1), shard_files, [tmp_path / "1"], kill_the_worker)
    assert n_done == [1, 2, 3]
    (two,) = collect_shards(make_pipeline(n_workers=2), shard_files, [tmp_path / "2"], lambda _: None)
    assert not sys.modules["ray"].is_initialized()
    for index in range(3):
        mine, first, second = (parts.file(index).read_bytes() for parts in (here, one, two))
        assert mine == first == second


@pytest.mark.slow
@pytest.mark.usefixtures("ray_alone")
def test_workers_that_stand_in_another_folder_find_relative_paths(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = make_pipeline(n_workers=1)
    assert absolute.coder[0].path is not None
    model, coder = os.path.relpath(absolute.subject.model, tmp_path), os.path.relpath(absolute.coder[0].path, tmp_path)
    relative = with_coders(absolute, {"path": coder}).model_copy(
        update={"subject": absolute.subject.model_copy(update={"model": model})}
    )
    (tmp_path / "elsewhere").mkdir()
    ray = import_ray(None)
    monkeypatch.chdir(tmp_path / "elsewhere")
    ray.init(num_cpus=1, _node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False)
    try:
        monkeypatch.chdir(tmp_path)
        files = [Path(os.path.relpath(file, tmp_path)) for file in shard_files]
        (parts,) = collect_shards(relative, files, [Path("out")], lambda _: None)
    finally:
        ray.shutdown()
    assert [parts.file(i) for i in range(3)] == [tmp_path / "out" / f"shard-0000{i}.safetensors" for i in range(3)]
    done_again: list[bool] = []
    here = relative.model_copy(update={"ray": relative.ray.model_copy(update={"n_workers": 0})})
    collect_shards(here, files, [Path("out")], lambda progress: done_again.append(not progress.is_resumed))
    assert done_again == [False] * 3


def _our_workers() -> list[int]:
    """Ids of the worker processes that descend from this one."""
    parents, workers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"ray::CollectWorker" in (folder / "cmdline").read_bytes():
                workers.append(int(folder.name))

    def is_ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and is_ours(parents[process]))

    return [worker for worker in workers if is_ours(worker)]


def test_a_worker_gives_an_error_of_ours_back_as_a_value(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    pipeline = make_pipeline()
    sources = load_sources(pipeline.subject, pipeline.coder)
    worker = CollectWorker(pipeline, collect_settings(pipeline, shard_files, sources))
    task = ShardTask(tmp_path / "missing.npz", 0, (tmp_path / "part.safetensors",), ("made-so",))
    with one_thread_a_shard():
        assert worker.load(1, shard_files) == 1
        assert isinstance(worker.collect(task), ShardError)


def test_a_shard_that_is_done_is_not_done_again(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    pipeline = make_pipeline()
    (parts,) = collect_shards(pipeline, shard_files, [tmp_path], lambda _: None)
    files = [parts.file(index) for index in range(3)]
    whole = [file.read_bytes() for file in files]
    files[1].write_bytes(whole[1][:-50])
    files[2].unlink()
    untouched = files[0].stat().st_mtime_ns
    progress: list[CollectProgress] = []
    collect_shards(pipeline, shard_files, [tmp_path], progress.append)
    assert [p.is_resumed for p in progress] == [True, False, False]
    assert files[0].stat().st_mtime_ns == untouched
    assert [file.read_bytes() for file in files] == whole


def test_a_part_of_other_settings_is_done_again_and_another_batch_size_is_not_other_settings(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    collect_shards(make_pipeline(), shard_files, [tmp_path], lambda _: None)
    resumed: list[bool] = []
    collect_shards(make_pipeline(batch_size=2), shard_files, [tmp_path], lambda p: resumed.append(p.is_resumed))
    reseeded = make_pipeline().model_copy(update={"seed": 6})
    collect_shards(reseeded, shard_files, [tmp_path], lambda p: resumed.append(p.is_resumed))
    assert resumed == [True] * 3 + [False] * 3


@pytest.mark.parametrize(("architecture", "settings"), [("standard", {}), ("jumprelu", {}), ("topk", {"k": 1})])
def test_an_error_in_a_shard_reaches_the_caller_as_itself(
    architecture: str,
    settings: dict[str, Any],
    make_pipeline: Callable[..., Pipeline],
    shard_files: list[Path],
    tmp_path: Path,
) -> None:
    pipeline = make_pipeline(architecture, **settings)
    weights = tmp_path / f"coder-{architecture}" / "sae_weights.safetensors"
    broken = load_file(weights)
    broken["W_enc"][:, 7], broken["b_dec"][:] = 3e38, -1000  # finite, and what they make is not
    save_file(broken, weights)
    with pytest.raises(ActivationRangeError, match=r"feature 7 in block \d+ is not finite"):
        collect_shards(pipeline, shard_files, [tmp_path / "out"], lambda _: None)


def test_a_model_a_coder_or_a_width_that_is_wrong_is_known_before_any_shard(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    pipeline = make_pipeline()
    nowhere = str(tmp_path / "nowhere")
    no_model = pipeline.model_copy(update={"subject": pipeline.subject.model_copy(update={"model": nowhere})})
    no_coder = with_coders(pipeline, {"path": nowhere})
    wide = str(save_coder(tmp_path / "wide", "standard", d_in=24))
    too_wide = with_coders(pipeline, {"path": wide})
    other_hook = with_coders(pipeline, {"hook": "blocks.1.hook_q"})
    for wrong, error, text in (
        (no_model, SubjectError, "there is no folder"),
        (no_coder, SubjectError, "there is no coder folder"),
        (too_wide, WidthMismatchError, "width 24"),
        (other_hook, SubjectError, "no hook point 'blocks.1.hook_q'"),
    ):
        with pytest.raises(error, match=text):
            collect_shards(wrong, shard_files, [tmp_path / "out"], lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_shards_or_with_a_damaged_one_is_an_error(
    make_pipeline: Callable[..., Pipeline], shard_files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(CollectError, match="no shard"):
        collect_shards(make_pipeline(), [], [tmp_path / "out"], lambda _: None)
    damaged = tmp_path / "shard-00000.npz"
    damaged.write_bytes(shard_files[0].read_bytes()[:200])
    with pytest.raises(ShardError, match="damaged"):
        collect_shards(make_pipeline(), [damaged, *shard_files[1:]], [tmp_path / "out"], lambda _: None)
