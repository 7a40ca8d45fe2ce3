"""How well a run's questions are answered without labels: each attack's mean AUROC, on one trial and on whole prompts.

    python -m benchmarks.label_free RUN [--features 200] [--embed]

RUN is a run folder with scores over one source; it is only read. Chance is .50: whatever an attack finds beyond it, a
judge may find too, and be graded for. Whole prompts hold 20 trials of one feature, or one trial of each of 20 features;
where a language model judged, also those that it was given. `--embed` adds solvers that learn from embeddings, which
costs minutes.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence

from autointerp import open_run
from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.export.report.floor import sample_trials
from autointerp.score.label_free.solvers import (
    Guessed,
    best,
    learned_prompt_solver,
    learned_solvers,
    plain_prompt_solvers,
    plain_solvers,
)
from autointerp.score.label_free.trials import Shown, Table, shown, tabulate
from autointerp.store.reader import Reader

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


def put_in_prompts(reader: Reader) -> dict[str, list[Shown]]:
    """By scorer the trials that were put in prompts, of every label and baseline, so that each prompt is whole."""
    contexts = [context for of in reader.feature_contexts(sorted(labelled(reader))) for context in of.contexts]
    by_id = {context.context_id: context for context in contexts}
    asked: defaultdict[str, list[Shown]] = defaultdict(list)
    for row in reader.dataframe("current_trials").itertuples():
        if row.context_id in by_id and isinstance(row.prompt, str):  # none where a scorer drew it from the pool
            marked = [int(i) for i in row.marked]
            asked[row.scorer].append(
                shown(row.feature_index, by_id[row.context_id], marked, bool(row.truth), row.prompt)
            )
    return asked


def labelled(reader: Reader) -> frozenset[int]:
    """The labelled features of the run's one source."""
    return reader.labelled_indices(reader.source().source_id)


def main() -> None:
    """Print a table for each scorer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--features", type=int, default=200, help="features at most, by keyed hash")
    parser.add_argument("--embed", action="store_true", help="learn from embeddings too")
    arguments = parser.parse_args()
    began = time.perf_counter()
    reader = open_run(arguments.run).reader
    sampled, asked = sample_trials(reader, arguments.features), put_in_prompts(reader)
    embedder = Embedder(EmbedderConfig(device="cpu")) if arguments.embed else None
    done: dict[frozenset[Shown], str] = {}
    print("| scorer | setting | solver | mean AUROC | 95 % | features |\n|---|---|---|---|---|---|")
    for scorer in SCORERS:
        trials = frozenset(sampled.by_scorer.get(scorer, ()))
        if trials in done:
            print(f"| {scorer} | the trials of {done[trials]} | | | | |")
        elif trials:
            done[trials] = scorer
            for setting, guessed in attack(tabulate(sampled.by_scorer[scorer], sampled.rates), embedder):
                _tell(scorer, setting, guessed)
        if scorer in asked:
            table = tabulate(asked[scorer], sampled.rates)
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
