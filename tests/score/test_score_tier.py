"""The tier of a label, by hand-worked scores."""

from typing import Any

import pytest

from autointerp.records import Score
from autointerp.score.tier import tier_of


def score(scorer: str, low: float, *, metric: str = "AUROC", **detail: Any) -> Score:
    return Score("e", scorer, "local", metric, max(low, 0.9), low, 1.0, 20, 0, detail, "f")


IN = score("detection", 0.6, side="input")
NOT_IN = score("fuzzing", 0.4, side="input")
OUT = score("intervention", 0.6, side="output")
NOT_OUT = score("intervention", 0.4, side="output")


@pytest.mark.parametrize(
    ("scores", "name", "carried_by"),
    [
        ([IN, OUT], "both", ("detection", "intervention")),
        ([IN, NOT_OUT], "input", ("detection",)),
        ([NOT_IN, OUT], "output", ("intervention",)),
        ([NOT_IN, NOT_OUT], "neither", ()),
        ([NOT_IN, IN], "input (output not asked)", ("detection",)),
        ([NOT_IN], "neither (output not asked)", ()),
        ([OUT], "output (input not asked)", ("intervention",)),
        ([NOT_OUT], "neither (input not asked)", ()),
    ],
)
def test_a_side_is_carried_by_any_of_its_scores(scores: list[Score], name: str, carried_by: tuple[str, ...]) -> None:
    tier = tier_of(scores, {})
    assert tier is not None
    assert (tier.name, tier.carried_by) == (name, carried_by)


def test_a_label_without_scores_has_no_tier() -> None:
    assert tier_of([], {}) is None
    assert tier_of([score("intruder", 0.9, side="none")], {}) is None, "it looks at no label"


def test_an_interval_must_lie_above_the_shuffled_label_s_value_too() -> None:
    for shuffled, name in ((0.55, "input (output not asked)"), (0.6, "neither (output not asked)")):
        tier = tier_of([IN], {"detection": shuffled, "fuzzing": 0.0})
        assert tier is not None
        assert tier.name == name


def test_chance_is_the_feature_s_own_where_it_is_known() -> None:
    for chance, name in ((0.3, "input (output not asked)"), (0.7, "neither (output not asked)")):
        tier = tier_of([score("recall", 0.6, metric="F1", chance=chance)], {})
        assert tier is not None
        assert tier.name == name


def test_where_neither_chance_nor_a_shuffled_label_is_known_nothing_is_carried() -> None:
    tier = tier_of([score("mine", 0.9, metric="my own")], {})
    assert tier is not None
    assert tier.name == "neither (output not asked)"
    against = tier_of([score("mine", 0.9, metric="my own")], {"mine": 0.2})
    assert against is not None
    assert against.name == "input (output not asked)"


def test_a_score_of_before_sides_were_told_is_of_the_input() -> None:
    tier = tier_of([score("detection", 0.6)], {})
    assert tier is not None
    assert tier.by_input == ("detection",)
    assert tier.by_output is None
