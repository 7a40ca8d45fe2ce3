"""Token counts that are bounded in memory: what they say is true, and how much they miss is known."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.tokens import add_occurrences, keep_frequent, keep_listed, sum_counts
from autointerp.records import TokenCounts
from tests.collect.cases import Case, cases, plain_case

N_FEATURES = 3
Pairs = Counter[tuple[int, int]]


def as_record(counted: Pairs) -> TokenCounts:
    """Counts of one shard; each firing has the activation 0.5."""
    pairs = sorted(counted)
    n_active = np.array([counted[pair] for pair in pairs], np.int64)
    return TokenCounts(
        feature=np.array([feature for feature, _ in pairs], np.int32),
        token_id=np.array([token for _, token in pairs], np.int32),
        n_active=n_active,
        activation_sum=n_active * 0.5,
        n_missed=np.zeros(N_FEATURES, np.int64),
    )


def as_pairs(record: TokenCounts) -> Pairs:
    listed = zip(record.feature.tolist(), record.token_id.tolist(), record.n_active.tolist(), strict=True)
    return Counter({(feature, token): n for feature, token, n in listed})


def assert_true_but_for_what_is_missed(record: TokenCounts, true: Pairs) -> None:
    listed = as_pairs(record)
    for (feature, token), n in true.items():
        assert n - record.n_missed[feature] <= listed[feature, token] <= n, (feature, token)
        assert (feature, token) in listed or n <= record.n_missed[feature]
    assert set(listed) <= set(true)
    assert min(listed.values(), default=1) >= 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.tuples(st.integers(0, N_FEATURES - 1), st.integers(0, 9)), st.integers(1, 5), max_size=12),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 6),
)
def test_what_is_missed_of_any_token_is_never_more_than_what_is_said(
    shards: list[dict[tuple[int, int], int]], n_kept: int
) -> None:
    true: Pairs = Counter()
    running = as_record(Counter())
    for shard in shards:
        true += Counter(shard)
        running = keep_frequent(sum_counts([running, as_record(Counter(shard))], N_FEATURES), n_kept)
        assert_true_but_for_what_is_missed(running, true)
        assert np.bincount(running.feature, minlength=N_FEATURES).max() <= n_kept
        assert np.array_equal(running.activation_sum, running.n_active * 0.5)
    n_different = Counter(feature for feature, _ in true)
    for feature in range(N_FEATURES):
        if n_different[feature] <= n_kept:
            assert running.n_missed[feature] == 0
            mine = {pair: n for pair, n in as_pairs(running).items() if pair[0] == feature}
            assert mine == {pair: n for pair, n in true.items() if pair[0] == feature}


@settings(max_examples=80, deadline=None)
@given(cases(), st.integers(1, 4))
def test_a_corpus_collected_with_few_candidates_misses_no_more_than_it_says(case: Case, n_kept: int) -> None:
    counts = replace(case, settings=replace(case.settings, n_token_candidates=n_kept)).merged().token_counts
    true: Pairs = Counter()
    for shard in case.shards:
        for row, position in np.argwhere(shard.counted):
            for feature in np.flatnonzero(case.source.dense[shard.first_block + row, position]).tolist():
                true[feature, int(shard.token_ids[row, position])] += 1
    assert_true_but_for_what_is_missed(counts, true)
    assert np.bincount(counts.feature, minlength=1).max() <= n_kept
    n_different = Counter(feature for feature, _ in true)
    is_exact = np.array([n_different[feature] <= n_kept for feature in range(case.source.n_features)])
    assert (counts.n_missed[is_exact] == 0).all()
    assert (counts.n_missed[~is_exact] > 0).all()


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 3))
def test_in_the_end_only_the_listed_tokens_stay_with_counts_as_exact_as_before(case: Case, n_listed: int) -> None:
    counts = case.merged().token_counts
    listed = replace(case, settings=replace(case.settings, n_top_tokens=n_listed)).merged().token_counts
    assert as_pairs(listed) == as_pairs(keep_frequent(counts, n_listed))
    assert listed.n_missed.tolist() == counts.n_missed.tolist() == [0] * case.source.n_features


COMMON, OWN = range(40), 40


def on_common_words(n_kept: int, *, is_counted: bool = True) -> set[int]:
    """Tokens listed of a feature that fires on one of a hundred of 40 common words, and always on its own, 20 times."""
    occurrences = np.array([*(10_000 for _ in COMMON), 20])
    n_active = np.array([*(100 + token for token in COMMON), 20])
    case = plain_case(np.zeros((1, 4, 1), np.float32))
    statistics = replace(
        case.part(case.shards[0]).statistics, n_tokens=int(occurrences.sum()), n_active=np.array([n_active.sum()])
    )
    counts = TokenCounts(
        feature=np.zeros(len(n_active), np.int32),
        token_id=np.arange(len(n_active), dtype=np.int32),
        n_active=n_active,
        activation_sum=n_active * 1.0,
        n_missed=np.array([3]),
    )
    kept = keep_listed(counts, n_kept, statistics, occurrences if is_counted else None)
    assert kept.n_missed.tolist() == [3]
    assert (np.diff(kept.token_id) > 0).all()
    return set(kept.token_id.tolist())


def test_a_feature_s_own_token_is_listed_though_it_fires_on_forty_common_ones_more_often() -> None:
    assert on_common_words(7, is_counted=False) == set(COMMON[-7:])
    listed = on_common_words(7)
    assert listed >= {*COMMON[-4:], OWN}
    assert len(listed) == 7
    assert on_common_words(2) == {COMMON[-1], OWN}
    assert on_common_words(1) == {COMMON[-1]}
    assert on_common_words(41) == {*COMMON, OWN}


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(2, 4))
def test_half_the_tokens_listed_are_the_most_frequent_and_the_rest_those_most_above_chance(
    case: Case, n_listed: int
) -> None:
    collected = case.merged()
    counts, statistics = collected.token_counts, collected.statistics
    occurrences = np.zeros(0, np.int64)
    for shard in case.shards:
        occurrences = add_occurrences(occurrences, shard)
    assert occurrences.sum() == statistics.n_tokens
    listed = keep_listed(counts, n_listed, statistics, occurrences)
    n_telling = n_listed // 2
    frequent = as_pairs(keep_frequent(counts, n_listed - n_telling))
    density = statistics.n_active / max(statistics.n_tokens, 1)
    pmi = {
        (feature, token): (n + 0.5) / float(density[feature] * occurrences[token] + 0.5)
        for (feature, token), n in as_pairs(counts).items()
    }
    for feature in range(case.source.n_features):
        chosen = {pair for pair in as_pairs(listed) if pair[0] == feature}
        others = [pmi[pair] for pair in pmi if pair[0] == feature and pair not in frequent]
        best = sorted(others, reverse=True)[:n_telling]
        assert chosen >= {pair for pair in frequent if pair[0] == feature}
        assert sorted((pmi[pair] for pair in chosen - set(frequent)), reverse=True) == pytest.approx(best)


def test_of_too_many_tokens_the_most_frequent_stay_and_ties_go_to_the_larger_sum_then_the_lower_token() -> None:
    counts = TokenCounts(
        feature=np.array([0, 0, 0, 0, 2], np.int32),
        token_id=np.array([3, 5, 7, 8, 1], np.int32),
        n_active=np.array([2, 2, 9, 2, 1]),
        activation_sum=np.array([1.0, 4.0, 2.0, 1.0, 1.0]),
        n_missed=np.array([10, 0, 0]),
    )
    kept = keep_frequent(counts, 3)
    assert as_pairs(kept) == {(0, 3): 2, (0, 5): 2, (0, 7): 9, (2, 1): 1}
    assert kept.n_missed.tolist() == [12, 0, 0]
    assert as_pairs(keep_frequent(counts, 2)) == {(0, 5): 2, (0, 7): 9, (2, 1): 1}
    assert keep_frequent(counts, 4) == counts
