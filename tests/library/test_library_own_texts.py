"""What features do on the run's own texts: run once, the same from memory, from the file, and anew."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import autointerp
from autointerp.library.run import Run
from autointerp.live.firings import WindowFirings
from autointerp.records import SourceRecord
from autointerp.records.on_texts import OnTexts
from autointerp.run.live import LiveRun
from autointerp.run.on_disk.kept_arrays import write_kept
from autointerp.run.own_texts import OwnFirings, OwnTexts, draw_documents

FEATURES = [1, 7, 2]
N = 40


@pytest.fixture
def folder(planted_runs: Path, tmp_path: Path) -> Path:
    """A run of this test's own, of which nothing was kept."""
    copy = tmp_path / "demo"
    shutil.copytree(planted_runs / "runs/demo", copy, ignore=shutil.ignore_patterns("own_texts*"))
    return copy


@pytest.fixture
def n_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks were run, each time that some were."""
    ran, run_blocks = list[int](), LiveRun.run_blocks

    def count(self: LiveRun, source: SourceRecord, blocks: np.ndarray) -> list[WindowFirings]:
        ran.append(len(blocks))
        return run_blocks(self, source, blocks)

    monkeypatch.setattr(LiveRun, "run_blocks", count)
    return ran


def kept_file(folder: Path) -> Path:
    """Where they are kept."""
    (source,) = autointerp.open(folder).sources()
    return LiveRun(folder).kept_file(source.source_id, "own_texts")


def alike(one: OnTexts, other: OnTexts) -> bool:
    """Whether two are the same to the bit."""
    same = (one.n_texts, one.features) == (other.n_texts, other.features)
    return same and np.array_equal(one.text, other.text) and np.array_equal(one.values, other.values)


def by_hand(run: Run, n: int, seed: int = 0) -> OnTexts:
    """Of blocks that are run one by one."""
    (source,) = run.sources()
    drawn = draw_documents(run.live.blocks, seed, n)
    counted = run.live.blocks.read(drawn).counted
    values = np.zeros((*counted.shape, len(FEATURES)), dtype=np.float32)
    for block, firings in enumerate(run.live.run_blocks(source, drawn)):
        for at, feature, activation in zip(*firings, strict=True):
            if feature in FEATURES:
                values[block, at, FEATURES.index(feature)] = activation
    return OnTexts(len(drawn), np.nonzero(counted)[0], tuple(FEATURES), values[counted])


def test_blocks_are_run_once_and_say_the_same_from_memory_from_the_file_and_anew(
    folder: Path, n_runs: list[int]
) -> None:
    run = autointerp.open_run(folder)
    first = run.on_own_texts(FEATURES, N)
    assert n_runs == [N]
    assert (first.values > 0).any(axis=0).all()
    assert alike(first, by_hand(autointerp.open_run(folder), N))
    n_runs.clear()
    assert alike(run.on_own_texts(FEATURES, N), first)
    again = autointerp.open_run(folder)
    assert alike(again.on_own_texts(FEATURES, N), first)
    some = again.on_own_texts(FEATURES[:1], 10)
    assert not n_runs, "fewer texts are the first of them"
    assert (some.n_texts, some.values.shape[1]) == (10, 1)
    assert np.array_equal(some.values[:, 0], first.only(0, 10).values[:, 0])
    assert "live_subject" not in vars(again.live._session), "what is kept needs no model"


def test_a_condition_that_is_asked_for_again_reads_no_text_of_the_corpus(folder: Path, n_runs: list[int]) -> None:
    client = autointerp.open(folder)
    river = client.features.AutoConditional("river", false_alarms=0.3)
    piano = client.features.AutoConditional("piano", false_alarms=0.3)
    assert len(n_runs) == 1
    kept_file(folder).unlink()
    assert autointerp.open(folder).features.AutoConditional("piano", false_alarms=0.3).receipt == piano.receipt
    assert client.features.AutoConditional("river", false_alarms=0.3).receipt == river.receipt
    assert len(n_runs) == 2


def test_what_is_kept_is_of_what_is_asked(folder: Path, n_runs: list[int]) -> None:
    run = autointerp.open_run(folder)
    few = run.on_own_texts(FEATURES, N)
    more = run.on_own_texts(FEATURES, N + 5)
    assert n_runs == [N, N + 5], "more than were kept are run"
    assert alike(more.only(0, N), few)
    other = autointerp.open_run(folder).on_own_texts(FEATURES, N, seed=1)
    assert n_runs[2:] == [N], "another seed's are other texts"
    assert not alike(other, few)
    assert alike(run.on_own_texts(FEATURES, N), few)
    assert len(n_runs) == 3, "though the file is the other seed's now"


@pytest.mark.parametrize("harm", ["cut short", "other bytes", "another run's"])
def test_a_file_that_is_harmed_is_made_anew(folder: Path, n_runs: list[int], harm: str) -> None:
    first = autointerp.open_run(folder).on_own_texts(FEATURES, N)
    file = kept_file(folder)
    whole = file.read_bytes()
    if harm == "another run's":
        arrays = load_file(file)
        write_kept(file, "another run's", arrays | {"activation": arrays["activation"] + 1})
    else:
        file.write_bytes(whole[: len(whole) // 2] if harm == "cut short" else whole[:-4] + b"\x07\x07\x07\x07")
    assert alike(autointerp.open_run(folder).on_own_texts(FEATURES, N), first)
    assert n_runs == [N, N]
    assert file.read_bytes() == whole


def test_a_folder_in_which_nothing_can_be_kept_is_asked_all_the_same(folder: Path, n_runs: list[int]) -> None:
    shutil.rmtree(folder / "pool")
    (folder / "pool").write_text("in the way, for root too\n", encoding="utf-8")
    run = autointerp.open_run(folder)
    first = run.on_own_texts(FEATURES, N)
    assert alike(run.on_own_texts(FEATURES, N), first)
    assert n_runs == [N], "memory has it"


def test_no_more_is_kept_than_may_be(folder: Path, n_runs: list[int]) -> None:
    run = autointerp.open_run(folder)
    (source,) = run.sources()
    one = OwnTexts(run.live)
    one.of(source, FEATURES, N, 0)
    (kept,) = one._kept.values()
    assert isinstance(kept, OwnFirings)
    kept_file(folder).unlink()
    tight = OwnTexts(run.live, int(1.5 * kept.n_bytes))
    for seed in (0, 1, 0):
        tight.of(source, FEATURES, N, seed)
    assert list(tight._kept) == [(source.source_id, 0)]
    kept_file(folder).unlink()
    none = OwnTexts(run.live, 10)
    none.of(source, FEATURES, N, 0)
    assert not none._kept
    assert not kept_file(folder).exists()
