"""How far recall's value is off, by how often a feature fires, and how often its interval holds the truth.

Without a run: a seeded simulation. Labels of known recall (.3, .7, .95) and precision (.3, .6, .9, 1) on features of
known firing rate, judged free (every tile of the score split, 1,024 of 2,048, besides 20 contexts) and for pay (20
contexts, 20 retrieved tiles, which hold each false alarm with probability .4 or .1 as far as there is room, and 20
others).
With one: its labels, against their truth over every held-out window (`recall_truth`); the run is only read.

    python -m benchmarks.recall_bias [--repeats 200]       # about two minutes on one core
    python -m benchmarks.recall_bias RUN [--shuffled]      # about three

The result stands in `recall_bias.md`.
"""

import argparse
from itertools import product

import numpy as np

from autointerp.score import metrics
from autointerp.score.at_base_rate import estimate
from autointerp.score.metrics import Stratum
from benchmarks import recall_truth

N_TILES, N_SCORE, N_SILENT, N_CONTEXTS, N_ASKED, N_DRAWS = 2048, 1024, 1000, 20, 20, 500
RETRIEVED = (0.4, 0.1)


def simulate(
    base: float, recall: float, precision: float, rng: np.random.Generator, retrieved: float | None
) -> tuple[float, float, bool] | None:
    """The value's error, that of the F1 of the shares seen, and whether the interval holds the truth.

    Judging is free where `retrieved`, the share of false alarms among the retrieved tiles, is None. None where no rate
    of false alarms gives the precision.
    """
    alarm = base * recall * (1 - precision) / (precision * (1 - base))
    if alarm > 1:
        return None
    truth = 2 * precision * recall / (precision + recall)
    rate = metrics.firing_rate(
        rng.binomial(N_TILES, base), N_TILES, min(1.0, base * np.exp(rng.normal(0, 0.2))), N_DRAWS, rng
    )
    weight, verdict = np.ones(N_CONTEXTS), rng.random(N_CONTEXTS) < recall
    n_yes = rng.binomial(N_SILENT, alarm)
    if retrieved is None:
        n_firing = rng.binomial(N_SCORE, base)
        weight = np.concatenate([weight * 4 / (4 + n_firing), np.ones(n_firing)])
        verdict = np.concatenate([verdict, rng.random(n_firing) < recall])
        strata: tuple[Stratum, ...] = (Stratum(N_SILENT, N_SILENT, n_yes),)
    else:
        likely = min(N_ASKED, rng.binomial(n_yes, retrieved))
        n_rest = N_SILENT - N_ASKED
        rest = rng.hypergeometric(n_yes - likely, n_rest - n_yes + likely, N_ASKED)
        strata = (Stratum(N_ASKED, N_ASKED, likely), Stratum(n_rest, N_ASKED, rest))
    recovered = metrics.recovered(verdict, np.ones(verdict.size), N_DRAWS, rng, weight=weight)
    told = estimate(recovered, strata, rate, rng).f1
    seen = metrics.f1_at_base_rate(
        recovered.mass, recovered.contexts, metrics.stratified_rate(strata, N_DRAWS, rng), rate
    )
    return told.value - truth, seen.value - truth, told.low <= truth <= told.high


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a finished run of one source, judged by the local judge")
    parser.add_argument("--shuffled", action="store_true", help="the run's shuffled labels in place of the true ones")
    parser.add_argument("--repeats", type=int, default=200, help="features a setting")
    arguments = parser.parse_args()
    if arguments.run:
        recall_truth.main(arguments.run, shuffled=arguments.shuffled)
    else:
        simulate_all(arguments.repeats)


def simulate_all(repeats: int) -> None:
    """Print the table of the simulation."""
    rng = np.random.default_rng(0)
    print("| judging | firing rate | bias | worst setting | bias of shares seen | worst setting | coverage | lowest |")
    print("|---|---|---|---|---|---|---|---|")
    for retrieved, base in product((None, *RETRIEVED), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)):
        cells = []
        for recall, precision in product((0.3, 0.7, 0.95), (0.3, 0.6, 0.9, 1.0)):
            runs = [simulate(base, recall, precision, rng, retrieved) for _ in range(repeats)]
            cells += [np.array([run for run in runs if run is not None]).mean(axis=0)] if None not in runs else []
        told, seen, held = np.array(cells).T
        way = "free" if retrieved is None else f"paid, {retrieved} retrieved"
        worst = [error[np.abs(error).argmax()] for error in (told, seen)]
        print(
            f"| {way} | {base} | {told.mean():+.3f} | {worst[0]:+.2f} | {seen.mean():+.3f} | "
            f"{worst[1]:+.2f} | {held.mean():.3f} | {held.min():.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
