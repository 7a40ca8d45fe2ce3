"""One shard to be collected: what every executor does the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autointerp.collect.firings import Helpers
from autointerp.collect.merge import ShardPart
from autointerp.collect.settings import CollectSettings
from autointerp.collect.shards import save_part
from autointerp.collect.stream import collect_shard
from autointerp.corpus.blocks import load_shard
from autointerp.subject.source import Sources


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
