"""Collecting over all shards of a corpus, in this process or on Ray workers, with the same result.

Each shard becomes one file a source; a shard whose files are whole and were made with the same settings is not done
again. What a file holds depends on its shard alone: whoever does a shard computes it on one thread (of the CPU; a GPU
does not care), because how a matrix product is shared among threads can change its last bits. This process uses its
cores by doing several shards at once, one a thread; Ray's workers do one shard each.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from autointerp.collect.firings import Helpers
from autointerp.collect.settings import CollectSettings
from autointerp.collect.tokens import add_occurrences
from autointerp.corpus.shard_files import load_shard
from autointerp.errors import CollectError
from autointerp.identity import fingerprint
from autointerp.records import BlockShard
from autointerp.run.workers.parts import SourceParts
from autointerp.run.workers.shard_task import ShardTask, do_shard, n_shards_at_once, one_thread_a_shard
from autointerp.subject.source import Sources, load_sources

if TYPE_CHECKING:
    from autointerp.config import Pipeline

# Histogram bins of 2**-8 to 2**8: fixed, so that histograms of all sources and runs can be compared.
_HISTOGRAM_EXPONENTS = (-8, 8)

# Shards for each thread, counted from the first that is not done: the one that it does, and the next.
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class CollectProgress:
    """Told after each shard.

    Attributes:
        n_done: Shards done, those of an earlier run included.
        n_shards: Shards of the corpus.
        n_tokens: Counted tokens of this shard.
        n_tokens_left: Counted tokens of the shards that are not done.
        is_resumed: Whether an earlier run had done it.
    """

    n_done: int
    n_shards: int
    n_tokens: int
    n_tokens_left: int
    is_resumed: bool


def collect_shards(
    pipeline: "Pipeline",
    shard_files: Sequence[Path],
    out_folders: Sequence[Path],
    on_progress: Callable[[CollectProgress], None],
    *,
    sources: Sources | None = None,
) -> list[SourceParts]:
    """Collect over every shard that is not done yet, for all sources in one pass.

    Args:
        pipeline: The run's configuration; `pipeline.ray` says where to collect.
        shard_files: All shards of the corpus, in corpus order, as `save_shard` wrote them. Ray workers
            on other machines must see them and `out_folders` under the same absolute paths.
        out_folders: For each source, where its parts go; made if they are missing.
        on_progress: Called in this thread after each shard.
        sources: The loaded sources, where the caller has them already; Ray workers load their own.

    Returns:
        For each source its parts, all of them there.

    Raises:
        SubjectError: If model or coders can't be loaded, or don't fit.
        CollectError: If the pass can't go on.
        ShardError: If a shard of the corpus is missing or damaged.
    """
    if not shard_files:
        raise CollectError("the corpus has no shard", "run the corpus stage first")
    if sources is None:
        sources = load_sources(pipeline.subject, pipeline.coder)
    settings = collect_settings(pipeline, shard_files, sources)
    occurrences = np.zeros(0, np.int64)
    shards: list[_CorpusShard] = []
    for file in shard_files:
        shard = load_shard(file)
        occurrences = add_occurrences(occurrences, shard)
        shards.append(_CorpusShard.of(file, shard))
    names = [file.stem for file in shard_files]
    # Absolute, because Ray's workers may stand in another folder; not resolved, because what a link on a shared disk
    # leads to may have another path on another machine.
    parts = [
        SourceParts(
            folder.absolute(),
            names,
            _fingerprints(pipeline, number, settings[number], shards),
            settings[number],
            occurrences,
        )
        for number, folder in enumerate(out_folders)
    ]
    todo: list[ShardTask] = []
    n_done, n_left = 0, sum(shard.n_tokens for shard in shards)
    for index, of_corpus in enumerate(shards):
        # Every source is asked, because what is damaged is removed as it is found.
        are_done = [of_source.is_done(index) for of_source in parts]
        if not all(are_done):
            files = tuple(of_source.file(index) for of_source in parts)
            fingerprints = tuple(of_source.fingerprint_of(index) for of_source in parts)
            todo.append(ShardTask(of_corpus.file.absolute(), of_corpus.n_tokens, files, fingerprints))
            continue
        n_done, n_left = n_done + 1, n_left - of_corpus.n_tokens
        on_progress(CollectProgress(n_done, len(shards), of_corpus.n_tokens, n_left, is_resumed=True))
    for task in _run(pipeline, settings, todo, sources):
        for of_source in parts:
            of_source.fold_finished()
        n_done, n_left = n_done + 1, n_left - task.n_tokens
        on_progress(CollectProgress(n_done, len(shards), task.n_tokens, n_left, is_resumed=False))
    return parts


def collect_settings(pipeline: "Pipeline", shard_files: Sequence[Path], sources: Sources) -> list[CollectSettings]:
    """The settings of a pipeline's pass over a corpus, for each source.

    Args:
        pipeline: The run's configuration.
        shard_files: All shards of the corpus, in corpus order.
        sources: The sources.
    """
    last = load_shard(shard_files[-1])
    config = pipeline.collect
    return [
        CollectSettings(
            seed=pipeline.seed,
            source_id=source.source_id,
            pool_of=source.source_id if len(sources.sources) == 1 else sources.subject.name,
            n_top=config.n_top,
            n_fired=config.n_fired,
            n_pool_blocks=config.n_pool_blocks,
            n_token_candidates=config.n_token_candidates,
            n_top_tokens=config.n_top_tokens,
            n_corpus_blocks=last.first_block + len(last.token_ids),
            context_length=config.context_length,
            peak_fraction=config.peak_fraction,
            batch_size=config.batch_size,
            histogram_low=_HISTOGRAM_EXPONENTS[0],
            histogram_high=_HISTOGRAM_EXPONENTS[1],
        )
        for source in sources.sources
    ]


def _run(
    pipeline: "Pipeline", settings: list[CollectSettings], todo: list[ShardTask], sources: Sources
) -> Iterator[ShardTask]:
    if not todo:
        return
    if pipeline.ray.n_workers > 0:
        from autointerp.run.workers.ray_executor import collect_on_ray

        yield from collect_on_ray(pipeline, settings, todo)
    else:
        yield from _collect_here(sources, settings, todo)


def _collect_here(sources: Sources, settings: list[CollectSettings], todo: list[ShardTask]) -> Iterator[ShardTask]:
    with one_thread_a_shard():
        n_threads = n_shards_at_once(sources, settings, len(todo))
        pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
        helpers = _start_helpers(sources, settings, n_threads)
        under_way: dict[Future[None], int] = {}
        n_begun = 0
        try:
            while under_way or n_begun < len(todo):
                # Not far ahead of the first that is not done, so that few parts wait on the disk to be folded.
                first = next(iter(under_way.values()), n_begun)
                for task in todo[n_begun : first + _AHEAD * n_threads]:
                    under_way[pool.submit(do_shard, sources, settings, task, helpers)] = n_begun
                    n_begun += 1
                finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    yield todo[under_way.pop(future)]
        finally:
            # After an error, or Ctrl-C, shards that have begun are finished and kept.
            pool.shutdown(cancel_futures=True)
            if helpers is not None:
                helpers.pool.shutdown(cancel_futures=True)


def _start_helpers(sources: Sources, settings: list[CollectSettings], n_threads: int) -> Helpers | None:
    """On a CPU a thread a core, so that no core is idle where shards are fewer than cores, as the last ones are.

    Fewer where memory is too small for as many shards: a batch that is under way takes memory too.
    """
    n_helpers = n_shards_at_once(sources, settings, len(os.sched_getaffinity(0)))
    if n_helpers == 1 or sources.subject.device.type != "cpu":
        return None
    pool = ThreadPoolExecutor(n_helpers, initializer=torch.set_num_threads, initargs=(1,))
    return Helpers(pool, n_ahead=-(-n_helpers // n_threads) + 1)


@dataclass(frozen=True, slots=True)
class _CorpusShard:
    file: Path
    n_tokens: int
    digest: str

    @classmethod
    def of(cls, file: Path, shard: BlockShard) -> "_CorpusShard":
        content = hashlib.blake2b(json.dumps([shard.shard_index, shard.first_block]).encode(), digest_size=16)
        for array in (shard.token_ids, shard.n_tokens, shard.counted):
            content.update(np.ascontiguousarray(array).data)
        return cls(file, int(shard.counted.sum()), content.hexdigest())


def _fingerprints(
    pipeline: "Pipeline", number: int, settings: CollectSettings, shards: Sequence[_CorpusShard]
) -> list[str]:
    """Of all that decides the part of each shard, of the source with this number."""
    decided_by = fingerprint(
        {name: value for name, value in asdict(settings).items() if name != "batch_size"},
        pipeline.subject.model_dump(exclude={"device", "name"}),
        pipeline.coder[number].model_dump(exclude={"name"}),
    )
    return [fingerprint(decided_by, shard.digest) for shard in shards]
