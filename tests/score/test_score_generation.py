"""What the subject did on made texts, and what it comes to: hand-worked cases."""

import asyncio
from collections.abc import Sequence

import pytest

from autointerp.config import ScoreConfig
from autointerp.contexts.windows import make_context
from autointerp.records import Context
from autointerp.score.judge import Case, Question
from autointerp.score.scorers.generation import GENERATION, GenerationScorer, SubjectJudge
from autointerp.score.trials import Answered, Posed, ScoreContexts, answered
from tests.score.world import SOURCE, Scripted, World, read, tools


def text(peak: float, place: int, group: str = "") -> Context:
    return make_context(
        [place, place + 1],
        [0.0, peak],
        source_id=SOURCE,
        feature_index=0,
        kind="generated",
        split="score",
        quantile=None,
        document_id=group or f"d{place}",
        block_index=-1,
        start=place,
        tokens=["a", " b"],
    )


def judged(fitting: Sequence[float], others: Sequence[float], largest: float = 4.0) -> tuple[list[Posed], Answered]:
    example = (text(largest, 99),)
    posed = [Posed(Question(text(peak, place), examples=example), True) for place, peak in enumerate(fitting)]
    posed += [Posed(Question(text(peak, 50 + place), examples=example), False) for place, peak in enumerate(others)]
    return posed, asked(posed)


def asked(posed: Sequence[Posed]) -> Answered:
    judge = SubjectJudge("made", is_free=True)
    (said,) = asyncio.run(judge.answer(GENERATION, [Case("label", [p.question for p in posed])]))
    of = answered(posed, said.answers)
    assert isinstance(of, Answered)
    return of


@pytest.fixture
def scorer() -> GenerationScorer:
    return GenerationScorer(tools(Scripted(read), ScoreConfig(n_generated=4)))


@pytest.fixture
def given(world: World) -> ScoreContexts:
    return world.given(0, world.pool_tiles())


def test_the_value_is_the_chance_that_a_described_text_is_the_stronger(
    scorer: GenerationScorer, given: ScoreContexts
) -> None:
    posed, of = judged([2.0, 0.0, 1.0, 8.0], [0.0, 0.0, 1.0])
    headline, detail = scorer.measure(of, posed, given, 1)
    # of 12 pairs: 2 > all three; 0 ties two, loses one; 1 > two, ties one; 8 > all three
    assert headline.value == pytest.approx((3 + 1 + 2.5 + 3) / 12)
    told = detail.done("")
    assert told["sensitivity"] == pytest.approx(3 / 4)
    assert told["specificity"] == pytest.approx(2 / 3)
    assert told["mean_strength_positive"] == pytest.approx((0.5 + 0 + 0.25 + 1.0) / 4), (
        "a share of the largest, at most 1"
    )
    assert told["n_left_out"] == 1, "of eight texts seven could be run"
    assert told["writer"] == "local"


def test_a_feature_that_never_fires_on_either_is_at_chance(scorer: GenerationScorer, given: ScoreContexts) -> None:
    posed, of = judged([0.0] * 4, [0.0] * 4)
    headline, _ = scorer.measure(of, posed, given, 1)
    assert headline.value == 0.5
    assert headline.low < 0.5 < headline.high


def test_a_feature_that_fires_a_little_on_everything_is_graded_by_strength(
    scorer: GenerationScorer, given: ScoreContexts
) -> None:
    posed, of = judged([3.0, 2.5, 2.0, 3.5], [0.5, 0.7, 0.9, 0.3])
    headline, detail = scorer.measure(of, posed, given, 1)
    assert headline.value == 1.0
    assert detail.done("")["specificity"] == 0.0


def test_texts_of_one_document_are_worth_fewer(scorer: GenerationScorer, given: ScoreContexts) -> None:
    example, widths = (text(4.0, 99),), []
    for group in ("", "one"):
        posed = [Posed(Question(text(float(i % 3), i, group), examples=example), i % 2 == 0) for i in range(12)]
        headline, _ = scorer.measure(asked(posed), posed, given, 1)
        widths.append(headline.high - headline.low)
    assert widths[1] > widths[0]


def test_another_number_of_texts_is_another_score() -> None:
    few, many = (GenerationScorer(tools(Scripted(read), ScoreConfig(n_generated=n))).fingerprint for n in (4, 5))
    assert few != many
