"""Planted features, an oracle, and what a label is worth over windows as they come, and against near labels."""

import numpy as np
import pytest

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.puzzles.load import Fault
from autointerp.puzzles.truth import Truth
from autointerp.score.scorers.discrimination import DiscriminationScorer
from autointerp.score.scorers.natural import NaturalScorer
from tests.puzzles.built import Built
from tests.puzzles.planted import WINDOW, Planted

COLLECT = CollectConfig(context_length=WINDOW, n_top=20, n_fired=100, n_pool_blocks=2000)
CONTEXTS = ContextsConfig(n_explain=10, n_score=40, n_explain_silent=5, n_pool_tiles=4000)
SCORE = ScoreConfig(n_natural=400, n_siblings=4, n_bootstrap=200)
FALSE_YES, FALSE_NO = 0.1, 0.25


@pytest.fixture(scope="module")
def built(planted: Planted) -> Built:
    return Built.build(planted, COLLECT, CONTEXTS, SCORE)


def correlation(truth: Truth, false_yes: float = 0.0, false_no: float = 0.0) -> float:
    """Of firing and a yes to the label, over all windows, by a judge who errs so often; 0 where it can't be said."""
    if truth.n_said == 0 or truth.sensitivity is None or truth.false_alarm_rate is None:
        return 0.0
    hit, alarm = (one * (1 - false_no) + (1 - one) * false_yes for one in (truth.sensitivity, truth.false_alarm_rate))
    base = truth.base_rate
    yes = base * hit + (1 - base) * alarm
    return max(0.0, float((hit - alarm) * np.sqrt(base * (1 - base) / (yes * (1 - yes)))))


@pytest.mark.parametrize("fault", ["true", "broad", "narrow", "unrelated"])
def test_natural_is_the_correlation_that_is_counted_over_all_windows(built: Built, fault: Fault) -> None:
    scores = built.scores(NaturalScorer, fault)
    truth = {f: correlation(built.planted.truths(f)[fault]) for f in scores}
    # The windows of narrow labels' few hits are the same few documents for many features.
    assert abs(np.mean([scores[f].score.value - truth[f] for f in scores])) < (0.05 if fault == "narrow" else 0.025)
    inside = [scores[f].score.ci_low <= truth[f] <= scores[f].score.ci_high for f in scores]
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize("fault", ["true", "broad"])
def test_a_judge_s_errors_lower_it_by_what_they_must(built: Built, fault: Fault) -> None:
    scores = built.scores(NaturalScorer, fault, false_yes=FALSE_YES, false_no=FALSE_NO)
    truth = {f: correlation(built.planted.truths(f)[fault], FALSE_YES, FALSE_NO) for f in scores}
    assert abs(np.mean([scores[f].score.value - truth[f] for f in scores])) < 0.03
    inside = [scores[f].score.ci_low <= truth[f] <= scores[f].score.ci_high for f in scores]
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize("fault", ["broad", "narrow"])
def test_labels_too_broad_or_too_narrow_fall_in_natural(built: Built, fault: Fault) -> None:
    right, wrong = built.scores(NaturalScorer, "true"), built.scores(NaturalScorer, fault)
    for feature, score in right.items():
        truths = built.planted.truths(feature)
        if correlation(truths["true"]) - correlation(truths[fault]) > 0.1:
            assert wrong[feature].score.value < score.score.value - 0.02, built.planted.puzzles[feature].name


def test_true_labels_are_told_from_all_near_ones_and_unrelated_ones_are_at_chance(built: Built) -> None:
    right, wrong = (built.scores(DiscriminationScorer, fault) for fault in ("true", "unrelated"))
    assert len(right) >= 40
    for feature, score in right.items():
        puzzle = built.planted.puzzles[feature]
        assert score.score.value >= (0.8 if puzzle.kind == "topic" else 0.97), puzzle.name
    assert np.mean([score.score.value for score in wrong.values()]) == pytest.approx(0.5, abs=0.04)


def test_errors_lower_discrimination_by_what_they_must(built: Built) -> None:
    right = built.scores(DiscriminationScorer, "true")
    erring = built.scores(DiscriminationScorer, "true", false_yes=FALSE_YES, false_no=FALSE_NO)
    chosen = [f for f in right if right[f].score.value == 1.0]
    expected = 1 - (FALSE_YES + FALSE_NO) / 2
    assert np.mean([erring[f].score.value for f in chosen]) == pytest.approx(expected, abs=0.02)
    inside = [erring[f].score.ci_low <= expected <= erring[f].score.ci_high for f in chosen]
    assert np.mean(inside) > 0.85
