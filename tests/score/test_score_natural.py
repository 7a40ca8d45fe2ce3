"""Natural: how closely a judge's answers follow the feature over windows as they come."""

import asyncio
import dataclasses
from collections.abc import Sequence
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, precision_score

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.records import ScoreWithTrials
from autointerp.score.detail import context_rate
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.judges.local import LocalJudge
from autointerp.score.metrics import Rate
from autointerp.score.natural import Windows, estimate, tell
from autointerp.score.scorers.natural import (
    ELSEWHERE,
    PEAK,
    NaturalScorer,
    build_questions,
    elsewhere_share,
    log_odds,
    rounded,
    silent_strata,
)
from autointerp.score.trials import Posed
from tests.score.world import (
    ANIMALS,
    COLOURS,
    UNHURRIED,
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


def scorer(judge: Scripted | LocalJudge | None = None, n_natural: int = 40) -> NaturalScorer:
    return NaturalScorer(
        tools(judge or Scripted(read, is_free=False), ScoreConfig(n_natural=n_natural, n_bootstrap=300))
    )


def of_cat(world: World, pool: PoolTiles, label: str, n_natural: int = 40) -> ScoreWithTrials:
    return scored(scorer(n_natural=n_natural).score(explanation_of(CAT, label), world.given(CAT, pool)))


def drawn(world: World, pool: PoolTiles, feature: int, label: str, key: int, n: int = 40) -> tuple[Posed, ...]:
    closeness = BagOfWords().similarity(label, pool.texts)
    return build_questions(world.given(feature, pool), closeness, n, key)


def alike(n: int, seed: int) -> Windows:
    """So many windows as they come."""
    rng = np.random.default_rng(seed)
    fires = rng.random(n) < 0.4
    belief = np.round(np.clip(rng.normal(0.35 + 0.3 * fires, 0.25), 0, 1), 1)
    return Windows(
        is_firing=fires,
        verdict=belief >= 0.5,
        belief=belief,
        activation=fires * rng.exponential(1.0, n),
        part=(~fires).astype(np.int64),
        weight=np.ones(n),
        group=rng.integers(0, n, n),
        share=np.ones(2),
    )


@pytest.mark.parametrize("seed", range(3))
def test_windows_as_they_come_have_the_measures_of_scikit_learn(seed: int) -> None:
    windows = alike(200, seed)
    of = estimate(windows, Rate(float(windows.is_firing.mean()), np.full(50, 0.4)), np.random.default_rng(0), 0.1)
    truth, verdict = windows.is_firing, windows.verdict
    assert of.correlation.value == pytest.approx(matthews_corrcoef(truth, verdict))
    assert of.f1.value == pytest.approx(f1_score(truth, verdict))
    assert of.precision.value == pytest.approx(precision_score(truth, verdict))
    assert of.auprc.value == pytest.approx(average_precision_score(truth, windows.belief))
    by_hand = np.corrcoef(windows.activation, windows.belief)[0, 1]
    assert of.activation_correlation.value == pytest.approx(by_hand)


def test_weighted_windows_give_the_fractions_worked_out_by_hand() -> None:
    """Of two strata of silent windows, of a quarter and of three quarters; the judge gives verdicts only."""
    verdict = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 1], dtype=bool)
    windows = Windows(
        is_firing=np.array([True] * 4 + [False] * 6),
        verdict=verdict,
        belief=verdict.astype(float),
        activation=np.array([2.0] * 4 + [0.0] * 6),
        part=np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2]),
        weight=np.array([1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        group=np.arange(10),
        share=np.array([1.0, 0.25, 0.75]),
    )
    of = estimate(windows, Rate(0.1, np.full(50, 0.1)), np.random.default_rng(0), 0.1)
    hit, alarm, base = F(3, 6), F(1, 4) * F(1, 2) + F(3, 4) * F(1, 4), F(1, 10)
    yes = base * hit + (1 - base) * alarm
    precision = base * hit / yes
    assert of.recall.value == pytest.approx(float(hit))
    assert of.false_alarm.value == pytest.approx(float(alarm))
    assert of.precision.value == pytest.approx(float(precision))
    assert of.f1.value == pytest.approx(float(2 * base * hit / (base + yes)))
    by_hand = float(hit - alarm) * (float(base * (1 - base)) / float(yes * (1 - yes))) ** 0.5
    assert of.correlation.value == pytest.approx(by_hand)
    assert of.activation_correlation.value == pytest.approx(by_hand)
    assert of.auprc.value == pytest.approx(float(hit * precision + (1 - hit) * base)), "two levels, yes and no"


@pytest.mark.parametrize("verdict", [True, False])
def test_one_verdict_on_everything_has_no_correlation_and_the_chance_of_the_others(verdict: bool) -> None:
    windows = alike(60, 0)
    same = dataclasses.replace(windows, verdict=np.full(60, verdict), belief=np.full(60, float(verdict)))
    seen, told = tell(same, Rate(0.1, np.full(200, 0.1)), np.random.default_rng(0))
    assert (seen.correlation.value, seen.activation_correlation.value) == (0.0, 0.0)
    assert seen.auprc.value == pytest.approx(0.1)
    assert seen.f1.value == pytest.approx(2 * 0.1 / 1.1 if verdict else 0.0)
    assert told["correlation"].low < 0.05
    assert all(of.high > of.low for of in told.values())


def test_windows_of_one_group_that_are_alike_widen_the_interval() -> None:
    windows = alike(120, 1)
    rate = Rate(0.4, np.full(400, 0.4))
    order = np.lexsort((windows.verdict, windows.is_firing))
    apart, together = (
        tell(dataclasses.replace(windows, group=group), rate, np.random.default_rng(0))[1]["correlation"]
        for group in (np.arange(120), np.argsort(order) // 12)
    )
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


@UNHURRIED
@given(st.integers(0, 3000), st.integers(1, 200))
def test_strata_hold_every_tile_once_and_some_of_each_are_asked_about(n_tiles: int, n_asked: int) -> None:
    strata = silent_strata(n_tiles, n_asked)
    assert [tile for first, last, _ in strata for tile in range(first, last)] == list(range(n_tiles))
    assert sum(n for _, _, n in strata) == min(n_tiles, n_asked)
    assert all(1 <= n <= last - first for first, last, n in strata)


def test_the_closest_are_asked_about_most_densely_and_half_the_questions_are_of_the_rest() -> None:
    assert silent_strata(1000, 40) == [(0, 5, 5), (5, 17, 5), (17, 58, 5), (58, 200, 5), (200, 1000, 20)]
    assert silent_strata(30, 40) == [(0, 30, 30)]
    assert silent_strata(0, 40) == []


def test_the_weights_make_up_the_windows_of_the_pool(world: World, pool: PoolTiles) -> None:
    contexts = world.given(COLOUR, pool)
    posed = drawn(world, pool, COLOUR, "red", 1)
    silent = sum(p.weight for p in posed if not p.truth)
    assert silent == pytest.approx(contexts.silent_tiles.eligible.size)
    rate = context_rate(contexts, 1, np.random.default_rng(0)).value
    assert sum(p.weight for p in posed if p.truth) == pytest.approx(silent * rate / (1 - rate))
    elsewhere = sum(p.weight for p in posed if p.part == ELSEWHERE)
    assert elsewhere / sum(p.weight for p in posed if p.truth) == pytest.approx(elsewhere_share(contexts))
    for p in posed:
        context = p.question.context
        assert p.truth == context.is_active
        if p.part == ELSEWHERE:
            assert context.max_activation < world.activations(COLOUR)[context.block_index].max()


def test_the_share_of_silent_text_with_a_yes_is_unbiased_over_draws(world: World, pool: PoolTiles) -> None:
    """The label's words stand in a known share of the silent tiles; each draw weighs it, and the mean is right."""
    silent = world.given(CAT, pool).silent_tiles.eligible
    said_yes = {"dog", "you", "she"}
    truth = np.mean([bool(said_yes & set(pool.texts[tile].split())) for tile in silent])
    shares = []
    for key in range(200):
        weights = {True: 0.0, False: 0.0}
        for p in drawn(world, pool, CAT, "dog", key):
            if not p.truth:
                weights[bool(said_yes & set(p.question.context.text.split()))] += p.weight
        shares.append(weights[True] / sum(weights.values()))
    assert np.mean(shares) == pytest.approx(truth, abs=4 * np.std(shares) / len(shares) ** 0.5)


def test_the_measures_can_be_computed_from_the_trials_and_their_weights(world: World, pool: PoolTiles) -> None:
    result = of_cat(world, pool, "cat dog")
    truth, verdict, weight = (
        np.array([getattr(t, name) for t in result.trials]) for name in ("truth", "verdict", "weight")
    )
    told = result.score.detail["as_weighted"]
    assert told["correlation"] == pytest.approx(matthews_corrcoef(truth, verdict, sample_weight=weight))
    assert told["f1"] == pytest.approx(f1_score(truth, verdict, sample_weight=weight))
    assert told["auprc"] == pytest.approx(average_precision_score(truth, verdict, sample_weight=weight))


def test_it_falls_with_labels_too_broad_and_too_narrow_and_is_none_for_any_text(world: World, pool: PoolTiles) -> None:
    contexts = world.given(COLOUR, pool)
    values = {
        label: scored(scorer(n_natural=300).score(explanation_of(COLOUR, label), contexts)).score
        for label in (" ".join(COLOURS), " ".join(COLOURS + ANIMALS), "red", "any text", "horse")
    }
    right, broad, narrow, anything, wrong = values.values()
    assert right.value > 0.95
    assert broad.value < right.ci_low
    assert narrow.value < right.ci_low
    assert anything.value < 0.05
    assert anything.ci_low == 0.0
    assert wrong.ci_low < 0.05
    assert wrong.value < 0.2
    assert {score.detail["chance"] for score in values.values()} == {0.0}


def test_a_shuffled_label_is_asked_about_the_same_firing_windows(world: World, pool: PoolTiles) -> None:
    firing = [
        {p.question.context.context_id: p.weight for p in drawn(world, pool, COLOUR, label, 1) if p.truth}
        for label in ("red", "horse")
    ]
    assert firing[0] == firing[1]


def test_a_judge_who_is_free_is_asked_about_every_tile_and_all_can_be_computed_again(
    world: World, pool: PoolTiles
) -> None:
    contexts = world.given(COLOUR, pool)
    result = scored(scorer(LocalJudge(BagOfWords())).score(explanation_of(COLOUR, " ".join(COLOURS)), contexts))
    detail = result.score.detail
    assert detail["n_tiles_judged"] == len(pool.score_texts)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(detail["tile_verdicts"]), dtype=np.uint8))
    yes = bits[: len(pool.score_texts)].astype(bool)
    silent = np.isin(np.flatnonzero(pool.is_score), contexts.silent_tiles.eligible)
    assert detail["as_weighted"]["false_alarm"] == pytest.approx(yes[silent].mean())
    assert len(bytes.fromhex(detail["tile_log_odds"])) == len(pool.score_texts)
    assert result.score.value > 0.8
    asked = {t.context_id for t in result.trials}
    assert len(asked) < 100


def test_log_odds_keep_the_order_of_probabilities_near_the_ends() -> None:
    probabilities = np.array([0.0, 1e-5, 0.002, 0.5, 0.998, 1 - 1e-5, 1.0])
    assert log_odds(probabilities).tolist() == sorted(set(log_odds(probabilities).tolist()))
    assert log_odds(probabilities)[3] == 128
    assert rounded(probabilities) == pytest.approx(probabilities, abs=0.02)


def test_a_feature_without_silent_windows_has_no_score(world: World, pool: PoolTiles) -> None:
    failure = failed(scorer().score(explanation_of(EVERYWHERE, "the"), world.given(EVERYWHERE, pool)))
    assert failure.error_type == "NoSilentContexts"


def test_similarities_are_no_verdicts(world: World, pool: PoolTiles) -> None:
    similar = Scripted(lambda label, task, question: Answer(None, 0.3), is_free=False)
    with pytest.raises(PipelineError, match="similarities where the score is made of verdicts"):
        asyncio.run(scorer(similar).score(explanation_of(CAT, "cat"), world.given(CAT, pool)))


def test_what_is_not_answered_widens_the_interval_to_both_ends(world: World, pool: PoolTiles) -> None:
    def refuses_dogs(label: str, task: Task, question: Question) -> Answer:
        refused = {"dog", "of"} <= set(question.context.text.split())
        return Answer(None, unanswered="refused") if refused else read(label, task, question)

    contexts = world.given(CAT, pool)
    whole = scored(scorer().score(explanation_of(CAT, "cat"), contexts)).score
    partly = scored(scorer(Scripted(refuses_dogs, is_free=False)).score(explanation_of(CAT, "cat"), contexts)).score
    assert partly.n_unanswered > 0
    assert partly.ci_low < whole.ci_low
    assert partly.detail["bounds"]["low"] < whole.value


@pytest.mark.parametrize("given_back", [np.full(3, 0.5), np.full(500, 1.5), [0.5] * 500])
def test_probabilities_of_texts_are_one_a_text_from_0_to_1(world: World, pool: PoolTiles, given_back: Any) -> None:
    class Odd(LocalJudge):
        async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
            said = await super().answer(task, cases)
            return [dataclasses.replace(of, text_probabilities=given_back) for of in said]

    with pytest.raises(PipelineError, match="gave no array of 500 probabilities from 0 to 1"):
        asyncio.run(scorer(Odd(BagOfWords())).score(explanation_of(CAT, "cat"), world.given(CAT, pool)))


def test_contexts_of_a_quantile_that_ran_short_weigh_more(world: World, pool: PoolTiles) -> None:
    posed = [p for p in drawn(world, pool, COLOUR, "red", 1) if p.part == PEAK]
    by_quantile: dict[int | None, float] = {}
    for p in posed:
        quantile = p.question.context.quantile
        by_quantile[quantile] = by_quantile.get(quantile, 0.0) + p.weight
    assert np.ptp(list(by_quantile.values())) < 1e-9
