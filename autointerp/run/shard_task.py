"""One shard to be collected: what every executor does the same."""

from dataclasses import dataclass
from pathlib import Path

from autointerp.collect.merge import ShardPart
from autointerp.collect.settings import CollectSettings
from autointerp.collect.shards import save_part
from autointerp.collect.stream import collect_shard
from autointerp.corpus.blocks import load_shard
from autointerp.subject.source import Source


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to be done.

    Attributes:
        shard_file: The shard of the corpus, an absolute path.
        out_file: Where its part goes, an absolute path.
        fingerprint: Of all that decides the part.
    """

    shard_file: Path
    out_file: Path
    fingerprint: str


def do_shard(source: Source, settings: CollectSettings, task: ShardTask) -> int:
    """Collect over one shard and write its part; returns its counted tokens."""
    shard = load_shard(task.shard_file)
    collected = collect_shard(source, shard, settings)
    save_part(task.out_file, ShardPart(shard.shard_index, collected), task.fingerprint)
    return collected.statistics.n_tokens
