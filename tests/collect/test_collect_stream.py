"""`collect` against a recomputation by loops over dense activations."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.firings import Helpers
from autointerp.collect.stream import collect_shard
from autointerp.collect.tokens import top_tokens
from autointerp.collect.windows import no_rows
from autointerp.config import CollectConfig
from autointerp.errors import ActivationRangeError
from autointerp.identity import hash_key, keyed_hash
from tests.collect.cases import (
    Case,
    Lookup,
    LookupSources,
    assert_equal_but_for_rounding,
    assert_identical,
    cases,
    plain_case,
)


def brute_windows(case: Case, feature: int, length: int, before: int) -> list[tuple[Any, ...]]:
    """(block, peak position, peak, key, window start, window) of every block in which the feature fires.

    A window has `length` tokens, the peak stands behind `before` of them.
    """
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
            start = position - before
            while start + length > places[-1] + 1:
                start -= 1
            start = max(start, places[0])
            window = [values.get(p, 0.0) for p in range(start, start + length)]
            key = keyed_hash(hash_key(s.seed, s.source_id, "fired"), np.array([feature]), np.array([block]))[0]
            found.append((block, position, peak, int(key) >> 32, start, window))
    return found


def rows_of(windows: Any, feature: int) -> list[tuple[Any, ...]]:
    rows, dense = np.flatnonzero(windows.feature == feature), windows.dense()
    return [
        (
            int(windows.block_index[r]), int(windows.peak_position[r]), float(windows.peak[r]),
            int(windows.window_start[r]), dense[r].tolist(),
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
        length = case.settings.context_length
        windows = brute_windows(case, feature, length, min(int(case.settings.peak_fraction * length), length - 1))
        by_peak = sorted(windows, key=lambda w: (-w[2], w[0]))[: case.settings.n_top]
        assert rows_of(collected.top, feature) == [(b, q, v, s, w) for b, q, v, _, s, w in by_peak]
        reaching = brute_windows(case, feature, 2 * length - 1, length - 1)
        by_key = sorted(reaching, key=lambda w: (w[3], w[0]))[: case.settings.n_fired]
        assert rows_of(collected.fired, feature) == [(b, q, v, s, w) for b, q, v, _, s, w in by_key]
    for rows in (collected.top, collected.fired):
        assert (np.diff(rows.feature) >= 0).all()
        row, offset = np.nonzero(rows.dense())
        assert rows.entry_offset.tolist() == offset.tolist()
        assert rows.n_entries.tolist() == np.bincount(row, minlength=len(rows.feature)).tolist()


@settings(max_examples=40, deadline=None)
@given(cases())
def test_of_blocks_whose_hashes_are_equal_the_lower_ones_are_sampled(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autointerp.collect.windows.keyed_hash", lambda *of: np.zeros(len(of[-1]), np.uint64))
        fired = case.merged().fired
    for feature in range(case.source.n_features):
        expected = [window[0] for window in brute_windows(case, feature, 1, 0)][: case.settings.n_fired]
        assert fired.block_index[fired.feature == feature].tolist() == expected


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
@given(cases(), st.integers(1, 7))
def test_how_often_firings_are_sorted_changes_no_choice(case: Case, limit: int) -> None:
    whole = case.merged()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autointerp.collect.stream._FIRINGS_PER_SORT", limit)
        patch.setattr("autointerp.collect.stream._ROWS_GATHERED", limit)
        often = replace(case, shards_per_fold=1).merged()
    assert_equal_but_for_rounding(often, whole)


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 3), st.integers(1, 4))
def test_threads_that_find_firings_ahead_change_nothing(case: Case, n_threads: int, n_ahead: int) -> None:
    small = replace(case.settings, batch_size=1)
    with ThreadPoolExecutor(n_threads) as pool:
        for shard in case.shards:
            (ahead,) = collect_shard(case.sources, shard, [small], Helpers(pool, n_ahead))
            (alone,) = collect_shard(case.sources, shard, [small])
            assert_identical(ahead, alone)


def test_an_error_in_a_thread_that_finds_firings_ahead_ends_the_shard() -> None:
    dense = np.ones((5, 3, 2), np.float32)
    dense[1, 1, 1] = np.nan
    case = plain_case(dense)
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises(ActivationRangeError, match=r"feature 1 in block 1 is not finite"),
    ):
        collect_shard(case.sources, case.shards[0], [replace(case.settings, batch_size=1)], Helpers(pool, 3))


def test_a_short_last_batch_is_collected_like_any_other() -> None:
    case = plain_case(np.ones((5, 3, 1), np.float32))
    for batch_size in (1, 2, 5, 100):
        assert_identical(replace(case, settings=replace(case.settings, batch_size=batch_size)).merged(), case.merged())
    assert case.merged().statistics.n_active.tolist() == [15]


def test_a_corpus_in_which_nothing_fires_is_collected() -> None:
    collected = plain_case(np.zeros((5, 3, 2), np.float32)).merged()
    assert collected.statistics.n_active.tolist() == [0, 0]
    assert len(collected.top.feature) == len(collected.fired.feature) == len(collected.token_counts.feature) == 0
    assert len(collected.pool.block_index) == 4
    assert collected.pool.offsets.tolist() == [0] * 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_activation_that_is_not_finite_is_an_error_that_names_feature_and_block(value: float) -> None:
    dense = np.zeros((5, 3, 2), np.float32)
    dense[3, 1, 1] = value
    with pytest.raises(ActivationRangeError, match=r"feature 1 in block 3 is not finite"):
        plain_case(dense).merged()


def test_a_negative_activation_is_an_error() -> None:
    dense = np.zeros((5, 3, 2), np.float32)
    dense[3, 1, 1] = -2
    with pytest.raises(ActivationRangeError, match=r"feature 1 in block 3 is negative"):
        plain_case(dense).merged()


def test_firings_of_a_signed_coder_are_collected_and_checked_like_any_others() -> None:
    dense = np.ones((5, 3, 2), np.float32)
    case = plain_case(dense)
    signed = replace(case, source=Lookup(dense, is_signed=True))
    assert_identical(signed.merged(), case.merged())
    dense[3, 1, 1] = np.nan
    with pytest.raises(ActivationRangeError, match=r"feature 1 in block 3 is not finite"):
        signed.merged()


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 5), st.integers(0, 2**32), st.integers(1, 9))
def test_sources_collected_in_one_pass_are_collected_as_each_alone(
    case: Case, n_features: int, seed: int, piece: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (*case.source.dense.shape[:2], n_features)
    other = Lookup(rng.choice(np.array([0, 0, 1, 2], np.float32), shape), piece=piece)
    other_settings = replace(case.settings, source_id="tiny@1-res-9", n_top=1, context_length=3)
    both = LookupSources((case.source, other), case.blocks_of)
    alone = replace(case, source=other, settings=other_settings)
    for shard in case.shards:
        first, second = collect_shard(both, shard, [case.settings, other_settings])
        assert_identical(first, case.part(shard))
        assert_identical(second, alone.part(shard))


def test_the_longest_context_has_offsets_that_can_be_kept() -> None:
    limit = CollectConfig.model_json_schema()["properties"]["context_length"]["maximum"]
    longest = replace(plain_case(np.ones((1, 4, 1), np.float32)).settings, context_length=limit)
    assert longest.reach_length - 1 <= np.iinfo(no_rows(1).entry_offset.dtype).max
