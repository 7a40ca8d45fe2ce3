"""How often the scorers' 95 % intervals hold the truth, and how wide they are.

Balanced accuracy: exact, over every outcome of 20 + 20 trials. AUROC and F1 at the natural base rate: seeded
simulation of what the scorers measure, beside the interval that a plain bootstrap of the same trials would give for F1.
Then balanced accuracy and AUROC where contexts share documents, and balanced accuracy where answers are missing.

    python -m benchmarks.score_intervals       # about two minutes on one core

The result stands in `score_intervals.md`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from autointerp.score import metrics
from autointerp.score.confusion import Confusion, confusion
from autointerp.score.metrics import Estimate, Stratum

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


def clustered_coverage(
    rates: tuple[float, float], n: int, size: int, icc: float, n_runs: int, *, is_told: bool = True
) -> tuple[float, float]:
    """Coverage and mean width for balanced accuracy where each document has `size` trials of one class.

    Args:
        rates: Sensitivity and specificity.
        n: Trials of both classes together.
        size: Trials a document; the last may have fewer.
        icc: Intraclass correlation of right and wrong answers: each document's rate is from a beta distribution.
        n_runs: Simulated features.
        is_told: Whether the interval knows which trials share a document, or takes them as independent.
    """
    rng = np.random.default_rng(3)
    truth, cluster = _clusters(n, size)
    told = cluster if is_told else None
    estimates = [
        metrics.balanced_accuracy(confusion(truth, _right(rng, rates, truth, cluster, icc) == truth, told))
        for _ in range(n_runs)
    ]
    return _held(estimates, sum(rates) / 2)


def clustered_auroc_coverage(area: float, n: int, size: int, icc: float, n_runs: int) -> tuple[float, float]:
    """The same for the AUROC of two normal distributions, each document's mean taking a share `icc` of the variance."""
    rng = np.random.default_rng(4)
    truth, cluster = _clusters(n, size)
    shift = norm.ppf(area) * 2**0.5

    def scores() -> Numbers:
        shared = rng.normal(size=cluster.max() + 1)[cluster]
        drawn: Numbers = icc**0.5 * shared + (1 - icc) ** 0.5 * rng.normal(size=n) + shift * truth
        return drawn

    return _held([metrics.auroc(truth, scores(), cluster) for _ in range(n_runs)], area)


def shared_coverage(rate: float, n: int, size: int, n_runs: int, *, is_told: bool = True) -> tuple[float, float]:
    """The same for balanced accuracy where half of each document's trials are of either class, all of one rate.

    Where the interval is not told so, it takes each document for two, one of each class.
    """
    rng = np.random.default_rng(6)
    truth, cluster = np.arange(n) % 2 == 0, np.arange(n) // size
    told = cluster if is_told else 2 * cluster + truth
    estimates = [
        metrics.balanced_accuracy(confusion(truth, _right(rng, (rate, rate), truth, cluster, 0.5) == truth, told))
        for _ in range(n_runs)
    ]
    return _held(estimates, rate)


def unanswered_coverage(
    rates: tuple[float, float], n: int, missing: tuple[float, float], n_runs: int
) -> tuple[float, float, float]:
    """Coverage and mean width for balanced accuracy with unanswered trials, and the coverage were they ignored.

    Args:
        rates: Sensitivity and specificity, had all been answered.
        n: Trials of both classes together.
        missing: Share of the right and of the wrong answers that never come.
        n_runs: Simulated features.
    """
    rng = np.random.default_rng(5)
    truth, cluster = _clusters(n, 1)
    widened, ignored = [], []
    for _ in range(n_runs):
        right = _right(rng, rates, truth, cluster, 0.0)
        lost = rng.random(n) < np.where(right, *missing)
        plain = metrics.balanced_accuracy(confusion(truth[~lost], (right == truth)[~lost]))
        ends = [
            metrics.balanced_accuracy(confusion(truth, np.where(lost, end, right) == truth)) for end in (False, True)
        ]
        if plain is None or ends[0] is None or ends[1] is None:
            continue  # a class without an answer is a failure, not a score
        ignored.append(plain)
        widened.append(replace(plain, low=min(plain.low, ends[0].low), high=max(plain.high, ends[1].high)))
    truly = sum(rates) / 2
    return *_held(widened, truly), _held(ignored, truly)[0]


def _clusters(n: int, size: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    half = np.arange(n // 2) // size
    return np.arange(n) < n // 2, np.concatenate([half, half + half.max() + 1])


def _right(
    rng: np.random.Generator,
    rates: tuple[float, float],
    truth: NDArray[np.bool_],
    cluster: NDArray[np.int64],
    icc: float,
) -> NDArray[np.bool_]:
    rate = np.where(truth, *rates)
    if icc > 0:
        spread = (1 - icc) / icc
        of_cluster = rate[np.unique(cluster, return_index=True)[1]]
        rate = rng.beta(of_cluster * spread, (1 - of_cluster) * spread)[cluster]
    right: NDArray[np.bool_] = rng.random(truth.size) < rate
    return right


def _held(estimates: Sequence[Estimate | None], truth: float) -> tuple[float, float]:
    known = [e for e in estimates if e is not None]
    covered = np.mean([e.low <= truth <= e.high for e in known])
    return float(covered), float(np.mean([e.high - e.low for e in known]))


def _print_clusters(n_runs: int) -> None:
    columns = [(size, icc, n) for size, icc in ((2, 0.5), (5, 0.5), (5, 0.0)) for n in (20, 40, 100)]
    print("\n| a document, icc, n | " + " | ".join(f"{size}, {icc:g}, {n}" for size, icc, n in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for rates in ((0.5, 0.5), (0.7, 0.9), (0.8, 0.8), (0.9, 0.9), (0.95, 0.95), (0.98, 0.98)):
        for is_told, note in ((True, ""), (False, ", as independent")):
            cells = [clustered_coverage(rates, n, size, icc, n_runs, is_told=is_told) for size, icc, n in columns]
            _print_row(f"balanced accuracy {rates[0]}, {rates[1]}{note}", cells)
    for area in (0.5, 0.7, 0.9, 0.97):
        _print_row(f"AUROC {area}", [clustered_auroc_coverage(area, n, size, icc, n_runs) for size, icc, n in columns])


def _print_shared(n_runs: int) -> None:
    columns = [(size, n) for size in (2, 4) for n in (20, 40, 100)]
    print("\n| a document, n | " + " | ".join(f"{size}, {n}" for size, n in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for rate in (0.6, 0.8, 0.9, 0.95):
        for is_told, note in ((True, ""), (False, ", as two documents")):
            cells = [shared_coverage(rate, n, size, n_runs, is_told=is_told) for size, n in columns]
            _print_row(f"balanced accuracy {rate}, {rate}{note}", cells)


def _print_unanswered(n_runs: int) -> None:
    print("\n| rates | missing of right, wrong | n | coverage | mean width | coverage, were they ignored |")
    print("|---|---|---|---|---|---|")
    for rate in (0.5, 0.6, 0.8, 0.95):
        for missing in ((0.3, 0.3), (0.0, 0.5)):
            for n in (20, 40, 100):
                covered, width, ignored = unanswered_coverage((rate, rate), n, missing, n_runs)
                print(f"| {rate} | {missing[0]}, {missing[1]} | {n} | {covered:.3f} | {width:.2f} | {ignored:.3f} |")


def _print_row(name: str, cells: Sequence[tuple[float, float]]) -> None:
    print(f"| {name} | " + " | ".join(f"{covered:.3f} ({width:.2f})" for covered, width in cells) + " |")


def main() -> None:
    """Print the tables."""
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
    _print_clusters(2 * n_runs)
    _print_shared(2 * n_runs)
    _print_unanswered(2 * n_runs)


if __name__ == "__main__":
    main()
