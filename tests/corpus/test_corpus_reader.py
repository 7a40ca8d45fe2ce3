from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.corpus import reader as reader_module
from autointerp.corpus.reader import ShardReader
from autointerp.corpus.shard_files import load_shard, save_shard
from autointerp.errors import ShardError
from autointerp.records import BlockShard

BLOCK_LENGTH = 6
SIZES = (4, 3, 1, 5)


def shard(shard_index: int, first_block: int, n_blocks: int) -> BlockShard:
    """Block b holds the tokens 10 b, 10 b + 1, …, counts positions 1 to 1 + b % 4, and is of document b // 2."""
    block = np.arange(first_block, first_block + n_blocks)
    positions = np.arange(BLOCK_LENGTH)
    documents = sorted({f"document {b // 2}" for b in block.tolist()})
    return BlockShard(
        shard_index=shard_index,
        first_block=first_block,
        token_ids=(block[:, None] * 10 + positions).astype(np.int32),
        n_tokens=np.full(n_blocks, BLOCK_LENGTH, dtype=np.int32),
        counted=(positions >= 1) & (positions <= 1 + block[:, None] % 4),
        document_index=np.array([documents.index(f"document {b // 2}") for b in block.tolist()], dtype=np.int32),
        document_ids=tuple(documents),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    first_block = 0
    for shard_index, size in enumerate(SIZES):
        save_shard(shard(shard_index, first_block, size), path / f"{shard_index:06d}.npz")
        first_block += size
    return path


@given(st.lists(st.integers(0, sum(SIZES) - 1), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_blocks_come_in_the_order_asked_for(folder: Path, wanted: list[int]) -> None:
    blocks = ShardReader(folder).read(np.array(wanted))
    assert blocks.token_ids[:, 0].tolist() == [10 * b for b in wanted]
    assert blocks.token_ids[:, 5].tolist() == [10 * b + 5 for b in wanted]
    assert blocks.span_start.tolist() == [1] * len(wanted)
    assert blocks.span_end.tolist() == [2 + b % 4 for b in wanted]
    assert blocks.counted.sum(axis=1).tolist() == [1 + b % 4 for b in wanted]
    assert blocks.document_ids == tuple(f"document {b // 2}" for b in wanted)


def test_no_blocks_asked_for_are_no_blocks(folder: Path) -> None:
    blocks = ShardReader(folder).read(np.empty(0, dtype=np.int64))
    assert blocks.token_ids.shape == (0, BLOCK_LENGTH)
    assert blocks.document_ids == ()


def test_the_reader_knows_how_many_blocks_there_are(folder: Path) -> None:
    assert ShardReader(folder).n_blocks == sum(SIZES)


def test_each_file_is_loaded_once_a_call_and_the_last_ones_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def counting(path: Path) -> BlockShard:
        loaded.append(path.stem)
        return load_shard(path)

    monkeypatch.setattr(reader_module, "load_shard", counting)
    reader = ShardReader(folder, n_cached_shards=2)
    reader.read(np.array([12, 0, 12, 5, 1, 0, 7]))
    assert sorted(loaded) == ["000000", "000001", "000002", "000003"]
    loaded.clear()
    reader.read(np.array([8, 7]))
    assert loaded == []
    reader.read(np.array([0, 3, 7]))
    assert loaded == ["000000"]


@pytest.mark.parametrize("wanted", [-1, sum(SIZES)])
def test_a_block_outside_the_corpus_is_an_error(folder: Path, wanted: int) -> None:
    with pytest.raises(ShardError, match=f"block {wanted} is not among the 13 blocks"):
        ShardReader(folder).read(np.array([0, wanted]))


def test_a_folder_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no shards in"):
        ShardReader(tmp_path)


def test_a_missing_shard_in_the_middle_is_an_error(tmp_path: Path) -> None:
    save_shard(shard(0, 0, 4), tmp_path / "a.npz")
    save_shard(shard(2, 7, 2), tmp_path / "b.npz")
    with pytest.raises(ShardError, match="begins at block 7, where block 4 should come"):
        ShardReader(tmp_path)


def test_a_shard_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_shard(shard(0, 0, 4), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ShardError, match="damaged"):
        ShardReader(tmp_path)


def test_a_shard_that_can_not_be_read_is_not_told_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to("a.npz")
    with pytest.raises(ShardError, match=r"the links at .*a\.npz lead in a circle"):
        ShardReader(tmp_path)


def test_a_shard_that_is_still_being_written_is_not_read(folder: Path, tmp_path: Path) -> None:
    save_shard(shard(0, 0, 4), tmp_path / "a.npz")
    (tmp_path / ".b.npz.0badcafe.part").write_bytes(b"half")
    assert ShardReader(tmp_path).n_blocks == 4


def test_a_block_without_any_counted_token_has_an_empty_span() -> None:
    counted = np.array([[False, False], [False, True]])
    blocks = reader_module.make_blocks(np.zeros((2, 2), dtype=np.int32), counted, ("a", "b"))
    assert blocks.span_start.tolist() == [0, 1]
    assert blocks.span_end.tolist() == [0, 2]
