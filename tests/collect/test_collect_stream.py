"""`collect` against a recomputation by loops over dense activations."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.merge import _PARTS_AT_ONCE, ShardPart, _join, merge
from autointerp.collect.settings import CollectSettings
from autointerp.collect.stream import collect_shard
from autointerp.collect.tokens import top_tokens
from autointerp.errors import ActivationRangeError, CollectError
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import BlockShard, Collected

SETTINGS = CollectSettings(
    seed=7, source_id="tiny@0-res-6", n_top=3, n_fired=2, n_pool_blocks=4, n_corpus_blocks=0, context_length=5,
    peak_fraction=0.75, batch_size=3, histogram_low=-2, histogram_high=3,
)  # fmt: skip


@dataclass(frozen=True)
class Lookup:
    """A source whose activations are looked up by (block, position); the token ids of a batch name its blocks."""

    dense: np.ndarray  # (block, position, feature)
    blocks_of: dict[bytes, int]
    is_signed: bool = False
    piece: int = 4

    @property
    def n_features(self) -> int:
        return int(self.dense.shape[2])

    def encode_counted(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor, counted: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        rows = []
        for row, mask in zip(token_ids.numpy(), attention_mask.numpy().astype(bool), strict=True):
            rows.append(self.dense[self.blocks_of[row[mask].tobytes()], : token_ids.shape[1]])
        activations = torch.from_numpy(np.stack(rows))[counted]
        yield from torch.split(activations, self.piece)


@dataclass(frozen=True)
class Case:
    """A corpus of a few shards with dense activations."""

    shards: list[BlockShard]
    source: Lookup
    settings: CollectSettings

    def merged(self) -> Collected:
        return merge(
            [ShardPart(s.shard_index, collect_shard(self.source, s, self.settings)) for s in self.shards], self.settings
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
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
    # The first token names the block, for Lookup; the others are of a small vocabulary.
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
    return Case(shards, Lookup(dense, blocks_of), settings)


def arrays_of(record: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for f in fields(record):
        value = getattr(record, f.name)
        found |= arrays_of(value, f"{prefix}{f.name}.") if is_dataclass(value) else {prefix + f.name: value}
    return found


def assert_identical(one: Collected, other: Collected) -> None:
    for name, value in arrays_of(one).items():
        counterpart = arrays_of(other)[name]
        assert np.asarray(value).dtype == np.asarray(counterpart).dtype, name
        assert np.array_equal(value, counterpart), name


def brute_windows(case: Case, feature: int) -> list[tuple[Any, ...]]:
    """(block, peak position, peak, key, window start, window) of every block in which the feature fires."""
    s, found = case.settings, []
    for shard in case.shards:
        for row in range(len(shard.token_ids)):
            block = shard.first_block + row
            places = [p for p in range(shard.token_ids.shape[1]) if shard.counted[row, p]]
            values = {p: float(case.source.dense[block, p, feature]) for p in places}
            if not places or max(values.values()) <= 0:
                continue
            peak = max(values.values())
            position = min(p for p in places if values[p] == peak)
            start = position - min(int(s.peak_fraction * s.context_length), s.context_length - 1)
            while start + s.context_length > places[-1] + 1:
                start -= 1
            start = max(start, places[0])
            window = [values.get(p, 0.0) for p in range(start, start + s.context_length)]
            key = keyed_hash(hash_key(s.seed, s.source_id, "fired"), np.array([feature]), np.array([block]))[0]
            found.append((block, position, peak, int(key), start, window))
    return found


def rows_of(windows: Any, feature: int) -> list[tuple[Any, ...]]:
    rows = np.flatnonzero(windows.feature == feature)
    return [
        (
            int(windows.block_index[r]), int(windows.peak_position[r]), float(windows.peak[r]),
            int(windows.rank_key[r]), int(windows.window_start[r]), windows.activations[r].tolist(),
        )
        for r in rows
    ]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(cases())
def test_statistics_are_those_of_a_loop_over_every_counted_token(case: Case) -> None:
    statistics = case.merged().statistics
    counted = np.concatenate([shard.counted for shard in case.shards])
    assert statistics.n_tokens == counted.sum()
    assert statistics.n_blocks == len(counted)
    edges = statistics.bin_edges
    assert edges.tolist() == [0.25, 0.5, 1, 2, 4, 8]
    for feature in range(case.source.n_features):
        dense = case.source.dense[:, :, feature]
        values = dense[counted]
        assert statistics.n_active[feature] == (values > 0).sum()
        assert statistics.n_active_blocks[feature] == ((dense > 0) & counted).any(axis=1).sum()
        assert statistics.max_activation[feature] == values.max(initial=0)
        assert statistics.activation_sum[feature] == pytest.approx(values.astype(float).sum(), rel=1e-12)
        histogram = [0] * 5
        for value in values[values > 0]:
            histogram[min(max(sum(value >= edge for edge in edges) - 1, 0), 4)] += 1
        assert statistics.histogram[feature].tolist() == histogram


@settings(max_examples=80, deadline=None)
@given(cases())
def test_top_and_fired_windows_are_those_of_a_loop_over_blocks(case: Case) -> None:
    collected = case.merged()
    for feature in range(case.source.n_features):
        windows = brute_windows(case, feature)
        by_peak = sorted(windows, key=lambda w: (-w[2], w[0]))[: case.settings.n_top]
        assert rows_of(collected.top, feature) == [(b, q, v, 0, s, w) for b, q, v, _, s, w in by_peak]
        by_key = sorted(windows, key=lambda w: (w[3], w[0]))[: case.settings.n_fired]
        assert rows_of(collected.fired, feature) == by_key
    for rows in (collected.top, collected.fired):
        assert (np.diff(rows.feature) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_pool_holds_every_firing_of_the_blocks_with_the_smallest_keys(case: Case) -> None:
    pool, s = case.merged().pool, case.settings
    keys = keyed_hash(hash_key(s.seed, s.source_id, "pool"), np.arange(s.n_corpus_blocks))
    wanted = sorted(np.argsort(keys)[: s.n_pool_blocks].tolist())
    assert pool.block_index.tolist() == wanted
    counted = np.concatenate([shard.counted for shard in case.shards])
    for i, block in enumerate(wanted):
        rows = slice(pool.offsets[i], pool.offsets[i + 1])
        found = list(zip(pool.position[rows], pool.feature[rows], pool.activation[rows], strict=True))
        dense = case.source.dense[block] * counted[block][:, None]
        assert found == [(p, f, dense[p, f]) for p, f in np.argwhere(dense > 0)]
    assert pool.offsets[-1] == len(pool.feature)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_token_counts_are_those_of_a_loop_over_tokens(case: Case) -> None:
    counts = case.merged().token_counts
    expected: dict[tuple[int, int], list[float]] = {}
    for shard in case.shards:
        for row, position in np.argwhere(shard.counted):
            for feature, value in enumerate(case.source.dense[shard.first_block + row, position]):
                if value > 0:
                    expected.setdefault((feature, int(shard.token_ids[row, position])), []).append(float(value))
    pairs = list(zip(counts.feature.tolist(), counts.token_id.tolist(), strict=True))
    assert pairs == sorted(expected)
    assert counts.n_active.tolist() == [len(expected[pair]) for pair in pairs]
    assert counts.activation_sum == pytest.approx([sum(expected[pair]) for pair in pairs])
    top = top_tokens(counts, case.source.n_features, 2)
    for feature in range(case.source.n_features):
        mine = [(-len(v), -sum(v), token) for (f, token), v in expected.items() if f == feature]
        rows = slice(top.offsets[feature], top.offsets[feature + 1])
        assert top.token_id[rows].tolist() == [token for _, _, token in sorted(mine)[:2]]
        assert top.n_active[rows].tolist() == [-n for n, _, _ in sorted(mine)[:2]]


@settings(max_examples=40, deadline=None)
@given(cases(), st.randoms())
def test_the_order_of_parts_and_parts_done_twice_change_nothing(case: Case, random: Any) -> None:
    parts = [ShardPart(s.shard_index, collect_shard(case.source, s, case.settings)) for s in case.shards]
    again = [ShardPart(s.shard_index, collect_shard(case.source, s, case.settings)) for s in case.shards[:2]]
    shuffled = parts + again
    random.shuffle(shuffled)
    assert_identical(merge(shuffled, case.settings), merge(parts, case.settings))


@settings(max_examples=40, deadline=None)
@given(
    cases(), st.sampled_from([1, 2, 8]), st.lists(st.integers(0, 5), min_size=4, max_size=4, unique=True), st.randoms()
)
def test_parts_merged_as_they_come_are_those_merged_in_shard_order(
    case: Case, at_once: int, indices: list[int], random: Any
) -> None:
    collected = {
        i: collect_shard(case.source, s, case.settings) for i, s in zip(sorted(indices), case.shards, strict=False)
    }
    in_order = [ShardPart(index, part) for index, part in collected.items()]
    shuffled = in_order + in_order[:2]
    random.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autointerp.collect.merge._PARTS_AT_ONCE", at_once)
        streamed = merge(shuffled, case.settings)
    assert_identical(streamed, _merge_after_all_are_there(list(collected.values()), at_once, case.settings))


def _merge_after_all_are_there(parts: list[Collected], at_once: int, settings: CollectSettings) -> Collected:
    waiting: list[Collected] = []
    for part in parts:
        waiting.append(part)
        if len(waiting) > at_once:
            waiting = [_join(waiting, settings)]
    return _join(waiting, settings)


def test_parts_that_come_in_shard_order_are_in_memory_a_few_at_once() -> None:
    case = _plain_case(np.ones((5, 3, 1), np.float32))
    references: list[weakref.ref[np.ndarray]] = []
    most_alive = 0

    def load_parts() -> Iterator[ShardPart]:
        nonlocal most_alive
        for index in range(5 * _PARTS_AT_ONCE):
            collected = collect_shard(case.source, case.shards[0], case.settings)
            references.append(weakref.ref(collected.top.activations))
            most_alive = max(most_alive, sum(reference() is not None for reference in references))
            part = ShardPart(index, collected)
            del collected
            yield part
            del part

    merged = merge(load_parts(), case.settings)
    assert merged.statistics.n_tokens == 5 * 15 * _PARTS_AT_ONCE
    assert 1 < most_alive <= _PARTS_AT_ONCE + 1


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 7))
def test_how_often_firings_are_sorted_changes_no_choice(case: Case, limit: int) -> None:
    whole = case.merged()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autointerp.collect.stream._FIRINGS_PER_SORT", limit)
        patch.setattr("autointerp.collect.merge._PARTS_AT_ONCE", 1)
        often = case.merged()
    for name, value in arrays_of(often).items():
        if name.endswith("activation_sum"):
            assert value == pytest.approx(arrays_of(whole)[name], rel=1e-12)
        else:
            assert np.array_equal(value, arrays_of(whole)[name]), name


def test_a_short_last_batch_is_collected_like_any_other() -> None:
    case = _plain_case(np.ones((5, 3, 1), np.float32))
    for batch_size in (1, 2, 5, 100):
        assert_identical(replace(case, settings=replace(case.settings, batch_size=batch_size)).merged(), case.merged())
    assert case.merged().statistics.n_active.tolist() == [15]


def test_a_corpus_in_which_nothing_fires_is_collected() -> None:
    collected = _plain_case(np.zeros((5, 3, 2), np.float32)).merged()
    assert collected.statistics.n_active.tolist() == [0, 0]
    assert len(collected.top.feature) == len(collected.fired.feature) == len(collected.token_counts.feature) == 0
    assert len(collected.pool.block_index) == 4
    assert collected.pool.offsets.tolist() == [0] * 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_activation_that_is_not_finite_is_an_error_that_names_feature_and_block(value: float) -> None:
    dense = np.zeros((5, 3, 2), np.float32)
    dense[3, 1, 1] = value
    with pytest.raises(ActivationRangeError, match=r"feature 1 in block 3 is not finite"):
        _plain_case(dense).merged()


def test_a_negative_activation_is_an_error_but_for_coders_that_are_signed() -> None:
    dense = np.zeros((5, 3, 2), np.float32)
    dense[3, 1, 1] = -2
    case = _plain_case(dense)
    with pytest.raises(ActivationRangeError, match=r"feature 1 in block 3 is negative"):
        case.merged()
    signed = replace(case, source=replace(case.source, is_signed=True))
    assert signed.merged().statistics.n_active.tolist() == [0, 0]


def test_nothing_to_merge_is_an_error() -> None:
    with pytest.raises(CollectError, match="no shard was collected"):
        merge([], SETTINGS)


def _plain_case(dense: np.ndarray) -> Case:
    n_blocks, n_positions, _ = dense.shape
    token_ids = np.arange(n_blocks * n_positions, dtype=np.int32).reshape(n_blocks, n_positions)
    shard = BlockShard(
        0, 0, token_ids, np.full(n_blocks, n_positions, np.int32), np.ones_like(token_ids, bool),
        np.zeros(n_blocks, np.int32), ("d",),
    )  # fmt: skip
    blocks_of = {token_ids[b].tobytes(): b for b in range(n_blocks)}
    return Case([shard], Lookup(dense, blocks_of), replace(SETTINGS, n_corpus_blocks=n_blocks))
