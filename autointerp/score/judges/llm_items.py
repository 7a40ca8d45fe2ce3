"""What a language model that judges is shown: questions as they stand in prompts, and how prompts mix features."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from autointerp.contexts.render import active_offsets, marked_text, plain_text
from autointerp.identity import fingerprint, hash_key
from autointerp.llm.prompts import Prompt, quoted
from autointerp.llm.protocol import Request
from autointerp.records import Usage
from autointerp.score.judge import Answer, Question, Task

_PROMPT_NAME_LENGTH = 16


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
class Asked:
    """One prompt with its answers.

    Attributes:
        items: In the order of their numbers.
        answers: One an item.
        usage: Of its call.
    """

    items: Sequence[Item]
    answers: Sequence[Answer]
    usage: Usage


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
        shown = [shown_context(item.question) for item in batch]
    if prompt.uses("label"):
        return prompt.user(label=quoted(batch[0].label), contexts=_lines(shown), n_contexts=str(len(batch)))
    pairs = [f"{shown_about(item)} | {context}" for item, context in zip(batch, shown, strict=True)]
    return prompt.user(contexts=_lines(pairs), n_contexts=str(len(batch)))


def shown_context(question: Question) -> str:
    """A question's context as a JSON string, with its marks where it has any."""
    marked = question.marked
    return quoted(marked_text(question.context, marked) if marked else plain_text(question.context))


def _lines(shown: Sequence[str]) -> str:
    return "\n".join(f"{number}: {text}" for number, text in enumerate(shown, start=1))


def shown_about(item: Item) -> str:
    """A number's label, or the examples that stand in its place, their active tokens marked."""
    examples = item.question.examples
    if not examples:
        return quoted(item.label)
    return f"[{', '.join(quoted(marked_text(example, active_offsets(example))) for example in examples)}]"


def _asking_key(task: Task, question: Question) -> int:
    """Of what is shown, and of nothing else."""
    return hash_key(0, "llm_judge", task.name, question.context.context_id, *map(str, question.marked))


def prompt_name(request: Request[Any]) -> str:
    """Names a prompt, by what is sent."""
    return fingerprint(request.system, request.user)[:_PROMPT_NAME_LENGTH]
