"""How far two judges agree, or one judge with itself: on the same trials of the same labels, and on scores.

1. Share of trials with the same verdict. Two that say yes to nearly everything agree by chance alone, so beside it:
2. Cohen's (1960) kappa, (share - chance) / (1 - chance), where chance is that of two who say yes as often as these do;
   and Krippendorff's (2011) alpha, where it is that of two who say yes as often as both together.
3. Of the features' scores the intraclass correlation ICC(A,1) (McGraw and Wong 1996): of the variance of scores, the
   share that is between features, a judge that is stricter throughout counting against it.

Intervals are Bayesian bootstraps over features (Rubin 1981): a feature's trials are judged alike, so that it is the
feature that is drawn. Where all tell the same no draw differs, and there is none, but of a share of 1 Wilson's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from autointerp.score import metrics

_N_DRAWS = 2000
_FEWEST = 3
_SAME = 1e-9

_Sums = Float64[np.ndarray, "draw sum"]
_Draws = Float64[np.ndarray, " draw"]
_Measure = Callable[[_Sums], _Draws]


@dataclass(frozen=True, slots=True)
class Agreed:
    """A measure of agreement, 1 where it is complete.

    Attributes:
        value: The measure; None where it is undefined: both said the same to everything, no score differs, or of
            scores there is one feature.
        low: Lower end of the 95 % interval; None where there is none: of fewer than 3 features, and where every feature
            tells the same, which does not tell how others would; of a share of 1 there is one of any number.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class VerdictAgreement:
    """How far verdicts agree.

    Attributes:
        n_trials: Trials that both answered.
        n_features: Features that these are of.
        share: Of trials with the same verdict.
        kappa: Cohen's.
        alpha: Krippendorff's, of yes and no.
    """

    n_trials: int
    n_features: int
    share: Agreed
    kappa: Agreed
    alpha: Agreed


def verdict_agreement(tables: Float64[np.ndarray, "feature 4"], rng: np.random.Generator) -> VerdictAgreement:
    """Agreement of verdicts.

    Args:
        tables: Trials of each feature to which both said yes, only the first, only the second, and neither; of each at
            least one trial.
        rng: Source of the draws behind intervals.
    """
    n_trials = int(tables.sum())
    assert (tables.sum(axis=1) > 0).all()
    return VerdictAgreement(
        n_trials=n_trials,
        n_features=len(tables),
        share=_of_share(tables, rng),
        kappa=_with_interval(_kappa, tables, rng),
        alpha=_with_interval(_alpha, tables, rng),
    )


def score_agreement(values: Float64[np.ndarray, "feature 2"], rng: np.random.Generator) -> Agreed:
    """The intraclass correlation ICC(A,1) of two scores of each feature.

    Args:
        values: The first's and the second's.
        rng: Source of the draws behind the interval.
    """
    if len(values) < 2:
        return Agreed(None)
    # About their mean, so that scores that all but agree are not lost in the rounding of squares.
    one, other = (values - values.mean()).T
    moments = np.column_stack([np.ones(len(values)), one, other, one**2, other**2, one * other])
    return _with_interval(_correlation, moments, rng)


def _with_interval(measure: _Measure, rows: Float64[np.ndarray, "feature sum"], rng: np.random.Generator) -> Agreed:
    """A measure of rows' sums, with the interval of their Bayesian bootstrap; NaN, inside this file, is undefined."""
    seen = float(measure(rows.sum(axis=0, keepdims=True))[0])
    if np.isnan(seen):
        return Agreed(None)
    n = len(rows)
    if n < _FEWEST:
        return Agreed(seen)
    drawn = measure(rng.dirichlet(np.ones(n), _N_DRAWS) * n @ rows)
    # A bootstrap's spread is that of n - 1 features.
    low, high = np.nanquantile(seen + (drawn - seen) * (n / (n - 1)) ** 0.5, (0.025, 0.975))
    if high - low < _SAME:
        return Agreed(seen)
    return Agreed(seen, min(float(low), seen), min(1.0, max(float(high), seen)))


def _of_share(tables: Float64[np.ndarray, "feature 4"], rng: np.random.Generator) -> Agreed:
    """Where all verdicts agree, no draw does otherwise, and the low end is Wilson's of as many features that agree.

    The share of trials is at least that of features all of whose trials agree.
    """
    if tables[:, 1:3].any():
        return _with_interval(_share, tables, rng)
    wholly = metrics.proportion(len(tables), len(tables))
    assert wholly is not None, "there is a feature"
    return Agreed(1.0, wholly.low, 1.0)


def _share(sums: _Sums) -> _Draws:
    both, first, second, neither = sums.T
    return np.asarray((both + neither) / (both + first + second + neither))


def _kappa(sums: _Sums) -> _Draws:
    both, first, second, neither = sums.T
    n = both + first + second + neither
    yes = (both + first) / n, (both + second) / n
    return _beyond(_share(sums), yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1]))


def _alpha(sums: _Sums) -> _Draws:
    both, first, second, neither = sums.T
    n = 2 * (both + first + second + neither)
    yes = 2 * both + first + second
    return _beyond(_share(sums), 1 - 2 * yes * (n - yes) / (n * (n - 1)))


def _beyond(share: _Draws, chance: _Draws) -> _Draws:
    found: _Draws = np.full_like(share, np.nan)
    np.divide(share - chance, 1 - chance, out=found, where=chance < 1 - 1e-12)
    return found


def _correlation(sums: _Sums) -> _Draws:
    n, one, other, square, other_square, product = sums.T
    covariance = product / n - one * other / n**2
    spread = square / n - (one / n) ** 2 + other_square / n - (other / n) ** 2
    shift = (one / n - other / n) ** 2
    # Mean squares of rows, columns and the rest, of which ICC(A,1) is made, times what cancels, for two columns.
    between, rest = (spread + 2 * covariance) / 2, (spread - 2 * covariance) / 2
    rows, errors = between * n / (n - 1), rest * n / (n - 1)
    columns = shift * n / 2
    below = rows + errors + 2 * (columns - errors) / n
    found: _Draws = np.full_like(below, np.nan)
    np.divide(rows - errors, below, out=found, where=below > 1e-15)
    return found
