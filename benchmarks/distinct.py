"""Labels that are nearly shared, told apart: how many there are at which similarity, and what the new ones score.

A finished run of an explainer that tells features apart is copied, and its labels are told apart by the run's own code
(`explain.distinct`), once for each similarity. The first and the final labels of the features with siblings, and the
second labels before any choice, are then scored on the same held-out contexts: by detection, fuzzing and recall, and by
discrimination against the siblings of the *first* labels, so that all face the same questions. Differences are paired
by feature.

    python -m benchmarks.distinct RUN [--similarities .9 .75 .6]     # a minute or two for each

The result stands in `distinct.md`.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autointerp.config import Pipeline
from autointerp.identity import stable_uuid
from autointerp.records import Explanation, ScoreWithTrials
from autointerp.run.pipeline import run_pipeline
from autointerp.score.base import BaseScorer
from autointerp.score.compare import compare_pairs
from autointerp.score.others import OtherFeatures
from autointerp.score.trials import ScoreContexts
from benchmarks.scored_run import Scored, copied, scored

SIMILARITIES = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
SCORERS = ("discrimination", "detection", "fuzzing", "recall")


def values(scorer: BaseScorer, labels: Sequence[Explanation], given: Mapping[int, ScoreContexts]) -> dict[int, float]:
    """What labels score, by feature; those that can't be scored are left out."""
    scored_labels = asyncio.run(scorer.score_all([(of, given[of.feature_index]) for of in labels]))
    feature = {of.explanation_id: of.feature_index for of in labels}
    return {feature[of.score.explanation_id]: of.score.value for of in scored_labels if isinstance(of, ScoreWithTrials)}


def with_first_labels(run: Scored, first: Mapping[int, Explanation]) -> dict[int, ScoreContexts]:
    """The run's contexts, each with the siblings of the first labels."""
    labels = {feature: of.label for feature, of in first.items()}
    others = OtherFeatures(lambda: labels, run.source.windows_of, run.source.run.embedder)
    return {feature: replace(of, others=others) for feature, of in run.given.items()}


def told_apart(run: str, similarity: float, first: Mapping[int, Explanation]) -> None:
    """Tell a copy of a run's labels apart, and print what came of it."""
    with copied(run) as pipeline:
        explain = pipeline.explain.model_copy(update={"distinct": True, "distinct_similarity": similarity})
        apart: Pipeline = pipeline.model_copy(update={"explain": explain})
        run_pipeline(apart, ("explain",))
        with scored(apart) as held:
            final = {of.feature_index: of for of in held.labels}
            near = {feature: of for feature, of in final.items() if "distinct" in of.detail}
            changed = [feature for feature, of in near.items() if "first_label" in of.detail["distinct"]]
            second = {
                feature: replace(
                    of, label=of.detail["distinct"]["second_label"], explanation_id=stable_uuid(f"{feature}")
                )
                for feature, of in near.items()
                if "second_label" in of.detail["distinct"]
            }
            print(f"\nsimilarity {similarity}: {len(near)} of {len(final)} features", end=", ")
            print(f"{len(second)} second labels, {len(changed)} taken")
            given = with_first_labels(held, first)
            for scorer in held.scorers(SCORERS):
                before = values(scorer, [first[feature] for feature in near], given)
                for name, labels in (("final", near), ("second, all", second)):
                    after = values(scorer, list(labels.values()), given)
                    both = sorted(before.keys() & after.keys())
                    if not both:
                        continue
                    of = compare_pairs(*(np.array([side[feature] for feature in both]) for side in (before, after)))
                    means = f"{of.first_mean:.3f} {of.second_mean:.3f}"
                    interval = f"{of.mean.value:+.3f} [{of.mean.low:+.3f} {of.mean.high:+.3f}]"
                    print(f"  {scorer.name:15}{name:12}{of.n_first:4} features  {means}  {interval}")


def main() -> None:
    """Print a table a similarity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="a finished run folder; it is only read")
    parser.add_argument("--similarities", type=float, nargs="+", default=SIMILARITIES)
    asked = parser.parse_args()
    with copied(asked.run) as pipeline:
        run_pipeline(pipeline, ("explain",))
        with scored(pipeline) as held:
            first = {of.feature_index: of for of in held.labels}
            embeddings = held.source.run.embedder.embed([of.label for of in first.values()])
    cosine = embeddings @ embeddings.T
    pairs = np.triu_indices(len(first), 1)
    for similarity in SIMILARITIES:
        is_near = cosine[pairs] >= similarity
        n_features = len({*pairs[0][is_near].tolist(), *pairs[1][is_near].tolist()})
        print(f"cosine {similarity:.2f} or more: {int(is_near.sum())} pairs, {n_features} features")
    for similarity in asked.similarities:
        told_apart(asked.run, similarity, first)


if __name__ == "__main__":
    main()
