"""What a language model is shown, and how its answer is read, where a feature's activations are asked for.

1. Each number of a prompt shows a label and a context as a list of tokens; the answer has a whole number from 0 to 10
   for each token. All tokens of a context are told in one answer, unlike the one call a token of Bills et al. 2023.
2. An answer that lacks a number, or has too few or too many activations for one, is sent back once. What is wrong then
   leaves its question unanswered; the others count.
3. Where the server gives the chances of other tokens, an activation is its expected value: the mean of the numbers that
   might stand in its place, by their chances. That tells 3 from "3, but it may well be 8", as the one call a token did.
   A number in several tokens, as 10 is for some models, counts as it was written.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import WithJsonSchema

from autointerp.llm.prompts import quoted
from autointerp.llm.protocol import AnswerModel, Reply, TokenChances
from autointerp.records import Context
from autointerp.score.judge import MOST_ACTIVATION, Answer

TOKENS_PER_ACTIVATION = 3
"""Output tokens of one, amply counted."""
TOKENS_PER_NUMBER = 16
"""Output tokens of what stands around those of one number."""
_NUMBER = re.compile(r"(\D*)(\d{1,2})(\D*)")
_LIST = re.compile(r'"activations"\s*:\s*\[([\d\s,.]*)\]')
_DIGITS = re.compile(r"[\d.]+")
_MOST_TOLD = 3


class Simulations(AnswerModel):
    """The answer to one prompt: for each numbered context its number and the activation at each token.

    An entry may be anything, so that one that is none does not cost the others their answers.
    """

    answers: Annotated[
        tuple[Any, ...],
        WithJsonSchema(
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "integer"},
                        "activations": {"type": "array", "items": {"type": "integer"}},
                    },
                    "required": ["number", "activations"],
                    "additionalProperties": False,
                },
            }
        ),
    ]


def shown_tokens(context: Context) -> str:
    """A context as a number of a prompt shows it: how many tokens, and each as a JSON string."""
    return f"{len(context.tokens)} tokens: [{','.join(quoted(token) for token in context.tokens)}]"


def misfit(contexts: Sequence[Context]) -> "partial[str | None]":
    """What tells whether an answer has all activations of the contexts 1, 2, …; it can go to another process."""
    return partial(_misfit, lengths=tuple(len(context.tokens) for context in contexts))


def _misfit(answer: Simulations, lengths: Sequence[int]) -> str | None:
    wrong = [fault for n, length in enumerate(lengths, start=1) if isinstance(fault := _told(answer, n, length), str)]
    return f"{'; '.join(wrong[:_MOST_TOLD])}: give one whole number from 0 to 10 for each token" if wrong else None


def read_simulations(reply: Reply[Simulations], contexts: Sequence[Context]) -> list[Answer]:
    """The answers to contexts 1, 2, …, in order; by expected values where the reply has chances."""
    expected = expected_activations(reply.text, reply.tokens)
    entries = _entries(reply.answer)
    # Lists that are no entry's, as in thoughts before the answer, leave it open which is which.
    is_known = expected is not None and [len(of) for of in expected] == [len(of) for _, of in entries]
    by_number = {n: of for (n, _), of in zip(entries, expected, strict=True)} if expected and is_known else {}
    answers = []
    for number, context in enumerate(contexts, start=1):
        told = _told(reply.answer, number, len(context.tokens))
        if isinstance(told, str):
            answers.append(Answer(verdict=None, unanswered=f"the judge gave no simulation: {told}"))
        else:
            answers.append(Answer(verdict=None, activations=tuple(by_number.get(number, told))))
    return answers


def _entries(answer: Simulations) -> list[tuple[int, list[Any]]]:
    return [
        (entry["number"], entry["activations"])
        for entry in answer.answers
        if isinstance(entry, dict) and type(entry.get("number")) is int and isinstance(entry.get("activations"), list)
    ]


def _told(answer: Simulations, number: int, length: int) -> list[float] | str:
    """The activations of one number, or what is wrong with them."""
    found = [activations for of, activations in _entries(answer) if of == number]
    if len(found) != 1:
        return f"number {number} was answered {len(found)} times"
    if len(found[0]) != length:
        return f"number {number} has {len(found[0])} activations for {length} tokens"
    if not all(_is_activation(activation) for activation in found[0]):
        return f"number {number} has an activation that is no number from 0 to 10"
    return [float(activation) for activation in found[0]]


def _is_activation(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_ACTIVATION


def expected_activations(text: str, tokens: Sequence[TokenChances]) -> list[list[float]] | None:
    """The expected value of each number in an answer's lists of activations; None where tokens don't make the text.

    Args:
        text: Of the answer.
        tokens: Its tokens with their chances.
    """
    if not tokens or "".join(token.text for token in tokens) != text:
        return None
    starts, end = [], 0
    for token in tokens:
        starts.append(end)
        end += len(token.text)
    owner = [i for i, token in enumerate(tokens) for _ in token.text]
    return [
        [
            _expected(tokens[owner[number.start()]], number.start() - starts[owner[number.start()]], number[0])
            for number in _DIGITS.finditer(text, listed.start(1), listed.end(1))
        ]
        for listed in _LIST.finditer(text)
    ]


def _expected(token: TokenChances, start: int, written: str) -> float:
    """The expected value of a number that a token holds, from the numbers that might stand in its place.

    Args:
        token: In which the number begins.
        start: Where in it.
        written: The number.
    """
    own = _NUMBER.fullmatch(token.text)
    if own is None or own[2] != written or len(own[1]) != start:
        return float(written)
    chances = [
        (int(other[2]), chance)
        for text, chance in token.chances
        if (other := _NUMBER.fullmatch(text)) is not None
        and (other[1], other[3]) == (own[1], own[3])
        and int(other[2]) <= MOST_ACTIVATION
    ]
    total = sum(chance for _, chance in chances)
    return round(sum(value * chance for value, chance in chances) / total, 3) if total else float(written)
