"""What a provider's answer comes to for whoever asked, and the complaint about one that can't be used."""

import json

from autointerp.llm.answers import answer_schema, parse_answer
from autointerp.llm.prompts import load_prompt
from autointerp.llm.protocol import AnswerModel, AnswerT, CallFailure, RawAnswer, Reply, Request
from autointerp.records import Usage


def read_answer(
    answer: RawAnswer, request: Request[AnswerT], usage: Usage, *, from_journal: bool
) -> Reply[AnswerT] | CallFailure:
    """Read an answer: refusals, answers cut short and answers that don't fit are different failures.

    Args:
        answer: As the provider gave it.
        request: What was asked.
        usage: Of all calls that it took.
        from_journal: Whether all of them were paid before.
    """
    if answer.stop == "refusal":
        return CallFailure("Refusal", "the model refuses to answer", answer.text, usage)
    if answer.stop == "truncated":
        message = f"the answer is cut short at {answer.output_tokens} tokens (max_output_tokens)"
        return CallFailure("Truncated", message, answer.text, usage)
    parsed = parse_answer(answer.text, request.answer)
    if isinstance(parsed, str):
        return CallFailure("ParseFailure", f"the answer does not fit its schema ({parsed})", answer.text, usage)
    return Reply(answer.text, parsed, usage, answer.model, from_journal)


def complaint(problem: str, request: Request[AnswerT]) -> str:
    """What the model is told of an answer that does not fit."""
    answer: type[AnswerModel] = request.answer
    schema = json.dumps(answer_schema(answer), separators=(",", ":"))
    return load_prompt("repair").user(problem=problem, schema=schema)
