"""Questions that have to fit into a model's window, together with their answer.

`max_output_tokens` is what an answer may have, a reasoning model's thoughts included; few answers need as much. So
where the prompt leaves less in the window, the answer gets what is left, down to a quarter of the window. Only a prompt
that leaves less than that is `TooLong`: whoever asks may then ask for less.

1. Where the model's table says `context_window`, the prompt's tokens are estimated, on the high side, and nothing is
   sent that doesn't fit.
2. Else the server's refusal is read: most say how long the window is and how long the prompt, and the request is made
   once more with what is left. What a refusal says is not remembered for the next request, so that what is asked never
   depends on what was asked before; a refused request costs nothing.
"""

import json
import re
from dataclasses import replace

from autointerp.config import ModelConfig
from autointerp.errors import PipelineError
from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import AnswerT, CallFailure, LanguageModel, Reply, Request
from autointerp.llm.providers.refusals import plain_numbers
from autointerp.llm.tokens import estimated_tokens

_LEAST_OUTPUT = 256
"""Tokens that an answer is given at least: several labels, or the verdicts on twenty contexts."""
_LEAST_SHARE = 4
"""And one part in so many of the window, since some models think first."""
_MARGIN = 16
"""Tokens that a chat template may put around a prompt."""
_WINDOW = re.compile(
    r"(?:context[ _](?:length|window|size|limit)|model length|n_ctx|max_model_len|must be <=)[^\d+>]{0,12}?"
    r"(\d+)\b(?! \+)"
    r"|(?:\d+ \+ \d+|tokens) > (\d+)|with (\d+) maximum context length",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"(?<!least )(\d+) (?:tokens )?(?:in|from|of) the (?:messages|input|prompt)|(?<!least )(\d+) `?input[s`]* tokens"
    r"|n_prompt_tokens\D{1,4}(\d+)|limit: (\d+) \+|(?:input|prompt) \(?(?:contains |has |of )?(\d+) tokens"
    r"|too long: (\d+) tokens|(\d+) of text input|prompt \(length (\d+)|resulted in (\d+) tokens",
    re.IGNORECASE,
)


async def ask_in_window(
    model: LanguageModel, request: Request[AnswerT], config: ModelConfig, *, least_output: int = _LEAST_OUTPUT
) -> Reply[AnswerT] | CallFailure:
    """Ask, with as much room for the answer as the window leaves.

    Args:
        model: Is asked, twice at most.
        request: With all the room that its answer may have.
        config: The model's table.
        least_output: Tokens that the answer must have room for, where the request allows as many.

    Raises:
        LanguageModelError: If no further call can succeed.
    """
    asked = request
    if config.context_window is not None:
        fitting = _fitting(request, config.context_window, _estimated(request), least_output)
        if fitting is None:
            return CallFailure(
                "TooLong",
                f"about {_estimated(request)} tokens leave too little for the answer in context_window ="
                f" {config.context_window}",
            )
        asked = fitting
    outcome = await model.ask(asked)
    if isinstance(outcome, CallFailure) and outcome.error_type == "TooLong":
        fitting = _fitting_as_told(asked, outcome, least_output)
        if fitting is not None:
            asked = fitting
            outcome = await model.ask(asked)
    if isinstance(outcome, CallFailure) and outcome.error_type == "Truncated" and asked is not request:
        return replace(outcome, message=f"{outcome.message}: the prompt leaves no more in the model's window")
    return outcome


def check_window(config: ModelConfig, table: str) -> None:
    """See that a model's window has room for a question beside its answer.

    Args:
        config: The model.
        table: Its table in the pipeline file.

    Raises:
        PipelineError: If it has none.
    """
    if config.context_window is not None and config.context_window <= _LEAST_OUTPUT:
        raise PipelineError(
            f"{table}.context_window = {config.context_window} leaves no room for a question beside its answer",
            "set it to what the model can read and write together, or leave it out: the server's refusals tell",
        )


def _fitting(request: Request[AnswerT], window: int, n_input: int, least_output: int) -> Request[AnswerT] | None:
    """The request with the room for its answer that its prompt leaves; None where that is too little."""
    room = window - n_input
    if room >= request.max_output_tokens:
        return request
    fits = room >= max(least_output, window // _LEAST_SHARE)
    return replace(request, max_output_tokens=room) if fits else None


def _fitting_as_told(request: Request[AnswerT], refusal: CallFailure, least_output: int) -> Request[AnswerT] | None:
    """The request with the room that a refusal leaves for its answer; None where it says none, or too little."""
    text = plain_numbers(f"{refusal.message} {refusal.raw or ''}")
    window, n_input = _first_number(_WINDOW, text), _first_number(_PROMPT, text)
    if window is None:
        return None
    fitting = _fitting(request, window - _MARGIN, _estimated(request) if n_input is None else n_input, least_output)
    return None if fitting is request else fitting


def _estimated(request: Request[AnswerT]) -> int:
    """Tokens of a prompt, its schema included, on the high side."""
    return sum(map(estimated_tokens, (request.system, request.user, json.dumps(answer_schema(request.answer)))))


def _first_number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return None if found is None else next(int(number) for number in found.groups() if number is not None)
