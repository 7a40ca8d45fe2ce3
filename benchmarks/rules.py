"""What labels that are executed are worth on held-out text: rules that were searched for, and words as rules.

    python -m benchmarks.rules RUN [--features 100]

RUN is a finished run of the explainer `keywords`; it is copied and only read. The scorer `rule` grades three labels of
each feature on the same windows:

- `rules`: what the explainer `rules` writes at the run's settings. A feature for which it writes none counts as 0.
- `keywords`: the words of the run's own label, as the rule `"a", "b" or "c"`.
- `most frequent token`: the words of the token on which the feature fires most, in the same way.

The result stands in `rules.md`.
"""

import argparse
import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import numpy as np

from autointerp.contexts.evidence import feature_evidence
from autointerp.explain.base import Tools
from autointerp.explain.explainers.rules import RulesExplainer
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Explanation, Failure, FeatureRecord
from autointerp.rules.evidence import NaturalText
from autointerp.rules.rule import Rule, Words
from autointerp.rules.sentence import write_rule
from autointerp.score import metrics
from autointerp.score.nulls import token_label
from autointerp.words import label_words
from benchmarks.scored_run import Scored, copied, scored

LEAST = (0.7, 0.8, 0.9)
WORTHLESS = 0.25
N_DRAWS = 2000


def as_rule(label: str) -> str:
    """The words of a label as the rule that holds of each of them."""
    return write_rule(Rule((Words(tuple(label_words(label))),)))


async def found_rules(of: Scored, records: Sequence[FeatureRecord]) -> list[Explanation | Failure]:
    """What the explainer `rules` says of each feature."""
    pool = of.source.pool
    tools = Tools(of.source.run.pipeline.explain, _never, _never, natural=lambda: NaturalText.of_explain(pool))
    explainer = RulesExplainer(tools)
    return [await explainer.explain(feature_evidence(of.given[r.feature_index].feature, r)) for r in records]


def _never() -> NoReturn:
    raise AssertionError("rules ask for neither")


def grade(of: Scored, chosen: Sequence[Explanation], labels: Sequence[str | None]) -> list[float]:
    """The F1 of each label by the scorer `rule`; 0 of none."""
    (scorer,) = of.scorers(["rule"])
    jobs = [
        (replace(own, label=label), of.given[own.feature_index])
        for own, label in zip(chosen, labels, strict=True)
        if label is not None
    ]
    outcomes = iter(asyncio.run(scorer.score_all(jobs)))
    values = []
    for label in labels:
        outcome = None if label is None else next(outcomes)
        assert not isinstance(outcome, Failure), outcome
        values.append(0.0 if outcome is None else outcome.score.value)
    return values


def lines(values: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A row for each kind: the shares of features above each F1, and the mean."""
    heads = ["label", "features", "mean F1", *(f"F1 over {least}" for least in LEAST)]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for kind, of_kind in values.items():
        shares = [metrics.proportion(sum(value > least for value in of_kind), len(of_kind)) for least in LEAST]
        told = [f"{one.value:.0%} ({one.low:.0%} to {one.high:.0%})" for one in shares if one is not None]
        yield f"| {kind} | {len(of_kind)} | {_mean(of_kind)} | {' | '.join(told)} |"
    best = np.array(values["rules"])
    for kind in [*values][1:]:
        yield f"\nrules less {kind}: {_mean(best - np.array(values[kind]))}"


def of_labels(labels: Mapping[str, Sequence[str | None]], values: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """How many of the labels of each kind are worth next to nothing."""
    for kind, of_kind in values.items():
        written = [value for value, label in zip(of_kind, labels[kind], strict=True) if label is not None]
        share = metrics.proportion(sum(value < WORTHLESS for value in written), len(written))
        if share is not None:
            told = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
            yield f"{kind}: {told} of {len(written)} labels have an F1 under {WORTHLESS}"


def foretold(found: Sequence[Explanation | Failure], values: Sequence[float]) -> Iterator[str]:
    """How near each of the explainer's own estimates comes to the F1 on held-out text."""
    pairs = [(one.detail, value) for one, value in zip(found, values, strict=True) if isinstance(one, Explanation)]
    true = np.array([value for _, value in pairs])
    for name in ("explain_f1", "foreseen_f1", "expected_f1"):
        said = np.array([detail[name] for detail, _ in pairs])
        error = float(np.sqrt(np.mean((said - true) ** 2)))
        yield f"{name}: mean error {np.mean(said - true):+.3f}, root mean square {error:.3f}"


def _mean(values: Sequence[float]) -> str:
    drawn = np.random.default_rng(0).choice(np.asarray(values), (N_DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{np.mean(values):.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--features", type=int, default=100, help="labels at most, by keyed hash")
    arguments = parser.parse_args()
    logging.disable()
    with copied(arguments.run) as pipeline, scored(pipeline) as of:
        order = np.argsort(keyed_hash(hash_key(0, "features"), np.array([e.feature_index for e in of.labels])))
        chosen = [of.labels[i] for i in order[: arguments.features]]
        reader, source_id = of.source.run.reader, of.source.source_id
        record = {r.feature_index: r for r in reader.features([e.feature_index for e in chosen], source_id)}
        records = [record[e.feature_index] for e in chosen]
        started = time.process_time()
        found = asyncio.run(found_rules(of, records))
        seconds = time.process_time() - started
        tokens = [token_label(r.top_tokens[0].token) for r in records]
        labels: dict[str, list[str | None]] = {
            "rules": [one.label if isinstance(one, Explanation) else None for one in found],
            "keywords": [as_rule(e.label) for e in chosen],
            "most frequent token": [token and as_rule(token) for token in tokens],
        }
        values = {kind: grade(of, chosen, of_kind) for kind, of_kind in labels.items()}
    for line in lines(values):
        print(line)
    print()
    for line in [*of_labels(labels, values), *foretold(found, values["rules"])]:
        print(line)
    refused = Counter(one.error_type for one in found if isinstance(one, Failure))
    print(f"\nno rule: {dict(refused)}; {seconds / len(chosen):.2f} s of CPU a feature to find rules")


if __name__ == "__main__":
    main()
