"""How many windows have to be judged for a score on the natural distribution, drawn by importance and drawn uniformly.

Seeded simulation of labels of known recall (.4, .8, .95) and precision (.3, .6, .9) on features of known firing rate,
with a judge that errs: of windows that the label describes it says no to 2 %, of others yes to 1 in 500, and a share
`ERRORS` of its answers is turned round. Windows come in groups of documents, half of a group's alike (`ALIKE`).

- By importance, as the scorer `natural` does: 20 firing windows and 40 silent ones of 1,000, in strata by the
  similarity of label and text, which lies 2 standard deviations higher where the label describes a silent window.
- Uniformly: windows as they come, whatever they are.

    python -m benchmarks.natural [--repeats 100]       # some minutes on one core

The result stands in `natural.md`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import stats

from autointerp.score import metrics
from autointerp.score.metrics import Estimate
from autointerp.score.natural import Natural, Windows, estimate, tell
from autointerp.score.scorers.natural import silent_strata

N_TILES, N_SILENT, N_FIRING, N_ASKED, N_DRAWS = 2048, 1000, 20, 40, 400
NEARER, ALIKE, PER_GROUP = 2.0, 0.5, 3
RECALLS, PRECISIONS = (0.4, 0.8, 0.95), (0.3, 0.6, 0.9)
BASES, ERRORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), (0.0, 0.02)
YES_NO = (8, 2), (1, 9)
MOST_UNIFORM = 30_000
MEASURES = ("correlation", "f1", "auprc")


@dataclass(frozen=True)
class Label:
    """A label on a feature.

    Attributes:
        base: Share of windows in which the feature fires.
        recall: Share of firing windows that the label describes.
        alarm: Share of silent windows that it describes.
        error: Share of the judge's answers that are turned round.
    """

    base: float
    recall: float
    alarm: float
    error: float

    def draw(self, is_firing: Bool[np.ndarray, " window"], rng: np.random.Generator) -> "Drawn":
        """Windows, some of one group, with the judge's answers."""
        n = is_firing.size
        group = rng.integers(0, max(1, n // PER_GROUP), n)
        shared = rng.random(n // PER_GROUP + 1)
        level = np.where(rng.random(n) < ALIKE, shared[group], rng.random(n))
        describes = level < np.where(is_firing, self.recall, self.alarm)
        belief = np.where(describes, *(rng.beta(*of, n) for of in YES_NO))
        belief = np.round(np.where(rng.random(n) < self.error, 1 - belief, belief), 2)
        return Drawn(is_firing, belief, group, rng.normal(NEARER * describes, 1.0))


@dataclass(frozen=True)
class Drawn:
    """Windows with the judge's answers.

    Attributes:
        is_firing: Whether the feature fires.
        belief: The judge's probability.
        group: Of each one's document.
        similarity: Of label and text.
    """

    is_firing: Bool[np.ndarray, " window"]
    belief: Float64[np.ndarray, " window"]
    group: Int64[np.ndarray, " window"]
    similarity: Float64[np.ndarray, " window"]

    def windows(
        self, rows: Int64[np.ndarray, " row"], part: Int64[np.ndarray, " row"], share: Sequence[float]
    ) -> Windows:
        """Some of them, in parts."""
        belief, is_firing = self.belief[rows], self.is_firing[rows]
        return Windows(
            is_firing=is_firing,
            verdict=belief >= 0.5,
            belief=belief,
            activation=is_firing.astype(np.float64),
            part=part,
            weight=np.ones(rows.size),
            group=np.unique(self.group[rows], return_inverse=True)[1],
            share=np.array(share),
        )


def rate_of(base: float, rng: np.random.Generator) -> metrics.Rate:
    """The firing rate as a scorer knows it: from the pool, and from the density of tokens."""
    expected = min(1.0, base * float(np.exp(rng.normal(0, 0.2))))
    return metrics.firing_rate(int(rng.binomial(N_TILES, base)), N_TILES, expected, N_DRAWS, rng)


def truth_of(label: Label) -> Natural:
    """The measures of all windows there are."""
    levels = np.arange(101)
    described, other = (np.diff(stats.beta(*of).cdf(np.clip(np.arange(-0.5, 101) / 100, 0, 1))) for of in YES_NO)
    described, other = ((1 - label.error) * one + label.error * one[::-1] for one in (described, other))
    share = np.concatenate([one * described + (1 - one) * other for one in (label.recall, label.alarm)])
    seen = share > 0
    belief, is_firing = np.tile(levels / 100, 2)[seen], np.repeat([True, False], 101)[seen]
    windows = Windows(
        is_firing=is_firing,
        verdict=belief >= 0.5,
        belief=belief,
        activation=is_firing.astype(np.float64),
        part=(~is_firing).astype(np.int64),
        weight=share[seen],
        group=np.arange(belief.size),
        share=np.ones(2),
    )
    rate = metrics.Rate(label.base, np.full(1, label.base))
    return estimate(windows, rate, np.random.default_rng(0), 0.1)


def by_importance(label: Label, rng: np.random.Generator) -> dict[str, tuple[float, Estimate]]:
    """Each measure as it is seen, and as it is told, from firing windows and strata of silent ones."""
    drawn = label.draw(np.arange(N_FIRING + N_SILENT) < N_FIRING, rng)
    order = N_FIRING + np.argsort(-drawn.similarity[N_FIRING:])
    rows, part, share = [np.arange(N_FIRING)], [np.zeros(N_FIRING, dtype=np.int64)], [1.0]
    for first, last, n in silent_strata(N_SILENT, N_ASKED):
        rows.append(order[first + rng.permutation(last - first)[:n]])
        part.append(np.full(n, len(share)))
        share.append((last - first) / N_SILENT)
    return told(drawn.windows(np.concatenate(rows), np.concatenate(part), share), label, rng)


def uniformly(label: Label, n: int, rng: np.random.Generator) -> dict[str, tuple[float, Estimate]] | None:
    """The same from windows as they come; None where the feature fires in none, or in all."""
    is_firing = rng.random(n) < label.base
    if is_firing.all() or not is_firing.any():
        return None
    drawn = label.draw(is_firing, rng)
    return told(drawn.windows(np.arange(n), (~is_firing).astype(np.int64), (1.0, 1.0)), label, rng)


def told(windows: Windows, label: Label, rng: np.random.Generator) -> dict[str, tuple[float, Estimate]]:
    """Each measure as it is seen, and as it is told."""
    seen, estimates = tell(windows, rate_of(label.base, rng), rng)
    return {name: (getattr(seen, name).value, estimates[name]) for name in MEASURES}


def labels_of(base: float, error: float) -> list[Label]:
    """Labels of each recall and precision that a feature can have."""
    alarms = ((r, base * r * (1 - p) / (p * (1 - base))) for r, p in product(RECALLS, PRECISIONS))
    return [Label(base, recall, alarm, error) for recall, alarm in alarms if alarm <= 1]


def mean_width(runs: Sequence[dict[str, tuple[float, Estimate]] | None], name: str) -> float:
    """Of the intervals; that of a run in which nothing fired is as wide as can be."""
    widths = [1.0 if run is None else run[name][1].high - run[name][1].low for run in runs]
    return float(np.mean(widths))


def n_uniform(
    labels: Sequence[Label], wanted: dict[str, float], repeats: int, rng: np.random.Generator
) -> dict[str, float]:
    """How many windows as they come give intervals of these mean widths; between sizes by logarithm."""
    needed: dict[str, float] = {}
    n, before = 60, dict.fromkeys(MEASURES, 1.0)
    while len(needed) < len(MEASURES) and n <= MOST_UNIFORM:
        runs = [uniformly(label, n, rng) for label in labels for _ in range(repeats)]
        for name in MEASURES:
            width = mean_width(runs, name)
            if width <= wanted[name] and name not in needed:
                part = np.log(before[name] / wanted[name]) / np.log(before[name] / width) if n > 60 else 1.0
                needed[name] = n * 2 ** (part - 1)
            before[name] = width
        n *= 2
    return {name: needed.get(name, np.inf) for name in MEASURES}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40, help="features a label, by importance")
    parser.add_argument("--uniform", type=int, default=4, help="features a label, uniformly")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(
        "| judge errs | firing rate | measure | bias | worst label | as weighted | coverage | lowest | width | ", end=""
    )
    print("windows uniformly | times fewer |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for error, base in product(ERRORS, BASES):
        labels = labels_of(base, error)
        truths = [truth_of(label) for label in labels]
        runs = [[by_importance(label, rng) for _ in range(options.repeats)] for label in labels]
        every = [run for of_label in runs for run in of_label]
        uniform = n_uniform(labels, {name: mean_width(every, name) for name in MEASURES}, options.uniform, rng)
        for name in MEASURES:
            truth = [max(0.0, getattr(of, name).value) for of in truths]
            bias = [np.mean([run[name][1].value - t for run in of]) for of, t in zip(runs, truth, strict=True)]
            plain = [np.mean([run[name][0] - t for run in of]) for of, t in zip(runs, truth, strict=True)]
            held = [
                np.mean([run[name][1].low <= t <= run[name][1].high for run in of])
                for of, t in zip(runs, truth, strict=True)
            ]
            needed = uniform[name]
            print(
                f"| {error:.0%} | {base} | {name} | {np.mean(bias):+.3f} | {max(bias, key=abs):+.2f} | "
                f"{np.mean(plain):+.3f} | {np.mean(held):.3f} | {min(held):.2f} | {mean_width(every, name):.2f} | "
                + (
                    f"{needed:,.0f} | {needed / (N_FIRING + N_ASKED):.0f} |"
                    if np.isfinite(needed)
                    else f"over {MOST_UNIFORM:,} | over {MOST_UNIFORM // 60} |"
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
