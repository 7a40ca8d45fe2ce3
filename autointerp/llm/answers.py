"""From an answer's type to the schema that providers accept, and from a model's words to what they come to."""

import json
import re
from functools import cache
from typing import Any

from pydantic import ValidationError

from autointerp.llm.prompts import load_prompt
from autointerp.llm.protocol import AnswerModel, AnswerT, CallFailure, RawAnswer, Reply, Request
from autointerp.records import Usage

_FENCED = re.compile(r"\A```(?:json)?[ \t]*\n(?P<body>.*)\n```\Z", re.DOTALL)
_DROPPED = frozenset({"title", "description", "default"})


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
    """Read a model's words as the wanted answer.

    One fenced block that is the whole text is opened; nothing else is guessed.

    Returns:
        The answer, or one line on what is wrong with it.
    """
    body = text.strip()
    fenced = _FENCED.match(body)
    try:
        return answer.model_validate_json(fenced["body"] if fenced else body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else first["msg"]


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
    if answer.stop == "refusal":
        return CallFailure("Refusal", "the model refuses to answer", answer.text, usage, paid)
    if answer.stop == "truncated":
        message = f"the answer is cut short at {answer.output_tokens} tokens (max_output_tokens)"
        return CallFailure("Truncated", message, answer.text, usage, paid)
    parsed = parse_answer(answer.text, request.answer)
    if isinstance(parsed, str):
        return CallFailure("ParseFailure", f"the answer does not fit its schema ({parsed})", answer.text, usage, paid)
    return Reply(answer.text, parsed, usage, answer.model, from_journal, paid)


def complaint(problem: str, request: Request[AnswerT]) -> str:
    """What the model is told of an answer that does not fit."""
    answer: type[AnswerModel] = request.answer
    schema = json.dumps(answer_schema(answer), separators=(",", ":"))
    return load_prompt("repair").user(problem=problem, schema=schema)
