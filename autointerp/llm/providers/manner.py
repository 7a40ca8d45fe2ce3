"""How a model is asked: what its server refuses of a call's form is named otherwise, or left out.

Servers of one protocol differ in what they take. None says so beforehand, so each refusal that names a part of the form
teaches, and the same call is sent again at once; it is told once, and later calls are sent so from the start:

1. The answer's schema: as a schema, as the wish for any JSON object, or not at all. The answer is checked in any case.
2. The answer's limit has two names, and few servers know both. One larger than the model's own is lowered to it.
3. The fixed part has a turn of its own, or goes before the user's: some chat templates know no system role.
4. The mark for Anthropic's cache, which servers that imitate it may not know.
5. Chances of other tokens, where they are wanted: of as many as most servers give, of fewer, or of none.
6. The answer comes as a stream where a server gives none otherwise (Qwen's thinking models); it is read all the same.

What is asked stays the same. A temperature that is refused is another matter: it was set for what it does to the
answers, so the run stops and says so.
"""

import logging
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal

from autointerp.config import ModelConfig
from autointerp.llm.protocol import AnswerT, Request
from autointerp.llm.providers.address import find_address
from autointerp.llm.providers.problem import HttpProblem, said
from autointerp.llm.providers.refusals import is_too_long, words_of

_LOG = logging.getLogger(__name__)
_OF_THE_FORM = frozenset({400, 404, 415, 422, 500, 501})
_OF_THE_LIMIT = frozenset({400, 422})
_STRUCTURE = re.compile(
    r"response.?(?:format|schema)|json.?(?:schema|object|mode)|(?:invalid|unsupported) schema|schema feature"
    r"|additionalproperties|structured.?output|guided.(?:decoding|json)|output_(?:config|format)"
    r"|schema.{0,40}too (?:many|complex|large|deep)"
    r"|(?:parse|compile) grammar|grammar (?:error|compil)|requested parameters"
)
_SYSTEM = re.compile(
    r"(?:not|n't) support(?:ed)? (?:the |a )?(?:system|developer) (?:role|message|prompt|instruction)"
    r"|(?:system|developer) (?:role|message|prompt|instruction)s?\b.{0,60}(?:not|n't|unsupported|only|unknown)"
    r"|(?:unsupported|unknown|unexpected|invalid).{0,20}\brole\b.{0,40}(?:system|developer)"
    r"|\brole\b.{0,40}(?:system|developer).{0,60}(?:not|n't|unsupported|unknown|unexpected)"
    r"|\brole\b.{0,40}not (?:support|allow|know).{0,20}(?:system|developer)"
    r"|roles must alternate|only user.{0,20}assistant.{0,10}roles|first message must (?:be|have).{0,20}user",
    re.DOTALL,
)
_STREAM = re.compile(
    r"non.?stream|only supports? (?:the )?stream|stream ?= ?false|stream\b.{0,30}\b(?:be|to) true"
    r"|stream(?:ing)? (?:is required|mode only)|非流式"
)
_REFUSED = re.compile(
    r"unsupported|not supported|n't support|not support|unrecogni[sz]ed|unknown|unexpected|extra|not permitted"
    r"|not allowed|unavailable|not available|not enabled|not implemented|deprecated|forbidden"
)
_LIMITS = ("max_tokens", "max_completion_tokens")
_OF_THE_ANSWER = re.compile(r"max_(?:completion_|output_|new_)?tokens|(?:completion|output) tokens|maxoutputtokens")
_TOO_MUCH = re.compile(r"too (?:large|big|high|many)|at most|less than|maximum|exceed|range|greater|up to|[<>≤]")
_LEAST_LIMIT = 16
_CHANCES = (20, 5, 0)
_OF_CHANCES = re.compile(r"log_?prob")
# Neither a part of a name, a date or a fraction, nor so many thousands ("128k").
_NUMBER = re.compile(r"(?:(?<![\w.-])|(?<=\b1-))\d{1,9}(?!\w|\.\d)")
_SAID_TO_BE_MOST = re.compile(r"(?:at most|up to|than|equal to|[<≤]=?|(?:maximum|limit)(?: of| is)?|\b1,)\W*\Z")


@dataclass(frozen=True, slots=True)
class Manner:
    """The form of a call.

    Attributes:
        structure: As what the answer's schema is sent along.
        limits: Names of the answer's limit that may still be known, the one in use first.
        most_output_tokens: The model's own limit; None where none was heard of.
        has_system: Whether the fixed part has a turn of its own.
        marks_cache: Whether the fixed part is marked for the provider's cache.
        is_stream: Whether the answer is asked for as a stream.
        n_chances: Of how many tokens in each place the chances are asked for, where they are wanted; 0 for none.
    """

    structure: Literal["schema", "object", "none"] = "schema"
    limits: tuple[str, ...] = _LIMITS
    most_output_tokens: int | None = None
    has_system: bool = True
    marks_cache: bool = True
    is_stream: bool = False
    n_chances: int = _CHANCES[0]

    def output_tokens(self, wanted: int) -> int:
        """The limit of an answer for which so many tokens are wanted."""
        return wanted if self.most_output_tokens is None else min(wanted, self.most_output_tokens)

    def user_turn(self, request: Request[AnswerT]) -> str:
        """The first turn that is not the fixed part's own."""
        return request.user if self.has_system else f"{request.system}\n\n{request.user}"


class Learned:
    """How one model is asked, as far as its server has taught; shared by all who ask it there.

    Args:
        config: The model.

    Raises:
        LanguageModelError: If its address is none.

    Attributes:
        at_first: In which the first call is asked: with all that a server may take.
        manner: In which the next call is asked.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        # OpenAI's reasoning models refuse `max_tokens`; most compatible servers know only that.
        limits = _LIMITS[::-1] if find_address(config).is_own else _LIMITS
        self.at_first = self.manner = Manner(limits=limits)

    def learn(self, asked: Manner, problem: HttpProblem, output_tokens: int) -> bool:
        """Take in a refusal.

        Args:
            asked: How the call was asked.
            problem: What came of it.
            output_tokens: That its answer might have, before the manner.

        Returns:
            Whether the same call may fare better now.
        """
        words = words_of(problem.body)
        # To ask a model for its chances may be forbidden; the key is good all the same.
        is_of_chances = problem.status == HTTPStatus.FORBIDDEN and _OF_CHANCES.search(words) is not None
        if problem.status not in _OF_THE_FORM and not is_of_chances:
            return False
        if is_too_long(problem.status, words):
            return False
        better = _otherwise(asked, words, self._config.provider)
        if better is None and problem.status in _OF_THE_LIMIT:
            wanted = asked.output_tokens(output_tokens)
            better = _other_limit(asked, words, problem.status, wanted, self._config.provider)
        if better is None:
            return False
        change, how = better
        if self.manner == asked:  # else another call has learned meanwhile
            self.manner = change
            refused, instead = how
            why = f"HTTP {problem.status}: {said(problem.body)}"
            _LOG.warning("%s refuses %s (%s): asked %s from now on", self._config.model, refused, why, instead)
        return self.manner != asked


_Change = tuple[Manner, tuple[str, str]]
"""Another manner, with what was refused and how it is asked now."""


def _otherwise(asked: Manner, words: str, provider: str) -> _Change | None:
    """The manner that a refusal asks for, by what it says; None if it asks for none."""
    if asked.n_chances and _OF_CHANCES.search(words):
        fewer = _CHANCES[_CHANCES.index(asked.n_chances) + 1]
        how = f"for those of {fewer}" if fewer else "without them"
        return replace(asked, n_chances=fewer), (f"the chances of {asked.n_chances} tokens", how)
    if asked.structure != "none" and _STRUCTURE.search(words):
        if asked.structure == "schema" and provider == "openai":
            return replace(asked, structure="object"), ("answers by a JSON schema", "for a JSON object")
        return replace(asked, structure="none"), ("structured answers", "for text")
    if asked.has_system and _SYSTEM.search(words):
        return replace(asked, has_system=False), ("a system message", "with the system message before the user's")
    if asked.marks_cache and "cache_control" in words:
        return replace(asked, marks_cache=False), ("the mark for its cache", "without")
    if not asked.is_stream and _STREAM.search(words):
        return replace(asked, is_stream=True), ("answers in one piece", "for a stream")
    return None


def _other_limit(asked: Manner, words: str, status: int, wanted: int, provider: str) -> _Change | None:
    """The manner with another limit of the answer that a refusal asks for; None if it asks for none.

    Args:
        asked: How the call was asked.
        words: Of the refusal.
        status: Its own, which its words may repeat.
        wanted: Tokens that its answer might have.
        provider: Whose protocol it is.
    """
    is_named = provider == "openai" and bool(asked.limits) and asked.limits[0] in words
    is_refused = is_named and _REFUSED.search(words) is not None
    if not is_refused and _OF_THE_ANSWER.search(words) and _TOO_MUCH.search(words):
        lower = [n for n in _numbers(words, status) if _LEAST_LIMIT <= n < wanted]
        if lower:
            at_most = max(lower) - ("exclusive" in words)
            refused = f"max_output_tokens = {wanted}"
            return replace(asked, most_output_tokens=at_most), (refused, f"for {at_most} at most")
    if is_refused or (is_named and "invalid" in words):
        rest = asked.limits[1:]
        how = f"with `{rest[0]}`" if rest else "without a limit of the answer"
        return replace(asked, limits=rest), (f"`{asked.limits[0]}`", how)
    return None


def _numbers(words: str, status: int) -> list[int]:
    """The whole numbers in a refusal's words; one that is its status only where it is said to be a limit."""
    return [
        int(found.group())
        for found in _NUMBER.finditer(words)
        if int(found.group()) != status or _SAID_TO_BE_MOST.search(words, 0, found.start())
    ]
