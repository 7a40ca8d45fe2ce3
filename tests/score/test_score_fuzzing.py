from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context, FeatureContexts
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.scorers.fuzzing import FuzzingScorer, build_questions, false_marks, true_marks
from tests.score.world import ANIMALS, COLOURS, UNHURRIED, Scripted, World, explanation_of, failed, read, scored, tools

CAT, COLOUR, EVERYWHERE = 0, 1, 2


def scorer(judge: Scripted) -> FuzzingScorer:
    return FuzzingScorer(tools(judge))


def context_of(activations: list[float], words: list[str] | None = None, block: int = 0) -> Context:
    tokens = words or [f" w{i}" for i in range(len(activations))]
    return Context(
        context_id=f"{block}",
        source_id="toy@made",
        feature_index=0,
        kind="quantile",
        split="score",
        tokens=tuple(tokens),
        token_ids=tuple(range(len(tokens))),
        activations=tuple(activations),
        max_activation=max(activations),
        peak=int(np.argmax(activations)),
        quantile=block % 10,
        document_id=f"doc{block}",
        block_index=block,
        start=0,
    )


def runs_of(offsets: tuple[int, ...]) -> Counter[int]:
    lengths: list[int] = []
    for i, offset in enumerate(offsets):
        if i and offset == offsets[i - 1] + 1:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return Counter(lengths)


firings = st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.5]), min_size=1, max_size=24).filter(any)


@UNHURRIED
@given(firings, st.integers(0, 2**64 - 1))
def test_false_marks_are_as_many_as_true_ones_and_all_inactive(activations: list[float], key: int) -> None:
    context = context_of(activations)
    true, false = true_marks(context), false_marks(context, key)
    n_active = sum(a > 0 for a in activations)
    assert len(true) == len(false) == len(set(false)) == min(n_active, len(activations) - n_active)
    assert all(activations[i] > 0 for i in true)
    assert all(activations[i] == 0 for i in false)
    assert false == false_marks(context, key)


def test_runs_of_marks_keep_their_lengths_where_there_is_room() -> None:
    activations = [0.0] * 12 + [1, 1, 1, 0, 0, 2, 0] + [0.0] * 13
    for key in range(50):
        assert runs_of(false_marks(context_of(activations), key)) == Counter({3: 1, 1: 1})


def test_a_run_that_fits_nowhere_is_cut() -> None:
    activations = [0.0, 0, 1, 1, 1, 1, 0, 0]
    assert false_marks(context_of(activations), 5) == (0, 1, 6, 7)


def test_the_strongest_are_marked_where_active_tokens_are_in_the_majority() -> None:
    activations = [1.0, 4, 2, 0, 3, 0]
    assert true_marks(context_of(activations)) == (1, 4)
    assert false_marks(context_of(activations), 5) == (3, 5)


def test_marks_on_words_move_to_words_and_white_space_is_never_marked() -> None:
    words = [" one", ",", " two", "s", "  ", ",", " peak", ",", " three", "s", "."]
    activations = [0.0] * 6 + [1.0] + [0.0] * 4
    seen = Counter(false_marks(context_of(activations, words), key)[0] for key in range(300))
    assert seen[4] == 0
    assert seen[0] + seen[2] + seen[8] > 0.8 * 300


def test_white_space_on_which_the_feature_fires_is_marked_in_no_half() -> None:
    words = [" one", " two", "\n\n", " peak", " three", " four"]
    context = context_of([0.0, 0, 5, 1, 0, 0], words)
    assert true_marks(context) == (3,)
    for key in range(50):
        assert len(false_marks(context, key)) == 1
        assert false_marks(context, key)[0] in (0, 1, 4, 5)


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


@pytest.mark.parametrize(("longest", "margin"), [(1, 0.06), (3, 0.1), (6, 0.2)])
def test_without_the_label_neither_the_number_nor_the_place_of_marks_tells_the_answer(
    longest: int, margin: float
) -> None:
    """Contexts as the collector cuts them: the peak at three quarters, followed by a burst of some tokens.

    A burst of six leaves no room behind it in a context of 32, so that its place tells a little.
    """
    draw = np.random.default_rng(5)
    truth, n_marks, place = [], [], []
    for feature in range(60):
        contexts = []
        for block in range(20):
            activations = [0.0] * 32
            length = int(draw.integers(1, longest + 1))
            for i in range(24, min(32, 24 + length)):
                activations[i] = float(24 + length - i)
            contexts.append(context_of(activations, block=block))
        for p in build_questions(FeatureContexts("toy@made", 0, tuple(contexts)), "score", feature):
            truth.append(p.truth)
            n_marks.append(len(p.question.marked))
            place.append(float(np.mean(p.question.marked)))
    assert abs(roc_auc_score(truth, n_marks) - 0.5) < 0.05
    assert abs(roc_auc_score(truth, place) - 0.5) < margin


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


def test_contexts_that_are_active_throughout_are_left_out_and_counted(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    contexts = list(given.feature.contexts)
    places = [i for i, c in enumerate(contexts) if c.split == "score" and c.is_active][:4]
    for i in places:
        contexts[i] = replace(contexts[i], activations=(1.0,) * len(contexts[i].tokens), max_activation=1.0)
    given = replace(given, feature=replace(given.feature, contexts=tuple(contexts)))
    score = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, " ".join(COLOURS)), given)).score
    assert (score.n_trials, score.detail["n_left_out"]) == (16, 4)


def test_a_feature_that_fires_on_every_token_fails_for_good(world: World, pool: PoolTiles) -> None:
    failure = failed(scorer(Scripted(read)).score(explanation_of(EVERYWHERE, "x"), world.given(EVERYWHERE, pool)))
    assert (failure.stage, failure.error_type, failure.retry) == ("score:fuzzing", "OneClassOnly", False)


def test_all_unanswered_is_a_failure_to_try_again(world: World, pool: PoolTiles) -> None:
    def silent(label: str, task: Task, question: Question) -> Answer:
        return Answer(verdict=None, unanswered="refused")

    failure = failed(scorer(Scripted(silent)).score(explanation_of(COLOUR, "x"), world.given(COLOUR, pool)))
    assert (failure.error_type, failure.retry, failure.raw) == ("AllUnanswered", True, "refused")


def test_the_judge_sees_solved_questions_made_the_same_way_on_the_explain_split(world: World) -> None:
    solved = build_questions(world.contexts(COLOUR), "explain", 1)
    assert {p.question.context.split for p in solved} == {"explain"}
    assert {p.truth for p in solved} == {True, False}
    assert all(p.question.marked for p in solved)
