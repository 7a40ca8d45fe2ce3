"""A language model as judge.

1. The questions are put in an order by keyed hash of what is shown, so that a place in a prompt says nothing about the
   truth, and a label and its shuffled baseline are asked in the same batches.
2. They are cut into batches of `contexts_per_prompt`; a short last batch is asked like any other.
3. Each batch is one prompt of numbered contexts; the answer gives each number a probability in whole percent, and
   nothing else: output costs several times what input does. From 50 % on it is a yes.
4. A number that is missing, given twice or with an impossible probability leaves its question unanswered; a call that
   fails leaves all of its questions unanswered, with the reason. There is no default.
5. Where no percentage of an answer passes 1 and some are not 0, the judge may well mean 1 for yes: the answer is sent
   back once, and leaves its questions unanswered if it comes again.
6. A batch that is too long for the model's window is asked in two halves, and so on down to single questions.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import WithJsonSchema

from autointerp.config import JudgeConfig
from autointerp.contexts.render import marked_text, plain_text
from autointerp.errors import PipelineError
from autointerp.identity import fingerprint, hash_key
from autointerp.llm.prompts import Prompt, load_prompt, numbered, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure, LanguageModel, Request
from autointerp.llm.window import ask_in_window, check_window
from autointerp.records import Usage
from autointerp.score.judge import Answer, Answers, Question, Solved, Task

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

    def __init__(self, model: LanguageModel, config: JudgeConfig) -> None:
        assert config.model is not None, "the config is validated"
        self._model = model
        self._config = config.model
        self._n_per_prompt = config.contexts_per_prompt
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
            [self._config.provider, self._config.model, self._config.temperature],
            [self._config.max_output_tokens, self._config.context_window],
            self._n_per_prompt,
            [self._prompt(task).sha256, load_prompt("repair").sha256],
        )

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, label: str, task: Task, questions: Sequence[Question], solved: Sequence[Solved]) -> Answers:
        """Answer every question, in order; `solved` is not needed.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        order = asking_order(task, questions)
        batches = [order[i : i + self._n_per_prompt] for i in range(0, len(order), self._n_per_prompt)]
        asking = (self._ask(label, task, [questions[i] for i in batch]) for batch in batches)
        # Where one call ends the run, the others in flight are waited for: they are paid for.
        answered = await asyncio.gather(*asking, return_exceptions=True)
        answers: dict[int, Answer] = {}
        usage = Usage()
        for batch, of_batch in zip(batches, answered, strict=True):
            if isinstance(of_batch, BaseException):
                raise of_batch
            answers.update(zip(batch, of_batch.answers, strict=True))
            usage = usage + of_batch.usage
        return Answers([answers[i] for i in range(len(questions))], usage)

    def _prompt(self, task: Task) -> Prompt:
        if task not in self._prompts:
            self._prompts[task] = task.read_prompt()
        return self._prompts[task]

    async def _ask(self, label: str, task: Task, batch: Sequence[Question]) -> Answers:
        prompt = self._prompt(task)
        request = Request(
            system=prompt.system,
            user=render_batch(prompt, label, batch),
            answer=Verdicts,
            max_output_tokens=self._config.max_output_tokens,
            temperature=self._config.temperature,
        )
        least = len(batch) * _TOKENS_PER_ANSWER
        outcome = await ask_in_window(self._model, request, self._config, least_output=least)
        if isinstance(outcome, CallFailure):
            if outcome.error_type == "TooLong" and len(batch) > 1:
                half = len(batch) // 2
                first = await self._ask(label, task, batch[:half])
                second = await self._ask(label, task, batch[half:])
                return Answers([*first.answers, *second.answers], first.usage + second.usage)
            _LOG.info("%d questions unanswered: %s: %s", len(batch), outcome.error_type, outcome.message)
            unanswered = [_unanswered(f"{outcome.error_type}: {outcome.message}")] * len(batch)
            return Answers(unanswered, outcome.usage)
        return Answers(read_verdicts(outcome.answer, len(batch)), outcome.usage)


def asking_order(task: Task, questions: Sequence[Question]) -> list[int]:
    """The places of the questions in the order in which they are asked, by what is shown and nothing else."""
    keys = [hash_key(0, "llm_judge", task.name, q.context.context_id, *map(str, q.marked)) for q in questions]
    return sorted(range(len(questions)), key=lambda i: (keys[i], i))


def render_batch(prompt: Prompt, label: str, batch: Sequence[Question]) -> str:
    """The user part of one prompt. Marks are shown where a question has them."""
    texts = [marked_text(q.context, q.marked) if q.marked else plain_text(q.context) for q in batch]
    return prompt.user(label=quoted(label), contexts=numbered(texts), n_contexts=str(len(batch)))


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
