"""What surprisal says of true and of shuffled labels, and what its values would be without taking other labels off.

On some features of a finished run, drawn by keyed hash. Each feature's contexts are read behind its label, the shuffled
one, four other features' labels and a neutral prompt, once each.

    python -m benchmarks.surprisal runs/demo [--features 60]      # 12 s of a core a feature

The result stands in `surprisal.md`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Explanation
from autointerp.score import metrics
from autointerp.score.clusters import numbered
from autointerp.score.others import OtherFeatures
from autointerp.score.scorers.surprisal import SurprisalJudge, SurprisalScorer
from autointerp.score.trials import ScoreContexts
from benchmarks.scored_run import Scored, copied, scored

NEUTRAL = "A text:\n\n"
N_REFERENCES = (1, 2, 4)


@dataclass(frozen=True)
class Row:
    """What one feature's two labels get.

    Attributes:
        auroc: By what is compared: a pair of the true and the shuffled label's.
        low: Lower limit of the scorer's own interval, of the true and the shuffled label.
    """

    auroc: dict[str, tuple[float, float]]
    low: tuple[float, float]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--features", type=int, default=60)
    given = parser.parse_args()
    with copied(given.run) as pipeline, scored(pipeline) as of:
        (scorer,) = of.scorers(["surprisal"])
        assert isinstance(scorer, SurprisalScorer)
        true = {e.feature_index: e for e in of.labels}
        shuffled = {e.feature_index: e for e in of.explanations if e.is_baseline}
        labels = {index: e.label for index, e in true.items()}
        others = OtherFeatures(lambda: labels, of.source.windows_of, of.source.run.embedder)
        both = np.array(sorted(true.keys() & shuffled.keys()))
        drawn = both[np.argsort(keyed_hash(hash_key(0, "benchmark"), both))][: given.features]
        rows, started = [], time.monotonic()
        for index in drawn.tolist():
            rows.append(_row(scorer, true[index], shuffled[index], replace(of.given[index], others=others)))
            if len(rows) % 10 == 0:
                print(f"{len(rows)} features, {time.monotonic() - started:.0f} s", file=sys.stderr)
                _print(rows)
        seconds, read = time.monotonic() - started, scorer.judge.model.n_read
        cpu_s = time.process_time()
        print(f"\n{len(rows)} features: {read:,} tokens in {seconds:,.0f} s; {cpu_s:,.0f} s of CPU in all")
        _print(rows)
        _print_embedding(of, drawn.tolist())


def _row(scorer: SurprisalScorer, true: Explanation, shuffled: Explanation, contexts: ScoreContexts) -> Row:
    posed = scorer.pose(true, contexts, 0)
    assert isinstance(posed, tuple), "there are labels enough"
    truth = np.array([p.truth for p in posed])
    cluster = numbered(p.question.context.group_id for p in posed)
    texts = [p.question.context.text for p in posed]
    neutral = scorer.judge.model.mean_log_probability(NEUTRAL, texts)
    readings = {label: _behind(scorer.judge, label, texts) for label in {true.label, shuffled.label}}
    auroc: dict[str, list[float]] = {}
    low: list[float] = []
    for explanation in (true, shuffled):
        references = scorer.others(explanation, contexts)
        for reference in references:
            if reference not in readings:
                readings[reference] = _behind(scorer.judge, reference, texts)
        behind = readings[explanation.label]
        values = {"ln p behind the label": behind, "less ln p behind a neutral prompt": behind - neutral}
        for n in N_REFERENCES:
            taken_off: Float64[np.ndarray, " text"] = np.mean([readings[r] for r in references[:n]], axis=0)
            values[f"less the mean behind {n} other label{'s' if n > 1 else ''}"] = behind - taken_off
        for name, value in values.items():
            estimate = metrics.auroc(truth, value, cluster)
            assert estimate is not None, "both classes have contexts"
            auroc.setdefault(name, []).append(estimate.value)
            limit = estimate.low
        low.append(limit)  # of the last, which is the scorer's
    return Row({name: (of[0], of[1]) for name, of in auroc.items()}, (low[0], low[1]))


def _behind(judge: SurprisalJudge, label: str, texts: Sequence[str]) -> Float64[np.ndarray, " text"]:
    return judge.read_behind(label, tuple(texts))


def _print(rows: Sequence[Row]) -> None:
    print("| value | true labels | shuffled labels | the true label wins |\n|---|---|---|---|")
    for name in rows[0].auroc:
        true, shuffled = np.array([row.auroc[name] for row in rows]).T
        wins = np.mean((true > shuffled) + 0.5 * (true == shuffled))
        print(f"| {name} | {_mean(true)} | {_mean(shuffled)} | {wins:.0%} |")
    above = np.mean([[low > 0.5 for low in row.low] for row in rows], axis=0)
    print(f"intervals wholly above .5, true and shuffled: {above[0]:.0%}, {above[1]:.0%}", flush=True)


def _mean(values: Float64[np.ndarray, " feature"]) -> str:
    """Mean with a 95 % interval over features, and quartiles."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{values.mean():.3f} ± {half:.3f} ({low:.2f} to {high:.2f})"


def _print_embedding(of: Scored, features: Sequence[int]) -> None:
    """The embedding score of the same labels."""
    for name, is_one in (("true", False), ("shuffled", True)):
        wanted = [e.explanation_id for e in of.explanations if e.is_baseline == is_one and e.feature_index in features]
        scores = of.source.run.reader.scores(scorer="embedding", explanation_ids=wanted)
        values = np.array([score.value for score in scores])
        print(f"embedding, {name} labels: {_mean(values)}")


if __name__ == "__main__":
    main()
