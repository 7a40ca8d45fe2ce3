"""What every scorer is built on: it poses questions, has a judge answer them, and measures the answers.

A scorer is a class over `BaseScorer`, ours or a user's, that `registry.load_scorer` finds by its name in the pipeline.
It gives `pose` (which contexts are asked about, with the truth) and `measure` (the headline and what else the answers
tell). These are pure; only the judge talks to anything.

Every choice is by keyed hash of the feature, never of the label: a label and its shuffled baseline face the same
questions, so their scores can be compared pair by pair. The labels of many features are judged together (`score_all`),
so that a language model's prompts mix them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.identity import fingerprint
from autointerp.live.subject import LiveSubject
from autointerp.plugins import called_by_us, source_digests
from autointerp.records import (
    SCORER_KINDS,
    Explanation,
    Failure,
    FeatureContexts,
    Score,
    ScoreWithTrials,
    Side,
    Trial,
    Usage,
)
from autointerp.score import metrics
from autointerp.score.calibration import add_corrected
from autointerp.score.detail import Detail, add_referee
from autointerp.score.dispute import Referee
from autointerp.score.judge import Answer, Case, Judge, Task, check_answers
from autointerp.score.referee import VERSION as REFEREE_VERSION
from autointerp.score.rounds import SEQUENCE_INTERVAL, Asked, ask_in_rounds
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import (
    Answered,
    Posed,
    ScoreContexts,
    Undefined,
    alone_in_prompts,
    answered,
    feature_key,
    features_by_prompt,
    missing_class,
    one_answer,
    with_every_answer,
)


class BaseScorer(ABC):
    """Grades explanations, many together.

    Attributes:
        name: Stands in `scores.scorer`.
        version: Raised when the code comes to give other scores, so that explanations are scored anew.
        task: What is asked about each context.
        metric: What the headline is, in words.
        interval: How its interval is made, in words.
        classes: What the questions of true answer yes and no are about, for the failure where there are none.
        needs_silence: Whether questions of true answer no are about silent contexts, which a feature that fires nearly
            everywhere has none of.
        asks_judge: Whether it asks the run's judge, or the model that judges; one that doesn't has a judge of its own.
        asks_subject: Whether it runs the subject, which is then loaded before anything is paid.
        side: What of the feature it grades a label by: its input, what it fires on, or its output, what it does.
        n_together: Labels that are best given to it together where its judge is free.
        is_corrected: Whether its headline is the balanced accuracy of the run's judge's verdicts, which a calibration
            corrects for the judge's errors.
        is_refereed: Whether its verdicts are on whole contexts, so that a rule which is as good as the truth about the
            feature can be set against them (`dispute`).
        stops_early: Whether its headline is the balanced accuracy of verdicts, so that a paid judge can be asked until
            that is known well enough (`score.stop`).
        sees_label: Whether the label decides the answers. The score of one that doesn't is the same for every label of
            a feature: it is paid once, and no shuffled label is scored.
        config: The table `[score]`.
        seed: Of every choice.
        judge: Answers the questions.
        fingerprint: Of all that decides its scores.
        stop: When a label has been asked about enough; None where everything is asked.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    task: ClassVar[Task]
    metric: ClassVar[str]
    interval: ClassVar[str]
    classes: ClassVar[tuple[str, str]] = ("firing contexts", "silent contexts")
    needs_silence: ClassVar[bool] = True
    asks_judge: ClassVar[bool] = True
    asks_subject: ClassVar[bool] = False
    side: ClassVar[Side] = "input"
    n_together: ClassVar[Annotated[int, Field(ge=1)]] = 1
    is_corrected: ClassVar[bool] = False
    is_refereed: ClassVar[bool] = False
    stops_early: ClassVar[bool] = False
    sees_label: ClassVar[bool] = True

    def __init__(self, tools: ScoreTools) -> None:
        self.config = tools.config
        self.seed = tools.seed
        self.judge = self.make_judge(tools)
        self.stop = tools.config.stop if self.stops_early and not self.judge.is_free else None
        calibrated = tools.calibrated if self.is_corrected else None
        self._rates = None if calibrated is None else calibrated.rates_for(self.judge, self.task)
        own = fingerprint(
            "score",
            self.name,
            self.version,
            tools.seed,
            *self.settings(tools),
            self.judge.fingerprint(self.task),
            *source_digests(type(self)),
            *([] if self.stop is None else ["stop", self.stop.model_dump()]),
            *([] if calibrated is None else ["calibration", calibrated.digest]),
            *(["referee", REFEREE_VERSION] if self.is_refereed and self.config.referee else []),
        )
        self.fingerprint = fingerprint("score", tools.contexts_fingerprint, self.name, own)

    @classmethod
    def check(cls, config: ScoreConfig, device: str) -> None:
        """See that what it needs besides contexts and the run's judge is there, before hours of work.

        Args:
            config: The table `[score]`.
            device: As `subject.device` has it.

        Raises:
            AutointerpError: If something is not.
        """
        return

    def announce(self, n_labels: int, contexts: FeatureContexts) -> str:
        """What is to be known before so many labels are scored, such as how long it takes; empty for nothing.

        Args:
            n_labels: To be scored.
            contexts: Of the first of their features.
        """
        return ""

    def make_judge(self, tools: ScoreTools) -> Judge:
        """The run's judge, or one of the scorer's own."""
        return tools.judge()

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """What decides its scores besides its name, version, seed, judge and code: plain values."""
        return ()

    def prepare(self, labels: Sequence[str], texts: Sequence[str], pool: PoolTiles) -> None:
        """Get ready for many explanations at once; changes nothing but the speed.

        Args:
            labels: Of the explanations.
            texts: Of their contexts.
            pool: Of their source.
        """
        self.judge.prepare(labels, texts)

    @classmethod
    def subject_problem(cls, subject: LiveSubject) -> str | None:
        """Why the subject can't do what is asked of it, told before anything is paid; None where it can."""
        return None

    async def make_ready(self, jobs: Sequence[tuple[Explanation, ScoreContexts]]) -> None:
        """Do what has to be waited for before these labels' questions can be posed: ask a model, run the subject.

        Raises:
            LanguageModelError: If no further call can succeed: the run stops.
        """
        return

    @abstractmethod
    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """The questions, in the order in which they are asked (`shuffled`); or why there are none.

        Args:
            explanation: On trial; only what questions the label leads to may depend on it.
            contexts: Of its feature.
            key: Of every choice about this feature.
        """

    def texts(self, contexts: ScoreContexts) -> Sequence[str]:
        """Whole contexts of the score split that a judge who is free is asked about besides, thousands, without trials.

        The verdicts come to `measure` as `Answered.texts`; what of them decides the score belongs in the detail.
        """
        return ()

    def others(self, explanation: Explanation, contexts: ScoreContexts) -> Sequence[str]:
        """Labels of other features, for a judge that takes off what any label does to a text."""
        return ()

    @abstractmethod
    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """The headline, and what else the answers tell.

        Args:
            of: The questions that were answered: some of each class and part. It is called again with all of them where
                some were not, these taken to be wrong and to be right: the ends of its interval are those of the two.
            posed: All that were asked.
            contexts: Of the feature.
            key: As in `pose`; for the draws behind intervals.
        """

    async def score(self, explanation: Explanation, contexts: ScoreContexts) -> ScoreWithTrials | Failure:
        """Grade one label by itself: a language model's prompts then hold nothing but this one (`score_all`).

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        (outcome,) = await self.score_all([(explanation, contexts)])
        return outcome

    async def score_all(self, jobs: Sequence[tuple[Explanation, ScoreContexts]]) -> list[ScoreWithTrials | Failure]:
        """Grade labels together, best of as many features as a prompt holds questions, so that it holds one of each.

        Args:
            jobs: Explanations, each with the contexts of its feature.

        Returns:
            One outcome a job, in order.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
            PipelineError: If a user's scorer raises what it may not, or its judge gives no answers.
        """
        await self.make_ready(jobs)
        posed = [self._posed(*job) for job in jobs]
        cases = [
            Case(
                explanation.label if self.sees_label else "",
                [p.question for p in of_job],
                contexts.pool.background,
                self.texts(contexts) if self.judge.is_free else (),
                self.others(explanation, contexts),
            )
            for (explanation, contexts), of_job in zip(jobs, posed, strict=True)
            if not isinstance(of_job, Undefined)
        ]
        asked = await self._asked(cases, [of_job for of_job in posed if not isinstance(of_job, Undefined)])
        features = (
            (explanation.source_id, explanation.feature_index)
            for (explanation, _), of_job in zip(jobs, posed, strict=True)
            if not isinstance(of_job, Undefined)
        )
        shared = features_by_prompt(zip(features, (of_job.said.answers for of_job in asked), strict=True))
        in_turn = iter(asked)
        return [
            self._failure(explanation, of_job, of_job.usage)
            if isinstance(of_job, Undefined)
            else self._measured(explanation, contexts, next(in_turn), shared)
            for (explanation, contexts), of_job in zip(jobs, posed, strict=True)
        ]

    async def _asked(self, cases: Sequence[Case], posed: Sequence[Sequence[Posed]]) -> list[Asked]:
        """What was asked of each case, and answered: all of it, or as much as `stop` wants."""
        if not cases:
            return []
        if self.stop is not None:
            return await ask_in_rounds(self.judge, self.task, self.stop, cases, posed)
        said = await self.judge.answer(self.task, cases)
        check_answers(self.judge, cases, said)
        return [Asked(of_case, answers, len(of_case)) for of_case, answers in zip(posed, said, strict=True)]

    def _key(self, explanation: Explanation) -> int:
        return feature_key(self.seed, self.name, explanation.source_id, explanation.feature_index)

    def _called(self, explanation: Explanation) -> AbstractContextManager[None]:
        return called_by_us(self, f"the scorer {self.name!r} on feature {explanation.feature_index}")

    def _posed(self, explanation: Explanation, contexts: ScoreContexts) -> Sequence[Posed] | Undefined:
        """The questions; why there is no score without asking any, where one class has none."""
        with self._called(explanation):
            given = self.pose(explanation, contexts, self._key(explanation))
            if isinstance(given, Undefined):
                return given
            posed = tuple(given)
        if not all(isinstance(p, Posed) and isinstance(p.truth, bool | np.bool_) for p in posed):
            raise PipelineError(f"the scorer {self.name!r} posed what is no `Posed` with a truth", "mend its `pose`")
        if missing := missing_class(posed, *self.classes):
            return (self.needs_silence and contexts.no_silence) or missing
        return posed

    def _measured(
        self, explanation: Explanation, contexts: ScoreContexts, asked: Asked, shared: Mapping[str, int]
    ) -> ScoreWithTrials | Failure:
        posed, said = asked.posed, asked.said

        def heard(of: Answered) -> Answered:
            """With what was said of whole texts besides."""
            return replace(of, texts=said.texts, text_probabilities=said.text_probabilities)

        of = answered(posed, said.answers)
        if isinstance(of, Undefined):
            return self._failure(explanation, of, said.usage)
        with self._called(explanation):
            headline, detail = self.measure(heard(of), posed, contexts, self._key(explanation))
            if len(of.posed) < len(posed):
                ends = (heard(with_every_answer(posed, said.answers, right=right)) for right in (False, True))
                worst, best = (self.measure(end, posed, contexts, self._key(explanation))[0] for end in ends)
                detail.add_bounds(min(worst.value, headline.value), max(best.value, headline.value))
                headline = replace(headline, low=min(worst.low, headline.low), high=max(best.high, headline.high))
        if asked.stopped:
            headline = asked.in_sequence(headline)
            detail.add("n_posed", asked.n_posed)
            detail.add_note("stopped", asked.stopped)
        detail.add_note("side", self.side if self.sees_label else "none")
        if self._rates is not None:
            add_corrected(detail, headline, self._rates)
        if (referee := self._referee(explanation, contexts)) is not None and of.has_verdicts:
            add_referee(detail, referee, of)
        if note := one_answer(said.answers):
            detail.add_note("uninformative", note)
        if prompts := {a.prompt for a in said.answers if a.prompt is not None}:
            detail.add("prompt_features", float(np.mean([shared[prompt] for prompt in prompts])))
            if note := alone_in_prompts(said.answers, shared):
                detail.add_note("alone", note)
        trials = self._trials(explanation, posed, said.answers)
        score = Score(
            explanation_id=explanation.explanation_id,
            scorer=self.name,
            judge=self.judge.name,
            metric=self.metric,
            value=headline.value,
            ci_low=headline.low,
            ci_high=headline.high,
            n_trials=len(trials),
            n_unanswered=sum(t.unanswered is not None for t in trials),
            detail=detail.done(SEQUENCE_INTERVAL if asked.stopped else self.interval),
            fingerprint=self.fingerprint,
        )
        drawn = tuple(p.question.context for p in posed if p.question.context.kind in SCORER_KINDS)
        return ScoreWithTrials(score, trials, drawn)

    def _referee(self, explanation: Explanation, contexts: ScoreContexts) -> Referee | None:
        """The rule to set against the verdicts on a label; none against those on a null."""
        if not self.is_refereed or not self.config.referee or explanation.is_baseline or contexts.referees is None:
            return None
        return contexts.referees.of(explanation, contexts.feature, contexts.density)

    def _trials(self, explanation: Explanation, posed: Sequence[Posed], answers: Sequence[Answer]) -> tuple[Trial, ...]:
        """The trials, in the order in which they were put."""
        return tuple(
            Trial(
                explanation_id=explanation.explanation_id,
                scorer=self.name,
                judge=self.judge.name,
                context_id=p.question.context.context_id,
                truth=p.truth,
                verdict=a.verdict,
                probability=a.probability,
                marked=p.question.marked,
                weight=p.weight,
                unanswered=a.unanswered,
                prompt=a.prompt,
                simulated=None if a.activations is None else tuple(map(float, a.activations)),
            )
            for p, a in zip(posed, answers, strict=True)
        )

    def _failure(self, explanation: Explanation, undefined: Undefined, usage: Usage) -> Failure:
        """The record of an explanation that gets no score."""
        return Failure(
            stage=f"score:{self.name}",
            source_id=explanation.source_id,
            feature_index=explanation.feature_index,
            error_type=undefined.error_type,
            message=undefined.message,
            raw=undefined.raw,
            retry=undefined.retry,
            created_at=datetime.now(UTC),
            fingerprint=self.fingerprint,
            explanation_id=explanation.explanation_id,
            cost_usd=usage.cost_usd,
        )
