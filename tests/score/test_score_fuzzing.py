from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.scorers.fuzzing import FuzzingScorer, build_questions, false_marks, true_marks
from tests.score.world import ANIMALS, COLOURS, Scripted, World, explanation_of, failed, read, scored, tools

CAT, COLOUR, EVERYWHERE = 0, 1, 2


def scorer(judge: Scripted) -> FuzzingScorer:
    return FuzzingScorer(tools(judge))


def context_of(activations: list[float], decoy: tuple[int, ...], words: list[str] | None = None) -> Context:
    tokens = words or [f" w{i}" for i in range(len(activations))]
    return Context(
        context_id="0",
        source_id="toy@made",
        feature_index=0,
        kind="quantile",
        split="score",
        tokens=tuple(tokens),
        token_ids=tuple(range(len(tokens))),
        activations=tuple(activations),
        max_activation=max(activations),
        peak=int(np.argmax(activations)),
        quantile=0,
        document_id="doc",
        block_index=0,
        start=0,
        decoy=decoy,
    )


def test_as_many_tokens_are_marked_either_way_and_the_strongest_of_each() -> None:
    more_active = context_of([1.0, 4, 0, 2, 0, 0, 3, 0], decoy=(5, 2))
    assert (true_marks(more_active), false_marks(more_active)) == ((1, 6), (2, 5))
    more_decoy = context_of([0.0, 4, 0, 2, 0, 0, 0, 0], decoy=(7, 0, 5, 2))
    assert (true_marks(more_decoy), false_marks(more_decoy)) == ((1, 3), (0, 7))


def test_white_space_on_which_the_feature_fires_is_marked_in_no_half() -> None:
    words = [" one", " two", "\n\n", " peak", " three", " four"]
    context = context_of([0.0, 0, 5, 1, 0, 0], decoy=(0, 4), words=words)
    assert true_marks(context) == (3,)
    assert false_marks(context) == (0,)


def test_contexts_that_are_active_on_white_space_alone_are_left_out_and_counted(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    contexts = list(given.feature.contexts)
    for i in [i for i, c in enumerate(contexts) if c.split == "score" and c.is_active][:3]:
        tokens = ["\n" if a > 0 else t for a, t in zip(contexts[i].activations, contexts[i].tokens, strict=True)]
        contexts[i] = replace(contexts[i], tokens=tuple(tokens))
    given = replace(given, feature=replace(given.feature, contexts=tuple(contexts)))
    result = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, " ".join(COLOURS)), given))
    assert (result.score.n_trials, result.score.detail["n_left_out"]) == (17, 3)
    known = {c.context_id: c.tokens for c in contexts}
    assert all(known[t.context_id][offset].strip() for t in result.trials for offset in t.marked)


def test_halves_are_even_in_every_quantile_and_no_context_has_both_roles(world: World) -> None:
    posed = build_questions(world.contexts(COLOUR), "score", 1)
    cells = Counter((p.question.context.quantile, p.truth) for p in posed)
    assert len({p.question.context.context_id for p in posed}) == len(posed) == 20
    assert all(cells[quantile, truth] == 1 for quantile in range(10) for truth in (True, False))


def test_a_true_label_scores_one_and_marks_stand_in_the_trials(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    result = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, " ".join(COLOURS)), given))
    known = {c.context_id: c for c in given.feature.contexts}
    assert result.score.value == 1.0
    assert result.score.metric == "balanced accuracy"
    for trial in result.trials:
        active = [known[trial.context_id].activations[i] > 0 for i in trial.marked]
        assert active
        assert all(a == trial.truth for a in active)


@pytest.mark.parametrize("label", ["any text", " ".join(ANIMALS), "zebra"])
def test_labels_that_hold_for_all_marks_or_for_none_score_a_half(world: World, pool: PoolTiles, label: str) -> None:
    score = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, label), world.given(COLOUR, pool))).score
    assert score.value == pytest.approx(0.5, abs=0.06)


def test_a_label_of_half_the_lexicon_lies_between(world: World, pool: PoolTiles) -> None:
    label = " ".join(COLOURS[3:])
    score = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, label), world.given(COLOUR, pool))).score
    assert 0.55 < score.value < 0.95


def test_contexts_without_a_decoy_are_left_out_and_counted(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    contexts = list(given.feature.contexts)
    for i in [i for i, c in enumerate(contexts) if c.split == "score" and c.is_active][:4]:
        contexts[i] = replace(contexts[i], decoy=())
    given = replace(given, feature=replace(given.feature, contexts=tuple(contexts)))
    score = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, " ".join(COLOURS)), given)).score
    assert (score.n_trials, score.detail["n_left_out"]) == (16, 4)


def test_a_feature_that_fires_on_every_token_fails_for_good(world: World, pool: PoolTiles) -> None:
    failure = failed(scorer(Scripted(read)).score(explanation_of(EVERYWHERE, "x"), world.given(EVERYWHERE, pool)))
    assert (failure.stage, failure.error_type, failure.retry) == ("score:fuzzing", "NoFalseMarks", False)
    assert failure.message == "there are no two firing contexts with silent tokens that could be marked"


def test_all_unanswered_is_a_failure_to_try_again(world: World, pool: PoolTiles) -> None:
    def silent(label: str, task: Task, question: Question) -> Answer:
        return Answer(verdict=None, unanswered="refused")

    failure = failed(scorer(Scripted(silent)).score(explanation_of(COLOUR, "x"), world.given(COLOUR, pool)))
    assert (failure.error_type, failure.retry, failure.raw) == ("AllUnanswered", True, "refused")
