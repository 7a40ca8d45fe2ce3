"""What simulation gets without a label, and intruder without examples of the feature, on a finished run's own contexts.

    python -m benchmarks.token_floors runs/demo --features 250

Simulation: simulators that see tokens only, in the contexts of the score split. `learned` are boosted trees over what
can be counted at a token (its rarity and its neighbors', place, length, letters, copies), fitted to the activations of
four fifths of the features and asked about the others. Each figure is the mean over features of the correlation that
the scorer would tell.

Intruder: the local judge beside each feature's own examples, and beside those of another feature.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from sklearn.ensemble import HistGradientBoostingRegressor

from autointerp.embedder import Embedder
from autointerp.identity import hash_key
from autointerp.records import Context, Explanation, FeatureContexts, Score, ScoreWithTrials
from autointerp.run.session import SourceSession
from autointerp.score.correlation import Simulated
from autointerp.score.judges.local import LocalJudge
from autointerp.score.scorers.intruder import IntruderScorer, choose_examples
from autointerp.score.scorers.simulation import rarities
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Posed, ScoreContexts, Undefined
from benchmarks.prompts import open_source

N_FOLDS = 5
Values = Float64[np.ndarray, " token"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--features", type=int, default=250, help="at most, drawn by keyed hash")
    arguments = parser.parse_args()
    source = open_source(arguments.run)
    labelled = {e.feature_index for e in source.run.reader.explanations(source_id=source.source_id)}
    drawn = sorted(labelled, key=lambda feature: hash_key(0, "floors", str(feature)))[: arguments.features]
    features = source.run.reader.feature_contexts(sorted(drawn), source.source_id)
    print("| simulator without a label | mean correlation | 95 % |\n|---|---|---|")
    for name, found in simulators(source, features):
        print(f"| {name} | {_mean(found)} |", flush=True)
    print("\n| intruder, local judge | mean | 95 % | above chance |\n|---|---|---|---|")
    for name, scores in intruders(source, features):
        above = np.mean([score.ci_low > 0.5 for score in scores])
        print(f"| examples of {name} | {_mean([score.value for score in scores])} | {above:.1%} |", flush=True)


def _mean(found: Sequence[float]) -> str:
    values = np.array(found)
    error = 1.96 * values.std() / np.sqrt(values.size)
    return f"{values.mean():.3f} | {values.mean() - error:.3f} to {values.mean() + error:.3f}"


def simulators(source: SourceSession, features: Sequence[FeatureContexts]) -> Iterable[tuple[str, list[float]]]:
    """Each simulator with its correlation on every feature."""
    asked = [[c for c in of.contexts if c.split == "score"] for of in features]
    columns = [np.concatenate([counted(context, source) for context in contexts]) for contexts in asked]
    told: Mapping[str, Callable[[Float64[np.ndarray, "token column"]], Values]] = {
        "the same everywhere": lambda of: np.ones(len(of)),
        "rarity (`chance`)": lambda of: of[:, 0],
        "place from the middle": lambda of: np.minimum(of[:, 3], of[:, 4]),
        "copies in the context": lambda of: of[:, 7],
        "length": lambda of: of[:, 5],
    }
    for name, tell in told.items():
        yield name, [correlation(tell(of), contexts) for of, contexts in zip(columns, asked, strict=True)]
    true = [np.concatenate([c.activations for c in contexts]) for contexts in asked]
    true = [values / values.max() for values in true]
    models = []
    for fold in range(N_FOLDS):
        others = [place for place in range(len(asked)) if place % N_FOLDS != fold]
        models.append(
            HistGradientBoostingRegressor(learning_rate=0.06, max_iter=150).fit(
                np.concatenate([columns[place] for place in others]), np.concatenate([true[place] for place in others])
            )
        )
    guesses = [models[place % N_FOLDS].predict(of) for place, of in enumerate(columns)]
    learned = [correlation(guess, contexts) for guess, contexts in zip(guesses, asked, strict=True)]
    yield "learned from other features", learned


def counted(context: Context, source: SourceSession) -> Float64[np.ndarray, "token column"]:
    """What can be counted at each token of a context."""
    rare = rarities([context], source.pool)
    words = [token.strip().lower() for token in context.tokens]
    copies, places = Counter(words), np.arange(len(words))
    columns = [
        rare,
        np.concatenate([[-1], rare[:-1]]),
        np.concatenate([rare[1:], [-1]]),
        places,
        len(words) - 1 - places,
        [len(word) for word in words],
        [word.isalpha() + 2 * word.isdigit() for word in words],
        [copies[word] for word in words],
        np.argsort(np.argsort(rare)) / len(words),
        np.full(len(words), rare.mean()),
    ]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def correlation(simulated: Values, contexts: Sequence[Context]) -> float:
    """As the scorer tells it, negative ones too."""
    ends = np.cumsum([len(context.tokens) for context in contexts])[:-1]
    fires = np.array([context.is_active for context in contexts])
    of_contexts = [of.tolist() for of in np.split(simulated, ends)]
    return Simulated.join(of_contexts, [c.activations for c in contexts], fires, np.arange(fires.size)).correlation()


class _OtherExamples(IntruderScorer):
    """With examples of another feature beside each question."""

    examples: Mapping[int, Sequence[Context]]

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """The same questions beside the next feature's examples."""
        posed = super().pose(explanation, contexts, key)
        if isinstance(posed, Undefined):
            return posed
        others = self.examples[contexts.feature.feature_index]
        chosen = [choose_examples(p.question.context, others, key + i) for i, p in enumerate(posed)]
        return tuple(replace(p, question=replace(p.question, examples=c)) for p, c in zip(posed, chosen, strict=True))


def intruders(source: SourceSession, features: Sequence[FeatureContexts]) -> Iterable[tuple[str, list[Score]]]:
    """Scores beside own examples, and beside those of the next feature."""
    pipeline = source.run.pipeline
    embedder = Embedder(pipeline.embedder)
    tools = ScoreTools(pipeline.score, pipeline.seed, lambda: LocalJudge(embedder), lambda: embedder)
    labels = {e.feature_index: e for e in source.run.reader.explanations(source_id=source.source_id)}
    jobs = [(labels[of.feature_index], ScoreContexts(of, source.pool, 0.01)) for of in features]
    for name, scorer in (("the feature", IntruderScorer(tools)), ("another feature", _OtherExamples(tools))):
        if isinstance(scorer, _OtherExamples):
            following = [*features[1:], features[0]]
            scorer.examples = {
                of.feature_index: other.of("explain", active=True)
                for of, other in zip(features, following, strict=True)
            }
        outcomes = asyncio.run(scorer.score_all(jobs))
        yield name, [outcome.score for outcome in outcomes if isinstance(outcome, ScoreWithTrials)]


if __name__ == "__main__":
    main()
