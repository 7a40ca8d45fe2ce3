"""How often `compare` takes nothing for something, how often its intervals hold the truth, and what it finds.

Features are simulated as two labels on the same trials: whether either is right about a trial depends on how hard the
trial is, in part for both alike, on its document, and on chance.

1. One feature: coverage and width of the interval of the difference, and the share of tests below .05.
2. Many features of which none differs: how often any is listed as better or worse after Benjamini and Hochberg.
3. Many features of which a tenth differs: the share of false ones among those listed, and of the true ones found.
4. Over features: coverage of the interval of the mean and of the median difference, by number of features.

    python -m benchmarks.compare       # about five minutes on one core

The result stands in `compare.md`.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from autointerp.score.compare import compare_pairs, q_values
from autointerp.score.paired import (
    Difference,
    auroc_difference,
    balanced_accuracy_difference,
    f1_difference,
    interval_difference,
)

Numbers = NDArray[np.float64]
_SETTINGS = ((1, 0.0), (2, 0.5), (5, 0.5))


def hardness(rng: np.random.Generator, n: int, a_document: int, icc: float, shared: float) -> tuple[Numbers, Numbers]:
    """Standard normal hardness of n trials for either label, of which a part is shared by both and by documents."""

    def draw() -> Numbers:
        documents = rng.normal(size=-(-n // a_document))[np.arange(n) // a_document]
        return np.asarray(icc**0.5 * documents + (1 - icc) ** 0.5 * rng.normal(size=n))

    both = draw()
    one, other = (shared**0.5 * both + (1 - shared) ** 0.5 * draw() for _ in range(2))
    return one, other


def accuracies(
    rng: np.random.Generator, n: int, a_document: int, icc: float, rates: tuple[float, float], shared: float = 0.5
) -> Difference:
    """The difference of balanced accuracies of two labels that are right at two rates, n / 2 trials of either class."""
    truth = np.arange(n) < n // 2
    hard = hardness(rng, n, a_document, icc, shared)
    first, second = (np.where(of < norm.ppf(rate), truth, ~truth) for of, rate in zip(hard, rates, strict=True))
    found = balanced_accuracy_difference(truth, first, second, np.arange(n) // a_document)
    assert found is not None
    return found


def areas(
    rng: np.random.Generator, n: int, a_document: int, icc: float, rates: tuple[float, float], shared: float = 0.5
) -> Difference:
    """The difference of the AUROCs of two labels."""
    truth = np.arange(n) < n // 2
    hard = hardness(rng, n, a_document, icc, shared)
    first, second = (of + 2**0.5 * norm.ppf(rate) * truth for of, rate in zip(hard, rates, strict=True))
    found = auroc_difference(truth, first, second, np.arange(n) // a_document)
    assert found is not None
    return found


def f1s(rng: np.random.Generator, rates: tuple[float, float], alarms: tuple[float, float], base: float) -> Difference:
    """The difference of F1 on 30 firing and 1,000 silent windows."""
    truth = np.arange(1030) < 30
    hard = hardness(rng, 1030, 1, 0.0, 0.5)
    first, second = (
        of < norm.ppf(np.where(truth, hit, alarm)) for of, hit, alarm in zip(hard, rates, alarms, strict=True)
    )
    found = f1_difference(truth, first, second, rng.lognormal(size=1030), base, rng)
    assert found is not None
    return found


def true_f1(hit: float, alarm: float, base: float) -> float:
    """F1 of a label whose recall is the same for all masses."""
    precision = base * hit / (base * hit + (1 - base) * alarm)
    return 2 * precision * hit / (precision + hit)


def told(found: Sequence[Difference], truth: float) -> str:
    """Coverage, mean width and the share of tests below .05."""
    covered = np.mean([of.low <= truth <= of.high for of in found])
    width = np.mean([of.high - of.low for of in found])
    return f"{covered:.3f} ({width:.2f}) | {np.mean([of.p_value <= 0.05 for of in found]):.3f}"


def one_feature(n_runs: int) -> list[str]:
    """The first table."""
    rng = np.random.default_rng(1)
    lines = ["| measure | truth | a document, icc | n | coverage (width) | p <= .05 |", "|---|---|---|---|---|---|"]
    for name, measure in (("balanced accuracy", accuracies), ("AUROC", areas)):
        for rates in ((0.5, 0.5), (0.8, 0.8), (0.95, 0.95), (0.65, 0.85)):
            for a_document, icc in _SETTINGS:
                for n in (20, 40, 100):
                    found = [measure(rng, n, a_document, icc, rates) for _ in range(n_runs)]
                    setting = f"{name} | {rates[0]} and {rates[1]} | {a_document}, {icc} | {n}"
                    lines.append(f"| {setting} | {told(found, rates[1] - rates[0])} |")
    for base in (0.05, 0.01):
        for rates, alarms in (((0.8, 0.8), (0.02, 0.02)), ((0.8, 0.5), (0.01, 0.01)), ((0.8, 0.8), (0.02, 0.05))):
            found = [f1s(rng, rates, alarms, base) for _ in range(n_runs // 4)]
            truth = true_f1(rates[1], alarms[1], base) - true_f1(rates[0], alarms[0], base)
            setting = f"F1, base rate {base} | hits {rates}, false alarms {alarms} | 1, 0 | 1030"
            lines.append(f"| {setting} | {told(found, truth)} |")
    return lines


def many_features(n_features: int, n_runs: int) -> list[str]:
    """The second and third table."""
    rng = np.random.default_rng(2)
    lines = [
        "| measure, n, a document | any listed where none differs | false among the listed | true ones found |",
        "|---|---|---|---|",
    ]
    for name, measure in (("balanced accuracy", accuracies), ("AUROC", areas)):
        for n, a_document, icc in ((40, 1, 0.0), (40, 2, 0.5), (100, 2, 0.5)):
            any_listed, false, found = [], [], []
            for _ in range(n_runs):
                null = np.array([measure(rng, n, a_document, icc, (0.75, 0.75)).p_value for _ in range(n_features)])
                any_listed.append(bool((q_values(null) <= 0.05).any()))
                n_true = n_features // 10
                differ = [measure(rng, n, a_document, icc, (0.6, 0.95)).p_value for _ in range(n_true)]
                listed = q_values(np.array([*differ, *null[n_true:]])) <= 0.05
                false.append(listed[n_true:].sum() / max(1, listed.sum()))
                found.append(listed[:n_true].mean())
            shares = f"{np.mean(any_listed):.3f} | {np.mean(false):.3f} | {np.mean(found):.2f}"
            lines.append(f"| {name}, {n}, {a_document} | {shares} |")
    # Two intervals of trials apart, taken where the trials are not the same.
    listed_apart = []
    for _ in range(n_runs):
        p_values = []
        for _ in range(n_features):
            one, other = rng.binomial(40, 0.75, size=2) / 40
            half = 1.96 * (0.75 * 0.25 / 40) ** 0.5
            p_values.append(
                interval_difference((one, one - half, one + half), (other, other - half, other + half)).p_value
            )
        listed_apart.append(bool((q_values(np.array(p_values)) <= 0.05).any()))
    lines.append(f"| intervals of independent trials, 40 | {np.mean(listed_apart):.3f} | | |")
    return lines


def over_features(n_runs: int) -> list[str]:
    """The fourth table."""
    rng = np.random.default_rng(3)
    lines = ["| features | differences | mean: coverage (width) | median: coverage (width) |", "|---|---|---|---|"]
    for n in (6, 10, 30, 100, 500):
        for name, draw, truth in (
            ("normal", lambda size: rng.normal(0.03, 0.1, size), 0.03),
            ("mostly 0, a few large", lambda size: np.where(rng.random(size) < 0.1, 0.4, 0.0), 0.04),
            ("of 40 trials", lambda size: rng.binomial(40, 0.78, size) / 40 - rng.binomial(40, 0.75, size) / 40, 0.03),
        ):
            middle = float(np.median(draw(1_000_001)))
            found = [compare_pairs(np.full(n, 0.5), np.asarray(0.5 + draw(n))) for _ in range(n_runs)]
            cells = []
            for ends, true in (
                ([(of.mean.low, of.mean.high) for of in found], truth),
                ([(of.median.low, of.median.high) for of in found], middle),
            ):
                known = [(low, high) for low, high in ends if low is not None and high is not None]
                covered = np.mean([low - 1e-9 <= true <= high + 1e-9 for low, high in known])
                cells.append(f"{covered:.3f} ({np.mean([high - low for low, high in known]):.3f})")
            lines.append(f"| {n} | {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000, help="simulated features a setting")
    parser.add_argument("--sets", type=int, default=60, help="simulated sets of 200 features")
    asked = parser.parse_args()
    tables = (one_feature(asked.runs), many_features(200, asked.sets), over_features(4 * asked.runs))
    print("\n\n".join("\n".join(lines) for lines in tables))


if __name__ == "__main__":
    main()
