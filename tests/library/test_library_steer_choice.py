"""Choosing what to steer by, and the verdict: pure functions, on answers whose figures are made up by hand."""

import numpy as np
import pytest

from autointerp.library.steer.answers import Answers
from autointerp.library.steer.choice import (
    Limits,
    best_tries,
    is_above,
    judge,
    loss_change,
    questions_kept,
    questions_lost,
)
from autointerp.library.steer.measures import Difference, paired_mean, paired_share

N = 20
LIMITS = Limits(loss=0.5, repetition=0.1, questions=0.02, questions_low=-0.05)
SCATTER = np.linspace(-0.05, 0.05, N)


def answers(
    concept: float = 0.1,
    loss: float = 1.0,
    repetition: float = 0.0,
    mentions: tuple[int, ...] = (0,),
    scatter: np.ndarray = SCATTER,
) -> Answers:
    """Answers to N prompts; of each facet how many mention it."""
    return Answers(
        texts=("",) * N,
        tokens=((),) * N,
        concept=concept + scatter,
        mentions=np.arange(N)[:, None] < np.array(mentions)[None, :],
        loss=np.full(N, loss),
        repetition=np.full(N, repetition),
        kept=np.zeros(N),
    )


PLAIN, NOISE = answers(), answers(0.12, scatter=-SCATTER)
STEERED = answers(0.4, 1.2, 0.05, (12,), scatter=SCATTER[::-1])


def reasons(steered: Answers, noise: Answers = NOISE, words: tuple[str, ...] = ("sea",)) -> tuple[str, ...]:
    plain = answers(mentions=(0,) * len(words))
    return judge(plain, steered, noise, words, (True,) * len(words), None, LIMITS).reasons


def test_what_passes_every_test_steers() -> None:
    verdict = judge(PLAIN, STEERED, NOISE, ("sea",), (True,), None, LIMITS)
    assert verdict.steers
    assert verdict.over_plain.value == pytest.approx(0.3)
    assert verdict.over_noise.value == pytest.approx(0.28)
    assert verdict.loss.value == pytest.approx(0.2)
    (facet,) = verdict.facets
    assert (facet.plain, facet.steered, facet.is_mentioned) == (0, 0.6, True)


@pytest.mark.parametrize(
    ("steered", "noise", "why"),
    [
        (answers(0.11, mentions=(12,), scatter=-SCATTER), answers(0.0), "that of plain answers"),
        (STEERED, answers(0.4), "that of noise of the same norm"),
        (answers(0.4, mentions=(2,), scatter=-SCATTER), NOISE, "not mentioned in more answers than without: 'sea'"),
        (answers(0.4, 1.6, mentions=(12,), scatter=-SCATTER), NOISE, "lose 0.60 nats a token"),
        (answers(0.4, float("nan"), mentions=(12,), scatter=-SCATTER), NOISE, "nats a token"),
        (answers(0.4, 1.0, 0.2, (12,), scatter=-SCATTER), NOISE, "repeat themselves by 0.20 more"),
    ],
    ids=["no more than plain", "no more than noise", "not said", "not fluent", "nothing to read", "repeats"],
)
def test_one_test_that_fails_is_enough_to_decline(steered: Answers, noise: Answers, why: str) -> None:
    (reason,) = reasons(steered, noise)
    assert why in reason


def test_half_of_the_facets_have_to_be_mentioned() -> None:
    words = ("sea", "pirate", "ship")
    assert reasons(answers(0.4, mentions=(12, 12, 0), scatter=-SCATTER), words=words) == ()
    (reason,) = reasons(answers(0.4, mentions=(12, 0, 1), scatter=-SCATTER), words=words)
    assert reason.endswith("without: 'pirate', 'ship'")


def test_where_examples_say_what_is_meant_there_are_no_facets_to_mention() -> None:
    without = answers(0.4, mentions=(), scatter=-SCATTER)
    plain = answers(mentions=())
    assert judge(plain, without, plain, (), (), None, LIMITS).steers


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (Difference(0.1, None, None, 6), True),
        (Difference(0.1, None, None, 5), False),
        (Difference(0.0, None, None, 6), False),
        (Difference(-0.1, None, None, 6), False),
        (Difference(0.1, 0.01, 0.2, 6), True),
        (Difference(0.1, -0.01, 0.2, 60), False),
    ],
)
def test_where_all_pairs_differ_by_the_same_their_number_tells(difference: Difference, expected: bool) -> None:
    assert is_above(difference) is expected


def test_losses_are_compared_where_both_answers_have_one() -> None:
    first, second = answers(loss=1.5), answers()
    first.loss[0], second.loss[1] = np.nan, np.nan
    assert loss_change(first, second).n == N - 2
    assert loss_change(first, second).value == pytest.approx(0.5)


def test_the_best_tries_are_within_the_limits_and_above_plain() -> None:
    tries = [
        answers(0.3),
        answers(0.05),
        answers(0.9, loss=3.0),
        answers(0.5),
        answers(0.9, repetition=0.5),
        answers(0.5),
    ]
    assert best_tries(tries, PLAIN, LIMITS) == [3, 5, 0]


def right(n_right: int, n: int = 200) -> np.ndarray:
    return np.arange(n) < n_right


@pytest.mark.parametrize(
    ("plain", "steered", "n", "why"),
    [
        (180, 180, 200, None),
        (180, 178, 200, None),
        (180, 190, 200, None),
        (180, 170, 200, "5.0 % of the questions are lost"),
        (27, 27, 30, "may be lost"),  # none of so few tells little
        (52, 10, 200, None),  # by guessing 50 are right
    ],
)
def test_questions_lost_are_told_where_there_are_any_to_lose(plain: int, steered: int, n: int, why: str | None) -> None:
    found = questions_kept(right(plain, n), right(steered, n), np.full(n, 0.25))
    told = questions_lost(found, LIMITS)
    assert (told == []) if why is None else (why in told[0])
    assert found.can_tell is (plain != 52)
    assert found.change == paired_share(right(steered, n), right(plain, n))


def test_questions_that_are_lost_decline_what_else_would_steer() -> None:
    lost = questions_kept(right(180), right(150), np.full(200, 0.25))
    verdict = judge(PLAIN, STEERED, NOISE, ("sea",), (True,), lost, LIMITS)
    assert not verdict.steers
    assert "15.0 % of the questions are lost" in verdict.reasons[0]


def test_of_nothing_that_changes_at_most_one_verdict_in_forty_says_that_it_steers() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        draws = [answers(scatter=rng.normal(0, 0.1, N)) for _ in range(3)]
        for its in draws:
            its.mentions[:] = rng.random((N, 1)) < 0.2
        found += judge(draws[0], draws[1], draws[2], ("sea",), (True,), None, LIMITS).steers
    assert found <= 400 / 40
    assert paired_mean(draws[0].concept, draws[1].concept).n == N
