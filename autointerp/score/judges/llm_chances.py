"""Yes or no by the chances of the two words, where a server gives them, instead of a percentage that a model writes.

1. A question is one label and one context. The answer may be `{"answer": "yes"}` or `{"answer": "no"}`, and no other.
2. Of the token in which that word begins, the server tells what else might have stood there. What begins with yes is
   summed, and what begins with no, whatever their case and what stands around them ("yes", " Yes", "YES"), a beginning
   of either ("y") among them. The probability is P(yes) / (P(yes) + P(no)).
3. A model may say yes, or no, more readily whatever it is shown. How readily is asked of questions without content
   (Zhao et al. 2021, 2102.09690), and taken off: the odds are divided by the odds there, and what is no likelier than
   there is a no. `text` leaves the label and puts nothing in the context's place, three ways; `label` leaves the
   context and withholds the label. Neither knows which contexts fire, so nothing is fitted to the truth.
"""

import asyncio
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import WithJsonSchema

from autointerp.config import ContentFree, ModelConfig
from autointerp.llm.prompts import Prompt, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure, LanguageModel, Reply, Request, TokenChances
from autointerp.llm.window import ask_in_window
from autointerp.records import Usage
from autointerp.score.judge import Answer
from autointerp.score.judges.llm_items import Asked, Item, prompt_name, shown_about, shown_context
from autointerp.score.nulls import WITHHELD

_LOG = logging.getLogger(__name__)
_TOKENS_PER_ANSWER = 16
"""Output tokens of one answer, amply counted."""
_EVEN = 0.5
_DIGITS = 6
_NOTHING = ("", "N/A", "…")
"""What stands in a context's place where it is left out."""
_VALUE = re.compile(r'"answer"\s*:\s*"(yes|no)"', re.IGNORECASE)
_WORD = re.compile(r"\W*(\w+)")
_LEAST = 1e-6
"""Odds are not told apart past this: a server gives no more digits."""


class YesNo(AnswerModel):
    """The answer to one question."""

    answer: Annotated[str, WithJsonSchema({"type": "string", "enum": ["yes", "no"]})]

    def problem(self) -> str | None:
        """What is wrong where it is neither of the two words."""
        return None if self.answer.casefold() in ("yes", "no") else "answer is neither yes nor no"


@dataclass(frozen=True, slots=True)
class _Chance:
    """What one question about one context came to.

    Attributes:
        prompt: Names what was sent.
        probability: That the answer is yes; None where there is none.
        unanswered: Why there is none.
        usage: Of its call.
    """

    prompt: str
    probability: float | None
    unanswered: str | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class ChanceAsker:
    """Asks a model for its chances of yes and no.

    Attributes:
        model: Asked.
        config: Its table.
        content_free: What is left out of the questions without content.
    """

    model: LanguageModel
    config: ModelConfig
    content_free: ContentFree

    async def ask(self, prompt: Prompt, items: Sequence[Item]) -> list[Asked]:
        """Ask each question by itself, and those without content; what is shown twice is asked once.

        Args:
            prompt: With the variables `about` and `context`.
            items: The questions.

        Returns:
            Each with its answer; what a question without content cost stands with the first that it corrects.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        shown = [(shown_about(item), shown_context(item.question)) for item in items]
        without = [
            content_free(self.content_free, *of, is_marked=bool(item.question.marked))
            for item, of in zip(items, shown, strict=True)
        ]
        payers: dict[tuple[str, str], int] = {}
        for number, (own, free) in enumerate(zip(shown, without, strict=True)):
            for question in (own, *free):
                payers.setdefault(question, number)
        chances: dict[tuple[str, str], _Chance] = {}
        usage = [Usage()] * len(items)
        # Where one call ends the run, the others in flight are waited for: they are paid for.
        outcomes = await asyncio.gather(*(self._chance(prompt, *of) for of in payers), return_exceptions=True)
        for (question, number), outcome in zip(payers.items(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            chances[question] = outcome
            usage[number] = usage[number] + outcome.usage
        return [
            Asked([item], [_answer(chances[own], [chances[question] for question in free])], paid)
            for item, own, free, paid in zip(items, shown, without, usage, strict=True)
        ]

    async def _chance(self, prompt: Prompt, about: str, context: str) -> _Chance:
        request = yes_no_request(prompt, about, context, self.config)
        outcome = await ask_in_window(self.model, request, self.config, least_output=_TOKENS_PER_ANSWER)
        if isinstance(outcome, CallFailure):
            why = f"{outcome.error_type}: {outcome.message}"
            _LOG.info("a question unanswered: %s", why)
            return _Chance(prompt_name(request), None, why, outcome.usage)
        probability = probability_of_yes(outcome)
        missing = None if probability is not None else "the server told no chances of yes and no"
        return _Chance(prompt_name(request), probability, missing, outcome.usage)


def yes_no_request(prompt: Prompt, about: str, context: str, config: ModelConfig) -> Request[YesNo]:
    """What is asked about one label and one context.

    Args:
        prompt: With the variables `about` and `context`.
        about: The label, or examples in its place, as JSON.
        context: As a JSON string.
        config: Of the model that is asked.
    """
    return Request(
        system=prompt.system,
        user=prompt.user(about=about, context=context),
        answer=YesNo,
        max_output_tokens=config.max_output_tokens,
        temperature=config.temperature,
        wants_chances=True,
    )


def _answer(own: _Chance, without_content: Sequence[_Chance]) -> Answer:
    """The answer to a question, from its own chances and those of the questions without content."""
    free = [of.probability for of in without_content if of.probability is not None]
    if own.probability is None or len(free) < len(without_content):
        why = next(of.unanswered for of in (own, *without_content) if of.probability is None)
        return Answer(verdict=None, unanswered=why, prompt=own.prompt)
    probability = corrected(own.probability, free)
    return Answer(probability > _EVEN, probability, prompt=own.prompt)


def content_free(kind: ContentFree, about: str, context: str, *, is_marked: bool) -> list[tuple[str, str]]:
    """The questions without content by which a question's answer is corrected: label and context of each, as JSON.

    Args:
        kind: What is left out.
        about: The question's label, or examples in its place.
        context: The question's context.
        is_marked: Whether tokens are marked in it; what stands in its place is marked then.
    """
    match kind:
        case "text":
            return [(about, quoted(f"<<{text}>>" if is_marked else text)) for text in _NOTHING]
        case "label":
            return [(quoted(WITHHELD), context)]
        case "none":
            return []


def probability_of_yes(reply: Reply[YesNo]) -> float | None:
    """P(yes) / (P(yes) + P(no)) by the chances of the answer's tokens; None where these don't tell it."""
    place = _place(reply)
    if place is None:
        return None
    lead, token = place
    chances = {"yes": 0.0, "no": 0.0}
    for text, chance in token.chances or ((token.text, 1.0),):
        word = _said(text.removeprefix(lead))
        if word is not None:
            chances[word] += chance
    total = sum(chances.values())
    return chances["yes"] / total if total > 0 else None


def tells_chances(reply: Reply[YesNo]) -> bool:
    """Whether an answer came with the chances of other words than the one that was written."""
    place = _place(reply)
    return place is not None and len(place[1].chances) > 1


def corrected(probability: float, without_content: Sequence[float]) -> float:
    """A probability whose odds are divided by the odds of the mean probability where there is no content."""
    if not without_content:
        return probability
    log_odds = _log_odds(probability) - _log_odds(sum(without_content) / len(without_content))
    return round(1 / (1 + math.exp(-log_odds)), _DIGITS)


def _place(reply: Reply[YesNo]) -> tuple[str, TokenChances] | None:
    """The token in which the answer's word begins, and what stands before it there; None where no token does."""
    written = "".join(token.text for token in reply.tokens)
    found = list(_VALUE.finditer(written))
    if not found or found[-1][1].casefold() != reply.answer.answer.casefold():
        return None
    at, end = found[-1].start(1), 0
    for token in reply.tokens:
        start, end = end, end + len(token.text)
        if at < end:
            return token.text[: at - start], token
    return None


def _said(text: str) -> str | None:
    """Which of the words a token is, or begins."""
    word = _WORD.match(text)
    if word is None:
        return None
    return next((whole for whole in ("yes", "no") if whole.startswith(word[1].casefold())), None)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(bounded / (1 - bounded))
