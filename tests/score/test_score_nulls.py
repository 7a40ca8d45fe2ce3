import pytest

from autointerp.records import Explanation
from autointerp.score.null_kinds import NO_LABEL
from autointerp.score.nulls import null_explanations, sample_size, token_label
from tests.store.making import make

LABELS = [make.explanation(feature, f"label {feature}") for feature in range(30)]


def nulls(n: int, labels: list[Explanation] = LABELS, existing: list[Explanation] | None = None) -> list[Explanation]:
    return null_explanations(NO_LABEL, labels, lambda feature: f"of {feature}", 7, "b1", existing or [], n)


def test_a_null_stands_for_no_explanation_and_says_which_it_is() -> None:
    for row in nulls(5):
        assert row.is_baseline
        assert (row.explainer, row.label, row.fingerprint) == (NO_LABEL, f"of {row.feature_index}", "b1")
        assert (row.label_from, row.cost_usd, row.model) == (row.feature_index, 0.0, "local")
    assert len({row.explanation_id for row in nulls(30)} | {label.explanation_id for label in LABELS}) == 60


def test_a_larger_sample_holds_the_smaller_one_and_a_run_that_is_extended_keeps_its_rows() -> None:
    few, many = nulls(5), nulls(12)
    assert {row.feature_index for row in few} < {row.feature_index for row in many}
    early = nulls(5, LABELS[:10])
    extended = nulls(8, LABELS, early)
    assert all(row in extended for row in early)
    assert len(extended) == 8


def test_a_null_of_a_feature_without_a_label_is_left_out() -> None:
    assert all(row.feature_index >= 20 for row in nulls(8, LABELS[20:], nulls(30)))


def test_a_feature_for_which_there_is_no_label_makes_room_for_another() -> None:
    rows = null_explanations(
        "most_frequent_token", LABELS, lambda feature: "odd" if feature % 2 else None, 7, "b1", [], 10
    )
    assert len(rows) == 10
    assert all(row.feature_index % 2 for row in rows)


@pytest.mark.parametrize(
    ("n_labels", "asked", "most", "n"),
    [
        (517, None, 100, 51),
        (5000, None, 100, 100),
        (5000, None, 50, 50),
        (99, None, 50, 0),
        (99, 20, 50, 20),
        (9, 20, 50, 9),
    ],
)
def test_a_tenth_of_the_labels_is_taken_and_never_too_few_to_say_anything(
    n_labels: int, asked: int | None, most: int, n: int
) -> None:
    assert sample_size(n_labels, asked, most) == n


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" River", "River"),
        ("##ing", "ing"),
        (".", '"."'),
        ('"', "'\"'"),
        ("##", '"##"'),
        ("  ", None),
        ("", None),
        ("熱", "熱"),
    ],
)
def test_a_token_is_written_as_a_label(token: str, label: str | None) -> None:
    assert token_label(token) == label
