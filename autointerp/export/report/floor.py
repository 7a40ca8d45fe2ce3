"""The label-free floor of a run: how well its own trials are told apart by who never sees a label.

1. Some of the labelled features are chosen by keyed hash, each with one of its labels, and their trials are read.
2. Solvers that learn from other features' trials of other groups of documents (`score.label_free.solvers`) guess each
   truth, from the trial alone, and from a prompt that holds one trial of each of twenty features.
3. A scorer whose floor lies above .50 can be had without the label by as much; its values mean that much less.

Only scorers of which .50 is chance have one: where questions come at the natural rates, telling that a window is of
the kind that fires is part of the task. Nor have those that ask about what they made themselves, which is no window of
the corpus.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.identity import feature_id, hash_key
from autointerp.records import MADE_KINDS, SCORER_KINDS, Context
from autointerp.score.label_free.solvers import Guessed, learned_prompt_solver, learned_trial_solver
from autointerp.score.label_free.trials import Shown, TokenRates, shown, tabulate
from autointerp.score.tier import CHANCE_OF
from autointerp.store.reader import Reader

_SEED = 0
_FEWEST = 10


@dataclass(frozen=True, slots=True)
class Floor:
    """How well one scorer's trials are solved without labels.

    Attributes:
        scorer: Whose trials.
        setting: What the solver saw: `one trial` or `mixed prompt`.
        auroc: Mean over features of the AUROC within each; .50 is chance.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n_features: With trials of both truths.
    """

    scorer: str
    setting: str
    auroc: float
    low: float
    high: float
    n_features: int


@dataclass(frozen=True, slots=True)
class SampledTrials:
    """Trials of some features of a run.

    Attributes:
        by_scorer: Of one label a feature, of scorers that see the label.
        rates: How common tokens are in the contexts of these features' explain split.
    """

    by_scorer: Mapping[str, Sequence[Shown]]
    rates: TokenRates


def sample_trials(reader: Reader, n_features: int) -> SampledTrials:
    """Read the trials of at most so many labelled features, by keyed hash.

    Args:
        reader: Of a run with scores.
        n_features: At most.
    """
    with reader.session():
        names = [
            (source.source_id, feature)
            for source in reader.sources()
            for feature in sorted(reader.labelled_indices(source.source_id))
        ]
        chosen = sorted(names, key=lambda name: hash_key(_SEED, "feature", feature_id(*name)))[:n_features]
        by_scorer: defaultdict[str, list[Shown]] = defaultdict(list)
        explained: list[Context] = []
        for number, (source_id, feature) in enumerate(sorted(chosen)):
            label = reader.explanations([feature], source_id=source_id)[0].explanation_id
            scores = reader.scores(explanation_ids=[label])
            graded = [s.scorer for s in scores if CHANCE_OF.get(s.metric) == 0.5 and s.detail.get("side") != "none"]
            windows = (c for c in reader.contexts(feature, source_id=source_id) if c.kind not in MADE_KINDS)
            contexts = {c.context_id: c for c in windows}
            explained += [c for c in contexts.values() if c.split == "explain" and c.kind not in SCORER_KINDS]
            for scorer in graded:
                for t in reader.trials(label, scorer):
                    if t.context_id in contexts:
                        by_scorer[scorer].append(
                            shown(number, contexts[t.context_id], t.marked, t.truth, t.prompt or "")
                        )
    return SampledTrials(by_scorer, TokenRates(context.tokens for context in explained))


def floors(reader: Reader, n_features: int) -> tuple[Floor, ...]:
    """The floor of every scorer that has one, on one trial and on mixed prompts; none where features are too few.

    Args:
        reader: Of a run.
        n_features: Labelled features whose trials are tried, at most.
    """
    sampled = sample_trials(reader, n_features)
    found: list[Floor] = []
    told: dict[frozenset[Shown], dict[str, Guessed]] = {}
    for scorer, trials in sorted(sampled.by_scorer.items()):
        both = {t.feature for t in trials if t.truth} & {t.feature for t in trials if not t.truth}
        if len(both) < _FEWEST:
            continue
        asked = frozenset(trials)  # several scorers may ask the same
        if asked not in told:
            table = tabulate(trials, sampled.rates)
            told[asked] = {
                "one trial": learned_trial_solver(table),
                "mixed prompt": learned_prompt_solver(table.mixed()),
            }
        found += [
            Floor(scorer, setting, of.auroc, of.low, of.high, of.n_features) for setting, of in told[asked].items()
        ]
    return tuple(found)
