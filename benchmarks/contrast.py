"""How often a contrast of two equal sets finds anything, how often its intervals hold, what it finds, and how fast.

    python -m benchmarks.contrast equal [--trials 400]      # made activations: equal sets, intervals, the naive ways
    python -m benchmarks.contrast real RUN [--trials 400]   # a run's own activations, its documents divided at random
    python -m benchmarks.contrast power [--trials 20]       # planted differences of density
    python -m benchmarks.contrast spread                    # sets of one middle that scatter unlike
    python -m benchmarks.contrast scale                     # 2 x 5,000 texts, 65,536 features

A made feature fires in a text with a probability of its own, drawn log-uniformly from .005 to .3; how strongly has one
of several distributions. The naive ways beside it: a t-test (Welch's) of each feature at p < .05, the same corrected by
Bonferroni, and the ten largest differences of means, taken for findings. The result stands in `contrast.md`.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse, stats

from autointerp.library.contrast.design import Pairs, TwoSets
from autointerp.library.contrast.effects import measure_effects
from autointerp.library.contrast.largest import RankedValues, compare_features
from autointerp.library.contrast.matrices import contrast_matrices
from autointerp.run.on_disk.folder import RunFolder, read_pipeline, read_run_file
from autointerp.run.session import Session, SourceSession

N_FEATURES = 1000
N_DIVISIONS = 400
LEAST, MOST = 0.005, 0.3
STRENGTHS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "equal": lambda rng, shape: np.ones(shape),
    "lognormal": lambda rng, shape: rng.lognormal(0, 1, shape),
    "Cauchy": lambda rng, shape: np.abs(rng.standard_cauchy(shape)),
    "few huge": lambda rng, shape: np.where(rng.random(shape) < 0.02, 1e9, rng.random(shape)),
}
MEANS = {"equal": 1.0, "lognormal": float(np.exp(0.5))}
# Texts of either set, whether they are pairs, and features.
DESIGNS = ((20, 20, False, 1000), (100, 100, False, 1000), (20, 2000, False, 250), (50, 50, True, 1000))


class Sets(NamedTuple):
    """Two sets of texts, (text, feature)."""

    first: sparse.csr_array
    second: sparse.csr_array
    is_paired: bool

    @property
    def ranked(self) -> RankedValues:
        """As they are tested."""
        n_1, n_2 = self.first.shape[0], self.second.shape[0]
        design = Pairs(np.arange(n_1)) if self.is_paired else TwoSets(np.arange(n_1), np.arange(n_2))
        return RankedValues(sparse.vstack([self.first, self.second], format="csr").tocsc(), n_1, design)


def made(rng: np.random.Generator, n_texts: int, density: np.ndarray, kind: str) -> sparse.csr_array:
    """Texts of one set."""
    shape = (n_texts, density.size)
    return sparse.csr_array(np.where(rng.random(shape) < density, STRENGTHS[kind](rng, shape), 0.0).astype(np.float32))


def welch(sets: Sets) -> np.ndarray:
    """P-values of a t-test of each feature; 1 where neither set scatters."""
    with np.errstate(all="ignore"):
        if sets.is_paired:
            differs = (sets.first - sets.second).toarray()
            p = stats.ttest_1samp(differs.astype(np.float64), 0).pvalue
        else:
            values = [of.toarray().astype(np.float64) for of in (sets.first, sets.second)]
            p = stats.ttest_ind(*values, equal_var=False).pvalue
    p_values: np.ndarray = np.nan_to_num(np.asarray(p), nan=1.0)
    return p_values


def share(n: int, n_trials: int) -> str:
    """A share of trials with its 95 % interval (Clopper and Pearson)."""
    interval = stats.binomtest(n, n_trials).proportion_ci()
    return f"{n / n_trials:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def equal(n_trials: int) -> None:
    """Sets of the same texts, and of texts with planted differences for the intervals; a line a kind."""
    print("| texts | strength | found anything | Welch, Bonferroni | Welch, p < .05: a trial finds | intervals |")
    for n_1, n_2, is_paired, n_features in DESIGNS:
        for kind in STRENGTHS:
            rng = np.random.default_rng(1)
            n_found = n_bonferroni = n_naive = 0
            for seed in range(n_trials):
                density = np.exp(rng.uniform(np.log(LEAST), np.log(MOST), n_features))
                sets = Sets(made(rng, n_1, density, kind), made(rng, n_2, density, kind), is_paired)
                n_found += bool(compare_features(sets.ranked, N_DIVISIONS, seed).is_found.any())
                p_values = welch(sets)
                n_naive += int(np.sum(p_values < 0.05))
                n_bonferroni += bool(np.any(p_values < 0.05 / n_features))
            what = f"{n_1} pairs" if is_paired else f"{n_1} and {n_2}"
            line = f"| {what} | {kind} | {share(n_found, n_trials)} | {share(n_bonferroni, n_trials)} "
            intervals = held((n_1, n_2, is_paired, n_features), kind, n_trials)
            print(line + f"| {n_naive / n_trials:.0f} of {n_features} | {intervals} |", flush=True)


def held(design: tuple[int, int, bool, int], kind: str, n_trials: int) -> str:
    """Share of trials in which all intervals hold the truth: of AUROCs, and of differences of means.

    One feature in ten is five times as dense in one set.
    """
    n_1, n_2, is_paired, n_features = design
    rng = np.random.default_rng(2)
    n_auroc = n_mean = 0
    for seed in range(n_trials):
        density = np.exp(rng.uniform(np.log(LEAST), np.log(MOST), n_features))
        more = np.where(np.arange(n_features) % 10 == 0, np.minimum(0.95, density * 5), density)
        if seed % 2:
            density, more = more, density
        sets = Sets(made(rng, n_1, more, kind), made(rng, n_2, density, kind), is_paired)
        ranked = sets.ranked
        tested = compare_features(ranked, N_DIVISIONS, seed)
        of = measure_effects(ranked, tested, np.arange(tested.feature.size))
        truth = (more - density)[tested.feature]
        n_auroc += bool(np.all((of.auroc_low <= 0.5 + truth / 2) & (0.5 + truth / 2 <= of.auroc_high)))
        if kind in MEANS:
            mean = truth * MEANS[kind]
            n_mean += bool(np.all((of.difference_low <= mean) & (mean <= of.difference_high)))
    return f"AUROC {share(n_auroc, n_trials)}" + (f", means {share(n_mean, n_trials)}" if kind in MEANS else "")


def power(n_trials: int) -> None:
    """Share found of planted features, by how much denser they are; and how many of what is found is not planted."""
    print(
        "| texts a set | times as dense | density | found | Welch, Bonferroni | not planted: ours | top 10 of means |"
    )
    for n in (20, 100, 1000):
        for times in (2, 5):
            for density in (0.02, 0.1):
                rng = np.random.default_rng(3)
                usual = np.exp(rng.uniform(np.log(LEAST), np.log(MOST), N_FEATURES))
                planted = np.arange(N_FEATURES) < 10
                usual[planted] = density
                more = np.where(planted, usual * times, usual)
                n_found = n_false = n_bonferroni = n_top = 0
                for seed in range(n_trials):
                    sets = Sets(made(rng, n, usual, "lognormal"), made(rng, n, more, "lognormal"), False)
                    tested = compare_features(sets.ranked, N_DIVISIONS, seed)
                    found = tested.feature[tested.is_found]
                    n_found += int(planted[found].sum())
                    n_false += int((~planted[found]).sum())
                    n_bonferroni += int((welch(sets) < 0.05 / N_FEATURES)[planted].sum())
                    largest = np.argsort(-np.abs(sets.first.mean(axis=0) - sets.second.mean(axis=0)))[:10]
                    n_top += int((~planted[largest]).sum())
                of_all = 10 * n_trials
                print(
                    f"| {n} | {times} | {density} | {n_found / of_all:.2f} | {n_bonferroni / of_all:.2f} "
                    f"| {n_false} of {n_found + n_false} | {n_top / of_all:.2f} |",
                    flush=True,
                )


def spread(n_trials: int) -> None:
    """Sets whose features are normal about one middle, those of the first set scattering more widely."""
    rng = np.random.default_rng(1)
    for n_1, n_2 in ((100, 100), (20, 200), (200, 20)):
        for times in (1.5, 3.0):
            n_found = 0
            for seed in range(n_trials):
                first = 10 + times * rng.normal(size=(n_1, 200))
                second = 10 + rng.normal(size=(n_2, 200))
                sets = Sets(sparse.csr_array(first), sparse.csr_array(second), False)
                n_found += bool(compare_features(sets.ranked, N_DIVISIONS, seed).is_found.any())
            print(f"| {n_1} and {n_2} | {times} | {share(n_found, n_trials)} |", flush=True)


def block_means(run: str) -> sparse.csr_array:
    """Of each document of a run's pool one block: the mean of each feature."""
    folder = Path(run)
    session = Session(read_pipeline(folder), RunFolder(folder, read_run_file(folder)["settings"]))
    source_id = session.source_ids[0]
    pool = SourceSession(session, source_id).collected.pool
    blocks = session.blocks.read(pool.block_index)
    _, first = np.unique(np.array(blocks.document_ids), return_index=True)
    row = np.repeat(np.arange(pool.block_index.size), np.diff(pool.offsets))
    n_tokens = blocks.token_ids.shape[1]
    shape = (pool.block_index.size, session.reader.source(source_id).n_features)
    means = sparse.csr_array(sparse.coo_array((pool.activation / n_tokens, (row, pool.feature)), shape=shape))
    return means[first]


def real(run: str, n_trials: int) -> None:
    """A run's own activations, divided at random: equal sets, whose features fire together as they do."""
    means = block_means(run)
    rng = np.random.default_rng(4)
    print(f"{means.shape[0]} documents, {means.shape[1]} features, {means.nnz / means.shape[0]:.0f} fire in a block")
    print("| texts | found anything | features compared | Welch, Bonferroni | Welch, p < .05: a trial finds |")
    for n_1, n_2, is_paired in ((20, 20, False), (100, 100, False), (20, 500, False), (100, 100, True)):
        n_found = n_bonferroni = n_naive = 0
        compared = []
        for seed in range(n_trials):
            drawn = rng.permutation(means.shape[0])[: n_1 + n_2]
            sets = Sets(means[drawn[:n_1]], means[drawn[n_1:]], is_paired)
            tested = compare_features(sets.ranked, N_DIVISIONS, seed)
            n_found += bool(tested.is_found.any())
            compared.append(tested.feature.size)
            p_values = welch(sets)
            n_naive += int(np.sum(p_values < 0.05))
            n_bonferroni += bool(np.any(p_values < 0.05 / means.shape[1]))
        what = f"{n_1} pairs" if is_paired else f"{n_1} and {n_2}"
        print(
            f"| {what} | {share(n_found, n_trials)} | {np.mean(compared):.0f} | {share(n_bonferroni, n_trials)} "
            f"| {n_naive / n_trials:.0f} |",
            flush=True,
        )


def scale() -> None:
    """2 x 5,000 texts with some 2,250 of 65,536 features each."""
    n_texts, n_features = 5000, 65_536
    rng = np.random.default_rng(5)
    density = np.clip(np.exp(rng.normal(-4.6, 1.6, n_features)), 0, 0.9)
    more = density.copy()
    more[:300] = np.minimum(0.95, 1.5 * more[:300])

    def texts(of: np.ndarray) -> sparse.csr_array:
        rows = [np.flatnonzero(rng.random(n_features, dtype=np.float32) < of).astype(np.int32) for _ in range(n_texts)]
        columns, ends = np.concatenate(rows), np.cumsum([0, *map(len, rows)])
        values = rng.lognormal(0, 1, columns.size).astype(np.float32)
        return sparse.csr_array((values, columns, ends), shape=(n_texts, n_features))

    sets = {"made@0": texts(density)}, {"made@0": texts(more)}
    n_values = sum(of["made@0"].nnz for of in sets)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    began, cpu_began = time.perf_counter(), time.process_time()
    found = contrast_matrices(*sets)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{n_values:,} values; {wall_s:.1f} s, {cpu_s:.1f} s of CPU, {after - before:.2f} GiB more")
    by_feature = sparse.csr_array(sets[0]["made@0"][:, :8192].T).astype(np.float32)
    weights = rng.random((n_texts, 64), dtype=np.float32)
    rates = []
    for _ in range(3):
        began_cpu = time.process_time()
        by_feature @ weights
        rates.append(by_feature.nnz * 64 / (time.process_time() - began_cpu))
    products = n_values * found.n_divisions
    print(f"{products:.3g} products, at {max(rates):.3g} a second of CPU {products / max(rates):.1f} s")
    print(found)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("equal", "real", "power", "spread", "scale"))
    parser.add_argument("run", nargs="?")
    parser.add_argument("--trials", type=int)
    arguments = parser.parse_args()
    match arguments.what:
        case "equal":
            equal(arguments.trials or 400)
        case "real":
            real(arguments.run, arguments.trials or 400)
        case "power":
            power(arguments.trials or 20)
        case "spread":
            spread(arguments.trials or 400)
        case _:
            scale()


if __name__ == "__main__":
    main()
