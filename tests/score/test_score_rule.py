"""The scorer `rule` carries labels out."""

import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.score.scorers.rule import RuleScorer
from tests.score.world import Scripted, World, explanation_of, failed, read, scored, tools

CAT, COLOUR = 0, 1
NOBODY = Scripted(read)


def test_a_rule_that_is_the_feature_scores_one_and_its_correlation_is_one(world: World, pool: PoolTiles) -> None:
    score = scored(RuleScorer(tools(NOBODY)).score(explanation_of(CAT, '"cat"'), world.given(CAT, pool))).score
    assert score.judge == "rule"
    assert score.value > 0.95
    assert score.detail["correlation"] == pytest.approx(1.0)
    assert score.detail["precision"] > 0.95


def test_too_broad_and_too_narrow_rules_fall(world: World, pool: PoolTiles) -> None:
    scorer, given = RuleScorer(tools(NOBODY)), world.given(COLOUR, pool)
    values = {
        label: scored(scorer.score(explanation_of(COLOUR, label), given)).score.value
        for label in (
            '"black", "blue", "green", "red" or "white"',
            '"black", "blue", "cat", "dog", "green", "horse", "red" or "white"',
            '"black" or "blue"',
            '"cat"',
        )
    }
    right, broad, narrow, other = values.values()
    assert right > 0.95
    assert broad < right - 0.15
    assert narrow < right - 0.15
    assert other < 0.15


def test_a_label_that_is_no_rule_is_a_failure_that_no_further_try_mends(world: World, pool: PoolTiles) -> None:
    failure = failed(RuleScorer(tools(NOBODY)).score(explanation_of(CAT, "cats of any kind"), world.given(CAT, pool)))
    assert failure.error_type == "NoRule"
    assert not failure.retry
    assert "cats of any kind" in failure.message
