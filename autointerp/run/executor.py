"""Collecting over all shards of a corpus, in this process or on Ray workers, with the same result.

Each shard becomes one file; a shard whose file is whole and was made with the same settings is not done again. What a
file holds depends on its shard alone: whoever does a shard computes it on one thread (of the CPU; a GPU does not
care), because how a matrix product is shared among threads can change its last bits. This process uses its cores by
doing several shards at once, one a thread; Ray's workers do one shard each.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from autointerp.collect.settings import CollectSettings
from autointerp.collect.shards import load_part
from autointerp.corpus.blocks import load_shard
from autointerp.errors import CollectError, ShardError
from autointerp.identity import fingerprint
from autointerp.run.shard_task import ShardTask, do_shard
from autointerp.subject.source import Source, load_source

if TYPE_CHECKING:
    from autointerp.config import Pipeline

logger = logging.getLogger(__name__)

# Histogram bins of 2**-8 to 2**8: fixed, so that histograms of all sources and runs can be compared.
_HISTOGRAM_EXPONENTS = (-8, 8)

# Memory for the samples of all shards in work, and what those of one shard take at most.
_SAMPLE_BYTES = 4 * 2**30
_MOST_BYTES_A_SHARD = 2 * 2**30


@dataclass(frozen=True, slots=True)
class CollectProgress:
    """Told after each shard.

    Attributes:
        n_done: Shards done, those of an earlier run included.
        n_shards: Shards of the corpus.
        n_tokens: Counted tokens of this shard.
        is_resumed: Whether an earlier run had done it.
    """

    n_done: int
    n_shards: int
    n_tokens: int
    is_resumed: bool


def collect_shards(
    pipeline: "Pipeline",
    shard_files: Sequence[Path],
    out_folder: Path,
    on_progress: Callable[[CollectProgress], None],
    *,
    source: Source | None = None,
) -> list[Path]:
    """Collect over every shard that is not done yet.

    Args:
        pipeline: The run's configuration; `pipeline.ray` says where to collect.
        shard_files: All shards of the corpus, in corpus order, as `corpus.blocks.save_shard` wrote them. Ray workers
            on other machines must see them and `out_folder` under the same absolute paths.
        out_folder: Where the parts go; made if it is missing.
        on_progress: Called in this thread after each shard.
        source: The loaded source, where the caller has it already; Ray workers load their own.

    Returns:
        The parts' files, as absolute paths, in the order of `shard_files`, for `collect.shards.load_part`.

    Raises:
        SubjectError: If model or coder can't be loaded, or don't fit.
        CollectError: If the pass can't go on.
        ShardError: If a shard of the corpus is missing or damaged.
    """
    if not shard_files:
        raise CollectError("the corpus has no shard", "run the corpus stage first")
    out_folder.mkdir(parents=True, exist_ok=True)
    if source is None:
        source = load_source(pipeline.subject, pipeline.coder)
    settings = collect_settings(pipeline, shard_files, source.source_id)
    tasks = [_make_task(pipeline, settings, file, out_folder) for file in shard_files]
    todo: list[ShardTask] = []
    n_done = 0
    for task in tasks:
        n_tokens = _tokens_done(task)
        if n_tokens is None:
            todo.append(task)
        else:
            n_done += 1
            on_progress(CollectProgress(n_done, len(tasks), n_tokens, is_resumed=True))
    for n_tokens in _run(pipeline, settings, todo, source):
        n_done += 1
        on_progress(CollectProgress(n_done, len(tasks), n_tokens, is_resumed=False))
    return [task.out_file for task in tasks]


def collect_settings(pipeline: "Pipeline", shard_files: Sequence[Path], source_id: str) -> CollectSettings:
    """The settings of a pipeline's pass over a corpus.

    Args:
        pipeline: The run's configuration.
        shard_files: All shards of the corpus, in corpus order.
        source_id: Of the source.
    """
    last = load_shard(shard_files[-1])
    config = pipeline.collect
    return CollectSettings(
        seed=pipeline.seed,
        source_id=source_id,
        n_top=config.n_top,
        n_fired=config.n_fired,
        n_pool_blocks=config.n_pool_blocks,
        n_corpus_blocks=last.first_block + len(last.token_ids),
        context_length=config.context_length,
        peak_fraction=config.peak_fraction,
        batch_size=config.batch_size,
        histogram_low=_HISTOGRAM_EXPONENTS[0],
        histogram_high=_HISTOGRAM_EXPONENTS[1],
    )


def _run(pipeline: "Pipeline", settings: CollectSettings, todo: list[ShardTask], source: Source) -> Iterator[int]:
    if not todo:
        return
    if pipeline.ray.n_workers > 0:
        from autointerp.run.ray_executor import collect_on_ray

        yield from collect_on_ray(pipeline, settings, todo)
    else:
        yield from _collect_here(source, settings, todo)


def _collect_here(source: Source, settings: CollectSettings, todo: list[ShardTask]) -> Iterator[int]:
    with one_thread_a_shard():
        pool = ThreadPoolExecutor(_n_threads(source, settings, todo), initializer=torch.set_num_threads, initargs=(1,))
        try:
            for future in as_completed([pool.submit(do_shard, source, settings, task) for task in todo]):
                yield future.result()
        finally:
            # After an error, or Ctrl-C, shards that have begun are finished and kept.
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread_a_shard() -> Iterator[None]:
    """Have PyTorch compute each operation on one CPU thread, so that its result is the same in every executor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _n_threads(source: Source, settings: CollectSettings, todo: list[ShardTask]) -> int:
    """Shards done at once: one a core, as far as their samples fit into a few gigabytes; one on a GPU."""
    if source.subject.device.type != "cpu":
        return 1
    n_rows = source.n_features * (settings.n_top + settings.n_fired)
    bytes_a_shard = min(n_rows * (4 * settings.context_length + 40), _MOST_BYTES_A_SHARD)
    return max(1, min(len(os.sched_getaffinity(0)), len(todo), _SAMPLE_BYTES // bytes_a_shard))


def _make_task(pipeline: "Pipeline", settings: CollectSettings, shard_file: Path, out_folder: Path) -> ShardTask:
    shard = load_shard(shard_file)
    content = hashlib.blake2b(digest_size=16)
    for array in (shard.token_ids, shard.n_tokens, shard.counted):
        content.update(np.ascontiguousarray(array).data)
    decided_by = fingerprint(
        {name: value for name, value in asdict(settings).items() if name != "batch_size"},
        pipeline.subject.model_dump(exclude={"device", "name"}),
        pipeline.coder.model_dump(exclude={"name"}),
        [shard.shard_index, shard.first_block, content.hexdigest()],
    )
    # Absolute, because Ray's workers may stand in another folder; not resolved, because what a link on a shared disk
    # leads to may have another path on another machine.
    return ShardTask(shard_file.absolute(), out_folder.absolute() / f"{shard_file.stem}.safetensors", decided_by)


def _tokens_done(task: ShardTask) -> int | None:
    """Counted tokens of a shard that is done; None where it has to be done (again)."""
    if not task.out_file.is_file():
        return None
    try:
        return load_part(task.out_file, task.fingerprint).collected.statistics.n_tokens
    except ShardError as error:
        logger.warning("%s; it is collected again", error.problem)
        return None
