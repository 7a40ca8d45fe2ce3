"""What a judge is: it answers questions, each about one label and one context.

It is handed the questions of several features together, so that a language model can be shown them mixed: in a prompt
of one label alone, what the true answers have in common would tell them without the label.

A judge that fails to answer a question leaves it unanswered, which is never a verdict. What it was paid comes back with
its answers, so that whoever asked knows what they cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float64

from autointerp.errors import PipelineError
from autointerp.llm.prompts import Prompt, read_prompt
from autointerp.records import Context, Usage

MOST_ACTIVATION = 10.0
"""The scale on which activations are told: a feature's largest."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a judge is asked about each context.

    Attributes:
        name: Decides, with the context, in which order a language model is asked.
        prompt: The prompt for a language model, with the variables `contexts` and `n_contexts`: one of ours, or a file
            `NAME.txt` beside `code`. One that has `label` too is asked about one label at a time.
        code: The file of the code whose task it is, where the prompt is not ours.
        yes_no: The prompt about one context that is answered yes or no, with the variables `about` (the label) and
            `context`, for a model whose chances of either are known; None where there is none, and `prompt` serves.
        wants_activations: Whether the feature's activation at each token is asked for, instead of yes or no.
    """

    name: str
    prompt: str
    code: Path | None = None
    yes_no: str | None = None
    wants_activations: bool = False

    def read_yes_no(self) -> Prompt | None:
        """Read the prompt about one context; None where there is none.

        Raises:
            PromptError: If it is missing or malformed.
        """
        return None if self.yes_no is None else read_prompt(self.yes_no, f"the task {self.name!r}", self.code)

    def read_prompt(self) -> Prompt:
        """Read the prompt.

        Raises:
            PromptError: If it is missing or malformed.
        """
        return read_prompt(self.prompt, f"the task {self.name!r}", self.code)


@dataclass(frozen=True, slots=True)
class Question:
    """One context put to a judge.

    Attributes:
        context: The context; the judge may use its tokens only, never its activations.
        marked: Offsets of marked tokens: fuzzing asks whether these are the ones the label describes. Empty in
            detection, which asks whether the label describes the context.
        examples: Firing contexts of the explain split that stand in place of the label: whether the context is one of
            their kind is what is asked. The judge may see where the feature fires in them. Mostly empty.
    """

    context: Context
    marked: tuple[int, ...] = ()
    examples: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer to one question.

    Attributes:
        verdict: Yes or no; None where there is no answer, and from a judge that gives similarities only.
        probability: That the answer is yes, in [0, 1], or the similarity; None where the judge gives none.
        unanswered: Why there is no answer; None where there is one.
        retry: Whether the same question may get an answer another time, where it has none.
        prompt: Names the prompt that the question was put in; None where no language model was asked.
        activations: What the feature's activation is at each token of the context, from 0 to 10, its largest; None but
            where they are asked for, and then there is no verdict.
    """

    verdict: bool | None
    probability: float | None = None
    unanswered: str | None = None
    retry: bool = True
    prompt: str | None = None
    activations: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A label on trial.

    Attributes:
        label: The label; empty where the scorer does not look at it (`BaseScorer.sees_label`).
        questions: About it, of the score split.
        background: Texts of the explain split as they come, the same for every feature: what the label is told against
            by a judge that compares. A language model ignores them.
        texts: Whole contexts of the score split by their text alone, unmarked, that are asked about besides, thousands
            at a time: none unless the judge is free.
        others: Labels of other features, for a judge that takes off what any label does to a text. Mostly empty.
    """

    label: str
    questions: Sequence[Question]
    background: tuple[str, ...] = ()
    texts: Sequence[str] = ()
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """What a judge says in one case.

    Attributes:
        answers: One a question, in order.
        usage: Of all calls that they took, whenever these were paid; of a call for several cases, by their questions.
        texts: Its verdict on each of the case's `texts`; None where it gives none.
        text_probabilities: That the answer is yes, for each of these; None where it gives none.
    """

    answers: Sequence[Answer]
    usage: Usage = field(default_factory=Usage)
    texts: Bool[np.ndarray, " text"] | None = None
    text_probabilities: Float64[np.ndarray, " text"] | None = None


class Judge(Protocol):
    """Answers questions about labels.

    One that can also tell activations (`Task.wants_activations`) has an attribute `simulates` that is true.

    Attributes:
        name: For example `local` or the language model's name; stands in `trials.judge`.
        is_free: Whether an answer costs nothing, so that a scorer may ask as much as there is to ask.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_free(self) -> bool: ...

    def fingerprint(self, task: Task) -> str:
        """Of the settings, the prompt's text and the model that decide its answers to a task."""
        ...

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Get ready for many questions at once; changes nothing but the speed."""
        ...

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Answer every question of every case.

        Args:
            task: What is asked of each question.
            cases: Best of many features, one label of each.

        Returns:
            Answers to each case, in order; a call that failed gives answers with `unanswered` set.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        ...


def check_answers(judge: Judge, cases: Sequence[Case], said: Sequence[Answers]) -> None:
    """See that a judge, which may be a user's, gave what scores can be computed from.

    Raises:
        PipelineError: If it gave more or fewer answers than there are questions, or one that is none.
    """
    if problem := _problem_of_all(cases, said):
        raise PipelineError(f"the judge {judge.name!r} {problem}", "mend its `answer`")


def _problem_of_all(cases: Sequence[Case], said: Sequence[Answers]) -> str | None:
    if not isinstance(said, list | tuple) or not all(isinstance(of, Answers) for of in said):
        return "gave no list of Answers"
    if len(said) != len(cases):
        return f"gave Answers to {len(said)} of {len(cases)} cases"
    for case, of in zip(cases, said, strict=True):
        if len(of.answers) != len(case.questions):
            return f"gave {len(of.answers)} answers to {len(case.questions)} questions"
        if of.texts is not None and not (_is_bools(of.texts) and of.texts.shape == (len(case.texts),)):
            return f"gave no array of {len(case.texts)} verdicts on as many texts"
        if of.text_probabilities is not None and not _are_probabilities(of.text_probabilities, len(case.texts)):
            return f"gave no array of {len(case.texts)} probabilities from 0 to 1 of as many texts"
        for number, (question, answer) in enumerate(zip(case.questions, of.answers, strict=True), start=1):
            if problem := _problem(answer, len(question.context.tokens)):
                return f"{problem} (question {number} on {case.label!r})"
    return None


def _are_probabilities(given: object, n: int) -> bool:
    if not (isinstance(given, np.ndarray) and given.dtype.kind == "f" and given.shape == (n,)):
        return False
    return bool(np.all((given >= 0) & (given <= 1)))


def _problem(answer: Answer, n_tokens: int) -> str | None:
    if not isinstance(answer, Answer):
        return f"gave {answer!r}, which is no Answer"
    verdict, probability, activations = answer.verdict, answer.probability, answer.activations
    if answer.unanswered is not None:
        is_bare = verdict is None and probability is None and activations is None
        return None if is_bare else "gave an answer and said that there is none"
    if activations is not None:
        if not all(_is_number(a) and 0 <= a <= MOST_ACTIVATION for a in activations):
            return f"gave an activation that is no number from 0 to {MOST_ACTIVATION:g}"
        return None if len(activations) == n_tokens else f"gave {len(activations)} activations for {n_tokens} tokens"
    if not (verdict is None or isinstance(verdict, bool | np.bool_)):
        return f"gave the verdict {verdict!r}, which is neither True nor False"
    if probability is None:
        return "gave neither a verdict nor a similarity, nor why there is none" if verdict is None else None
    if not _is_number(probability):
        return f"gave the probability {probability!r}, which is no finite number"
    if verdict is not None and not 0 <= probability <= 1:
        return f"gave the probability {probability}, which is not between 0 and 1"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)


def _is_bools(texts: object) -> bool:
    return isinstance(texts, np.ndarray) and texts.dtype == np.bool_
