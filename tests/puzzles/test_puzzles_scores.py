"""Planted features go through the stage `contexts`; an oracle judges their labels for each scorer."""

import numpy as np
import pytest

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.puzzles.load import Fault
from autointerp.records import ScoreWithTrials
from autointerp.score.base import BaseScorer
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.scorers.fuzzing import FuzzingScorer
from autointerp.score.scorers.recall import RecallScorer
from tests.puzzles.built import Built
from tests.puzzles.planted import WINDOW, Planted

COLLECT = CollectConfig(context_length=WINDOW, n_top=20, n_fired=100, n_pool_blocks=2000)
CONTEXTS = ContextsConfig(n_explain=10, n_score=40, n_explain_silent=5, n_pool_tiles=4000)
SCORE = ScoreConfig(n_recall_candidates=100, n_recall_random=300, n_bootstrap=200)


@pytest.fixture(scope="module")
def built(planted: Planted) -> Built:
    return Built.build(planted, COLLECT, CONTEXTS, SCORE)


FALSE_YES, FALSE_NO = 0.1, 0.25


def n_wrong(score: ScoreWithTrials) -> tuple[int, int]:
    """Trials of true answer no that got a yes, and of true answer yes that got a no."""
    wrong = [trial.truth for trial in score.trials if trial.verdict != trial.truth]
    return wrong.count(False), wrong.count(True)


def test_rare_features_have_too_few_contexts_and_all_others_have_enough(built: Built) -> None:
    failed = {built.planted.puzzles[f].kind: failure.error_type for f, failure in built.failures.items()}
    assert failed == {"rare": "TooFewContexts"}
    assert len(built.given) >= 45


def test_a_feature_that_fires_in_every_block_is_scored_by_fuzzing_alone(built: Built) -> None:
    (dense,) = (f for f in built.given if built.planted.puzzles[f].kind == "dense")
    assert dense in built.scores(FuzzingScorer, "true")
    assert dense not in built.scores(DetectionScorer, "true")
    assert dense not in built.scores(RecallScorer, "true")


@pytest.mark.parametrize("scorer_class", [DetectionScorer, FuzzingScorer])
def test_true_labels_are_right_on_every_trial_where_a_context_shows_all_that_they_look_at(
    built: Built, scorer_class: type[BaseScorer]
) -> None:
    for feature, score in built.scores(scorer_class, "true").items():
        puzzle = built.planted.puzzles[feature]
        if puzzle.kind == "topic":
            assert score.score.value >= 0.85, puzzle.name
        else:
            assert n_wrong(score) == (0, 0), puzzle.name


@pytest.mark.parametrize("scorer_class", [DetectionScorer, FuzzingScorer])
def test_a_judge_s_errors_lower_a_score_by_what_they_must(built: Built, scorer_class: type[BaseScorer]) -> None:
    """Of a label that is right on all trials: to 1 - (false yes + false no) / 2, in the mean over features."""
    right = built.scores(scorer_class, "true")
    erring = built.scores(scorer_class, "true", false_yes=FALSE_YES, false_no=FALSE_NO)
    chosen = [f for f in right if n_wrong(right[f]) == (0, 0)]
    values = np.array([erring[f].score.value for f in chosen])
    n_each = np.mean([erring[f].score.n_trials for f in chosen]) / 2
    expected = 1 - (FALSE_YES + FALSE_NO) / 2
    error = np.sqrt((FALSE_YES * (1 - FALSE_YES) + FALSE_NO * (1 - FALSE_NO)) / (4 * n_each * len(chosen)))
    assert abs(values.mean() - expected) < 4 * error
    inside = [erring[f].score.ci_low <= expected <= erring[f].score.ci_high for f in chosen]
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize("scorer_class", [DetectionScorer, FuzzingScorer, RecallScorer])
def test_unrelated_labels_score_as_chance_does(built: Built, scorer_class: type[BaseScorer]) -> None:
    values = [s.score.value for s in built.scores(scorer_class, "unrelated").values()]
    if scorer_class is RecallScorer:
        assert np.median(values) < 0.1
    else:
        assert abs(np.mean(values) - 0.5) < 0.03


@pytest.mark.parametrize("fault", ["true", "broad", "unrelated"])
def test_recall_is_the_f1_that_is_counted_over_all_windows(built: Built, fault: Fault) -> None:
    scores = built.scores(RecallScorer, fault)
    truth = {f: built.planted.truths(f)[fault].f1 or 0.0 for f in scores}
    off = np.array([scores[f].score.value - truth[f] for f in scores])
    # The bias that is allowed, and what so few features leave to chance.
    assert abs(off.mean()) < 0.02 + off.std() / off.size**0.5
    inside = [scores[f].score.ci_low <= truth[f] <= scores[f].score.ci_high for f in scores]
    assert np.mean(inside) > 0.8


@pytest.mark.parametrize("fault", ["broad", "narrow"])
def test_labels_too_broad_or_too_narrow_fall_in_recall(built: Built, fault: Fault) -> None:
    right, wrong = built.scores(RecallScorer, "true"), built.scores(RecallScorer, fault)
    for feature, score in right.items():
        truths = built.planted.truths(feature)
        if (truths["true"].f1 or 0) - (truths[fault].f1 or 0) > 0.1:
            assert wrong[feature].score.value < score.score.value - 0.02, built.planted.puzzles[feature].name


def test_fuzzing_does_not_see_that_a_label_is_too_broad(built: Built) -> None:
    """Why it is never to be read alone: the tokens that such a label adds are seldom those that are falsely marked."""
    true, broad = (built.scores(FuzzingScorer, fault) for fault in ("true", "broad"))
    assert np.median([true[f].score.value - broad[f].score.value for f in true]) < 0.05
