"""Which features at which dose: tried on the half of the prompts by which is chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autointerp.library.steer.answers import Answers
from autointerp.library.steer.bench import Bench
from autointerp.library.steer.choice import best_tries, loss_change, over_limits, questions_kept
from autointerp.library.steer.controls import source_edits
from autointerp.library.steer.finding import Found
from autointerp.library.steer.receipt import Dropped, Tried
from autointerp.library.steer.settings import Try

# Tries of which it is asked how many questions they lose, best first.
_N_QUESTIONED = 6


@dataclass(frozen=True, slots=True)
class Swept:
    """What was tried.

    Attributes:
        found: The candidates; those that were tried at every dose with doses of usual exactness.
        chosen: The features and their dose; None where nothing is worth reporting.
        reasons: Why nothing is.
        tried: All tries.
        dropped: Candidates that were not tried at every dose.
    """

    found: Found
    chosen: Try | None
    reasons: tuple[str, ...]
    tried: tuple[Tried, ...]
    dropped: tuple[Dropped, ...]


def sweep(bench: Bench, found: Found) -> Swept:
    """Try candidates at one dose, the best at every dose, and those that do something together near the best dose.

    Raises:
        SubjectError: If the source's features can't be edited.
        GenerationError: If the subject can't answer.
    """
    best, dropped = _screened(bench, found)
    found = found.dosed(bench.run.doses(best, bench.source_id))
    dropped += [found.drop(i, f"it has no dose: {why}") for i in best if (why := found.doses[i].why) is not None]
    best = [index for index in best if found.doses[index].unit is not None]
    tries, answers = _climb(bench, found, best)
    helping = []
    for index in best:
        of_feature = [place for place, of in enumerate(tries) if of.features == (index,)]
        gains = {place: _gain(answers[place], bench.plain) for place in of_feature}
        able = best_tries([answers[place] for place in of_feature], bench.plain, bench.settings.limits)
        if able:
            helping.append((gains[of_feature[able[0]]], index))
    helping.sort(key=lambda of: -of[0])
    sets = [tuple(index for _, index in helping[:n]) for n in range(2, len(helping) + 1)]
    alone = best_tries(answers, bench.plain, bench.settings.limits)
    near = _near(bench.settings.doses, tries[alone[0]].dose) if sets else ()
    together = [_try(found, features, dose) for features in sets for dose in near]
    tries, answers = [*tries, *together], [*answers, *_answers(bench, together)]
    told = tuple(_told(of, its) for of, its in zip(tries, answers, strict=True))
    able = best_tries(answers, bench.plain, bench.settings.limits)
    if not able:
        return Swept(found, None, _why_none(bench, tries, answers), told, tuple(dropped))
    chosen = _with_questions(bench, [tries[place] for place in able])
    dropped += [
        found.drop(index, "others do more, alone or without it") for index in best if index not in chosen.features
    ]
    return Swept(found, chosen, (), told, tuple(dropped))


def _screened(bench: Bench, found: Found) -> tuple[list[int], list[Dropped]]:
    """The candidates that are tried at every dose: those whose answers at one dose score highest.

    Ties go to the candidate that was found first: many do nothing at one dose.
    """
    n_kept, n, dose = bench.settings.n_kept, bench.settings.n_screened, bench.settings.screening_dose
    if len(found.able) <= n_kept:
        return list(found.able), []
    instructions = bench.choose[:n]
    arms = [bench.arm("plain", instructions)]
    for index in found.able:
        arms.append(bench.arm("tried", instructions, source_edits(bench.source_id, _try(found, (index,), dose).values)))
    plain, *answers = bench.asker.ask(instructions, arms)
    gains = {index: _gain(its, plain) for index, its in zip(found.able, answers, strict=True)}
    best = sorted((index for index in found.candidates if index in gains), key=lambda index: -gains[index])
    least = f"{n_kept} others score higher at a dose of {dose:g}, on {n} prompts"
    return best[:n_kept], [found.drop(index, f"{least} ({gains[index]:+.3f})") for index in best[n_kept:]]


def _climb(bench: Bench, found: Found, best: Sequence[int]) -> tuple[list[Try], list[Answers]]:
    """Features at every dose, from the lowest up to the first at which answers lose more fluency than they may."""
    tries, answers = list[Try](), list[Answers]()
    going = list(best)
    for dose in sorted(bench.settings.doses):
        at_dose = [_try(found, (index,), dose) for index in going]
        of_dose = _answers(bench, at_dose)
        tries, answers = [*tries, *at_dose], [*answers, *of_dose]
        losses = [loss_change(its, bench.plain).value for its in of_dose]
        going = [index for index, loss in zip(going, losses, strict=True) if loss <= bench.settings.limits.loss]
    return tries, answers


def _near(doses: Sequence[float], dose: float) -> Sequence[float]:
    """A dose and the next ones on either side."""
    place = doses.index(dose)
    return doses[max(0, place - 1) : place + 2]


def _try(found: Found, features: tuple[int, ...], dose: float) -> Try:
    """Features at a dose together: divergence grows with its square, so each has it over the root of their number."""
    share = dose / math.sqrt(len(features))
    values = {}
    for index in features:
        unit = found.doses[index].unit
        assert unit is not None, "it has a dose"
        values[index] = share * unit
    return Try(dose, dict.fromkeys(features, share), values)


def _answers(bench: Bench, tries: list[Try]) -> list[Answers]:
    arms = [bench.arm("tried", bench.choose, source_edits(bench.source_id, of.values)) for of in tries]
    return bench.asker.ask(bench.choose, arms)


def _gain(answers: Answers, plain: Answers) -> float:
    return float((answers.concept - plain.concept).mean())


def _with_questions(bench: Bench, tries: list[Try]) -> Try:
    """The best of the tries that loses no question; of the first few, else, which loses fewest.

    So few questions tell a loss of some points from none by chance alone; what may be lost is for the report.
    """
    places = bench.questions.order[: bench.settings.n_questions].tolist()
    lost: list[tuple[float, Try]] = []
    for of in tries[:_N_QUESTIONED]:
        right = bench.questions.right(places, source_edits(bench.source_id, of.values))
        kept = questions_kept(bench.questions.plain(places), right, bench.questions.chance(places))
        if not kept.can_tell or kept.change.value >= 0:
            return of
        lost.append((-kept.change.value, of))
    return min(lost, key=lambda pair: pair[0])[1]


def _told(of: Try, answers: Answers) -> Tried:
    return Tried(of.features, of.dose, *answers.means())


def _why_none(bench: Bench, tries: list[Try], answers: list[Answers]) -> tuple[str, ...]:
    if not tries:
        return ("none of the candidates has a dose",)
    gains = [_gain(its, bench.plain) for its in answers]
    best = max(range(len(tries)), key=lambda place: gains[place])
    what = f"feature{'s' * (len(tries[best].features) > 1)} {', '.join(map(str, tries[best].features))}"
    if gains[best] <= 0:
        return ("at no dose do answers score higher than plain ones",)
    return (
        f"what scores highest, {what} at a dose of {tries[best].dose:g}, costs too much:"
        f" {'; '.join(over_limits(answers[best], bench.plain, bench.settings.limits))}",
    )
