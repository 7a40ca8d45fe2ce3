"""The token after each sampled peak, counted by feature: equal to a plain loop, for any shards in any order."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.following import FollowingTokens, following_tokens, tokens_after_peaks
from autointerp.collect.windows import no_rows
from autointerp.errors import ShardError
from autointerp.records import BlockShard, SampledWindows

N_POSITIONS = 6


@dataclass(frozen=True)
class Case:
    """A small corpus in shards, and a sample of each of its sources."""

    shards: list[BlockShard]
    samples: list[SampledWindows]
    n_features: int


def make_shard(first_block: int, token_ids: Any, counted: Any) -> BlockShard:
    tokens = np.asarray(token_ids, dtype=np.int32)
    mask = np.asarray(counted, dtype=bool)
    n_blocks = len(tokens)
    n_tokens = np.full(n_blocks, N_POSITIONS, np.int32)
    return BlockShard(first_block, first_block, tokens, n_tokens, mask, np.zeros(n_blocks, np.int32), ("a",))


def make_sample(rows: list[tuple[int, int, int]]) -> SampledWindows:
    """A sample of (feature, block, peak position), whose other columns nothing may depend on."""
    feature, block, position = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return replace(
        no_rows(4),
        feature=feature.astype(np.int32),
        block_index=np.ascontiguousarray(block),
        peak_position=position.astype(np.int32),
    )


def make_case(seed: int, n_sources: int) -> Case:
    draw = random.Random(seed)
    rng = np.random.default_rng(seed)
    shards, first = [], 0
    for _ in range(draw.randint(1, 4)):
        n_blocks = draw.randint(1, 5)
        shape = (n_blocks, N_POSITIONS)
        shards.append(make_shard(first, rng.integers(0, 5, shape), rng.random(shape) < 0.8))
        first += n_blocks
    n_features = draw.randint(1, 6)
    pairs = [(feature, block) for feature in range(n_features) for block in range(first)]
    samples = []
    for _ in range(n_sources):
        # By feature, and within a feature in any order of blocks, as keyed hashes leave them.
        chosen = sorted(draw.sample(pairs, draw.randint(0, len(pairs))), key=lambda pair: (pair[0], draw.random()))
        samples.append(make_sample([(f, b, draw.randrange(N_POSITIONS)) for f, b in chosen]))
    return Case(shards, samples, n_features)


def counted_plainly(case: Case, sample: SampledWindows, n: int) -> list[list[tuple[int, int, float]]]:
    """For each feature its (token, peaks, lift), one row and one token at a time."""
    tokens = np.concatenate([shard.token_ids for shard in case.shards])
    counted = np.concatenate([shard.counted for shard in case.shards])
    overall = Counter(tokens[counted].tolist())
    lists = []
    for feature in range(case.n_features):
        after: Counter[int] = Counter()
        for row in np.flatnonzero(sample.feature == feature):
            block, position = int(sample.block_index[row]), int(sample.peak_position[row]) + 1
            if position < N_POSITIONS and counted[block, position]:
                after[int(tokens[block, position])] += 1
        best = sorted(after.items(), key=lambda item: (-item[1], item[0]))[:n]
        lists.append([(t, c, c / after.total() / (overall[t] / overall.total())) for t, c in best])
    return lists


def lists_of(found: FollowingTokens) -> list[list[tuple[int, int, float]]]:
    rows = list(zip(found.token_id.tolist(), found.n_peaks.tolist(), found.lift.tolist(), strict=True))
    ends = found.offsets.tolist()
    return [rows[start:end] for start, end in pairwise(ends)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 7), st.randoms(use_true_random=False))
def test_it_equals_counting_row_by_row_for_shards_in_any_order(
    seed: int, n_sources: int, n: int, order: random.Random
) -> None:
    case = make_case(seed, n_sources)
    shards = list(case.shards)
    order.shuffle(shards)
    after = tokens_after_peaks(case.samples, iter(shards))
    for sample, tokens in zip(case.samples, after.token_ids, strict=True):
        found = following_tokens(sample, tokens, after.corpus_counts, case.n_features, n)
        expected = counted_plainly(case, sample, n)
        assert [[row[:2] for row in rows] for rows in lists_of(found)] == [
            [row[:2] for row in rows] for rows in expected
        ]
        lifts = [row[2] for rows in expected for row in rows]
        np.testing.assert_allclose(found.lift, lifts, rtol=1e-6)


def test_a_peak_at_the_block_s_end_or_before_a_special_token_has_no_following_token() -> None:
    shard = make_shard(7, [[1, 2, 3, 4, 5, 6]], [[False, True, True, True, False, True]])
    sample = make_sample([(0, 7, 5), (1, 7, 3), (2, 7, 2), (4, 7, 0)])
    after = tokens_after_peaks([sample], [shard])
    assert after.token_ids[0].tolist() == [-1, -1, 4, 2]
    found = following_tokens(sample, after.token_ids[0], after.corpus_counts, n_features=6, n_tokens=3)
    assert found.n_sampled.tolist() == [1, 1, 1, 0, 1, 0]
    assert found.n_followed.tolist() == [0, 0, 1, 0, 1, 0]
    # Each of four counted tokens is a quarter of the corpus.
    assert lists_of(found) == [[], [], [(4, 1, 4.0)], [], [(2, 1, 4.0)], []]


def test_a_source_that_never_fires_has_no_following_tokens() -> None:
    shard = make_shard(0, [[1] * 6], [[True] * 6])
    after = tokens_after_peaks([make_sample([])], [shard])
    found = following_tokens(make_sample([]), after.token_ids[0], after.corpus_counts, n_features=3, n_tokens=2)
    assert (found.offsets.tolist(), found.n_sampled.tolist(), found.n_followed.tolist()) == ([0] * 4, [0] * 3, [0] * 3)


def test_a_sampled_block_that_no_shard_holds_is_an_error() -> None:
    shard = make_shard(0, [[1] * 6], [[True] * 6])
    with pytest.raises(ShardError, match="block 3 was sampled"):
        tokens_after_peaks([make_sample([(0, 0, 1), (0, 3, 1)])], [shard])
