"""How well a run's questions are answered without their labels: each attack's mean AUROC, on one trial and whole prompts.

    python -m benchmarks.label_free RUN [--features 200] [--embed]

RUN is a run folder with scores over one source; it is only read. Chance is .50: whatever an attack finds beyond it, a
judge may find too, and be graded for. Whole prompts hold 20 trials of one feature, or one trial of each of 20 features;
where a language model judged, also those that it was given. `--embed` adds solvers that learn from embeddings, which
costs minutes.
"""

import argparse
import time
from collections.abc import Sequence

from autointerp import open_run
from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from benchmarks.label_free_solvers import (
    Guessed,
    best,
    grade,
    learn_one_trial,
    learn_prompt,
    plain_prompt_solvers,
    plain_solvers,
)
from benchmarks.label_free_trials import Shown, TokenRates, read_trials, tabulate

# Recall takes firing and silent windows at their natural rates, so telling a window that fires is part of the task.
SCORERS = ("detection", "fuzzing", "embedding")
_N_PLAIN = 6


def attack(trials: Sequence[Shown], rates: TokenRates, embedder: Embedder | None) -> list[tuple[str, list[Guessed]]]:
    """Every solver's result, for one trial and each kind of prompt."""
    table = tabulate(trials, rates)
    learned = learn_one_trial(table, embedder)
    alone = [*plain_solvers(table), *(grade(name, table, guess) for name, guess in learned.by_solver.items())]
    settings = [("one trial", alone)]
    prompts = {"prompt of one feature": table.of_one_feature(), "mixed prompt": table.mixed()}
    if all(trial.prompt for trial in trials):
        prompts["prompt as asked"] = table
    for name, of in prompts.items():
        together = grade("prompt, all", of, learn_prompt(of, learned))
        settings.append((name, [*plain_prompt_solvers(of), together]))
    return settings


def main() -> None:
    """Print a table for each scorer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--features", type=int, default=200, help="features at most, by keyed hash")
    parser.add_argument("--embed", action="store_true", help="learn from embeddings too")
    arguments = parser.parse_args()
    began = time.perf_counter()
    by_scorer, rates = read_trials(open_run(arguments.run).reader, arguments.features)
    embedder = Embedder(EmbedderConfig(device="cpu")) if arguments.embed else None
    done: dict[frozenset[Shown], str] = {}
    print("| scorer | setting | solver | mean AUROC | 95 % | features |\n|---|---|---|---|---|---|")
    for scorer in SCORERS:
        trials = by_scorer.get(scorer, [])
        if not trials:
            continue
        if (same := done.get(frozenset(trials))) is not None:
            print(f"| {scorer} | as {same}: the same trials | | | | |")
            continue
        done[frozenset(trials)] = scorer
        for setting, guessed in attack(trials, rates, embedder):
            for of in _told(guessed):
                bold = "**" if of is best(guessed) else ""
                figures = f"{of.auroc:.3f} | {of.low:.3f} to {of.high:.3f} | {of.n_features}"
                print(f"| {scorer} | {setting} | {bold}{of.solver}{bold} | {figures} |", flush=True)
    print(f"{time.perf_counter() - began:.0f} s")


def _told(guessed: Sequence[Guessed]) -> list[Guessed]:
    """The plain solvers farthest from chance, and all that put several together."""
    joint = [of for of in guessed if of.solver.endswith(("learned", "all"))]
    plain = [of for of in guessed if of not in joint]
    return sorted(plain, key=lambda of: -abs(of.auroc - 0.5))[:_N_PLAIN] + joint


if __name__ == "__main__":
    main()
