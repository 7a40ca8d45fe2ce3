"""The scorer `rule` carries labels out."""

import asyncio
from dataclasses import replace

import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.score.judge import Case, Question
from autointerp.score.judges.local import marked_texts
from autointerp.score.judges.rule import RuleJudge
from autointerp.score.scorers.fuzzing import FUZZING
from autointerp.score.scorers.rule import RuleScorer
from tests.score.world import Scripted, World, explanation_of, failed, read, scored, tools
from tests.store.making import make

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


def test_a_mark_on_a_piece_of_a_character_is_on_the_token_that_shows_it() -> None:
    context = replace(
        make.context(0, 1), tokens=(" the ", "", "熱", " x"), activations=(0.0, 1.0, 0.0, 0.0), token_ids=(0, 1, 2, 3)
    )
    case = Case('"熱"', [Question(context, (1,)), Question(context, (0,))])
    (said,) = asyncio.run(RuleJudge().answer(FUZZING, [case]))
    assert [answer.verdict for answer in said.answers] == [True, False]
    assert marked_texts(context, (1,)) == ("熱",)
