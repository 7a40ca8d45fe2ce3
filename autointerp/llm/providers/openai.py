"""OpenAI's chat completions, and every server that speaks them, through the `openai` SDK.

The answer's envelope is read here, since servers that imitate the protocol differ in what they leave out, and the SDK
does not check what it is given.
"""

import json
from dataclasses import replace
from math import exp, isfinite
from typing import TYPE_CHECKING, Any

import openai

from autointerp.config import ModelConfig
from autointerp.llm.answers import answer_schema
from autointerp.llm.limits.headers import openai_limits
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, TokenChances, Trouble
from autointerp.llm.providers.body import (
    Json,
    Stop,
    arguments_of,
    choices_of,
    count,
    error_of,
    first,
    holder_of,
    is_whole,
    joined,
    mapping,
    paid_answer,
    read_objects,
    text_of,
    thoughts_of,
    turn_of,
)
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.problem import HttpProblem, busy_instead, error_in, not_an_answer, page_problem, status_of
from autointerp.llm.providers.sdk import Dialect
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

_CUT_SHORT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_LEAST_CHANCE = 0.001
"""What is less likely than this is not kept of a long answer, which would take hundreds of kilobytes."""
_FEW_TOKENS = 64
"""Of an answer that is no longer all chances are kept: a judge's yes or no may be sure to many digits."""
_REFUSED = frozenset({"content_filter", "refusal", "safety", "recitation", "prohibited_content", "blocklist"})


def completion_body(
    request: Request[AnswerT], repair: Repair | None, config: ModelConfig, manner: Manner
) -> dict[str, Any]:
    """The JSON of a call: what stands in a batch's file too.

    Args:
        request: What is asked.
        repair: The second turn, if this is one.
        config: The model.
        manner: How the model is asked.
    """
    body: dict[str, Any] = {"model": config.model, "messages": _messages(request, repair, manner)}
    if manner.limits:
        body[manner.limits[0]] = manner.output_tokens(request.max_output_tokens)
    if manner.is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.wants_chances and manner.n_chances:
        body |= {"logprobs": True, "top_logprobs": manner.n_chances}
    if manner.structure == "schema":
        wanted = {"name": "answer", "strict": True, "schema": answer_schema(request.answer)}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    elif manner.structure == "object":
        body["response_format"] = {"type": "json_object"}
    return body


def _messages(request: Request[AnswerT], repair: Repair | None, manner: Manner) -> "list[ChatCompletionMessageParam]":
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": manner.user_turn(request)}]
    if manner.has_system:
        messages.insert(0, {"role": "system", "content": request.system})
    if repair is not None:
        messages.append({"role": "assistant", "content": turn_of(repair.bad_answer)})
        messages.append({"role": "user", "content": repair.complaint})
    return messages


def read_completion(status: int, body: str) -> RawAnswer | Trouble | HttpProblem:
    """Read the JSON of an answer: what stands in a batch's results too."""
    objects = read_objects(body)
    if not objects:
        return page_problem(body) or not_an_answer(status, body)
    completion = objects[0] if len(objects) == 1 else _of_stream(objects)
    completion = holder_of("choices", completion) or completion
    # One answer is asked for; a gateway that has split it leaves the others empty.
    choices = choices_of(completion.get("choices")) or [{}]
    choice = next((found for found in choices if _words(found).strip()), choices[0])
    message, text = _message(choice), _words(choice)
    usage = mapping(completion.get("usage"))
    n_input, n_output = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    reason = str(choice.get("finish_reason")).lower()
    problem = error_in(completion, body)
    if problem is None and (error_of(choice) or reason == "error"):
        problem = HttpProblem(status_of(choice), body)
    if problem is not None and not is_whole(text) and not (text and reason == "stop"):
        return problem
    if not choice and not n_output:
        return busy_instead(body) or not_an_answer(status, body)
    details = mapping(usage.get("prompt_tokens_details"))
    n_cached, n_written = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    refusal = _refusal(message)
    answer = paid_answer(
        text or refusal, _stop(reason, refusal), completion.get("model"), (n_input, n_cached, n_output, n_written)
    )
    return replace(answer, tokens=_tokens(choice))


def _tokens(choice: Json) -> tuple[TokenChances, ...]:
    """The answer's tokens with their chances; none where one of them can't be read."""
    tokens = []
    found = mapping(choice.get("logprobs")).get("content")
    content = found if isinstance(found, list) else []
    least = _LEAST_CHANCE if len(content) > _FEW_TOKENS else 0.0
    for entry in content:
        text = mapping(entry).get("token")
        if not isinstance(text, str):
            return ()
        others = mapping(entry).get("top_logprobs")
        chances = [_chance(mapping(other)) for other in others] if isinstance(others, list) else []
        likely = [(valid_text(other), chance) for other, chance in chances if chance > 0 and chance >= least]
        likely.sort(key=lambda pair: -pair[1])
        tokens.append(TokenChances(valid_text(text), tuple(likely) if len(likely) > 1 else ()))
    return tuple(tokens)


def _chance(other: Json) -> tuple[str, float]:
    """A token that might have stood in a place, and how likely; 0 where that can't be read."""
    text, logarithm = other.get("token"), other.get("logprob")
    if not isinstance(text, str) or isinstance(logarithm, bool) or not isinstance(logarithm, int | float):
        return "", 0.0
    return text, float(f"{exp(min(logarithm, 0.0)):.4g}") if isfinite(logarithm) else 0.0


def _message(choice: Json) -> Json:
    found = choice.get("message") or choice.get("delta")
    return found if isinstance(found, dict) else {"content": found}


def _words(choice: Json) -> str:
    return _text(_message(choice)) or text_of(choice.get("text"))


def _text(message: Json) -> str:
    """The model's words, wherever the server has put them."""
    call = first(message.get("tool_calls")).get("function", message.get("function_call"))
    parsed = mapping(message.get("parsed"))
    found = (
        text_of(message.get("content")),
        json.dumps(parsed, ensure_ascii=False) if parsed else "",
        arguments_of(mapping(call)),
        thoughts_of(message),
    )
    return next((text for text in found if text.strip()), "")


def _refusal(message: Json) -> str:
    """What a refusal says; empty if there is none, as also `false` and the like say."""
    parts = message.get("content")
    refusals = [message, *(parts if isinstance(parts, list) else ())]
    return next((text for part in refusals if (text := text_of(mapping(part).get("refusal")))), "")


def _stop(reason: str, refusal: str) -> Stop:
    if refusal or reason in _REFUSED:
        return "refusal"
    return "truncated" if reason in _CUT_SHORT else "complete"


def _of_stream(events: list[Json]) -> Json:
    """One completion of a stream's events."""
    whole: Json = {}
    choice: Json = {"message": {}}
    for event in events:
        of_event = next(iter(choices_of(event.get("choices"))), {})
        beside = {key: value for key, value in of_event.items() if key != "delta"}
        choice = joined(choice, beside | {"message": _message(of_event)})
        whole = joined(whole, {key: value for key, value in event.items() if key != "choices"})
    return whole | {"choices": [choice]}


OPENAI = Dialect(openai, openai.AsyncOpenAI, "/chat/completions", completion_body, read_completion, openai_limits)
