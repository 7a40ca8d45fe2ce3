"""From an answer's type to the schema that providers accept, and from a model's words to what they come to.

What stands around an answer is its envelope, and no reason to lose what was paid for. So an answer is read wherever it
stands, and never corrected:

1. Thoughts are passed over: what stands between the marks with which models begin and end them, and all before an end
   without a beginning, which the server's template has written. Thoughts that don't end hold drafts, and no answer.
2. Of the rest every JSON object is taken, whatever stands before it, between or behind: sentences, fences, lines. A
   comma behind a last entry is passed over. Where an object doesn't end, the answer was cut off, and none is read.
   After a thousand braces that begin no object only an answer behind the last thoughts is looked for: each costs a look
   at the whole text.
3. An object is the answer where it has every field that is wanted, with its type. The case of names does not matter,
   nor what stands beside the fields. An object, list or string around it, with nothing else in that, is an envelope
   too.
4. Two different answers are none: which was meant would be a guess.

No value is converted.
"""

import json
import re
from functools import cache
from typing import Any

from pydantic import ValidationError

from autointerp.llm.prompts import load_prompt
from autointerp.llm.protocol import AnswerModel, AnswerT, CallFailure, RawAnswer, Reply, Request
from autointerp.llm.providers.body import unquoted
from autointerp.records import Usage
from autointerp.valid_text import valid_text

_DROPPED = frozenset({"title", "description", "default"})
_THOUGHTS = r"(?:\w+:)?(?:think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad)"
# Tags of many names; those of Mistral, Cohere, Kimi, Gemma, MedGemma and Apertus; the channels of gpt-oss,
# also where a server leaves nothing of them but their names.
_BEGIN = (
    rf"<{_THOUGHTS}>|\[THINK\]|<\|START_THINKING\|>|◁think▷|<\|channel>thought|<\|channel\|>(?!final)"
    r"|<unused94>|<\|inner_prefix\|>"
    r"|\Aanalysis(?=.*assistantfinal)"
)
_END = (
    rf"</{_THOUGHTS}>|\[/THINK\]|<\|END_THINKING\|>|◁/think▷|<channel\|>|<\|channel\|>final[^{{]{{0,200}}?<\|message\|>"
    r"|<unused95>|<\|inner_suffix\|>|assistantfinal"
)
_MARK = re.compile(rf"(?P<begin>{_BEGIN})|(?P<end>{_END})|\{{", re.IGNORECASE | re.DOTALL)
_ENDS = re.compile(_END, re.IGNORECASE)
_LAST_COMMA = re.compile(r",(?=\s*[}\]])")
_STRING_OR_BRACKET = re.compile(
    r'"[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z)|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,(?=\s*[}\]]))', re.DOTALL
)
_MOST_BROKEN = 1000
_COMMA_LOOK = 100


@cache
def answer_schema(answer: type[AnswerModel]) -> dict[str, Any]:
    """The JSON schema of an answer, in the part of the language that both providers accept."""
    schema: dict[str, Any] = _plain(answer.model_json_schema())
    return schema


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _plain(child) for name, child in value.items()}
        elif key not in _DROPPED:
            kept[key] = _plain(value)
    return kept


def parse_answer(text: str, answer: type[AnswerT]) -> AnswerT | str:
    """Read a model's words as the wanted answer; see the module's steps.

    Returns:
        The answer, or one line on what is wrong with it.
    """
    try:
        values = _objects(unquoted(text.strip()))
    except _UnreadableError as error:
        return str(error)
    found: dict[str, AnswerT] = {}
    problem = "it holds no JSON object that can be read" if text.strip() else "it is empty"
    for value in values:
        parsed = _read(value, answer)
        if isinstance(parsed, str):
            problem = parsed
        else:
            found.setdefault(parsed.model_dump_json(), parsed)
    if len(found) > 1:
        return f"it holds {len(found)} different answers"
    for only in found.values():
        return only.problem() or only
    return problem


class _UnreadableError(Exception):
    """The text ends before its answer does, or is a heap of brackets."""


class _SameNameError(ValueError):
    """An object gives two values one name."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs) and any(value[name] != of_it for name, of_it in pairs):
        raise _SameNameError
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, strict=False)


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a text that stand outside of thoughts, in order.

    Raises:
        _UnreadableError: If one does not end, or thoughts that no object stands before; or of too many broken ones.
    """
    found: list[dict[str, Any]] = []
    place = n_broken = 0
    while mark := _MARK.search(text, place):
        if mark["end"]:
            found, place = [], mark.end()
        elif mark["begin"]:
            end = _ENDS.search(text, mark.end())
            if end is None and not found:
                raise _UnreadableError("its thoughts don't end, and no answer follows them")
            place = len(text) if end is None else end.end()
        else:
            value, place, n_looks = _decode(text, mark.start())
            if value is not None:
                found.append(value)
            elif (n_broken := n_broken + n_looks) > _MOST_BROKEN:
                ends = [end.end() for end in _ENDS.finditer(text, place)]  # long thoughts hold many, of formulas
                if not ends:
                    raise _UnreadableError(f"it holds more than {_MOST_BROKEN} braces that begin no JSON object")
                found, place, n_broken = [], ends[-1], 0
    return found


def _decode(text: str, start: int) -> tuple[dict[str, Any] | None, int, int]:
    """The object that begins at a place, where to look on, and how many looks at its place it has taken.

    One looks on behind it, or from where it proves to be none. A look for commas reads to the object's end, though the
    object may break soon, and counts for _COMMA_LOOK others.

    Raises:
        _UnreadableError: If it does not end.
    """
    n_looks = 1
    try:
        try:
            return *_DECODER.raw_decode(text, start), n_looks
        except json.JSONDecodeError as error:
            # Python's versions differ in whether they point at the comma or behind it.
            if not _LAST_COMMA.search(text, len(text[: error.pos].rstrip(" \t\r\n,")), error.pos + 1):
                raise
        n_looks = _COMMA_LOOK
        text = _without_last_commas(text, start)
        return *_DECODER.raw_decode(text, start), n_looks
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated string") or not text[error.pos :].strip():
            raise _UnreadableError("it is cut off") from error
        # What a broken object holds is no answer; thoughts end in one all the same.
        end = _ENDS.search(text, start, error.pos)
        return None, end.start() if end else max(error.pos, start + 1), n_looks
    except RecursionError:
        return None, len(text), n_looks
    except ValueError:  # two values of one name; a number of thousands of digits
        return None, start + 1, n_looks


def _without_last_commas(text: str, start: int) -> str:
    """The text with a blank for each comma behind a last entry of the object that begins at a place."""
    pieces, behind, depth = [], 0, 0
    for token in _STRING_OR_BRACKET.finditer(text, start):
        if token["comma"]:
            pieces += [text[behind : token.start()], " "]
            behind = token.end()
        depth += bool(token["open"]) - bool(token["close"])
        if depth == 0:
            break
    return "".join(pieces) + text[behind:]


def _read(value: Any, answer: type[AnswerT]) -> AnswerT | str:
    """An answer, or what is the only thing in it, or in that; or what is wrong with it."""
    problem = ""
    while True:
        if isinstance(value, dict):
            parsed = _validated(value, answer)
            if not isinstance(parsed, str):
                return parsed
            problem = problem or parsed
        if isinstance(value, dict | list) and len(value) == 1:
            (value,) = value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = _DECODER.decode(value)
            except (ValueError, RecursionError):
                return problem
        else:
            return problem


def _validated(value: dict[str, Any], answer: type[AnswerT]) -> AnswerT | str:
    wanted = {(of.alias or name).casefold(): of.alias or name for name, of in answer.model_fields.items()}
    pairs = [(wanted[key], value[name]) for name in value if (key := name.strip().casefold()) in wanted]
    try:
        # A character that UTF-8 can't hold, half of a pair, is no reason to lose the others.
        written = valid_text(json.dumps(_unique(pairs), ensure_ascii=False))
        return answer.model_validate_json(written)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else first["msg"]
    except _SameNameError:
        return "two of its fields have one name"
    except RecursionError:
        return "it is nested too deep"


def read_answer(
    answer: RawAnswer, request: Request[AnswerT], usage: Usage, paid: Usage, *, from_journal: bool
) -> Reply[AnswerT] | CallFailure:
    """Read an answer: refusals, answers cut short and answers that don't fit are different failures.

    Args:
        answer: As the provider gave it.
        request: What was asked.
        usage: Of all calls that it took.
        paid: Of those that were paid now.
        from_journal: Whether all of them were paid before.
    """
    parsed = parse_answer(answer.text, request.answer)
    # A filter that runs beside the model may speak up behind an answer that is whole.
    if answer.stop == "refusal" and isinstance(parsed, str):
        return CallFailure("Refusal", "the model refuses to answer", answer.text, usage, paid)
    # A model that was asked for JSON may end it, and go on with blanks to the limit.
    is_cut = isinstance(parsed, str) or not answer.text.rstrip("` \t\r\n").endswith("}")
    if answer.stop == "truncated" and is_cut:
        message = f"the answer is cut short at {answer.output_tokens} tokens (max_output_tokens)"
        return CallFailure("Truncated", message, answer.text, usage, paid)
    if isinstance(parsed, str):
        return CallFailure("ParseFailure", f"the answer does not fit its schema ({parsed})", answer.text, usage, paid)
    return Reply(answer.text, parsed, usage, answer.model, from_journal, paid, answer.tokens)


def complaint(problem: str, request: Request[AnswerT]) -> str:
    """What the model is told of an answer that does not fit."""
    answer: type[AnswerModel] = request.answer
    schema = json.dumps(answer_schema(answer), separators=(",", ":"))
    return load_prompt("repair").user(problem=problem, schema=schema)
