from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from autointerp.contexts.pool import PoolTiles
from autointerp.score.scorers.embedding import EmbeddingScorer
from tests.score.world import ANIMALS, COLOURS, Scripted, World, explanation_of, failed, read, scored, tools

COLOUR = 1
SCORER = EmbeddingScorer(tools(Scripted(read)))


def test_the_headline_is_the_auroc_of_the_similarities_that_the_trials_keep(world: World, pool: PoolTiles) -> None:
    result = scored(SCORER.score(explanation_of(COLOUR, " ".join(COLOURS[:4])), world.given(COLOUR, pool)))
    truth, similarity = [t.truth for t in result.trials], [t.probability for t in result.trials]
    assert result.score.metric == "AUROC"
    assert result.score.value == pytest.approx(roc_auc_score(truth, similarity))
    assert 0.5 < result.score.value < 1.0
    assert {t.verdict for t in result.trials} == {None}
    assert (result.score.n_trials, result.score.n_unanswered) == (40, 0)
    assert result.score.judge == result.trials[0].judge == "bag-of-words"


def test_a_true_label_beats_a_false_one_and_a_perfect_auroc_is_not_certain(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    true = scored(SCORER.score(explanation_of(COLOUR, " ".join(COLOURS)), given)).score
    false = scored(SCORER.score(explanation_of(COLOUR, " ".join(ANIMALS)), given)).score
    assert true.value > false.value
    assert true.value == 1.0
    assert 0.8 < true.ci_low < true.ci_high == 1.0


def test_each_kind_of_silent_context_has_its_own_auroc(world: World, pool: PoolTiles) -> None:
    score = scored(SCORER.score(explanation_of(COLOUR, "red"), world.given(COLOUR, pool))).score
    by_kind, n_by_kind = score.detail["auroc_by_kind"], score.detail["n_auroc_by_kind"]
    assert n_by_kind == {"silent_random": 10, "silent_similar": 10}
    assert score.value == pytest.approx(np.mean(list(by_kind.values())))


def test_without_silent_contexts_it_fails_for_good(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    firing = tuple(c for c in given.feature.contexts if c.is_active)
    given = replace(given, feature=replace(given.feature, contexts=firing))
    failure = failed(SCORER.score(explanation_of(COLOUR, "red"), given))
    assert (failure.stage, failure.error_type, failure.retry) == ("score:embedding", "NoSilentContexts", False)
