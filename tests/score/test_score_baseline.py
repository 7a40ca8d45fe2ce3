from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from autointerp.records import Explanation
from autointerp.score.baseline import shuffled_explanations
from tests.score.world import UNHURRIED, explanation_of

labels = st.dictionaries(st.integers(0, 10_000), st.sampled_from(["a", "A ", "b", "c", "d", "e e"]), max_size=30)


def of(named: dict[int, str], source: str = "toy@world") -> list[Explanation]:
    return [explanation_of(feature, label, source) for feature, label in named.items()]


def normal(text: str) -> str:
    return " ".join(text.casefold().split())


@UNHURRIED
@given(labels, st.integers(0, 5))
def test_nobody_gets_their_own_label_or_one_that_reads_the_same(named: dict[int, str], seed: int) -> None:
    rows = shuffled_explanations(of(named), seed, "b")
    for row in rows:
        assert row.label_from is not None
        assert row.is_baseline
        assert row.label == named[row.label_from]
        assert normal(row.label) != normal(named[row.feature_index])
    texts = {normal(label) for label in named.values()}
    assert [r.feature_index for r in rows] == (sorted(named) if len(texts) > 1 else [])


@UNHURRIED
@given(labels, st.randoms(use_true_random=False))
def test_the_order_in_which_labels_come_changes_nothing(named: dict[int, str], order: Random) -> None:
    explanations = of(named)
    mixed = list(explanations)
    order.shuffle(mixed)
    assert shuffled_explanations(mixed, 1, "b") == shuffled_explanations(explanations, 1, "b")


@UNHURRIED
@given(labels, labels)
def test_an_extended_run_adds_rows_and_changes_none(first: dict[int, str], more: dict[int, str]) -> None:
    before = shuffled_explanations(of(first), 1, "b")
    after = shuffled_explanations(of({**more, **first}), 1, "b", existing=before)
    assert [r for r in after if r.feature_index in {b.feature_index for b in before}] == before
    texts = {normal(label) for label in {**more, **first}.values()}
    assert len(after) == (len({**more, **first}) if len(texts) > 1 else 0)


@UNHURRIED
@given(labels, st.integers(1, 40))
def test_a_limited_baseline_is_part_of_the_full_one(named: dict[int, str], n: int) -> None:
    full, part = shuffled_explanations(of(named), 1, "b"), shuffled_explanations(of(named), 1, "b", n_baseline=n)
    assert len(part) == min(n, len(full))
    assert all(row in full for row in part)


def test_existing_rows_count_towards_the_limit() -> None:
    small = {feature: f"label {feature}" for feature in range(10)}
    large = {feature: f"label {feature}" for feature in range(50)}
    before = shuffled_explanations(of(small), 1, "b", n_baseline=6)
    after = shuffled_explanations(of(large), 1, "b", existing=before, n_baseline=8)
    assert len(after) == 8
    assert all(row in after for row in before)


def test_distinct_labels_are_all_used_once() -> None:
    rows = shuffled_explanations(of({feature: f"label {feature}" for feature in range(200)}), 1, "b")
    assert sorted(r.label_from or 0 for r in rows) == list(range(200))


def test_labels_stay_within_their_source() -> None:
    rows = shuffled_explanations(of({0: "a", 1: "b"}, "toy@x") + of({0: "c", 1: "d"}, "toy@y"), 1, "b")
    assert [(r.source_id, r.feature_index, r.label) for r in rows] == [
        ("toy@x", 0, "b"),
        ("toy@x", 1, "a"),
        ("toy@y", 0, "d"),
        ("toy@y", 1, "c"),
    ]


def test_a_row_says_where_it_comes_from_and_costs_nothing() -> None:
    written = [replace(e, cost_usd=0.2, prompt_sha256="abc", model="m") for e in of({3: "cats", 7: "dogs"})]
    row = shuffled_explanations(written, 1, "b")[0]
    assert (row.feature_index, row.label, row.label_from) == (3, "dogs", 7)
    assert (row.explainer, row.model, row.prompt_sha256, row.cost_usd) == ("shuffled", "local", None, 0.0)
    assert row.explanation_id not in {e.explanation_id for e in written}
    assert row.fingerprint not in {e.fingerprint for e in written}


def test_no_labels_no_baseline() -> None:
    assert shuffled_explanations([], 1, "b") == []
