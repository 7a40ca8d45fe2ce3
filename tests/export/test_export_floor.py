"""The floor of a report: found where trials tell their truth, at chance where not, absent where it means nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autointerp.export.report.floor import Floor, floors
from autointerp.records import ContextKind, ScoreWithTrials, Trial
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import SOURCE, make

N_FEATURES, N_TRIALS = 24, 12
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
Shape = Callable[[np.random.Generator, bool], int]


def by_truth(random: np.random.Generator, truth: bool) -> int:
    """A length that tells the truth."""
    return 9 if truth else 6


def by_chance(random: np.random.Generator, truth: bool) -> int:
    """A length that doesn't."""
    return int(random.integers(6, 10))


def graded(
    feature: int,
    scorer: str,
    length: Shape,
    metric: str = "AUROC",
    side: str = "input",
    kind: ContextKind = "pool",
) -> ScoreWithTrials:
    """One label's trials, half of them true, each on a window of so many words."""
    random = np.random.default_rng(feature)
    label = make.explanation(feature)
    given = make.graded(label, scorer)
    contexts, trials = [], []
    for place in range(N_TRIALS):
        truth = place % 2 == 0
        text = " ".join(random.choice(WORDS, length(random, truth)))
        context = make.context(feature, 100 * len(scorer) + place, kind, "score", text)
        contexts.append(replace(context, document_id=f"document {feature} {place}"))
        trials.append(Trial(label.explanation_id, scorer, "local", context.context_id, truth, True, None))
    return ScoreWithTrials(replace(given.score, metric=metric, detail={"side": side}), tuple(trials), tuple(contexts))


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    writer = Writer(tmp_path)
    writer.add_source(make.source(N_FEATURES))
    writer.add_features([make.feature(index) for index in range(N_FEATURES)])
    writer.add_explanations([make.explanation(index) for index in range(N_FEATURES)])
    return writer


def floors_of(writer: Writer, n_features: int = 1000) -> dict[tuple[str, str], Floor]:
    return {(of.scorer, of.setting): of for of in floors(Reader(writer.path), n_features)}


def test_trials_that_tell_their_truth_are_solved_without_labels_and_others_are_not(writer: Writer) -> None:
    writer.add_scores([graded(index, "leaks", by_truth) for index in range(N_FEATURES)])
    writer.add_scores([graded(index, "holds_tight", by_chance) for index in range(N_FEATURES)])
    found = floors_of(writer)
    assert set(found) == {(s, how) for s in ("leaks", "holds_tight") for how in ("one trial", "mixed prompt")}
    for (scorer, _), of in found.items():
        assert of.n_features == N_FEATURES
        if scorer == "leaks":
            assert of.low > 0.9
        else:
            assert abs(of.auroc - 0.5) < 0.15, "of so few trials"


def test_only_where_a_half_is_chance_the_label_matters_and_text_is_of_the_corpus_is_there_a_floor(
    writer: Writer,
) -> None:
    writer.add_scores([graded(index, "rates", by_truth, metric="F1") for index in range(N_FEATURES)])
    writer.add_scores([graded(index, "blind", by_truth, side="none") for index in range(N_FEATURES)])
    writer.add_scores([graded(index, "makes_texts", by_truth, kind="generated") for index in range(N_FEATURES)])
    assert floors_of(writer) == {}


def test_few_features_have_no_floor_and_no_more_are_read_than_asked_for(writer: Writer) -> None:
    writer.add_scores([graded(index, "leaks", by_truth) for index in range(N_FEATURES)])
    assert floors_of(writer, 9) == {}
    assert {of.n_features for of in floors_of(writer, 12).values()} == {12}


def test_features_of_several_sources_are_not_taken_for_one(writer: Writer) -> None:
    other = "tiny@2-res-64"
    writer.add_source(replace(make.source(N_FEATURES), source_id=other))
    writer.add_scores([graded(index, "leaks", by_truth) for index in range(6)])
    for index in range(6):
        label = replace(make.explanation(index), explanation_id=f"other {index}", source_id=other)
        given = graded(index, "leaks", by_truth)
        writer.add_features([replace(make.feature(index), source_id=other)])
        writer.add_explanations([label])
        writer.add_scores(
            [
                ScoreWithTrials(
                    replace(given.score, explanation_id=label.explanation_id),
                    tuple(
                        replace(t, explanation_id=label.explanation_id, context_id=f"other {t.context_id}")
                        for t in given.trials
                    ),
                    tuple(replace(c, source_id=other, context_id=f"other {c.context_id}") for c in given.contexts),
                )
            ]
        )
    assert other != SOURCE
    assert {of.n_features for of in floors_of(writer).values()} == {12}
