"""What sampling and folding cost a token, without a model: firings are drawn at random, 32 a token.

    python -m benchmarks.collect_fold --features 32768

1. Shards of 1,024 blocks of 128 tokens, whose features and tokens are drawn from Zipf's laws, as text has them.
2. `collect_shard` on each, its part written, and parts folded as `run.parts` does it in a run, four shards at a time.
3. The time of the drawing itself is taken off. Everything runs in one thread.

The result stands in `collect.md`.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from autointerp.collect.merge import SHARDS_PER_FOLD, ShardPart
from autointerp.collect.settings import CollectSettings
from autointerp.collect.shards import save_part
from autointerp.collect.stream import collect_shard
from autointerp.records import BlockShard, RowFirings
from autointerp.run.workers.parts import SourceParts

_N_BLOCKS, _N_POSITIONS, _L0, _VOCABULARY = 1024, 128, 32, 50_000


class DrawnSource:
    """A source whose firings are drawn."""

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features
        self.is_signed = False
        self._random = np.random.default_rng(0)
        shares = 1 / np.arange(1, n_features + 1) ** 0.6
        self._feature = self._random.permutation(n_features)
        self._sums = np.cumsum(shares / shares.sum())

    def encode_firings(self, activations: torch.Tensor) -> Iterator[RowFirings]:
        """As many firings in each row."""
        n_rows = len(activations)
        drawn = np.searchsorted(self._sums, self._random.random((n_rows, _L0)))
        feature = np.sort(self._feature[np.minimum(drawn, self.n_features - 1)], axis=1)
        activation = self._random.random(n_rows * _L0).astype(np.float32) + 0.1
        yield RowFirings(np.repeat(np.arange(n_rows), _L0), feature.reshape(-1), activation)


class DrawnSources:
    """The source alone, and no model."""

    def __init__(self, n_features: int) -> None:
        self.sources = [DrawnSource(n_features)]

    def read_counted(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor, counted: torch.Tensor
    ) -> list[torch.Tensor]:
        """A row for each counted token."""
        return [torch.zeros(int(counted.sum()), 1)]


def main() -> None:
    """Print a line for each shard, and the cost a token of the second half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=32_768)
    parser.add_argument("--shards", type=int, default=16)
    arguments = parser.parse_args()
    n_shards, n_tokens = arguments.shards, _N_BLOCKS * _N_POSITIONS
    settings = CollectSettings(
        seed=0, source_id="drawn@0-res", pool_of="drawn@0-res", n_top=40, n_fired=100,
        n_pool_blocks=2048, n_token_candidates=256, n_top_tokens=30, n_corpus_blocks=_N_BLOCKS * n_shards,
        context_length=32, peak_fraction=0.75, batch_size=32,
        histogram_low=-8, histogram_high=8,
    )  # fmt: skip
    reader = DrawnSources(arguments.features)
    started = time.perf_counter()
    list(reader.sources[0].encode_firings(torch.zeros(n_tokens, 1)))
    drawing = time.perf_counter() - started
    random = np.random.default_rng(1)
    sampling: list[float] = []
    folding: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        names = [str(index) for index in range(n_shards)]
        parts = SourceParts(Path(folder), names, names, settings)
        for index in range(n_shards):
            tokens = np.minimum(random.zipf(1.2, (_N_BLOCKS, _N_POSITIONS)), _VOCABULARY - 1).astype(np.int32)
            n_in_block = np.full(_N_BLOCKS, _N_POSITIONS, np.int32)
            counted = np.ones(tokens.shape, bool)
            shard = BlockShard(
                index, index * _N_BLOCKS, tokens, n_in_block, counted, np.zeros(_N_BLOCKS, np.int32), ("d",)
            )
            started = time.perf_counter()
            (collected,) = collect_shard(reader, shard, [settings])
            save_part(parts.file(index), ShardPart(index, collected), names[index])
            sampling.append(time.perf_counter() - started - drawing)
            del collected
            started = time.perf_counter()
            parts.fold_finished()
            folding.append(time.perf_counter() - started)
            print(f"shard {index}: sampled and written {sampling[-1]:.2f} s, folded {folding[-1]:.2f} s", flush=True)
        later = slice(n_shards // 2 // SHARDS_PER_FOLD * SHARDS_PER_FOLD, None)
        n_later = len(sampling[later]) * n_tokens
        on_disk = sum(file.stat().st_size for file in Path(folder).iterdir())
    print(
        f"{arguments.features} features, {n_shards * n_tokens:,} tokens; of the later half, microseconds a token: "
        f"sampling {1e6 * sum(sampling[later]) / n_later:.1f}, folding {1e6 * sum(folding[later]) / n_later:.1f}; "
        f"on disk {on_disk / 1e6:.0f} MB; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )


if __name__ == "__main__":
    main()
