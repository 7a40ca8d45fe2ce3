"""Which features and which dose, and whether they steer: pure functions over what was measured.

1. **Choice**, on one half of the prompts: of the tries whose answers lose no more fluency than `Limits` allow, the one
   with the highest concept score. Nothing is chosen where none scores higher than the plain answers do.
2. **Verdict**, on the other half, which had no part in the choice. Features steer if all of this holds:
   - the concept score is higher than that of plain answers, and than that of answers under noise of the same norm: the
     whole 95 % interval of the paired difference is above 0;
   - at least half of the facets are mentioned in more answers than in plain ones, again by the whole interval; where
     examples say what is meant there are no facets;
   - loss and repetition rise by no more than the limits;
   - of questions answered right no more are lost than the limits allow, where the plain subject answers more than
     chance does. A subject that can't answer them has nothing to lose by them.
   Every test has to be passed, so the chance of a false "steers" is that of the hardest to pass, at most 1 in 40 where
   nothing changes, whatever was tried on the other half.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from autointerp.library.steer.answers import Answers
from autointerp.library.steer.measures import Difference, paired_mean, paired_share

# With so many pairs that all differ by the same, the sign test alone says p < 1/40.
_SAME_SIGN = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """What steering may cost.

    Loss: a quarter of what the answers of SmolLM2-135M-Instruct have, 2.25 nats a token (`benchmarks/autosteer.md`).

    Attributes:
        loss: Nats a token that answers may be less likely to the plain subject than its own are, in the mean.
        repetition: Share of repeated 4-grams beyond that of plain answers, in the mean.
        questions: Share of questions that may be lost.
        questions_low: Lower end that the interval of the change may have.
    """

    loss: float = 0.6
    repetition: float = 0.05
    questions: float = 0.02
    questions_low: float = -0.05


@dataclass(frozen=True, slots=True)
class Facet:
    """A word of the specification, and who mentions it.

    Attributes:
        word: The word.
        is_known: Whether the embedder knows it, so that words close to it count too.
        plain: Share of plain answers that mention it.
        steered: Share of steered ones.
        change: Of that share.
    """

    word: str
    is_known: bool
    plain: float
    steered: float
    change: Difference

    @property
    def is_mentioned(self) -> bool:
        """Whether steering has it mentioned."""
        return self.change.is_above_0


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions answered right.

    Attributes:
        n: Questions asked.
        plain: Share answered right by the plain subject.
        steered: Share under the edits.
        chance: Share that guessing gets right.
        change: Of the share.
        can_tell: Whether the plain subject answers more than chance does, by the interval.
    """

    n: int
    plain: float
    steered: float
    chance: float
    change: Difference
    can_tell: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether some features steer.

    Attributes:
        steers: Whether they do.
        reasons: Why not, each a clause; none where they do.
        over_plain: By how much the concept score is higher than of plain answers.
        over_noise: And than of answers under noise of the same norm.
        loss: By how many nats a token the loss is.
        repetition: By how much repetition is.
        facets: The specification's words.
        questions: Answered right; None where they were not asked, since something else had already failed.
    """

    steers: bool
    reasons: tuple[str, ...]
    over_plain: Difference
    over_noise: Difference
    loss: Difference
    repetition: Difference
    facets: tuple[Facet, ...]
    questions: Questions | None


def is_above(difference: Difference) -> bool:
    """Whether a difference is above 0 beyond chance; where all pairs differ by the same, by the sign test."""
    if difference.low is None:
        return difference.value > 0 and difference.n >= _SAME_SIGN
    return difference.is_above_0


def loss_change(answers: Answers, plain: Answers) -> Difference:
    """The paired difference of losses, over prompts whose answers both have one; NaN where none has."""
    both = np.isfinite(answers.loss) & np.isfinite(plain.loss)
    return paired_mean(answers.loss[both], plain.loss[both]) if both.any() else Difference(float("nan"), None, None, 0)


def over_limits(answers: Answers, plain: Answers, limits: Limits) -> list[str]:
    """Which limits of fluency the answers pass, each as a clause."""
    found = []
    loss = loss_change(answers, plain)
    if not loss.value <= limits.loss:
        found.append(f"its answers lose {loss.value:.2f} nats a token of fluency, more than {limits.loss:g}")
    repeated = paired_mean(answers.repetition, plain.repetition).value
    if repeated > limits.repetition:
        found.append(f"its answers repeat themselves by {repeated:.2f} more, more than {limits.repetition:g}")
    return found


def best_tries(tries: Sequence[Answers], plain: Answers, limits: Limits) -> list[int]:
    """The tries whose answers score higher than plain ones within the limits, best first, ties to the earlier."""
    gains = [float((answers.concept - plain.concept).mean()) for answers in tries]
    able = [i for i, gain in enumerate(gains) if gain > 0 and not over_limits(tries[i], plain, limits)]
    return sorted(able, key=lambda i: -gains[i])


def facets_mentioned(
    words: Sequence[str], known: Sequence[bool], steered: Answers, plain: Answers
) -> tuple[Facet, ...]:
    """Who mentions each facet."""
    return tuple(
        Facet(
            word,
            is_known,
            float(plain.mentions[:, place].mean()),
            float(steered.mentions[:, place].mean()),
            paired_share(steered.mentions[:, place], plain.mentions[:, place]),
        )
        for place, (word, is_known) in enumerate(zip(words, known, strict=True))
    )


def questions_kept(
    plain: Bool[np.ndarray, " question"], steered: Bool[np.ndarray, " question"], chance: Float[np.ndarray, " question"]
) -> Questions:
    """How many questions are answered right, plain and steered.

    Args:
        plain: Whether the plain subject answers each right.
        steered: Whether it does under the edits.
        chance: The chance that guessing does.
    """
    over_chance = paired_mean(plain.astype(np.float64), chance)
    return Questions(
        n=plain.size,
        plain=float(plain.mean()),
        steered=float(steered.mean()),
        chance=float(chance.mean()),
        change=paired_share(steered, plain),
        can_tell=is_above(over_chance),
    )


def questions_lost(questions: Questions, limits: Limits) -> list[str]:
    """Which limits of questions are passed, as clauses; none where they can't tell anything."""
    change = questions.change
    if not questions.can_tell:
        return []
    if -change.value > limits.questions + 1e-9:
        return [f"{-100 * change.value:.1f} % of the questions are lost, more than {100 * limits.questions:g} %"]
    if change.low is not None and change.low < limits.questions_low:
        return [
            f"as many as {-100 * change.low:.1f} % of the questions may be lost, more than"
            f" {-100 * limits.questions_low:g} %"
        ]
    return []


def judge(
    plain: Answers,
    steered: Answers,
    noise: Answers,
    words: Sequence[str],
    known: Sequence[bool],
    questions: Questions | None,
    limits: Limits,
) -> Verdict:
    """Whether features steer, by the answers to prompts that had no part in their choice; see step 2.

    Args:
        plain: Plain answers, at least one.
        steered: Those under the edits.
        noise: Those under noise of the same norm.
        words: The facets.
        known: Whether the embedder knows each.
        questions: Answered right; None where they were not asked.
        limits: What steering may cost.
    """
    over_plain = paired_mean(steered.concept, plain.concept)
    over_noise = paired_mean(steered.concept, noise.concept)
    facets = facets_mentioned(words, known, steered, plain)
    reasons = [
        f"the concept score is not above that of {other} ({told_difference(difference)})"
        for difference, other in ((over_plain, "plain answers"), (over_noise, "noise of the same norm"))
        if not is_above(difference)
    ]
    n_mentioned = sum(facet.is_mentioned for facet in facets)
    if 2 * n_mentioned < len(facets):
        lacking = ", ".join(repr(facet.word) for facet in facets if not facet.is_mentioned)
        reasons.append(f"not mentioned in more answers than without: {lacking}")
    reasons += over_limits(steered, plain, limits)
    reasons += [] if questions is None else questions_lost(questions, limits)
    return Verdict(
        steers=not reasons,
        reasons=tuple(reasons),
        over_plain=over_plain,
        over_noise=over_noise,
        loss=loss_change(steered, plain),
        repetition=paired_mean(steered.repetition, plain.repetition),
        facets=facets,
        questions=questions,
    )


def told_difference(difference: Difference) -> str:
    """A difference with its interval, in figures."""
    told = f"{difference.value:+.3f}"
    return told if difference.low is None else f"{told} [{difference.low:+.3f} {difference.high:+.3f}]"
