"""What a refusal is about, told by its kind: servers say the same in many words.

*Too long* is told by a code that names it, or by words that put together what was sent (prompt, input, messages), how
it is measured (context, length, tokens) and that it is too much. What a rate limit says of tokens a minute is none,
unless the request alone passes the limit: that a smaller one may mend. Nor is an answer's limit that is larger than the
model's own.
"""

import re
from typing import Any

from autointerp.llm.providers.body import read_objects

_ECHOES = frozenset({"input", "ctx", "url"})  # FastAPI repeats what it was sent
_CODES = re.compile(
    r"context_length_exceeded|string_above_max_length|exceed_context_size|request_too_large|tokens_limit_reached"
    r"|contextwindowexceeded|context_window_exceeded|prompt_too_long|input_too_long|max_prompt_tokens_exceeded"
)
_MUCH = r"(?:too (?:long|large|big|many)|exceed|longer than|larger than|greater than|bigger than|more than|overflow)"
_LIMIT = r"(?:maximum|at most|up to|limit|only|must be <|must have less|must not|cannot|should be|reduce|reached|>)"
_WORDS = r"(?:prompt|inputs?|messages?|conversation|sequence|query|contents?|text)"
_SENT = rf"(?:{_WORDS}|request)"
_CONTEXT = r"context(?:[ _-]?(?:length|window|size|limit))|(?:maximum|max) (?:model|sequence|input|prompt) length"
_TOO_LONG = re.compile(
    "|".join(
        (
            rf"(?:{_CONTEXT}).*(?:{_MUCH}|{_LIMIT}|fit|contains)|(?:{_MUCH}|{_LIMIT}|fit).*(?:{_CONTEXT})",
            rf"\b(?:{_WORDS}\b.{{0,60}}|request(?: body| entity)?(?: is)?) too (?:long|large|big)\b",
            rf"\b{_SENT}`? ?\(?(?:token|length|size|tokens\b).{{0,80}}(?:{_MUCH}|{_LIMIT})",
            rf"(?:total|number of) tokens.{{0,80}}(?:{_MUCH}|{_LIMIT})",
            rf"\b{_SENT}\b.{{0,40}}{_MUCH}.{{0,60}}(?:token|length|context|character)",
            rf"too many (?:{_SENT} )?tokens|\b{_SENT}`? must have less than \d+ tokens|token limit exceeded",
            r"reduce the length|shorter (?:prompt|input)|exceeded (?:the )?model(?:'s)? token limit",
            "超长|过长|上下文长度|最大长度|长度超",
        )
    ),
    re.DOTALL,
)
_BY_TIME = re.compile(
    r"rate.?limit|per.?min|per.?day|per.?hour|\btpm\b|\brpm\b|\btpd\b|quota|throttl|too many requests"
)
_RATE = re.compile(r"rate.?limit|throttl|too many requests")
_BUSY = re.compile(
    r"try again (?:later|in )|please wait|not ready|over.?loaded|over capacity|capacity.?exceeded|server is busy"
    r"|(?:is|currently|still) (?:being )?loading|loading model|temporarily"
    r"|resource.?(?:has been )?exhausted|service.?unavailable"
)
_BROKEN = re.compile(
    r"(?:model|engine|runner|worker|process)\b.{0,30}(?:crashed|unloaded|terminated|died)|operation canceled"
    r"|failed_generation|json_validate_failed"
)
_ALONE = re.compile(r"request too large|must be reduced|request is too large|body too large")
_OF_THE_ANSWER = re.compile(r"(?:completion|output|generated|new) tokens")
_ANSWERS_LIMIT = re.compile(r"max_(?:completion_|output_)?tokens\W+must be (?:less|at most|<)")
_NEVER = frozenset({401, 402, 403, 404, 408, 502, 503, 504, 529})
_OF_A_TIMEOUT = re.compile(r"context (?:deadline|cancel)\w*")  # as Go's gateways say
# A refusal of more characters than that may repeat the prompt, and its words are not the server's.
_MOST_OF_ITS_OWN = 1000
_THOUSANDS = re.compile(r"(?<![\d.,\[])\d{1,3}(?:[,'_\u2019\u00a0\u202f]\d{3})+(?![\d.]\d)")
_N_READ = 4000  # of what a refusal says: what it is about stands at its beginning


def words_of(body: str) -> str:
    """All that a body says, in lower case, without what it repeats of the request; the body where it is no JSON."""
    objects = read_objects(body)
    words = " ".join(text for found in objects for text in _texts(found)) if objects else body
    return plain_numbers(words[:_N_READ]).lower()


def plain_numbers(text: str) -> str:
    """A text whose numbers hold no marks between their thousands.

    A point is no such mark, since it may begin a fraction; nor is the comma of a range, as in `[1,200]`.
    """
    return _THOUSANDS.sub(lambda number: re.sub(r"\D", "", number.group()), text)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        said = {key: part for key, part in value.items() if key not in _ECHOES}
        # What is said of a field may have its name for its key.
        names = [key for key, part in said.items() if isinstance(part, list)]
        return names + [text for part in said.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [str(value)] if isinstance(value, str | int | float) else []


def speaks_of_a_rate(words: str) -> bool:
    """Whether a refusal says that too much is asked in too short a time: some servers say so with 400 or 403."""
    return _RATE.search(words) is not None


def passing_status(words: str) -> int | None:
    """The status that a refusal would have if it said by it that it passes: some servers say so with 400, or with 200.

    Returns:
        503 of a server that is busy or not ready; 500 where something broke at this call, as a model that crashed, or
        an answer that did not come out as the server itself had promised; None of what stays refused.
    """
    if len(words) > _MOST_OF_ITS_OWN:
        return None
    if _BUSY.search(words):
        return 503
    return 500 if _BROKEN.search(words) else None


def is_too_long(status: int, words: str) -> bool:
    """Whether a refusal says that the model can't read as much as it was sent.

    Args:
        status: Of HTTP. Some servers say so with 500, or with 200.
        words: Of `words_of`.
    """
    if status in _NEVER:
        return False
    if _BY_TIME.search(words):
        return (status == 413 or _ALONE.search(words) is not None) and "tokens" in words
    if status == 413 or _CODES.search(words):
        return True
    if status == 429 or _ANSWERS_LIMIT.search(words):
        return False
    found = _TOO_LONG.search(_OF_A_TIMEOUT.sub("", words))
    return found is not None and not (_OF_THE_ANSWER.search(found.group()) and not re.search(_CONTEXT, words))
