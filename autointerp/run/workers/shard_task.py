"""One shard to be collected, and how many at once: what every executor does the same."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from autointerp.collect.firings import Helpers
from autointerp.collect.merge import ShardPart
from autointerp.collect.settings import CollectSettings
from autointerp.collect.shards import save_part
from autointerp.collect.stream import collect_shard
from autointerp.corpus.shard_files import load_shard
from autointerp.subject.source import Sources

# What a shard in work takes about: for a window that it keeps, for windows at most, and for firings that are sorted.
_BYTES_A_WINDOW = 60
_MOST_WINDOWS = 16_000_000
_BYTES_OF_FIRINGS = 400 * 2**20

_SHARDS_AT_ONCE_ON_A_GPU = 6


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to be done.

    Attributes:
        shard_file: The shard of the corpus, an absolute path.
        n_tokens: Its counted tokens.
        out_files: For each source, where its part goes, an absolute path.
        fingerprints: For each source, of all that decides the part.
    """

    shard_file: Path
    n_tokens: int
    out_files: tuple[Path, ...]
    fingerprints: tuple[str, ...]


def do_shard(
    sources: Sources, settings: Sequence[CollectSettings], task: ShardTask, helpers: Helpers | None = None
) -> None:
    """Collect over one shard in one pass, and write each source's part."""
    shard = load_shard(task.shard_file)
    collected = collect_shard(sources, shard, settings, helpers)
    for out_file, fingerprint, part in zip(task.out_files, task.fingerprints, collected, strict=True):
        save_part(out_file, ShardPart(shard.shard_index, part), fingerprint)


@contextmanager
def one_thread_a_shard() -> Iterator[None]:
    """Have PyTorch compute each operation on one CPU thread, so that its result is the same in every executor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def n_shards_at_once(sources: Sources, settings: list[CollectSettings], n_tasks: int) -> int:
    """Shards done at once, as far as their samples fit into half of the machine's memory.

    On a CPU one a core. On a GPU a few: the firings of one shard are sorted on the CPU while the GPU works on another.
    """
    n_cores = len(os.sched_getaffinity(0))
    n_wanted = n_cores if sources.subject.device.type == "cpu" else max(1, min(n_cores - 1, _SHARDS_AT_ONCE_ON_A_GPU))
    bytes_a_shard = 0
    for source, kept in zip(sources.sources, settings, strict=True):
        n_rows = source.n_features * (kept.n_top + kept.n_fired)
        bytes_a_shard += min(n_rows, _MOST_WINDOWS) * _BYTES_A_WINDOW + source.n_features * 16 * kept.n_bins
        bytes_a_shard += _BYTES_OF_FIRINGS
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(n_wanted, n_tasks, memory // 2 // bytes_a_shard))
