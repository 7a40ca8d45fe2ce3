"""What chosen features do on the half of the prompts that had no part in their choice, beside the controls."""

from dataclasses import dataclass

import numpy as np

from autointerp.library.steer import controls
from autointerp.library.steer.answers import Answers, Arm
from autointerp.library.steer.bench import Bench
from autointerp.library.steer.choice import Questions, Verdict, judge, questions_kept
from autointerp.library.steer.measures import paired_mean
from autointerp.library.steer.receipt import ArmFigures
from autointerp.library.steer.settings import Try

_N_EXAMPLES = 2
PLAIN, STEERED, NOISE, PROMPTED = "plain", "steered", "noise of the same norm", "prompting alone"
RANDOM, WRONG_SIGN, MEANS = "random features", "wrong sign", "difference of means"


@dataclass(frozen=True, slots=True)
class Reported:
    """What was found.

    Attributes:
        arms: Figures of all ways to answer.
        verdict: Whether the features steer.
        questions: Answered right; None where they were not asked, since something else had failed.
    """

    arms: tuple[ArmFigures, ...]
    verdict: Verdict
    questions: Questions | None


def report(bench: Bench, chosen: Try) -> Reported:
    """Hold chosen features against plain answers, the controls and the question set.

    Raises:
        SubjectError: If the source's features can't be edited.
        GenerationError: If the subject can't answer.
    """
    edits = controls.source_edits(bench.source_id, chosen.values)
    arms = [bench.arm(PLAIN, bench.report), bench.arm(STEERED, bench.report, edits), *_controls(bench, chosen)]
    answers = dict(zip((arm.name for arm in arms), bench.asker.ask(bench.report, arms), strict=True))
    plain, steered = answers[PLAIN], answers[STEERED]

    def verdict(questions: Questions | None) -> Verdict:
        concept, limits = bench.concept, bench.settings.limits
        return judge(plain, steered, answers[NOISE], concept.facets, concept.known, questions, limits)

    found, questions = verdict(None), None
    if found.steers:
        first = bench.settings.n_questions
        places = bench.questions.order[first : first + bench.settings.n_questions_reported].tolist()
        if places:
            right = bench.questions.right(places, edits)
            questions = questions_kept(bench.questions.plain(places), right, bench.questions.chance(places))
            found = verdict(questions)
    return Reported(tuple(_figures(name, its, plain) for name, its in answers.items()), found, questions)


def _controls(bench: Bench, chosen: Try) -> list[Arm]:
    source_id, seed, instructions = bench.source_id, bench.settings.seed, bench.report
    coder, n = bench.live.source(source_id).coder, len(instructions)
    values = chosen.values
    norm = controls.norm_of(coder, values)
    width = coder.decoder.shape[1]
    asked = bench.asked_for(PROMPTED, instructions)
    arms = [
        *([] if asked is None else [asked]),
        bench.arm(WRONG_SIGN, instructions, controls.wrong_sign(source_id, values)),
        bench.varied(NOISE, instructions, controls.noise(source_id, width, norm, n, seed)),
    ]
    histograms = bench.run.activation_histograms(None, source_id)
    of_features = np.isin(histograms.feature_index, list(values))
    density = float(histograms.n_active[of_features].mean()) / max(histograms.n_tokens, 1)
    alike = controls.features_alike(histograms, coder, density, list(values))
    if others := controls.random_features(source_id, coder, alike, norm, n, seed):
        arms.append(bench.varied(RANDOM, instructions, others))
    towards = _towards(bench)
    if towards is not None:
        arms.append(bench.arm(MEANS, instructions, controls.pushed(source_id, towards, norm)))
    return arms


def _towards(bench: Bench) -> "np.ndarray[tuple[int], np.dtype[np.float32]] | None":
    """The difference of means, of answers to the prompts by which is chosen, or of the examples."""
    if bench.examples is not None:
        sets = [[((), bench.prompts.text(bench.live.read_text(text))) for text in texts] for texts in bench.examples]
        return controls.difference_of_means(bench.live, bench.source_id, sets[0], sets[1])
    arm = bench.asked_for(PROMPTED, bench.choose)
    if arm is None:
        return None
    (asked,) = bench.asker.ask(bench.choose, [arm])
    plain = [bench.prompts.instruction(text) for text in bench.choose]
    return controls.difference_of_means(
        bench.live,
        bench.source_id,
        list(zip(arm.prompts, asked.tokens, strict=True)),
        list(zip(plain, bench.plain.tokens, strict=True)),
    )


def _figures(name: str, its: Answers, plain: Answers) -> ArmFigures:
    concept, loss, repetition = its.means()
    mentions = None
    if its.mentions.shape[1]:
        mentions = float((2 * its.mentions.sum(axis=1) >= its.mentions.shape[1]).mean())
    return ArmFigures(
        name=name,
        concept=concept,
        over_plain=None if name == PLAIN else paired_mean(its.concept, plain.concept),
        mentions=mentions,
        loss=loss,
        repetition=repetition,
        kept=float(its.kept.mean()),
        examples=its.texts[:_N_EXAMPLES],
    )
