"""Small corpora whose activations are looked up, for tests of `collect`."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from autointerp.collect.merge import SHARDS_PER_FOLD, ShardPart, merge
from autointerp.collect.settings import CollectSettings
from autointerp.collect.stream import collect_shard
from autointerp.records import BlockShard, Collected, RowFirings

SETTINGS = CollectSettings(
    seed=7, source_id="tiny@0-res-6", pool_of="tiny@0-res-6", n_top=3, n_fired=2, n_pool_blocks=4,
    n_token_candidates=1000, n_top_tokens=1000, n_corpus_blocks=0, context_length=5, peak_fraction=0.75, batch_size=3,
    histogram_low=-2, histogram_high=3,
)  # fmt: skip


@dataclass(frozen=True)
class Lookup:
    """A source whose activations are looked up by (block, position); what it reads are the activations themselves."""

    dense: np.ndarray  # (block, position, feature)
    is_signed: bool = False
    piece: int = 4

    @property
    def n_features(self) -> int:
        return int(self.dense.shape[2])

    def encode_firings(self, activations: torch.Tensor) -> Iterator[RowFirings]:
        for start in range(0, len(activations), self.piece):
            values = activations[start : start + self.piece].numpy()
            row, feature = np.nonzero(values)
            yield RowFirings(row + start, feature, values[row, feature])


@dataclass(frozen=True)
class LookupSources:
    """Sources that are looked up; the token ids of a batch name its blocks."""

    sources: tuple[Lookup, ...]
    blocks_of: dict[bytes, int]

    def read_counted(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor, counted: torch.Tensor
    ) -> list[torch.Tensor]:
        blocks = [
            self.blocks_of[row[mask].tobytes()]
            for row, mask in zip(token_ids.numpy(), attention_mask.numpy().astype(bool), strict=True)
        ]
        length = token_ids.shape[1]
        return [torch.from_numpy(source.dense[blocks, :length])[counted] for source in self.sources]


@dataclass(frozen=True)
class Case:
    """A corpus of a few shards with dense activations."""

    shards: list[BlockShard]
    source: Lookup
    blocks_of: dict[bytes, int]
    settings: CollectSettings
    shards_per_fold: int = SHARDS_PER_FOLD

    @property
    def sources(self) -> LookupSources:
        return LookupSources((self.source,), self.blocks_of)

    def part(self, shard: BlockShard) -> Collected:
        (collected,) = collect_shard(self.sources, shard, [self.settings])
        return collected

    def merged(self) -> Collected:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("autointerp.collect.merge.SHARDS_PER_FOLD", self.shards_per_fold)
            return merge([ShardPart(s.shard_index, self.part(s)) for s in self.shards], self.settings)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Corpora of up to four shards, with ties, dead features, such that fire everywhere, and special tokens."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_positions, n_features = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    n_blocks = sum(sizes)
    # Few distinct values, so that there are many ties; one feature may be dead and one fire everywhere.
    dense = rng.choice(np.array([0, 0, 0, 0.3, 0.5, 1, 2, 9], np.float32), (n_blocks, n_positions, n_features))
    if draw(st.booleans()):
        dense[:, :, 0] = 0
    if draw(st.booleans()):
        dense[:, :, -1] = 1
    n_tokens = rng.integers(1, n_positions + 1, n_blocks).astype(np.int32)
    in_block = np.arange(n_positions) < n_tokens[:, None]
    counted = in_block.copy()
    if draw(st.booleans()):
        counted[:, 0] = False  # a special token in front
    # The first token names the block, for LookupSources; the others are of a small vocabulary.
    token_ids = np.where(in_block, rng.integers(0, 4, in_block.shape), 99).astype(np.int32)
    token_ids[:, 0] = 100 + np.arange(n_blocks)
    shards, first = [], 0
    for index, size in enumerate(sizes):
        part = slice(first, first + size)
        shards.append(
            BlockShard(index, first, token_ids[part], n_tokens[part], counted[part], np.zeros(size, np.int32), ("d",))
        )
        first += size
    blocks_of = {token_ids[b, : n_tokens[b]].tobytes(): b for b in range(n_blocks)}
    settings = replace(
        SETTINGS,
        n_corpus_blocks=n_blocks,
        n_pool_blocks=draw(st.integers(1, n_blocks + 2)),
        context_length=draw(st.integers(1, 12)),
        peak_fraction=draw(st.sampled_from([0, 0.5, 0.75, 1])),
        batch_size=draw(st.integers(1, 5)),
    )
    return Case(shards, Lookup(dense), blocks_of, settings, draw(st.sampled_from([1, 2, 3, SHARDS_PER_FOLD])))


def plain_case(dense: np.ndarray) -> Case:
    """One shard of full blocks, all tokens counted and different."""
    n_blocks, n_positions, _ = dense.shape
    token_ids = np.arange(n_blocks * n_positions, dtype=np.int32).reshape(n_blocks, n_positions)
    shard = BlockShard(
        0, 0, token_ids, np.full(n_blocks, n_positions, np.int32), np.ones_like(token_ids, bool),
        np.zeros(n_blocks, np.int32), ("d",),
    )  # fmt: skip
    blocks_of = {token_ids[b].tobytes(): b for b in range(n_blocks)}
    return Case([shard], Lookup(dense), blocks_of, replace(SETTINGS, n_corpus_blocks=n_blocks))


def long_case(n_shards: int, n_features: int = 6) -> Case:
    """A corpus of many shards, each of two blocks in which half of all activations are above zero."""
    rng = np.random.default_rng(0)
    shape = (2 * n_shards, 5)
    case = plain_case(rng.choice(np.array([0, 0, 1, 2, 9], np.float32), (*shape, n_features)))
    (whole,) = case.shards
    shards = [
        BlockShard(
            index, 2 * index, whole.token_ids[part], whole.n_tokens[part], whole.counted[part],
            np.zeros(2, np.int32), ("d",),
        )
        for index, part in enumerate(slice(2 * index, 2 * index + 2) for index in range(n_shards))
    ]  # fmt: skip
    return replace(case, shards=shards)


def arrays_of(record: Any, prefix: str = "") -> dict[str, Any]:
    """Every value of a record and of the records in it, by dotted name."""
    found: dict[str, Any] = {}
    for f in fields(record):
        value = getattr(record, f.name)
        found |= arrays_of(value, f"{prefix}{f.name}.") if is_dataclass(value) else {prefix + f.name: value}
    return found


def assert_identical(one: Any, other: Any) -> None:
    """See that two records are equal to the bit, and of the same dtypes."""
    theirs = arrays_of(other)
    for name, value in arrays_of(one).items():
        assert np.asarray(value).dtype == np.asarray(theirs[name]).dtype, name
        assert np.array_equal(value, theirs[name]), name


def assert_equal_but_for_rounding(one: Any, other: Any) -> None:
    """See that two records are equal, sums of activations to the last digits."""
    theirs = arrays_of(other)
    for name, value in arrays_of(one).items():
        if name.endswith("activation_sum"):
            np.testing.assert_allclose(value, theirs[name], rtol=1e-12, err_msg=name)
        else:
            assert np.array_equal(value, theirs[name]), name
