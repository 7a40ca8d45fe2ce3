from dataclasses import replace

import numpy as np
import pytest

from autointerp.score.paired import auroc_difference, balanced_accuracy_difference
from autointerp.score.same_trials import ScoredTrials, compare_scores

TRUTH = tuple(place < 10 for place in range(20))


def scored(*wrong: int, lacks: tuple[int, ...] = ()) -> ScoredTrials:
    verdicts = [None if place in lacks else truth != (place in wrong) for place, truth in enumerate(TRUTH)]
    answered = [place for place in range(20) if place not in lacks]
    of_class = [[place not in wrong for place in answered if TRUTH[place] == truth] for truth in (True, False)]
    value = float(np.mean([np.mean(right) for right in of_class]))
    return ScoredTrials(
        metric="balanced accuracy",
        value=value,
        low=max(0.0, value - 0.2),
        high=min(1.0, value + 0.2),
        keys=[f"{place:02}" for place in range(20)],
        truth=TRUTH,
        verdicts=verdicts,
        probabilities=[None] * 20,
        groups=[str(place // 2) for place in range(20)],
        is_plain=True,
    )


def test_the_same_trials_are_compared_pair_by_pair() -> None:
    first, second = scored(0, 1, 2, 3, 11, 13), scored(3)
    found = compare_scores(first, second)
    truth, clusters = np.array(TRUTH), np.arange(20) // 2
    assert found.by_trials
    assert found.difference == balanced_accuracy_difference(
        truth, np.array(first.verdicts), np.array(second.verdicts), clusters
    )


def test_similarities_are_compared_by_the_areas_under_their_curves() -> None:
    rng = np.random.default_rng(0)
    both = []
    for strength in (0.5, 3.0):
        said = rng.random(20) + strength * np.array(TRUTH)
        area = float(np.mean(said[:10, None] > said[None, 10:]))
        both.append(replace(scored(), metric="AUROC", value=area, verdicts=[None] * 20, probabilities=said.tolist()))
    found = compare_scores(*both)
    assert found.by_trials
    one, other = (np.array(of.probabilities) for of in both)
    assert found.difference == auroc_difference(np.array(TRUTH), one, other, np.arange(20) // 2)


@pytest.mark.parametrize(
    "other",
    [
        replace(scored(3), keys=[f"other {place:02}" for place in range(20)]),
        replace(scored(3), keys=(), truth=(), verdicts=(), probabilities=(), groups=()),
        replace(scored(3), is_plain=False),
        replace(scored(3), value=0.5),  # it is not made of these trials alone
    ],
    ids=["other contexts", "none kept", "weighted or stopped early", "another measure"],
)
def test_other_trials_are_compared_by_their_intervals(other: ScoredTrials) -> None:
    first = scored(0, 1, 2, 3, 11, 13)
    found = compare_scores(first, other)
    assert not found.by_trials
    assert found.difference.value == pytest.approx(other.value - first.value)
    assert found.difference.low < found.difference.value < found.difference.high


def test_a_metric_that_nothing_here_knows_is_compared_by_intervals() -> None:
    first, second = (replace(of, metric="correlation") for of in (scored(0, 1), scored(3)))
    assert not compare_scores(first, second).by_trials


def test_an_unanswered_trial_widens_and_never_counts_as_wrong() -> None:
    whole, lacking = compare_scores(scored(0, 1, 2), scored()), compare_scores(scored(0, 1, 2), scored(lacks=(5, 6)))
    assert lacking.by_trials
    # Of the eight firing trials that both answered the first has three wrong.
    assert lacking.difference.value == pytest.approx(3 / 8 / 2)
    assert lacking.difference.low < whole.difference.low
    assert lacking.difference.p_value > whole.difference.p_value


def test_where_what_is_missing_may_turn_it_round_no_difference_is_told() -> None:
    found = compare_scores(scored(0, lacks=()), scored(lacks=(4, 5, 6)))
    assert found.difference.value > 0
    assert found.difference.low < 0
    assert found.difference.p_value == 1


def test_similarities_that_are_missing_are_bounded_too() -> None:
    said = [float(place < 10) + place / 100 for place in range(20)]
    lacking = replace(
        scored(),
        metric="AUROC",
        value=1.0,
        verdicts=[None] * 20,
        probabilities=[None if place in (2, 15) else of for place, of in enumerate(said)],
    )
    whole = replace(lacking, probabilities=said)
    found = compare_scores(whole, lacking)
    assert found.by_trials
    assert found.difference.value == 0
    assert found.difference.low < -0.1
