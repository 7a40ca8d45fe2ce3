"""Token counts that are bounded in memory: what they say is true, and how much they miss is known."""

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.tokens import keep_frequent, sum_counts
from autointerp.records import TokenCounts
from tests.collect.cases import Case, cases

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
