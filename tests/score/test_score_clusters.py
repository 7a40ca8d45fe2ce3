"""Trials of one document are worth fewer than as many of as many documents."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Int64

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context
from autointerp.score import metrics
from autointerp.score.clusters import effective_share, numbered
from autointerp.score.confusion import confusion
from autointerp.score.scorers.detection import DetectionScorer
from autointerp.score.trials import ScoreContexts
from tests.score.world import UNHURRIED, Scripted, World, explanation_of, read, scored, tools


def alone(n: int) -> Int64[np.ndarray, " trial"]:
    return np.arange(n)


def in_fives(n: int) -> Int64[np.ndarray, " trial"]:
    return np.arange(n) // 5


def test_clusters_are_numbered_in_the_order_in_which_they_first_occur() -> None:
    assert numbered(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


@UNHURRIED
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), min_size=1, max_size=40))
def test_where_every_trial_has_its_own_cluster_all_is_as_if_none_were_known(
    trials: list[tuple[bool, bool, float]],
) -> None:
    truth, verdict = (np.array([trial[i] for trial in trials], dtype=bool) for i in (0, 1))
    scores = np.array([trial[2] for trial in trials])
    assert confusion(truth, verdict, alone(truth.size)) == confusion(truth, verdict)
    assert metrics.auroc(truth, scores, alone(truth.size)) == metrics.auroc(truth, scores)
    one, other = (
        metrics.recovered(verdict, scores + 0.1, 50, np.random.default_rng(1), cluster)
        for cluster in (None, alone(truth.size))
    )
    assert np.array_equal(one.mass.draws, other.mass.draws)


@UNHURRIED
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6)), min_size=1, max_size=40))
def test_a_trial_is_worth_at_most_one_and_names_and_order_of_clusters_do_not_matter(
    trials: list[tuple[float, int]],
) -> None:
    values, cluster = np.array([v for v, _ in trials]), np.array([c for _, c in trials])
    share = effective_share(values, cluster)
    assert 0 < share <= 1
    order = np.lexsort((values, cluster))
    assert effective_share(values[order], 6 - cluster[order]) == pytest.approx(share)


def test_trials_that_agree_within_documents_are_worth_about_as_many_as_there_are_documents() -> None:
    agreeing = np.repeat([1.0, 0.0] * 20, 5)
    mixed = np.tile([1.0, 0.0, 1.0, 0.0, 1.0], 40)
    n_agreeing, n_mixed = (200 * effective_share(values, in_fives(200)) for values in (agreeing, mixed))
    assert 35 < n_agreeing < 45
    assert n_mixed > 150


def test_where_all_trials_agree_the_correlation_is_unknown_and_taken_to_be_a_half() -> None:
    # A design effect of 1 + .5 * 4 = 3, and the squared ratio of t at 5 + 19 and at 5 + 3 degrees of freedom.
    assert 20 * effective_share(np.ones(20), in_fives(20)) == pytest.approx(20 / 3 * (2.0639 / 2.3060) ** 2, abs=0.01)


def test_five_contexts_a_document_widen_every_interval_and_move_no_value() -> None:
    truth = np.arange(40) < 20
    verdict = truth ^ (np.arange(40) % 20 < 5)
    scores = verdict + np.linspace(0, 0.5, 40)
    for one, other in (
        (metrics.balanced_accuracy(confusion(truth, verdict, cluster)) for cluster in (None, in_fives(40))),
        (metrics.sensitivity(confusion(truth, verdict, cluster)) for cluster in (None, in_fives(40))),
        (metrics.auroc(truth, scores, cluster) for cluster in (None, in_fives(40))),
        (
            metrics.recovered(verdict, scores + 1, 4000, np.random.default_rng(1), cluster).mass.estimate
            for cluster in (None, in_fives(40))
        ),
    ):
        assert one is not None
        assert other is not None
        assert other.value == pytest.approx(one.value)
        assert other.high - other.low > 1.2 * (one.high - one.low)


def test_a_scorer_takes_contexts_of_one_group_for_one_cluster_and_documents_where_no_group_is_known(
    world: World, pool: PoolTiles
) -> None:
    contexts = world.given(0, pool)
    scorer = DetectionScorer(tools(Scripted(read)))

    def width(change: dict[int, Context]) -> float:
        feature = replace(contexts.feature, contexts=tuple(change.values()))
        given = ScoreContexts(feature, contexts.pool, contexts.density)
        score = scored(scorer.score(explanation_of(0, "cat"), given)).score
        return score.ci_high - score.ci_low

    known = dict(enumerate(contexts.feature.contexts))
    apart = width(known)
    assert width({i: replace(c, group_id=c.document_id) for i, c in known.items()}) == apart
    grouped = width({i: replace(c, group_id=f"group {i // 5}") for i, c in known.items()})
    assert grouped > 1.5 * apart
    assert width({i: replace(c, document_id=f"document {i // 5}", group_id="") for i, c in known.items()}) == grouped


@pytest.mark.parametrize(("rate", "size"), [(0.5, 2), (0.8, 5), (0.95, 5)])
def test_with_several_contexts_a_document_balanced_accuracys_interval_still_covers_the_truth(
    rate: float, size: int
) -> None:
    draw = np.random.default_rng(4)
    truth, cluster = np.arange(40) < 20, np.arange(40) // size
    held = []
    for _ in range(400):
        # Beta-binomial of intraclass correlation 1 / 2: a + b = 1.
        right = draw.random(40) < draw.beta(rate, 1 - rate, size=40 // size)[cluster]
        of = metrics.balanced_accuracy(confusion(truth, right == truth, cluster))
        assert of is not None
        held.append(of.low <= rate <= of.high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_documents_with_trials_of_both_classes_widen_the_interval_where_the_judge_is_right_about_all_or_none() -> None:
    truth = np.arange(40) % 2 == 0
    right = np.repeat([True, False] * 10, 2)
    shared = np.arange(40) // 2
    one, other = (metrics.balanced_accuracy(confusion(truth, right == truth, c)) for c in (None, shared))
    assert one is not None
    assert other is not None
    assert other.high - other.low > 1.25 * (one.high - one.low)


def test_a_yes_that_runs_through_a_document_makes_no_interval_narrower() -> None:
    truth = np.arange(40) % 2 == 0
    yes = np.repeat([True, False] * 10, 2)
    assert confusion(truth, yes, np.arange(40) // 2).correlation == 0.0
    assert confusion(truth, truth, np.arange(40)).correlation == 0.0
    assert 0 < confusion(truth, truth, np.arange(40) // 2).correlation < 0.5
