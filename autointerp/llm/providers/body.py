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
_BEFORE = "\ufeff \t\r\n"
_EVENT = re.compile(r"(?:^|\r)data:[ \t]*(?=\{)", re.MULTILINE)
_TEXTS = ("text", "output_text")
_NO_ERROR = frozenset({"ok", "success", "none", "null", "false", "0"})
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_IN_PIECES = frozenset({"content", "text", "refusal", "arguments", *_THOUGHTS})
_MOST_TOKENS = 2**40
Json = dict[str, Any]
Stop = Literal["complete", "truncated", "refusal"]


def read_objects(body: str) -> list[Json]:
    """The JSON objects in a body: one, or the events of a stream that nobody asked for; empty if there is none.

    A byte order mark, blanks and the comments by which a router keeps a connection open are passed over. A page holds
    none, whatever stands in its styles and scripts. A gateway may have written all of it as one JSON string.
    """
    body = unquoted(body)
    if body.lstrip(_BEFORE).startswith("<"):
        return []
    starts = [event.end() for event in _EVENT.finditer(body)] or [body.find("{")]
    return [found for start in starts if start >= 0 and (found := _object_at(body, start)) is not None]


def unquoted(text: str) -> str:
    """The text of a JSON string, or the text itself where it is none."""
    begin = text.lstrip(_BEFORE)
    if not begin.startswith('"'):
        return text
    try:
        return str(json.loads(begin, strict=False))
    except ValueError:
        return text


def holder_of(name: str, found: Json, depth: int = 3) -> Json:
    """The object that holds something by a name: this, or one that a gateway has wrapped in it, also as text.

    Empty if there is none. An error is no wrapping: it may repeat what was sent.
    """
    if found.get(name):
        return found
    if error_of(found) or not depth:
        return {}
    inner = (
        read_objects(part) if isinstance(part, str) and part.lstrip().startswith("{") else [mapping(part)]
        for part in found.values()
    )
    return next((held for parts in inner for part in parts if (held := holder_of(name, part, depth - 1))), {})


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


def error_of(content: Json) -> Any:
    """What an object says of an error; None where it has none, or says that there is none."""
    error = content.get("error")
    return None if not error or str(error).strip().lower() in _NO_ERROR else error


def joined(before: Any, now: Any, name: str = "") -> Any:
    """What two pieces of a stream come to: words are put together, of all else the later counts.

    Args:
        before: What came first.
        now: What came later. Where either is empty or null, the other stands.
        name: Under which both stand; it tells whether they are words.
    """
    if not before or not now:
        return now or before
    if isinstance(before, dict) and isinstance(now, dict):
        return before | {key: joined(before.get(key), value, key) for key, value in now.items()}
    if isinstance(before, list) and isinstance(now, list):
        return _joined_parts(before, now)
    if name not in _IN_PIECES:
        return now
    if isinstance(before, str) and isinstance(now, str):
        return before + now
    return [part for piece in (before, now) for part in (piece if isinstance(piece, list) else [piece])]


def _joined_parts(before: list[Any], now: list[Any]) -> list[Any]:
    """Parts of a content, or tool calls, of which the later pieces say by an index what they belong to."""
    parts = list(before)
    for piece in now:
        index = mapping(piece).get("index")
        place = next(
            (i for i, part in enumerate(parts) if index is not None and mapping(part).get("index") == index), None
        )
        if place is None:
            parts.append(piece)
        else:
            parts[place] = joined(parts[place], piece)
    return parts


def mapping(value: Any) -> Json:
    """An object, empty where something else stands in its place."""
    return value if isinstance(value, dict) else {}


def first(value: Any) -> Json:
    """The first of a list of objects, empty where something else stands in its place."""
    return mapping(value[0]) if isinstance(value, list) and value else {}


def choices_of(value: Any) -> list[Json]:
    """A completion's choices: a list, or an object of them by their numbers; a choice may be no more than its text."""
    if isinstance(value, dict):
        value = [value] if "message" in value else list(value.values())
    return (
        [{"text": part} if isinstance(part, str) else mapping(part) for part in value]
        if isinstance(value, list)
        else []
    )


def text_of(content: Any) -> str:
    """The words of a content: a text, parts of which some are text, or the answer as an object of its own."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    if not isinstance(content, dict):
        return ""
    if "type" in content or "text" in content:
        return text_of(content.get("text")) if str(content.get("type", "text")).lower() in _TEXTS else ""
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


def turn_of(bad_answer: str) -> str:
    """What a model is told that it has answered: servers refuse an empty turn."""
    return bad_answer if bad_answer.strip() else "(nothing)"


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
