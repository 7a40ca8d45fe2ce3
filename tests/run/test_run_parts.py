"""Parts on disk, folded as they come: in any order, killed anywhere, damaged, and never many at once."""

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autointerp.collect.merge import SHARDS_PER_FOLD, ShardPart, merge
from autointerp.collect.shards import save_part
from autointerp.config import Pipeline
from autointerp.errors import ShardError
from autointerp.records import Collected
from autointerp.run.workers import executor
from autointerp.run.workers.executor import CollectProgress, collect_shards
from autointerp.run.workers.parts import SourceParts
from tests.collect.cases import arrays_of, assert_identical, long_case
from tests.run import tiny

FOLD = SHARDS_PER_FOLD
N_SHARDS = 3 * FOLD + 2
CASE = long_case(N_SHARDS)
COLLECTED = [CASE.part(shard) for shard in CASE.shards]
MERGED = merge([ShardPart(index, part) for index, part in enumerate(COLLECTED)], CASE.settings)


class Killed(BaseException):
    """Ends the process, as it were."""


def open_parts(folder: Path, made: str = "made-so") -> SourceParts:
    names = [f"shard-{index:05d}" for index in range(N_SHARDS)]
    return SourceParts(folder, names, [f"{made}-{index}" for index in range(N_SHARDS)], CASE.settings)


def do(parts: SourceParts, *indices: int) -> None:
    for index in indices:
        save_part(parts.file(index), ShardPart(index, COLLECTED[index]), parts.fingerprint_of(index))


def finish(parts: SourceParts) -> tuple[list[int], Collected]:
    """Do what is not done; which shards that was, and what they all come to."""
    missing = [index for index in range(N_SHARDS) if not parts.is_done(index)]
    for index in missing:
        do(parts, index)
        parts.fold_finished()
    return missing, parts.result()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(N_SHARDS)), st.sets(st.integers(0, N_SHARDS - 1), max_size=4))
@example(list(range(N_SHARDS)), set())
@example(list(reversed(range(N_SHARDS))), {FOLD - 1, FOLD, 2 * FOLD - 1})
def test_parts_that_arrive_in_any_order_and_over_several_runs_come_to_what_merge_says(
    order: list[int], new_run_at: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = open_parts(Path(folder))
        for place, index in enumerate(order):
            if place in new_run_at:
                parts = open_parts(Path(folder))
                assert [parts.is_done(i) for i in range(N_SHARDS)] == [i in order[:place] for i in range(N_SHARDS)]
            do(parts, index)
            parts.fold_finished()
            n_first = next((i for i in range(N_SHARDS) if i not in order[: place + 1]), N_SHARDS)
            assert parts.n_folded == n_first // FOLD * FOLD
        assert_identical(parts.result(), MERGED)
        rest = [f"shard-{index:05d}.safetensors" for index in range(3 * FOLD, N_SHARDS)]
        assert files(Path(folder)) == ["folded.safetensors", *rest]
        assert_identical(open_parts(Path(folder)).result(), MERGED)


@pytest.mark.parametrize("n_unlinked", [0, 1, FOLD - 1])
def test_a_run_killed_while_it_removes_what_it_folded_goes_on_from_there(
    n_unlinked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = open_parts(tmp_path)
    do(parts, *range(FOLD + 1))
    with monkeypatch.context() as patch:
        removed: list[Path] = []
        unlink = Path.unlink

        def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
            if len(removed) == n_unlinked:
                raise Killed
            removed.append(path)
            unlink(path, missing_ok)

        patch.setattr(Path, "unlink", unlink_or_die)
        with pytest.raises(Killed):
            parts.fold_finished()
    assert len(files(tmp_path)) == 1 + FOLD + 1 - n_unlinked
    again = open_parts(tmp_path)
    assert files(tmp_path) == ["folded.safetensors", f"shard-{FOLD:05d}.safetensors"]
    missing, result = finish(again)
    assert missing == list(range(FOLD + 1, N_SHARDS))
    assert_identical(result, MERGED)


def test_a_run_killed_while_it_writes_what_it_folded_folds_again_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = open_parts(tmp_path)
    do(parts, *range(2 * FOLD))
    with monkeypatch.context() as patch:

        def die(path: Path, target: Path) -> None:
            raise Killed

        patch.setattr(Path, "replace", die)
        with pytest.raises(Killed):
            parts.fold_finished()
    assert len(files(tmp_path)) == 2 * FOLD
    (tmp_path / ".folded.safetensors.0badcafe.part").write_bytes(b"half")  # as SIGKILL would have left it
    again = open_parts(tmp_path)
    assert again.n_folded == 0
    missing, result = finish(again)
    assert missing == list(range(2 * FOLD, N_SHARDS))
    assert_identical(result, MERGED)


def test_parts_that_an_earlier_run_left_unfolded_are_folded_as_it_would_have_folded_them(tmp_path: Path) -> None:
    # With few candidates it matters which shards are folded together: tokens are dropped in between.
    settings = replace(CASE.settings, n_token_candidates=2)
    names = [f"shard-{index:05d}" for index in range(N_SHARDS)]
    parts = SourceParts(tmp_path, names, [f"made-so-{index}" for index in range(N_SHARDS)], settings)
    do(parts, *range(N_SHARDS))
    expected = merge([ShardPart(index, part) for index, part in enumerate(COLLECTED)], settings)
    assert expected.token_counts.n_missed.any()
    assert_identical(parts.result(), expected)


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize("spoil", [damage, cut_short])
def test_where_the_folded_file_is_damaged_all_shards_in_it_are_collected_again(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finish(open_parts(tmp_path))
    spoil(tmp_path / "folded.safetensors")
    missing, result = finish(open_parts(tmp_path))
    assert missing == list(range(3 * FOLD))
    assert_identical(result, MERGED)
    assert "its shards are collected again" in caplog.text


@pytest.mark.parametrize("spoil", [damage, cut_short])
def test_a_damaged_part_is_collected_again_and_not_folded_before(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    do(open_parts(tmp_path), *range(FOLD))
    parts = open_parts(tmp_path)
    spoil(parts.file(FOLD - 2))
    assert [index for index in range(FOLD) if not parts.is_done(index)] == [FOLD - 2]
    assert "it is collected again" in caplog.text
    do(parts, FOLD)  # another thread is faster
    parts.fold_finished()
    assert parts.n_folded == 0
    missing, result = finish(parts)
    assert missing == [FOLD - 2, *range(FOLD + 1, N_SHARDS)]
    assert_identical(result, MERGED)


def test_parts_of_other_settings_are_collected_again(tmp_path: Path) -> None:
    finish(open_parts(tmp_path))
    missing, result = finish(open_parts(tmp_path, "made-otherwise"))
    assert missing == list(range(N_SHARDS))
    assert_identical(result, MERGED)


def test_a_part_that_is_missing_in_the_end_is_an_error(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    finish(parts)
    parts.file(N_SHARDS - 1).unlink()
    with pytest.raises(ShardError, match=rf"there is no file .*shard-{N_SHARDS - 1:05d}"):
        parts.result()


def test_memory_is_the_same_after_many_shards_as_after_a_few(tmp_path: Path) -> None:
    n_shards = 6 * FOLD
    case = long_case(n_shards, n_features=500)
    case = replace(case, settings=replace(case.settings, n_token_candidates=5))
    parts = SourceParts(tmp_path, [str(i) for i in range(n_shards)], ["made-so"] * n_shards, case.settings)
    held: list[int] = []
    peaks: list[int] = []
    tracemalloc.start()
    try:
        for index, shard in enumerate(case.shards):
            save_part(parts.file(index), ShardPart(index, case.part(shard)), parts.fingerprint_of(index))
            tracemalloc.reset_peak()
            parts.fold_finished()
            if parts.n_folded == index + 1:
                now, peak = tracemalloc.get_traced_memory()
                held.append(now)
                peaks.append(peak)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 6
    n_bytes_of_a_part = sum(np.asarray(array).nbytes for array in vars_of(case.part(case.shards[0])))
    assert peaks[0] - held[0] > FOLD * n_bytes_of_a_part / 2, "the parts themselves were not seen"
    assert max(held) < held[0] + n_bytes_of_a_part
    assert max(peaks[2:]) < 1.2 * peaks[1]


def vars_of(collected: Collected) -> list[np.ndarray]:
    return [value for value in arrays_of(collected).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_files_of_a_long_corpus_stay_few_also_while_one_shard_takes_long(
    n_threads: int, make_pipeline: Callable[..., Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocks").mkdir()
    shard_files = tiny.save_shards(tmp_path / "blocks", [2] * 40)
    out = tmp_path / "out"
    monkeypatch.setattr(executor, "n_shards_at_once", lambda *_: n_threads)
    slow = shard_files[5].stem

    def save_slowly(file: Path, part: ShardPart, fingerprint: str) -> None:
        if file.stem == slow:
            time.sleep(0.5)
        save_part(file, part, fingerprint)

    monkeypatch.setattr("autointerp.run.workers.shard_task.save_part", save_slowly)
    n_files: list[int] = []
    (parts,) = collect_shards(make_pipeline(), shard_files, [out], lambda _: n_files.append(len(list(out.iterdir()))))
    assert len(n_files) == 40
    n_ahead = 2 * n_threads
    # The folded file, those that wait to be enough for a fold, and those that came or were begun meanwhile.
    assert max(n_files) <= 1 + (FOLD - 1) + n_ahead
    assert parts.n_folded == 40
    assert files(out) == ["folded.safetensors"]


def test_a_long_corpus_whose_folded_file_was_damaged_is_collected_again_with_the_same_result(
    make_pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    (tmp_path / "blocks").mkdir()
    shard_files = tiny.save_shards(tmp_path / "blocks", [1] * N_SHARDS)
    whole = tiny.collect(make_pipeline(), shard_files, tmp_path / "out")
    cut_short(tmp_path / "out" / "folded.safetensors")
    damage(tmp_path / "out" / f"shard-{N_SHARDS - 1:05d}.safetensors")
    progress: list[CollectProgress] = []
    (parts,) = collect_shards(make_pipeline(), shard_files, [tmp_path / "out"], progress.append)
    assert [p.is_resumed for p in progress] == [True] + [False] * (N_SHARDS - 1)
    assert_identical(parts.result(), whole)
    progress.clear()
    collect_shards(make_pipeline(), shard_files, [tmp_path / "out"], progress.append)
    assert [p.is_resumed for p in progress] == [True] * N_SHARDS
