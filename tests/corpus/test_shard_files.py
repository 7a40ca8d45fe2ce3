"""Shards on the disk."""

import threading
from pathlib import Path

import numpy as np

from autointerp.corpus import load_shard, save_shard
from autointerp.python_parser import PYTHON_PARSER
from autointerp.records import BlockShard


def test_a_shard_is_not_read_while_another_thread_parses_python(tmp_path: Path) -> None:
    tokens = np.zeros((1, 2), dtype=np.int32)
    first = np.zeros(1, dtype=np.int32)
    shard = BlockShard(0, 0, tokens, np.array([2], dtype=np.int32), tokens == 0, first, ("a",), ("a",))
    save_shard(shard, tmp_path / "0.npz")
    read = threading.Event()

    def load() -> None:
        load_shard(tmp_path / "0.npz")
        read.set()

    with PYTHON_PARSER:
        thread = threading.Thread(target=load)
        thread.start()
        assert not read.wait(0.2)
    assert read.wait(10)
    thread.join()
