"""How well a run's questions are answered without labels: each attack's mean AUROC, on one trial and on whole prompts.

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
    learned_prompt_solver,
    learned_solvers,
    plain_prompt_solvers,
    plain_solvers,
)
from benchmarks.label_free_trials import Shown, Table, read_run, tabulate

# Recall takes firing and silent windows at their natural rates, so telling a window that fires is part of the task.
SCORERS = ("detection", "fuzzing", "embedding")
_N_PLAIN = 6


def attack(table: Table, embedder: Embedder | None) -> list[tuple[str, list[Guessed]]]:
    """Every solver's result, on one trial and on each kind of prompt."""
    prompts = {"prompt of one feature": table.of_one_feature(), "mixed prompt": table.mixed()}
    return [
        ("one trial", [*plain_solvers(table), *learned_solvers(table, embedder)]),
        *((name, attack_prompts(of, embedder)) for name, of in prompts.items()),
    ]


def attack_prompts(table: Table, embedder: Embedder | None) -> list[Guessed]:
    """The result of every solver that sees whole prompts."""
    return [*plain_prompt_solvers(table), learned_prompt_solver(table, embedder)]


def main() -> None:
    """Print a table for each scorer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--features", type=int, default=200, help="features at most, by keyed hash")
    parser.add_argument("--embed", action="store_true", help="learn from embeddings too")
    arguments = parser.parse_args()
    began = time.perf_counter()
    run = read_run(open_run(arguments.run).reader, arguments.features)
    embedder = Embedder(EmbedderConfig(device="cpu")) if arguments.embed else None
    done: dict[frozenset[Shown], str] = {}
    print("| scorer | setting | solver | mean AUROC | 95 % | features |\n|---|---|---|---|---|---|")
    for scorer in SCORERS:
        trials = frozenset(run.by_scorer.get(scorer, ()))
        if trials in done:
            print(f"| {scorer} | the trials of {done[trials]} | | | | |")
        elif trials:
            done[trials] = scorer
            for setting, guessed in attack(tabulate(run.by_scorer[scorer], run.rates), embedder):
                _tell(scorer, setting, guessed)
        if asked := run.asked.get(scorer):
            table = tabulate(asked, run.rates)
            _tell(scorer, "prompt as asked", attack_prompts(table, embedder))
    print(f"{time.perf_counter() - began:.0f} s")


def _tell(scorer: str, setting: str, guessed: Sequence[Guessed]) -> None:
    """Print the plain solvers farthest from chance, and all that put several together; the farthest of all in bold."""
    joint = [of for of in guessed if of.solver.endswith(("learned", "all"))]
    plain = sorted((of for of in guessed if of not in joint), key=lambda of: -abs(of.auroc - 0.5))
    for of in plain[:_N_PLAIN] + joint:
        name = f"**{of.solver}**" if of is best(guessed) else of.solver
        figures = f"{of.auroc:.3f} | {of.low:.3f} to {of.high:.3f} | {of.n_features}"
        print(f"| {scorer} | {setting} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
