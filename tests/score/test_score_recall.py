import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction as F

import numpy as np
import pytest
from jaxtyping import Float32

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.records import FeatureContexts
from autointerp.score import metrics
from autointerp.score.detail import context_rate
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.scorers.recall import LIKELY, REST, RecallScorer, build_questions, firing_contexts, measure
from autointerp.score.trials import Answered, Posed, ScoreContexts, answered
from tests.score.world import (
    ANIMALS,
    COLOURS,
    SOURCE,
    WINDOW,
    BagOfWords,
    Scripted,
    World,
    explanation_of,
    failed,
    read,
    scored,
    tools,
)

CAT, COLOUR, EVERYWHERE = 0, 1, 2
CONFIG = ScoreConfig(n_recall_candidates=20, n_recall_random=20, n_bootstrap=300)


def scorer(judge: Scripted, config: ScoreConfig = CONFIG) -> RecallScorer:
    return RecallScorer(tools(judge, config))


def silent_tiles(pool: PoolTiles, feature: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.flatnonzero(pool.is_score & (pool.peaks(feature) == 0))


def drawn(world: World, pool: PoolTiles, feature: int, label: str, config: ScoreConfig = CONFIG) -> tuple[Posed, ...]:
    similarity = BagOfWords().similarity(label, pool.texts)
    return build_questions(world.given(feature, pool), similarity, config, 1)


def test_known_answers_give_the_fractions_worked_out_by_hand(world: World, pool: PoolTiles) -> None:
    """18 of 20 firing contexts, 5 of 20 likely tiles and 1 of 20 others get a yes; the base rate is 1/10."""
    posed = drawn(world, pool, CAT, "cat dog")
    left = {"firing": 2, LIKELY: 15, REST: 19}
    answers = []
    for p in posed:
        left[p.part] -= 1
        answers.append(Answer(verdict=left[p.part] < 0))
    of = answered(posed, answers)
    assert isinstance(of, Answered)
    n_rest = silent_tiles(pool, CAT).size - 20
    rng = np.random.default_rng(0)
    strata = (metrics.Stratum(20, 20, 5), metrics.Stratum(n_rest, 20, 1))
    headline, detail = measure(of, firing_contexts(of), strata, metrics.Rate(0.1, np.full(300, 0.1)), rng)

    alarm = (F(5) + F(n_rest, 20)) / (20 + n_rest)
    precision = F(1, 10) * F(18, 20) / (F(1, 10) * F(18, 20) + F(9, 10) * alarm)
    done = detail.done("interval")
    assert done["context_recall"] == pytest.approx(float(F(18, 20)))
    assert done["mass_recall"] == pytest.approx(0.9)  # the cat feature has an activation of 1, mostly once a context
    assert done["false_alarm_rate"] == pytest.approx(float(alarm))
    assert done["precision"] == pytest.approx(float(precision), abs=0.05)  # the median of its posterior
    recall = done["mass_recall"]
    assert headline.value == pytest.approx(2 * float(precision) * recall / (float(precision) + recall), abs=0.05)
    assert done["chance"] == pytest.approx(float(F(2, 11)))


def test_mass_recall_weighs_contexts_by_their_activations(world: World, pool: PoolTiles) -> None:
    """Saying yes to strong colours only recovers more of the mass than of the contexts."""
    result = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, "white black"), world.given(COLOUR, pool)))
    known = {c.context_id: sum(c.activations) for c in world.contexts(COLOUR).contexts}
    firing = [t for t in result.trials if t.truth]
    mass = sum(known[t.context_id] for t in firing if t.verdict) / sum(known[t.context_id] for t in firing)
    detail = result.score.detail
    assert detail["mass_recall"] == pytest.approx(mass)
    assert detail["mass_recall"] > detail["context_recall"]
    assert detail["mass_recall_by_quantile"]["9"] == 1.0
    assert detail["sensitivity_by_quantile"]["0"] == 0.0


def test_a_perfect_label_scores_almost_one_and_says_how_little_that_proves(world: World, pool: PoolTiles) -> None:
    score = scored(scorer(Scripted(read)).score(explanation_of(CAT, "cat"), world.given(CAT, pool))).score
    assert score.metric == "F1 at the natural base rate, of activation-mass recall and precision"
    assert 0.97 < score.value < score.ci_high
    assert score.ci_low < 0.95


def test_any_text_has_full_recall_and_a_low_score(world: World, pool: PoolTiles) -> None:
    score = scored(scorer(Scripted(read)).score(explanation_of(CAT, "any text"), world.given(CAT, pool))).score
    base = score.detail["base_rate"]
    assert (score.detail["mass_recall"], score.detail["false_alarm_rate"]) == (1.0, 1.0)
    assert score.detail["precision"] == pytest.approx(base, rel=0.03)
    assert score.value == pytest.approx(score.detail["chance"], rel=0.03)
    assert score.detail["chance"] == pytest.approx(2 * base / (1 + base))
    assert score.value < 0.2


def test_true_beats_too_broad_and_too_narrow_which_beat_false(world: World, pool: PoolTiles) -> None:
    def value(feature: int, label: str) -> float:
        given = world.given(feature, pool)
        return scored(scorer(Scripted(read)).score(explanation_of(feature, label), given)).score.value

    assert (
        value(CAT, "cat")
        > value(CAT, "cat dog")
        > value(CAT, "cat dog horse")
        > value(CAT, "any text")
        > value(CAT, "green")
    )
    assert 1.0 > value(COLOUR, " ".join(COLOURS[2:])) > value(COLOUR, " ".join(ANIMALS))
    assert value(COLOUR, " ".join(COLOURS[3:])) < value(COLOUR, " ".join(COLOURS[2:]))


def test_the_estimate_holds_the_truth_that_the_whole_pool_gives(world: World, pool: PoolTiles) -> None:
    """The label "cat dog" claims every dog: its precision over all text is known exactly."""
    score = scored(scorer(Scripted(read)).score(explanation_of(CAT, "cat dog"), world.given(CAT, pool))).score
    claimed = np.array([bool({"cat", "dog"} & set(text.split())) for text in pool.texts])
    fires = pool.peaks(CAT) > 0
    truth = float((claimed & fires).sum() / claimed.sum())
    interval = score.detail["precision_interval"]
    assert interval["low"] <= truth <= interval["high"]


def test_retrieved_tiles_are_the_most_similar_silent_ones_and_the_rest_stand_for_all_others(
    world: World, pool: PoolTiles
) -> None:
    posed = drawn(world, pool, CAT, "dog")
    silent = silent_tiles(pool, CAT)
    similarity = BagOfWords().similarity("dog", pool.texts)
    likely = {p.question.context.text for p in posed if p.part == LIKELY}
    assert likely == {pool.texts[t] for t in silent[np.argsort(-similarity[silent], kind="stable")][:20]}
    assert all("dog" in text for text in likely)
    rest = [p for p in posed if p.part == REST]
    assert sum(p.weight for p in posed if p.part != "firing") == pytest.approx(silent.size)
    assert {p.weight for p in rest} == {(silent.size - 20) / 20}
    assert {p.question.context.kind for p in posed if p.part != "firing"} == {"pool"}
    assert {p.question.context.split for p in posed} == {"score"}
    assert not any(p.question.context.is_active for p in posed if p.part != "firing")


def test_a_pool_smaller_than_what_is_asked_for_is_judged_in_full(world: World, pool: PoolTiles) -> None:
    everything = ScoreConfig(n_recall_candidates=5000, n_recall_random=20, n_bootstrap=100)
    posed = drawn(world, pool, CAT, "dog", everything)
    assert sum(p.part == LIKELY for p in posed) == silent_tiles(pool, CAT).size
    assert not any(p.part == REST for p in posed)
    given = world.given(CAT, pool)
    score = scored(scorer(Scripted(read), everything).score(explanation_of(CAT, "cat dog"), given)).score
    with_dog = np.mean(["dog" in pool.texts[t].split() for t in silent_tiles(pool, CAT)])
    assert score.detail["false_alarm_rate"] == pytest.approx(with_dog)


def test_pool_contexts_come_back_with_the_score_so_that_every_trial_opens(world: World, pool: PoolTiles) -> None:
    given = world.given(CAT, pool)
    result = scored(scorer(Scripted(read)).score(explanation_of(CAT, "dog"), given))
    known = {c.context_id for c in (*given.feature.contexts, *result.contexts)}
    assert {t.context_id for t in result.trials} <= known
    assert len(result.contexts) == 40
    assert (result.score.n_trials, len(result.trials)) == (60, 60)


def test_silent_tiles_that_nearly_repeat_what_the_explainer_saw_are_not_asked_about(
    world: World, pool: PoolTiles
) -> None:
    """One explain context is made to repeat the tile most like the label but for a word, another a tile of the rest."""
    posed = drawn(world, pool, CAT, "dog")
    shown = [next(p.question.context for p in posed if p.part == part) for part in (LIKELY, REST)]
    changed = (*shown[0].token_ids[:-1], (shown[0].token_ids[-1] + 1) % 8)
    contexts = list(world.contexts(CAT).contexts)
    places = [
        next(i for i, c in enumerate(contexts) if c.split == "explain" and c.is_active == active)
        for active in (True, False)
    ]
    for place, token_ids in zip(places, (changed, shown[1].token_ids), strict=True):
        contexts[place] = replace(contexts[place], token_ids=token_ids)
    given = replace(world.given(CAT, pool), feature=FeatureContexts(SOURCE, CAT, tuple(contexts)))
    result = scored(scorer(Scripted(read)).score(explanation_of(CAT, "dog"), given))

    asked = {(c.block_index, c.start) for c in result.contexts}
    assert len(asked) == 40
    assert not asked & {(c.block_index, c.start) for c in shown}
    n_eligible = silent_tiles(pool, CAT).size - 2
    assert (result.score.detail["n_left_out"], result.score.detail["n_silent_tiles"]) == (2, n_eligible)
    assert sum(t.weight for t in result.trials if not t.truth) == pytest.approx(n_eligible)


def test_the_run_s_threshold_decides_what_repeats(world: World, pool: PoolTiles) -> None:
    contexts = world.contexts(CAT)
    tile = int(silent_tiles(pool, CAT)[0])
    half = pool.token_ids[tile].tolist()[:10]
    seen = replace(contexts.of("explain", active=True)[0], token_ids=tuple(half))
    one = FeatureContexts(SOURCE, CAT, (seen,))
    # 8 of the tile's 14 trigrams.
    for near_duplicate, n_left_out in ((0.57, 1), (0.58, 0)):
        assert (
            ScoreContexts(one, replace(pool, near_duplicate=near_duplicate), 0.1).silent_tiles.n_left_out == n_left_out
        )


def test_questions_of_firing_and_silent_contexts_are_mixed(world: World, pool: PoolTiles) -> None:
    truths = [p.truth for p in drawn(world, pool, CAT, "dog")]
    assert sum(a != b for a, b in itertools.pairwise(truths)) > 5


def test_a_part_of_the_pool_without_any_answer_is_a_failure_to_try_again(world: World, pool: PoolTiles) -> None:
    def refuses_pool_text(label: str, task: Task, question: Question) -> Answer:
        if question.context.kind == "pool":
            return Answer(verdict=None, unanswered="refused")
        return Answer(verdict=True)

    failure = failed(scorer(Scripted(refuses_pool_text)).score(explanation_of(CAT, "x"), world.given(CAT, pool)))
    assert (failure.stage, failure.error_type, failure.retry) == ("score:recall", "AllUnanswered", True)


def test_unanswered_pool_tiles_change_neither_the_size_nor_the_rate_of_their_part(
    world: World, pool: PoolTiles
) -> None:
    n_asked = {"pool": 0}

    def every_other(label: str, task: Task, question: Question) -> Answer:
        if question.context.kind == "pool":
            n_asked["pool"] += 1
            if n_asked["pool"] % 2:
                return Answer(verdict=None, unanswered="timeout")
        return Answer(verdict=True)

    score = scored(scorer(Scripted(every_other)).score(explanation_of(CAT, "x"), world.given(CAT, pool))).score
    assert score.n_unanswered == 20
    assert score.detail["false_alarm_rate"] == pytest.approx(1.0)
    assert score.detail["n_silent_tiles"] == silent_tiles(pool, CAT).size


@dataclass(frozen=True)
class Thorough(Scripted):
    """A free judge that judges bare texts too: whether one of the label's words is there."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        said = await super().answer(task, cases)
        yes = [[bool(set(case.label.split()) & set(text.split())) for text in case.texts] for case in cases]
        return [replace(one, texts=np.array(of_one)) if of_one else one for one, of_one in zip(said, yes, strict=True)]


def f1_over_windows(pool: PoolTiles, feature: int, label: str) -> float:
    """F1 of a label over all windows of the score split, by hand: recall of mass, precision of windows."""
    yes = np.array([bool(set(label.split()) & set(text.split())) for text in pool.texts]) & pool.is_score
    mass = pool.masses(feature) * pool.is_score
    precision, recall = (mass[yes] > 0).mean(), mass[yes].sum() / mass.sum()
    return float(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("label", ["white", "black white", "red green blue black white", "red green cat dog", "the of"])
def test_a_free_judge_s_score_is_that_of_all_windows_as_they_come(world: World, pool: PoolTiles, label: str) -> None:
    """A colour's weak windows stand beside strong ones in its blocks, so contexts at peaks alone flatter "white"."""
    result = scored(scorer(Thorough(read)).score(explanation_of(COLOUR, label), world.given(COLOUR, pool)))
    assert result.score.value == pytest.approx(f1_over_windows(pool, COLOUR, label), abs=0.02)
    assert result.score.detail["n_tiles_judged"] == int(pool.is_score.sum())


def test_the_verdicts_on_all_tiles_are_kept_so_that_the_score_can_be_computed_again(
    world: World, pool: PoolTiles
) -> None:
    detail = scored(scorer(Thorough(read)).score(explanation_of(CAT, "cat dog"), world.given(CAT, pool))).score.detail
    n = int(pool.is_score.sum())
    kept = np.unpackbits(np.frombuffer(bytes.fromhex(detail["tile_verdicts"]), dtype=np.uint8), count=n)
    claimed = [bool({"cat", "dog"} & set(text.split())) for text in pool.score_texts]
    assert kept.astype(bool).tolist() == claimed
    silent = pool.peaks(CAT)[pool.is_score] == 0
    assert detail["n_silent_yes"] == int((silent & claimed).sum())
    assert detail["n_firing_tiles_judged"] == int((~silent).sum())


def test_a_paid_judge_is_asked_about_no_bare_text(world: World, pool: PoolTiles) -> None:
    judge = Thorough(read, is_free=False)
    detail = scored(scorer(judge).score(explanation_of(CAT, "cat"), world.given(CAT, pool))).score.detail
    assert "n_tiles_judged" not in detail


class OnlyWords(BagOfWords):
    """An embedder that can't embed a whole text."""

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        if sum(len(text.split()) for text in texts) > len(texts):
            raise AssertionError("a whole text was embedded")
        return super().embed(texts)

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        return BagOfWords().similarity(label, texts)


def test_where_judging_is_free_no_text_is_embedded_whole_and_the_trials_are_the_likeliest_false_alarms(
    world: World, pool: PoolTiles
) -> None:
    free = RecallScorer(replace(tools(Thorough(read), CONFIG), embedder=OnlyWords))
    given = world.given(CAT, pool)
    free.prepare(["cat dog"], [c.text for c in given.feature.contexts], pool)
    result = scored(free.score(explanation_of(CAT, "cat dog"), given))
    said = {t.context_id: t.verdict for t in result.trials}
    assert sum(bool(said[c.context_id]) for c in result.contexts) >= 20, "all that were retrieved hold the word dog"
    paid = RecallScorer(replace(tools(Thorough(read, is_free=False), CONFIG), embedder=OnlyWords))
    with pytest.raises(AssertionError, match="a whole text"):
        paid.prepare(["cat dog"], [], pool)


def test_a_feature_that_is_never_silent_fails_for_good(world: World, pool: PoolTiles) -> None:
    failure = failed(scorer(Scripted(read)).score(explanation_of(EVERYWHERE, "x"), world.given(EVERYWHERE, pool)))
    assert (failure.error_type, failure.retry) == ("NoSilentContexts", False)


def test_the_base_rate_of_a_feature_that_no_tile_holds_comes_from_its_density(world: World, pool: PoolTiles) -> None:
    """A feature number that the pool does not know, with the contexts of one that fires once a window."""
    unseen = replace(world.contexts(CAT), feature_index=99)
    rate = context_rate(ScoreContexts(unseen, pool, density=1e-6), 300, np.random.default_rng(0))
    assert 0 < rate.value < 2e-6 * WINDOW
    assert rate.estimate.low < 1e-6 * WINDOW < rate.estimate.high
    assert pool.source_id == SOURCE


def test_the_same_seed_gives_the_same_score_to_the_last_bit(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    one = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, "red cat"), given))
    other = scored(scorer(Scripted(read)).score(explanation_of(COLOUR, "red cat"), given))
    assert one == other
