"""How often the scorers' 95 % intervals hold the truth, and how wide they are.

Balanced accuracy: exact, over every outcome of 20 + 20 trials. AUROC and F1 at the natural base rate: seeded
simulation of what the scorers measure, beside the interval that a plain bootstrap of the same trials would give for F1.

    python -m benchmarks.score_intervals       # about 15 seconds on one core

The result stands in `score_intervals.md`.
"""

import argparse
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from autointerp.score import metrics
from autointerp.score.metrics import Confusion, Stratum

Numbers = NDArray[np.float64]
N = 20
N_TILES, N_LIKELY, N_REST = 1000, 20, 20


def balanced_accuracy_coverage(sensitivity: float, specificity: float) -> tuple[float, float]:
    """Coverage and mean width of the interval of balanced accuracy on N + N trials."""
    covered = width = 0.0
    for tp, tn in product(range(N + 1), repeat=2):
        probability = float(binom.pmf(tp, N, sensitivity) * binom.pmf(tn, N, specificity))
        estimate = metrics.balanced_accuracy(Confusion(tp, N - tp, N - tn, tn))
        assert estimate is not None
        covered += probability * (estimate.low <= (sensitivity + specificity) / 2 <= estimate.high)
        width += probability * (estimate.high - estimate.low)
    return covered, width


def auroc_coverage(area: float, n_runs: int) -> tuple[float, float]:
    """Coverage and mean width of the interval of the AUROC of two normal distributions of one width."""
    rng = np.random.default_rng(1)
    truth = np.arange(2 * N) < N
    shift = norm.ppf(area) * 2**0.5
    estimates = [metrics.auroc(truth, rng.normal(size=2 * N) + shift * truth) for _ in range(n_runs)]
    known = [e for e in estimates if e is not None]
    return (
        float(np.mean([e.low <= area <= e.high for e in known])),
        float(np.mean([e.high - e.low for e in known])),
    )


def f1_coverage(base: float, likely: float, rest: float, n_runs: int) -> tuple[float, float, float]:
    """Coverage and mean width for F1 at the base rate, and the coverage of a plain bootstrap.

    Args:
        base: Share of contexts in which the feature fires.
        likely: Share of the retrieved silent tiles that get a yes.
        rest: Share of the other silent tiles that get a yes.
        n_runs: Simulated features.
    """
    rng = np.random.default_rng(2)
    sensitivity = 0.8
    sizes = (N_LIKELY, N_TILES - N_LIKELY)
    alarm = (sizes[0] * likely + sizes[1] * rest) / N_TILES
    truth = float(_f1(*np.array([[sensitivity], [sensitivity], [alarm], [base]]))[0])
    held, plain_held, widths = [], [], []
    for _ in range(n_runs):
        verdict, mass = rng.random(N) < sensitivity, rng.lognormal(size=N)
        n_yes = rng.binomial(N_LIKELY, likely), rng.binomial(N_REST, rest)
        n_firing = rng.binomial(2 * N_TILES, base)
        recovered = metrics.recovered(verdict, mass, 1000, rng)
        strata = (Stratum(sizes[0], N_LIKELY, n_yes[0]), Stratum(sizes[1], N_REST, n_yes[1]))
        alarms = metrics.stratified_rate(strata, 1000, rng)
        base_rate = metrics.firing_rate(n_firing, 2 * N_TILES, base, 1000, rng)
        estimate = metrics.f1_at_base_rate(recovered.mass, recovered.contexts, alarms, base_rate).estimate
        held.append(estimate.low <= truth <= estimate.high)
        widths.append(estimate.high - estimate.low)
        low, high = _plain_bootstrap(verdict, mass, n_yes, n_firing, rng)
        plain_held.append(low <= truth <= high)
    return float(np.mean(held)), float(np.mean(widths)), float(np.mean(plain_held))


def _plain_bootstrap(
    verdict: NDArray[np.bool_], mass: Numbers, n_yes: tuple[int, int], n_firing: int, rng: np.random.Generator
) -> tuple[float, float]:
    rows = rng.integers(0, N, size=(1000, N))
    hit = verdict[rows].mean(axis=1)
    recall = (mass * verdict)[rows].sum(axis=1) / mass[rows].sum(axis=1)
    rest = rng.binomial(N_REST, n_yes[1] / N_REST, size=1000) / N_REST
    alarm = (n_yes[0] + (N_TILES - N_LIKELY) * rest) / N_TILES
    base = rng.binomial(2 * N_TILES, n_firing / (2 * N_TILES), size=1000) / (2 * N_TILES)
    low, high = np.quantile(np.nan_to_num(_f1(recall, hit, alarm, base)), [0.025, 0.975])
    return float(low), float(high)


def _f1(recall: Numbers, hit: Numbers, alarm: Numbers, base: Numbers) -> Numbers:
    with np.errstate(invalid="ignore"):
        precision = base * hit / (base * hit + (1 - base) * alarm)
        return 2 * precision * recall / (precision + recall)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="simulated features a setting")
    n_runs = parser.parse_args().runs
    print("| measure | setting | coverage | mean width | plain bootstrap's coverage |\n|---|---|---|---|---|")
    for sensitivity, specificity in ((0.5, 0.5), (0.7, 0.9), (0.8, 0.95), (0.9, 0.9), (0.98, 0.98), (0.995, 0.995)):
        covered, width = balanced_accuracy_coverage(sensitivity, specificity)
        setting = f"sensitivity {sensitivity}, specificity {specificity}"
        print(f"| balanced accuracy | {setting} | {covered:.3f} | {width:.2f} | |")
    for area in (0.5, 0.7, 0.9, 0.97):
        covered, width = auroc_coverage(area, n_runs)
        print(f"| AUROC | {area} | {covered:.3f} | {width:.2f} | |")
    alarms = ((0.1, 0.3, 0.05), (0.02, 0.3, 0.05), (0.02, 0.1, 0.005), (0.002, 0.1, 0.001), (0.002, 0.3, 0.05))
    for base, likely, rest in alarms:
        covered, width, plain = f1_coverage(base, likely, rest, n_runs)
        setting = f"base rate {base}, false alarms {likely} likely, {rest} rest"
        print(f"| F1 at base rate | {setting} | {covered:.3f} | {width:.2f} | {plain:.3f} |")


if __name__ == "__main__":
    main()
