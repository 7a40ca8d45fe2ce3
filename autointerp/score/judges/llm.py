"""A language model as judge.

1. The questions of all features are dealt, like cards, to as few prompts of at most `contexts_per_prompt` as hold them:
   feature by feature, each one's in an order by keyed hash of what is shown. So the prompts are of one size, within one
   question, and of a feature's q questions none of P prompts holds more than q / P, rounded up: where enough features
   are asked about together, one. No theme then runs through a prompt's true answers, nor does one token come back in
   them. A prompt of one feature can be solved by that alone. A text comes once in a prompt, where it can be: what is
   shown beside two labels is likely silent text that both were given.
2. Within a prompt they stand in the order of that hash, so that a place says nothing, neither of the feature nor of the
   truth.
3. Each number of a prompt shows a label, or examples in its place, and a context; the answer gives each number a
   probability in whole percent, and nothing else: output costs several times what input does. From 50 % on it is a yes.
4. A number that is missing, given twice or with an impossible probability leaves its question unanswered; a call that
   fails leaves all of its questions unanswered, with the reason. There is no default.
5. Where no percentage of an answer passes 1 and some are not 0, the judge may well mean 1 for yes: the answer is sent
   back once, and leaves its questions unanswered if it comes again.
6. A prompt that is too long for the model's window is asked in two halves, and so on down to single questions.
7. What a prompt cost is shared among its features by their questions.

Where activations are asked for (`llm_simulation`), a prompt holds `simulated_per_prompt` contexts, dealt in the same
way.

A user's prompt may name the label once, outside the numbered contexts: it is asked about one label at a time.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Any

from pydantic import WithJsonSchema

from autointerp.config import JudgeConfig
from autointerp.contexts.render import active_offsets, marked_text, plain_text
from autointerp.errors import PipelineError
from autointerp.identity import fingerprint, hash_key
from autointerp.llm.prompts import Prompt, load_prompt, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure, LanguageModel, Request
from autointerp.llm.window import ask_in_window, check_window
from autointerp.records import Usage
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.judges.llm_simulation import (
    TOKENS_PER_ACTIVATION,
    TOKENS_PER_NUMBER,
    Simulations,
    misfit,
    read_simulations,
    shown_tokens,
)

_LOG = logging.getLogger(__name__)
_TOKENS_PER_ANSWER = 12
"""Output tokens of one pair, amply counted."""
_YES_FROM = 50
_MOST_TOLD = 40
_PROMPT_NAME_LENGTH = 16


class Verdicts(AnswerModel):
    """The answer to one prompt: for each numbered context its number and the probability of a yes, in percent.

    An entry may be anything, so that one that is none does not cost the others their answers.
    """

    answers: Annotated[
        tuple[Any, ...],
        WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
    ]

    def problem(self) -> str | None:
        """What is wrong where entries have another form, numbers another beginning, or percentages another scale."""
        said = [rest for _, rest in _pairs(self)]
        if self.answers and not said:
            return "answers holds no pair [number, percent]"
        if any(number == 0 for number, _ in _pairs(self)):
            return "it answers number 0, though the first is 1: give each answer the number of its context"
        percents = [rest[0] for rest in said if len(rest) == 1 and _is_number(rest[0])]
        if said and not any(0 <= percent <= 100 for percent in percents):
            return f"{_told(said[0])} is no percentage, nor is another of the answers"
        if any(percents) and max(percents) <= 1:
            return "no percentage passes 1, though 100 is a certain yes: give whole numbers from 0 to 100"
        return None


@dataclass(frozen=True, slots=True)
class Item:
    """A question as it stands in a prompt, under a number.

    Attributes:
        case: Which of the cases it is of.
        place: Which of that case's questions it is.
        label: The case's label.
        question: The question.
    """

    case: int
    place: int
    label: str
    question: Question


@dataclass(frozen=True, slots=True)
class _Asked:
    """One prompt with its answers.

    Attributes:
        items: In the order of their numbers.
        answers: One an item.
        usage: Of its call.
    """

    items: Sequence[Item]
    answers: Sequence[Answer]
    usage: Usage


_Ask = Callable[[Prompt, Sequence[Item]], Awaitable[list[_Asked]]]


def _answered(items: Sequence[Item], answers: Sequence[Answer], request: Request[Any], usage: Usage) -> _Asked:
    """A prompt with its answers, which name it."""
    name = fingerprint(request.system, request.user)[:_PROMPT_NAME_LENGTH]
    return _Asked(items, [replace(answer, prompt=name) for answer in answers], usage)


class LlmJudge:
    """A `Judge` that asks a language model.

    Args:
        model: Asked.
        config: With its table `model`.

    Raises:
        PipelineError: If a prompt's answers can't fit into `max_output_tokens`, or leave no room in the model's window.
        PromptError: If a prompt file is missing or malformed.
    """

    is_free = False
    simulates = True

    def __init__(self, model: LanguageModel, config: JudgeConfig) -> None:
        assert config.model is not None, "the config is validated"
        self._model = model
        self._config = config.model
        self._n_per_prompt = config.contexts_per_prompt
        self._n_simulated = config.simulated_per_prompt
        self._prompts: dict[Task, Prompt] = {}
        check_window(self._config, "judge.model")
        if self._n_per_prompt * _TOKENS_PER_ANSWER > self._config.max_output_tokens:
            raise PipelineError(
                f"{self._n_per_prompt} answers do not fit into max_output_tokens = {self._config.max_output_tokens}",
                f"lower judge.contexts_per_prompt to {self._config.max_output_tokens // _TOKENS_PER_ANSWER}, or raise"
                " judge.model.max_output_tokens",
            )

    @property
    def name(self) -> str:
        """The language model's name."""
        return self._config.model

    def fingerprint(self, task: Task) -> str:
        """Of the model, its settings, the task's prompt and the contexts a prompt.

        Raises:
            PromptError: If the prompt file is missing or malformed.
        """
        return fingerprint(
            "llm_judge",
            2,
            [self._config.provider, self._config.model, self._config.temperature],
            [self._config.max_output_tokens, self._config.context_window],
            self._most_in_prompt(task),
            [self._prompt(task).sha256, load_prompt("repair").sha256],
        )

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Answer every question of every case.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        prompt = self._prompt(task)
        items = [Item(n, i, case.label, q) for n, case in enumerate(cases) for i, q in enumerate(case.questions)]
        asked: list[_Asked] = []
        # Where one call ends the run, the others in flight are waited for: they are paid for.
        ask = self._simulate if task.wants_activations else self._ask
        asking = (ask(prompt, batch) for batch in self._batches(prompt, task, items))
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            asked += outcome
        answers = {(item.case, item.place): a for of in asked for item, a in zip(of.items, of.answers, strict=True)}
        usage = [Usage()] * len(cases)
        for of in asked:
            n_asked = Counter(item.case for item in of.items)
            for n, share in zip(n_asked, of.usage.shared(list(n_asked.values())), strict=True):
                usage[n] = usage[n] + share
        return [Answers([answers[n, i] for i in range(len(case.questions))], usage[n]) for n, case in enumerate(cases)]

    def _prompt(self, task: Task) -> Prompt:
        if task not in self._prompts:
            self._prompts[task] = task.read_prompt()
        return self._prompts[task]

    def _most_in_prompt(self, task: Task) -> int:
        return self._n_simulated if task.wants_activations else self._n_per_prompt

    def _batches(self, prompt: Prompt, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        n_per_prompt = self._most_in_prompt(task)
        if not prompt.uses("label"):
            return deal(task, items, n_per_prompt)
        by_case = (list(of_case) for _, of_case in groupby(items, key=lambda item: item.case))
        return [batch for of_case in by_case for batch in deal(task, of_case, n_per_prompt)]

    async def _ask(self, prompt: Prompt, batch: Sequence[Item]) -> list[_Asked]:
        request = Request(
            system=prompt.system,
            user=render_batch(prompt, batch),
            answer=Verdicts,
            max_output_tokens=self._config.max_output_tokens,
            temperature=self._config.temperature,
        )
        outcome = await ask_in_window(self._model, request, self._config, least_output=len(batch) * _TOKENS_PER_ANSWER)
        if isinstance(outcome, CallFailure):
            return await self._in_halves(self._ask, prompt, batch, request, outcome)
        return [_answered(batch, read_verdicts(outcome.answer, len(batch)), request, outcome.usage)]

    async def _simulate(self, prompt: Prompt, batch: Sequence[Item]) -> list[_Asked]:
        contexts = [item.question.context for item in batch]
        request = Request(
            system=prompt.system,
            user=render_batch(prompt, batch, [shown_tokens(context) for context in contexts]),
            answer=Simulations,
            max_output_tokens=self._config.max_output_tokens,
            temperature=self._config.temperature,
            wants_chances=True,
            misfit=misfit(contexts),
        )
        least = sum(TOKENS_PER_NUMBER + TOKENS_PER_ACTIVATION * len(context.tokens) for context in contexts)
        outcome = (
            CallFailure("TooLong", f"the answer may have {least} tokens, more than max_output_tokens")
            if least > self._config.max_output_tokens
            else await ask_in_window(self._model, request, self._config, least_output=least)
        )
        if isinstance(outcome, CallFailure):
            return await self._in_halves(self._simulate, prompt, batch, request, outcome)
        return [_answered(batch, read_simulations(outcome, contexts), request, outcome.usage)]

    async def _in_halves(
        self, ask: _Ask, prompt: Prompt, batch: Sequence[Item], request: Request[Any], failure: CallFailure
    ) -> list[_Asked]:
        """What is left to do where a call failed: ask in two halves where it was too long, else leave it unanswered."""
        if failure.error_type == "TooLong" and len(batch) > 1:
            half = len(batch) // 2
            first, *rest = await ask(prompt, batch[:half])
            rest += await ask(prompt, batch[half:])
            return [replace(first, usage=first.usage + failure.usage), *rest]
        _LOG.info("%d questions unanswered: %s: %s", len(batch), failure.error_type, failure.message)
        answers = [_unanswered(f"{failure.error_type}: {failure.message}")] * len(batch)
        return [_answered(batch, answers, request, failure.usage)]


def deal(task: Task, items: Sequence[Item], n_per_prompt: int) -> list[list[Item]]:
    """Deal questions to prompts, so that each holds as few of one case as can be; see the module's steps.

    Args:
        task: What is asked.
        items: Of all cases, in any order.
        n_per_prompt: Questions that a prompt holds at most.

    Returns:
        The prompts, their questions in order: the same in whatever order the cases and their questions come.
    """
    keys = {(item.case, item.place): _asking_key(task, item.question) for item in items}
    first: dict[int, int] = {}
    for item in items:
        key = keys[item.case, item.place]
        first[item.case] = min(key, first.get(item.case, key))

    def by_case(item: Item) -> tuple[int, str, int]:
        return (first[item.case], item.label, keys[item.case, item.place])

    def by_question(item: Item) -> tuple[int, str]:
        return (keys[item.case, item.place], item.label)

    n_prompts = -(-len(items) // n_per_prompt)
    batches: list[list[Item]] = [[] for _ in range(n_prompts)]
    shown: list[set[str]] = [set() for _ in range(n_prompts)]
    turn = 0
    for _, of_case in groupby(sorted(items, key=by_case), key=lambda item: item.case):
        left = [(item, item.question.context.text) for item in of_case]
        while left:
            batch, texts = batches[turn % n_prompts], shown[turn % n_prompts]
            fresh = next((place for place, (_, text) in enumerate(left) if text not in texts), 0)
            item, text = left.pop(fresh)
            batch.append(item)
            texts.add(text)
            turn += 1
    return [sorted(batch, key=by_question) for batch in batches]


def render_batch(prompt: Prompt, batch: Sequence[Item], shown: Sequence[str] | None = None) -> str:
    """The user part of one prompt. Marks are shown where a question has them.

    Args:
        prompt: The task's.
        batch: What is asked; of one label, where the prompt names it once.
        shown: What is shown of each context; its text, as a JSON string, where nothing else is said.
    """
    if shown is None:
        asked = [item.question for item in batch]
        shown = [quoted(marked_text(q.context, q.marked) if q.marked else plain_text(q.context)) for q in asked]
    if prompt.uses("label"):
        return prompt.user(label=quoted(batch[0].label), contexts=_lines(shown), n_contexts=str(len(batch)))
    pairs = [f"{_asked_about(item)} | {context}" for item, context in zip(batch, shown, strict=True)]
    return prompt.user(contexts=_lines(pairs), n_contexts=str(len(batch)))


def _lines(shown: Sequence[str]) -> str:
    return "\n".join(f"{number}: {text}" for number, text in enumerate(shown, start=1))


def _asked_about(item: Item) -> str:
    """A number's label, or the examples that stand in its place, their active tokens marked."""
    examples = item.question.examples
    if not examples:
        return quoted(item.label)
    return f"[{', '.join(quoted(marked_text(example, active_offsets(example))) for example in examples)}]"


def read_verdicts(verdicts: Verdicts, n_questions: int) -> list[Answer]:
    """The answers to numbers 1 to `n_questions`, in order; entries for other numbers say nothing."""
    pairs = _pairs(verdicts)
    times = Counter(number for number, _ in pairs)
    by_number = dict(pairs)
    answers = []
    for number in range(1, n_questions + 1):
        said = by_number.get(number)
        if said is None:
            answers.append(_unanswered("the judge left it out"))
        elif times[number] > 1:
            answers.append(_unanswered(f"the judge answered it {times[number]} times"))
        elif len(said) == 1 and _is_number(said[0]) and (said[0] in (0, 1) or 1 < said[0] <= 100):
            answers.append(Answer(said[0] >= _YES_FROM, said[0] / 100))
        else:
            answers.append(_unanswered(f"the judge gave {_told(said)} where a percentage was asked for"))
    return answers


def _pairs(verdicts: Verdicts) -> list[tuple[int, Sequence[Any]]]:
    """The entries that begin with a number, and what is said of it."""
    entries = (entry for entry in verdicts.answers if isinstance(entry, list | tuple) and entry)
    return [(entry[0], entry[1:]) for entry in entries if type(entry[0]) is int]


def _told(said: Sequence[Any]) -> str:
    return ", ".join(map(json.dumps, said))[:_MOST_TOLD] or "nothing"


def _is_number(said: Any) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool)


def _asking_key(task: Task, question: Question) -> int:
    """Of what is shown, and of nothing else."""
    return hash_key(0, "llm_judge", task.name, question.context.context_id, *map(str, question.marked))


def _unanswered(reason: str) -> Answer:
    return Answer(verdict=None, unanswered=reason)
