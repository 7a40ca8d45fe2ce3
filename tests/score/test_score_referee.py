"""The referee: a rule that is as good as the truth, set against a judge's verdicts."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.records import Explanation, Failure
from autointerp.rules.evidence import FeatureText
from autointerp.rules.search import Found, find_rule
from autointerp.score import referee as module
from autointerp.score.baseline import EXPLAINER as SHUFFLED
from autointerp.score.dispute import Refereed, refereed
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.judges.rule import RuleJudge
from autointerp.score.referee import Referees
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.fuzzing import FuzzingScorer
from autointerp.score.trials import ScoreContexts
from tests.score.world import Scripted, World, explanation_of, read, tools

CAT, COLOUR = 0, 1


def judged(
    explanation: Explanation,
    given: ScoreContexts,
    pool: PoolTiles,
    config: ScoreConfig | None = None,
) -> Refereed | None:
    scorer = DetectionScorer(tools(Scripted(read), config))
    outcome = asyncio.run(scorer.score(explanation, replace(given, referees=Referees(pool))))
    assert not isinstance(outcome, Failure), outcome
    return refereed(outcome.score.detail)


def test_a_label_that_says_something_else_than_the_feature_s_rule_is_disputed(world: World, pool: PoolTiles) -> None:
    """The judge says yes where a word of the label stands: rarely where the feature fires."""
    said = judged(explanation_of(CAT, "dog"), world.given(CAT, pool), pool)
    assert said is not None
    assert said.referee.rule == '"cat"'
    assert said.referee.precision == said.referee.recall == 1.0
    assert said.is_disputed
    assert 0.3 < said.agreement < 0.7
    assert said.low < said.agreement < said.high < 0.9
    assert said.n_trials == 40


def test_a_label_that_says_what_the_rule_says_is_not(world: World, pool: PoolTiles) -> None:
    said = judged(explanation_of(CAT, "cat"), world.given(CAT, pool), pool)
    assert said is not None
    assert said.agreement == said.high == 1.0
    assert not said.is_disputed


def test_a_rule_that_best_of_tried_is_taken_and_none_is_sought(
    world: World, pool: PoolTiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_rule", lambda text: pytest.fail("a rule is known"))
    tried: list[Mapping[str, Any]] = [{"explainer": "words", "label": "dog"}, {"explainer": "rules", "label": '"cat"'}]
    explanation = replace(explanation_of(CAT, "dog"), explainer="best_of", detail={"candidates": tried})
    said = judged(explanation, world.given(CAT, pool), pool)
    assert said is not None
    assert said.referee.rule == '"cat"'
    none = replace(explanation, detail={"candidates": [tried[0], {"explainer": "rules", "failure": "NoRule"}]})
    assert judged(none, world.given(CAT, pool), pool) is None


def test_a_rule_is_sought_once_for_all_labels_of_a_feature(
    world: World, pool: PoolTiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[FeatureText] = []

    def find(text: FeatureText) -> Found | None:
        sought.append(text)
        return find_rule(text)

    monkeypatch.setattr(module, "find_rule", find)
    referees, given = Referees(pool), world.given(CAT, pool)
    found = [referees.of(explanation_of(CAT, label), given.feature, given.density) for label in ("dog", "cat")]
    assert [None if of is None else of.rule for of in found] == ['"cat"'] * 2
    assert len(sought) == 1


@pytest.mark.parametrize("rule", ['"cat" or "the"', '"cat" at the start of a sentence', '"dog"'])
def test_a_rule_that_claims_too_much_or_covers_too_little_is_no_referee(
    world: World, pool: PoolTiles, rule: str
) -> None:
    explanation = replace(explanation_of(CAT, rule), explainer="rules")
    assert judged(explanation, world.given(CAT, pool), pool) is None


def test_what_a_user_s_explainer_writes_that_is_called_rules_is_no_referee(world: World, pool: PoolTiles) -> None:
    explanation = replace(explanation_of(CAT, "rules of the house"), explainer="rules")
    assert judged(explanation, world.given(CAT, pool), pool) is None


def test_a_rule_that_was_tried_on_few_firing_windows_is_no_referee(
    world: World, pool: PoolTiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    explanation, given = explanation_of(CAT, "cat"), world.given(CAT, pool)
    n_windows = int(((pool.peaks(CAT) > 0) & pool.is_score).sum())
    monkeypatch.setattr(module, "LEAST_WINDOWS", n_windows)
    assert judged(explanation, given, pool) is not None
    monkeypatch.setattr(module, "LEAST_WINDOWS", n_windows + 1)
    assert judged(explanation, given, pool) is None


def test_a_shuffled_label_has_none_and_the_setting_takes_it_away(world: World, pool: PoolTiles) -> None:
    explanation, given = explanation_of(CAT, "dog"), world.given(CAT, pool)
    assert judged(replace(explanation, explainer=SHUFFLED, label_from=COLOUR), given, pool) is None
    assert judged(explanation, given, pool, ScoreConfig(referee=False)) is None


def test_what_nobody_answered_is_in_no_agreement(world: World, pool: PoolTiles) -> None:
    def mostly(label: str, task: Task, question: Question) -> Answer:
        said = read(label, task, question)
        return Answer(None, unanswered="too late") if question.context.block_index % 3 == 0 else said

    scorer = DetectionScorer(tools(Scripted(mostly)))
    given = replace(world.given(CAT, pool), referees=Referees(pool))
    outcome = asyncio.run(scorer.score(explanation_of(CAT, "cat"), given))
    assert not isinstance(outcome, Failure)
    said = refereed(outcome.score.detail)
    assert said is not None
    assert 0 < said.n_trials == outcome.score.n_trials - outcome.score.n_unanswered < outcome.score.n_trials
    assert said.agreement == 1.0


def test_the_setting_is_part_of_detection_s_fingerprint_and_of_no_other_s() -> None:
    judge = tools(RuleJudge()), tools(RuleJudge(), ScoreConfig(referee=False))
    detection, fuzzing = ([of(each).fingerprint for each in judge] for of in (DetectionScorer, FuzzingScorer))
    assert detection[0] != detection[1]
    assert fuzzing[0] == fuzzing[1]
