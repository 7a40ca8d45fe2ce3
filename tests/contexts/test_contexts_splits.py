import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.contexts.splits import DuplicateFilter, DuplicateIndex, check_no_leak, group_split, trigram_sets
from autointerp.contexts.windows import make_context
from autointerp.errors import LeakError
from autointerp.records import Context, FeatureContexts, Split
from tests.contexts.world import SOURCE, jaccard


def test_a_document_is_in_the_same_split_whoever_asks() -> None:
    names = [f"document {i}" for i in range(50)]
    first = [group_split(name, 3, 0.5) for name in names]
    assert [group_split(name, 3, 0.5) for name in reversed(names)] == first[::-1]
    assert [group_split(name, 4, 0.5) for name in names] != first


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_explain_split_gets_its_share_of_the_documents(share: float) -> None:
    splits = [group_split(f"document {i}", 0, share) for i in range(4000)]
    # Four standard deviations of a binomial of 4000 are at most 0.032.
    assert splits.count("explain") / 4000 == pytest.approx(share, abs=0.032)


def test_a_larger_explain_share_only_adds_documents() -> None:
    smaller = {i for i in range(300) if group_split(str(i), 0, 0.3) == "explain"}
    larger = {i for i in range(300) if group_split(str(i), 0, 0.6) == "explain"}
    assert smaller < larger


def trigrams_of(tokens: list[int], width: int = 12) -> frozenset[int]:
    row = np.full((1, max(width, len(tokens))), 99, dtype=np.int32)
    row[0, : len(tokens)] = tokens
    return trigram_sets(row, np.array([len(tokens)], dtype=np.int32))[0]


few_tokens = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), max_size=6)


@given(few_tokens, few_tokens, st.sampled_from([0.2, 0.5, 1.0]))
@settings(deadline=None)
def test_the_index_finds_the_contexts_that_repeat_one_of_the_others(
    indexed: list[list[int]], others: list[list[int]], near_duplicate: float
) -> None:
    length = np.array([len(tokens) for tokens in others], dtype=np.int32)
    rows = np.full((len(others), 12), 99, dtype=np.int32)
    for row, tokens in zip(rows, others, strict=True):
        row[: len(tokens)] = tokens
    found = DuplicateIndex([trigrams_of(tokens) for tokens in indexed]).repeats(rows, length, near_duplicate)
    assert found.tolist() == [any(jaccard(one, other) >= near_duplicate for other in others) for one in indexed]


def test_a_context_of_five_tokens_has_three_trigrams() -> None:
    assert len(trigrams_of([1, 2, 3, 4, 5])) == 3
    assert trigrams_of([1, 2, 3, 4]) < trigrams_of([1, 2, 3, 4, 5])


def test_what_lies_past_the_end_of_a_context_does_not_count() -> None:
    assert trigrams_of([1, 2, 3, 4], width=12) == trigrams_of([1, 2, 3, 4], width=4)


def test_a_context_of_one_or_two_tokens_only_equals_itself() -> None:
    assert trigrams_of([5]) == trigrams_of([5], width=1)
    assert len({trigrams_of([5]), trigrams_of([5, 0]), trigrams_of([5, 6]), trigrams_of([6, 5])}) == 4
    assert not trigrams_of([5, 6]) & trigrams_of([5, 6, 7])
    assert not trigrams_of([5, 0]) & trigrams_of([5, 0, 0])


def test_of_two_near_duplicates_the_first_stays() -> None:
    seen = DuplicateFilter(0.5)
    assert seen.admit(trigrams_of([1, 2, 3, 4, 5, 6]))
    assert not seen.admit(trigrams_of([1, 2, 3, 4, 5, 6]))
    assert not seen.admit(trigrams_of([1, 2, 3, 4, 5, 9]))  # 3 of 5 trigrams shared
    assert seen.admit(trigrams_of([1, 2, 3, 4, 8, 9]))  # 2 of 6


def test_the_threshold_itself_counts_as_a_duplicate() -> None:
    seen = DuplicateFilter(0.5)
    seen.admit(trigrams_of([1, 2, 3, 4, 5]))
    assert not seen.admit(trigrams_of([1, 2, 3, 4, 5, 6, 7, 8]))  # 3 of 6


def test_a_context_that_was_refused_keeps_nothing_out() -> None:
    seen = DuplicateFilter(0.5)
    seen.admit(trigrams_of([1, 2, 3, 4, 5, 6]))
    assert not seen.admit(trigrams_of([1, 2, 3, 4, 5, 6, 7, 8]))  # 4 of 6
    assert seen.admit(trigrams_of([4, 5, 6, 7, 8, 9]))  # 1 of 7 with the first, 3 of 7 with the refused


short_texts = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), max_size=25)


@given(short_texts, st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]))
@settings(deadline=None)
def test_the_filter_keeps_what_brute_force_keeps(texts: list[list[int]], near_duplicate: float) -> None:
    seen = DuplicateFilter(near_duplicate)
    kept: list[list[int]] = []
    for text in texts:
        is_new = all(jaccard(text, other) < near_duplicate for other in kept)
        assert seen.admit(trigrams_of(text)) == is_new
        if is_new:
            kept.append(text)


def context_of(split: Split, document_id: str, tokens: list[int], *, active: bool = True) -> Context:
    return make_context(
        tokens,
        [1.0 if active else 0.0] * len(tokens),
        source_id=SOURCE,
        feature_index=3,
        kind="quantile" if active else "silent_random",
        split=split,
        quantile=0 if active else None,
        document_id=document_id,
        block_index=0,
        start=0,
        tokens=["x"] * len(tokens),
    )


def check(*contexts: Context) -> None:
    check_no_leak(FeatureContexts(SOURCE, 3, contexts), 0.5)


EXPLAIN = context_of("explain", "a", [1, 2, 3, 4, 5, 6])
SCORE = context_of("score", "b", [7, 8, 9, 10, 11, 12])


def test_splits_that_are_apart_pass() -> None:
    check(EXPLAIN, SCORE, context_of("score", "c", [1, 2, 3, 4, 8, 9]))
    check(EXPLAIN)
    check(SCORE)


@pytest.mark.parametrize("active", [True, False])
def test_a_shared_document_is_a_leak(active: bool) -> None:
    with pytest.raises(LeakError, match="tiny@0-res:3 has document 'a' in both splits"):
        check(EXPLAIN, SCORE, context_of("score", "a", [20, 21, 22], active=active))


@pytest.mark.parametrize("active_explain", [True, False])
@pytest.mark.parametrize("active_score", [True, False])
def test_a_near_duplicate_across_the_splits_is_a_leak(active_explain: bool, active_score: bool) -> None:
    shown = context_of("explain", "c", [1, 2, 3, 4, 5], active=active_explain)
    graded = context_of("score", "d", [1, 2, 3, 4, 5, 6, 7, 8], active=active_score)
    with pytest.raises(LeakError, match=f"{graded.context_id} repeats 50% of explain context {shown.context_id}"):
        check(context_of("explain", "e", [30, 31, 32]), shown, SCORE, graded)


def test_an_exact_copy_of_two_tokens_is_a_leak() -> None:
    with pytest.raises(LeakError, match="100%"):
        check(context_of("explain", "c", [1, 2]), context_of("score", "d", [1, 2]))


def test_duplicates_within_one_split_are_no_leak() -> None:
    check(EXPLAIN, dataclasses.replace(EXPLAIN, document_id="z"), SCORE)


@given(short_texts, short_texts)
@settings(deadline=None)
def test_the_check_agrees_with_brute_force(explain: list[list[int]], score: list[list[int]]) -> None:
    contexts = [context_of("explain", "a", tokens) for tokens in explain]
    contexts += [context_of("score", "b", tokens) for tokens in score]
    if any(jaccard(first, second) >= 0.5 for first in explain for second in score):
        with pytest.raises(LeakError):
            check(*contexts)
    else:
        check(*contexts)


def test_contexts_of_two_documents_of_one_group_in_two_splits_are_a_leak() -> None:
    explain = dataclasses.replace(context_of("explain", "a", [1, 2, 3, 4]), group_id="json.decoder")
    score = dataclasses.replace(context_of("score", "b", [5, 6, 7, 8]), group_id="json.decoder")
    with pytest.raises(LeakError, match=r"has group 'json.decoder' in both splits, explain and score"):
        check(explain, score)
