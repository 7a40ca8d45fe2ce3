"""The JSON of an answer, read whatever its envelope: an answer that is there was paid for.

What decides nothing is never a reason to throw an answer away. A count that can't be read is an unknown one, a content
in parts is its text put together, half a surrogate pair is the replacement character.
"""

import json
import re
from math import ceil, inf, nan
from typing import Any, Literal

from autointerp.llm.protocol import RawAnswer
from autointerp.valid_text import valid_text

_LONGEST_NUMBER = 300
_DECODER = json.JSONDecoder(
    strict=False, parse_int=lambda digits: int(digits) if len(digits) < _LONGEST_NUMBER else inf
)
_EVENT = re.compile(r"^data:[ \t]*(?=\{)", re.MULTILINE)
_TEXTS = ("text", "output_text")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_MOST_TOKENS = 2**40
Json = dict[str, Any]
Stop = Literal["complete", "truncated", "refusal"]


def read_objects(body: str) -> list[Json]:
    """The JSON objects in a body: one, or the events of a stream that nobody asked for; empty if there is none.

    A byte order mark, blanks and the comments by which a router keeps a connection open are passed over. A page holds
    none, whatever stands in its styles and scripts.
    """
    if body.lstrip("\ufeff \t\r\n").startswith("<"):
        return []
    starts = [event.end() for event in _EVENT.finditer(body)] or [body.find("{")]
    return [found for start in starts if start >= 0 and (found := _object_at(body, start)) is not None]


def _object_at(body: str, start: int) -> Json | None:
    try:
        found: Json = _DECODER.raw_decode(body, start)[0]
    except (ValueError, RecursionError):
        return None
    return found


def is_whole(text: str) -> bool:
    """Whether a text is one JSON object to its end, so that nothing can be missing."""
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def mapping(value: Any) -> Json:
    """An object, empty where something else stands in its place."""
    return value if isinstance(value, dict) else {}


def first(value: Any) -> Json:
    """The first of a list of objects, empty where something else stands in its place."""
    return mapping(value[0]) if isinstance(value, list) and value else {}


def text_of(content: Any) -> str:
    """The words of a content: a text, parts of which some are text, or the answer as an object of its own."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    if not isinstance(content, dict):
        return ""
    if "type" in content or "text" in content:
        return text_of(content.get("text")) if content.get("type", "text") in _TEXTS else ""
    return json.dumps(content, ensure_ascii=False) if content else ""


def thoughts_of(message: Json) -> str:
    """What stands where a server puts a model's thoughts, for want of an answer.

    Some servers take the answer for a thought; then it ends them. Else they are marked as thoughts without an end, in
    which no answer is looked for.
    """
    thoughts = next((text for name in _THOUGHTS if (text := text_of(message.get(name)))), "")
    return thoughts if thoughts.rstrip().endswith("}") or not thoughts else f"<think>{thoughts}"


def arguments_of(call: Json) -> str:
    """The arguments of a tool call: an answer, where a server asks for structured ones by a tool."""
    found = call.get("arguments", call.get("input"))
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False) if found else ""


def count(value: Any) -> int:
    """A number of tokens; 0, as of a server that does not count, if it can't be read as one."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else nan
    except (ValueError, OverflowError):
        return 0
    return ceil(number) if 0 <= number <= _MOST_TOKENS else 0


def paid_answer(text: str, stop: Stop, model: Any, tokens: tuple[int, int, int, int]) -> RawAnswer:
    """An answer as it is kept.

    Args:
        text: The model's words.
        stop: As in `RawAnswer`.
        model: The model that answered, as the server names it, if it does.
        tokens: All input, of it read from the cache, output, of the input written to the cache; 0 for an unknown count.
            Where words came and no count of them did, what the call has cost is unknown: then no count is given.
    """
    n_input, n_cached, n_output, n_written = tokens if tokens[2] or not text else (0, 0, 0, 0)
    n_cached = min(n_cached, n_input)
    n_written = min(n_written, n_input - n_cached)
    return RawAnswer(valid_text(text), stop, valid_text(text_of(model)), n_input, n_cached, n_output, n_written)
