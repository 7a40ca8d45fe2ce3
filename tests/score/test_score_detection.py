from dataclasses import replace
from fractions import Fraction as F

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.records import FeatureContexts
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.judges.local import LocalJudge
from autointerp.score.scorers.detection import DetectionScorer, build_questions
from tests.score.world import (
    ANIMALS,
    COLOURS,
    UNHURRIED,
    BagOfWords,
    Scripted,
    World,
    explanation_of,
    failed,
    read,
    scored,
    tools,
)

CAT, COLOUR = 0, 1


@pytest.fixture(scope="session")
def cat_contexts(world: World) -> FeatureContexts:
    return world.contexts(CAT)


def scorer(judge: Scripted, seed: int = 0) -> DetectionScorer:
    return DetectionScorer(tools(judge, ScoreConfig(n_bootstrap=200), seed))


def oracle(misses: int, false_alarms: int) -> Scripted:
    """Right but for the first `misses` firing and `false_alarms` silent contexts it is asked about."""
    left = {True: misses, False: false_alarms}

    def says(label: str, task: Task, question: Question) -> Answer:
        truth = question.context.is_active
        left[truth] -= 1
        return Answer(verdict=truth if left[truth] < 0 else not truth)

    return Scripted(says)


def test_known_error_rates_come_back_as_the_fractions_worked_out_by_hand(world: World, pool: PoolTiles) -> None:
    result = scored(scorer(oracle(4, 2)).score(explanation_of(CAT, "cat"), world.given(CAT, pool)))
    score = result.score
    assert score.metric == "balanced accuracy"
    assert score.value == pytest.approx(float(F(16, 20) / 2 + F(18, 20) / 2))
    assert score.detail["sensitivity"] == pytest.approx(0.8)
    assert score.detail["specificity"] == pytest.approx(0.9)
    assert score.detail["f1"] == pytest.approx(float(F(32, 38)))
    assert score.ci_low < score.value < score.ci_high
    assert (score.n_trials, score.n_unanswered, len(result.trials)) == (40, 0, 40)


def test_every_trial_can_be_opened_and_the_score_recomputed_from_them(world: World, pool: PoolTiles) -> None:
    given = world.given(CAT, pool)
    result = scored(scorer(oracle(5, 1)).score(explanation_of(CAT, "cat"), given))
    known = {c.context_id: c for c in given.feature.contexts if c.split == "score"}
    assert {t.context_id for t in result.trials} == set(known)
    assert all(t.truth == known[t.context_id].is_active and not t.marked for t in result.trials)
    hits = [t.verdict for t in result.trials if t.truth]
    alarms = [t.verdict for t in result.trials if not t.truth]
    assert result.score.value == pytest.approx((hits.count(True) / len(hits) + alarms.count(False) / len(alarms)) / 2)


def test_a_perfect_label_scores_one_and_its_interval_is_no_point(world: World, pool: PoolTiles) -> None:
    score = scored(scorer(Scripted(read)).score(explanation_of(CAT, "cat"), world.given(CAT, pool))).score
    assert score.value == score.ci_high == 1.0
    assert 0.8 < score.ci_low < 1.0


def test_always_yes_scores_a_half_and_its_precision_is_the_base_rate(world: World, pool: PoolTiles) -> None:
    score = scored(scorer(Scripted(read)).score(explanation_of(CAT, "any text"), world.given(CAT, pool))).score
    assert score.value == 0.5
    assert score.detail["matthews"] is None
    assert "same of every trial" in score.detail["undefined"]["matthews"]
    assert score.detail["precision_at_base_rate"] == pytest.approx(score.detail["base_rate"], rel=0.05)
    assert score.detail["f1_at_base_rate"] == pytest.approx(score.detail["chance_f1_at_base_rate"], rel=0.05)
    base = score.detail["base_rate"]
    assert score.detail["chance_f1_at_base_rate"] == pytest.approx(2 * base / (1 + base))
    tiles = float((pool.peaks(CAT) > 0).mean())
    assert score.detail["base_rate"] == pytest.approx(tiles, rel=0.15)


def test_always_no_has_no_precision_and_says_why(world: World, pool: PoolTiles) -> None:
    score = scored(scorer(Scripted(read)).score(explanation_of(CAT, "zebra"), world.given(CAT, pool))).score
    assert score.value == 0.5
    assert score.detail["f1"] == 0.0
    assert score.detail["precision_at_base_rate"] is None
    assert score.detail["undefined"]["precision_at_base_rate"] == "the judge never said yes"
    assert score.detail["f1_at_base_rate"] == 0.0


def test_a_precision_at_the_base_rate_is_an_estimate_and_not_the_best_case(world: World, pool: PoolTiles) -> None:
    """20 silent contexts without a false alarm don't prove that there is none in a thousand."""
    given = replace(world.given(CAT, pool), density=1e-4)
    unseen = replace(given, feature=replace(given.feature, feature_index=99))
    detail = scored(scorer(Scripted(read)).score(explanation_of(99, "cat"), unseen)).score.detail
    assert detail["specificity"] == 1.0
    told, ends = detail["precision_at_base_rate"], detail["precision_at_base_rate_interval"]
    assert told < 1.0, "the share seen is 1"
    assert ends["low"] < 0.1 < told < ends["high"]
    assert detail["f1_at_base_rate_interval"]["low"] < 0.2


def test_true_beats_too_narrow_beats_false(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    labels = (" ".join(COLOURS), " ".join(COLOURS[3:]), " ".join(ANIMALS))
    values = [scored(scorer(Scripted(read)).score(explanation_of(COLOUR, n), given)).score.value for n in labels]
    assert values[0] == 1.0
    assert values[0] > values[1] > values[2]
    assert 0.4 < values[2] < 0.6


def test_rates_by_cell_count_what_is_in_the_cell(world: World, pool: PoolTiles) -> None:
    def misses_the_weak(label: str, task: Task, question: Question) -> Answer:
        context = question.context
        return Answer(verdict=context.kind == "silent_similar" or (context.quantile or 0) >= 5)

    score = scored(scorer(Scripted(misses_the_weak)).score(explanation_of(CAT, "cat"), world.given(CAT, pool))).score
    assert score.detail["sensitivity_by_quantile"] == {str(q): float(q >= 5) for q in range(10)}
    assert score.detail["n_sensitivity_by_quantile"] == {str(q): 2 for q in range(10)}
    assert score.detail["specificity_by_kind"] == {"silent_random": 1.0, "silent_similar": 0.0}
    assert score.detail["n_specificity_by_kind"] == {"silent_random": 10, "silent_similar": 10}
    assert score.value == 0.5


def test_auroc_stands_where_the_judge_gives_probabilities(world: World, pool: PoolTiles) -> None:
    def sure(label: str, task: Task, question: Question) -> Answer:
        return Answer(verdict=True, probability=0.9 if question.context.is_active else 0.6)

    given = world.given(CAT, pool)
    with_them = scored(scorer(Scripted(sure)).score(explanation_of(CAT, "cat"), given)).score
    without = scored(scorer(Scripted(read)).score(explanation_of(CAT, "cat"), given)).score
    assert (with_them.value, with_them.detail["auroc"]) == (0.5, 1.0)
    assert with_them.detail["auroc_interval"]["low"] < 1.0
    assert without.detail["auroc"] is None
    assert without.detail["undefined"]["auroc"] == "the judge gives no probabilities"


def test_unanswered_trials_are_counted_and_in_no_rate(world: World, pool: PoolTiles) -> None:
    left = {True: 5, False: 10}

    def sometimes_silent(label: str, task: Task, question: Question) -> Answer:
        left[question.context.is_active] -= 1
        if left[question.context.is_active] >= 0:
            return Answer(verdict=None, unanswered="timeout")
        return Answer(verdict=question.context.is_active)

    result = scored(scorer(Scripted(sometimes_silent)).score(explanation_of(CAT, "cat"), world.given(CAT, pool)))
    assert (result.score.n_trials, result.score.n_unanswered) == (40, 15)
    assert (result.score.value, result.score.detail["n_positive"], result.score.detail["n_negative"]) == (1.0, 15, 10)
    assert sum(t.verdict is None and t.unanswered == "timeout" for t in result.trials) == 15


def test_no_answer_at_all_is_a_failure_to_try_again(world: World, pool: PoolTiles) -> None:
    judge = Scripted(lambda label, task, question: Answer(verdict=None, unanswered="503 from the server"))
    failure = failed(scorer(judge).score(explanation_of(CAT, "cat"), world.given(CAT, pool)))
    assert (failure.stage, failure.error_type, failure.retry) == ("score:detection", "AllUnanswered", True)
    assert failure.raw == "503 from the server"
    assert failure.explanation_id == explanation_of(CAT, "cat").explanation_id


def test_a_judge_that_can_never_answer_is_a_failure_for_good(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, replace(pool, is_select=~pool.is_score))
    local = DetectionScorer(tools(LocalJudge(BagOfWords())))
    failure = failed(local.score(explanation_of(COLOUR, "red"), given))
    assert (failure.error_type, failure.retry) == ("AllUnanswered", False)
    assert failure.raw == "the pool has no text of the explain split, so there is nothing to compare similarities with"


def test_answers_for_one_class_only_are_a_failure_to_try_again(world: World, pool: PoolTiles) -> None:
    def no_word_of_silent_ones(label: str, task: Task, question: Question) -> Answer:
        return Answer(verdict=True) if question.context.is_active else Answer(verdict=None, unanswered="refused")

    given = world.given(CAT, pool)
    failure = failed(scorer(Scripted(no_word_of_silent_ones)).score(explanation_of(CAT, "cat"), given))
    assert (failure.error_type, failure.retry) == ("AllUnanswered", True)
    assert failure.message == "none of the 20 questions whose true answer is no was answered"


def test_a_feature_without_silent_contexts_fails_for_good(world: World, pool: PoolTiles) -> None:
    given = world.given(CAT, pool)
    only_firing = tuple(c for c in given.feature.contexts if c.is_active)
    given = replace(given, feature=replace(given.feature, contexts=only_firing))
    failure = failed(scorer(Scripted(read)).score(explanation_of(CAT, "cat"), given))
    assert (failure.error_type, failure.retry) == ("NoSilentContexts", False)
    assert "silent" in failure.message


def test_the_order_tells_nothing_and_is_the_same_for_the_label_and_its_baseline(world: World) -> None:
    contexts = world.contexts(CAT)
    truths = [p.truth for p in build_questions(contexts, "score", 1)]
    assert truths != sorted(truths)
    assert truths != sorted(truths, reverse=True)
    assert build_questions(contexts, "score", 1) == build_questions(contexts, "score", 1)
    assert build_questions(contexts, "score", 1) != build_questions(contexts, "score", 2)


@UNHURRIED
@given(order=st.permutations(range(80)))
def test_the_order_does_not_depend_on_the_order_in_which_contexts_come(
    cat_contexts: FeatureContexts, order: list[int]
) -> None:
    contexts = cat_contexts
    mixed = replace(contexts, contexts=tuple(contexts.contexts[i] for i in order))
    assert build_questions(mixed, "score", 1) == build_questions(contexts, "score", 1)


def test_another_judge_another_fingerprint() -> None:
    assert scorer(Scripted(read)).fingerprint == scorer(Scripted(read)).fingerprint
    assert scorer(Scripted(read)).fingerprint != scorer(Scripted(read, made_of="other")).fingerprint
    assert scorer(Scripted(read)).fingerprint != scorer(Scripted(read), seed=1).fingerprint
