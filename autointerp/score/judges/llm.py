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

Where the model's chances of yes and no are asked for (`judge.answers`, `llm_chances`), each question is asked by
itself, and steps 1 to 6 do not concern it.

A user's prompt may name the label once, outside the numbered contexts: it is asked about one label at a time.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from typing import Annotated, Any

from pydantic import WithJsonSchema

from autointerp.config import JudgeConfig
from autointerp.errors import PipelineError
from autointerp.identity import fingerprint
from autointerp.llm.prompts import Prompt, load_prompt
from autointerp.llm.protocol import AnswerModel, CallFailure, LanguageModel, Request
from autointerp.llm.providers.local.loading import model_identity
from autointerp.llm.window import ask_in_window, check_window
from autointerp.records import Usage
from autointerp.score.judge import Answer, Answers, Case, Task
from autointerp.score.judges.llm_chances import ChanceAsker
from autointerp.score.judges.llm_items import Asked, Item, deal, prompt_name, render_batch
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


_Ask = Callable[[Prompt, Sequence[Item]], Awaitable[list[Asked]]]


def _answered(items: Sequence[Item], answers: Sequence[Answer], request: Request[Any], usage: Usage) -> Asked:
    """A prompt with its answers, which name it."""
    name = prompt_name(request)
    return Asked(items, [replace(answer, prompt=name) for answer in answers], usage)


class LlmJudge:
    """A `Judge` that asks a language model.

    Args:
        model: Asked.
        config: With its table `model`; `answers` is known by now (`run.judge_answers`).

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
        self._has_chances = config.answers == "chances"
        self._chances = ChanceAsker(model, config.model, config.content_free)
        # Read once: a file that is edited while a run goes on is the next run's.
        self._prompt = cache(Task.read_prompt)
        self._read_yes_no = cache(Task.read_yes_no)
        check_window(self._config, "judge.model")
        if not self._has_chances:
            self._check_room()

    @property
    def name(self) -> str:
        """The language model's name."""
        return self._config.model

    def fingerprint(self, task: Task) -> str:
        """Of the model, its settings, the task's prompt and the contexts a prompt.

        Raises:
            PromptError: If the prompt file is missing or malformed.
        """
        model = [self._config.provider, self._config.model, self._config.temperature, *model_identity(self._config)]
        room = [self._config.max_output_tokens, self._config.context_window]
        yes_no = self._yes_no_prompt(task)
        if yes_no is not None:
            prompts = [yes_no.sha256, load_prompt("repair").sha256]
            return fingerprint("llm_judge_chances", 1, model, room, self._chances.content_free, prompts)
        if not task.wants_activations:
            self._check_room()
        return fingerprint(
            "llm_judge",
            2,
            model,
            room,
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
        items = [Item(n, i, case.label, q) for n, case in enumerate(cases) for i, q in enumerate(case.questions)]
        yes_no = self._yes_no_prompt(task)
        asked = await (self._written(task, items) if yes_no is None else self._chances.ask(yes_no, items))
        answers = {(item.case, item.place): a for of in asked for item, a in zip(of.items, of.answers, strict=True)}
        usage = [Usage()] * len(cases)
        for of in asked:
            n_asked = Counter(item.case for item in of.items)
            for n, share in zip(n_asked, of.usage.shared(list(n_asked.values())), strict=True):
                usage[n] = usage[n] + share
        return [Answers([answers[n, i] for i in range(len(case.questions))], usage[n]) for n, case in enumerate(cases)]

    async def _written(self, task: Task, items: Sequence[Item]) -> list[Asked]:
        """Ask for percentages, or activations, several contexts a prompt."""
        prompt = self._prompt(task)
        asked: list[Asked] = []
        # Where one call ends the run, the others in flight are waited for: they are paid for.
        ask = self._simulate if task.wants_activations else self._ask
        asking = (ask(prompt, batch) for batch in self._batches(prompt, task, items))
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            asked += outcome
        return asked

    def _yes_no_prompt(self, task: Task) -> Prompt | None:
        """Of a task that is answered by chances; None of one that is not."""
        return self._read_yes_no(task) if self._has_chances else None

    def _check_room(self) -> None:
        """See that the percentages of a prompt have room in an answer."""
        if self._n_per_prompt * _TOKENS_PER_ANSWER > self._config.max_output_tokens:
            raise PipelineError(
                f"{self._n_per_prompt} answers do not fit into max_output_tokens = {self._config.max_output_tokens}",
                f"lower judge.contexts_per_prompt to {self._config.max_output_tokens // _TOKENS_PER_ANSWER}, or raise"
                " judge.model.max_output_tokens",
            )

    def _most_in_prompt(self, task: Task) -> int:
        return self._n_simulated if task.wants_activations else self._n_per_prompt

    def _batches(self, prompt: Prompt, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        n_per_prompt = self._most_in_prompt(task)
        if not prompt.uses("label"):
            return deal(task, items, n_per_prompt)
        by_case = (list(of_case) for _, of_case in groupby(items, key=lambda item: item.case))
        return [batch for of_case in by_case for batch in deal(task, of_case, n_per_prompt)]

    async def _ask(self, prompt: Prompt, batch: Sequence[Item]) -> list[Asked]:
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

    async def _simulate(self, prompt: Prompt, batch: Sequence[Item]) -> list[Asked]:
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
    ) -> list[Asked]:
        """What is left to do where a call failed: ask in two halves where it was too long, else leave it unanswered."""
        if failure.error_type == "TooLong" and len(batch) > 1:
            half = len(batch) // 2
            first, *rest = await ask(prompt, batch[:half])
            rest += await ask(prompt, batch[half:])
            return [replace(first, usage=first.usage + failure.usage), *rest]
        _LOG.info("%d questions unanswered: %s: %s", len(batch), failure.error_type, failure.message)
        answers = [_unanswered(f"{failure.error_type}: {failure.message}")] * len(batch)
        return [_answered(batch, answers, request, failure.usage)]


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


def _unanswered(reason: str) -> Answer:
    return Answer(verdict=None, unanswered=reason)
