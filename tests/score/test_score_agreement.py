import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from autointerp.score.agreement import score_agreement, verdict_agreement


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_kappa_is_that_of_sklearn_and_alpha_is_worked_out_by_hand() -> None:
    tables = np.array([[4, 1, 0, 5], [3, 2, 1, 4], [0, 0, 2, 8]], dtype=float)
    found = verdict_agreement(tables, rng())
    one, other = (
        np.repeat([1, 1, 0, 0], tables.sum(axis=0).astype(int)),
        np.repeat([1, 0, 1, 0], tables.sum(axis=0).astype(int)),
    )
    assert found.n_trials == 30
    assert found.share.value == pytest.approx(24 / 30)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other))
    # Of 60 answers 20 are yes: any two of them differ with the chance 2 * 20 * 40 / (60 * 59).
    assert found.alpha.value == pytest.approx(1 - (6 / 30) / (2 * 20 * 40 / (60 * 59)))


def test_who_says_yes_to_everything_agrees_by_chance_alone_and_kappa_is_undefined() -> None:
    found = verdict_agreement(np.array([[20, 0, 0, 0]] * 5, dtype=float), rng())
    assert found.share.value == 1
    assert found.kappa.value is None
    assert found.alpha.value is None


def test_of_two_features_there_is_no_interval() -> None:
    found = verdict_agreement(np.array([[4, 1, 0, 5], [3, 2, 1, 4]], dtype=float), rng())
    assert found.share.low is None
    assert found.kappa.value is not None


@pytest.mark.parametrize("n_features", [1, 4, 50])
def test_where_all_verdicts_agree_the_share_may_still_be_lower_for_other_features(n_features: int) -> None:
    found = verdict_agreement(np.array([[5, 0, 0, 5]] * n_features, dtype=float), rng())
    by_wilson = n_features / (n_features + 1.959964**2)
    assert (found.n_trials, found.n_features) == (10 * n_features, n_features)
    assert found.share.low == pytest.approx(by_wilson)
    assert (found.share.value, found.share.high) == (1, 1)
    assert (found.kappa.value, found.kappa.low, found.kappa.high) == (1, None, None)


@pytest.mark.parametrize("values", [[[0.7, 0.7], [0.8, 0.8], [0.9, 0.9]], [[0.7, 0.8]] * 4, [[0.1, 0.3]] * 6])
def test_scores_that_differ_alike_have_a_correlation_without_an_interval(values: list[list[float]]) -> None:
    found = score_agreement(np.array(values), rng())
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_scores_of_one_feature_have_no_correlation() -> None:
    assert score_agreement(np.array([[0.7, 0.8]]), rng()).value is None


def by_analysis_of_variance(values: np.ndarray) -> float:
    """ICC(A,1) from the mean squares, as McGraw and Wong have it."""
    n, k = values.shape
    grand = values.mean()
    rows = k * np.sum((values.mean(axis=1) - grand) ** 2) / (n - 1)
    columns = n * np.sum((values.mean(axis=0) - grand) ** 2) / (k - 1)
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + grand
    errors = np.sum(rest**2) / ((n - 1) * (k - 1))
    return float((rows - errors) / (rows + (k - 1) * errors + k * (columns - errors) / n))


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_intraclass_correlation_is_that_of_the_mean_squares(shift: float) -> None:
    draw = np.random.default_rng(1)
    features = draw.normal(0.6, 0.2, 40)
    values = np.column_stack([features + draw.normal(0, 0.1, 40), features + shift + draw.normal(0, 0.1, 40)])
    found = score_agreement(values, rng())
    assert found.value == pytest.approx(by_analysis_of_variance(values))
    assert found.low is not None
    assert found.high is not None
    assert found.low < by_analysis_of_variance(values) < found.high


def test_scores_that_don_t_differ_at_all_have_no_correlation() -> None:
    assert score_agreement(np.full((5, 2), 0.5), rng()).value is None


def test_intervals_hold_the_truth_about_nineteen_times_in_twenty() -> None:
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        # Features of which each is agreed on at a rate of its own, .85 on average: trials are no independent draws.
        rates = draw.beta(8.5, 1.5, 40)
        same = draw.binomial(20, rates)
        yes = draw.binomial(same, 0.5)
        first = draw.binomial(20 - same, 0.5)
        tables = np.column_stack([yes, first, 20 - same - first, same - yes]).astype(float)
        share = verdict_agreement(tables, draw).share
        assert share.low is not None
        assert share.high is not None
        held += share.low <= 0.85 <= share.high
    assert 0.91 <= held / 300 <= 0.98
