"""Whether a request fits into the context window that a model's table sets, judged before it is sent.

A model's tokenizer is seldom at hand, so tokens are estimated on the high side: a token for every three bytes of UTF-8.
Even the embedded model's small vocabulary, which cuts finer than those of the models that are asked, makes fewer tokens
of our prompts; a test sees to that. Where the estimate is too low all the same, as it may be for rare scripts, the
server refuses, which is told as `TooLong` just as well.
"""

import json

from autointerp.config import ModelConfig
from autointerp.errors import PipelineError
from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import AnswerT, CallFailure, Request

_BYTES_PER_TOKEN = 3


def estimated_tokens(text: str) -> int:
    """Tokens of a text, estimated on the high side."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def too_long(request: Request[AnswerT], config: ModelConfig) -> CallFailure | None:
    """The failure of a request that does not fit, with room for its whole answer; None where it fits.

    Args:
        request: Not sent yet.
        config: With `context_window`; where it is not set, everything fits until the server says otherwise.
    """
    if config.context_window is None:
        return None
    parts = (request.system, request.user, json.dumps(answer_schema(request.answer)))
    n_input = sum(estimated_tokens(part) for part in parts)
    if n_input + request.max_output_tokens <= config.context_window:
        return None
    return CallFailure(
        "TooLong",
        f"about {n_input} tokens and {request.max_output_tokens} for the answer do not fit into"
        f" context_window = {config.context_window}",
    )


def check_window(config: ModelConfig, table: str) -> None:
    """See that a model's window has room for a question beside its answer.

    Args:
        config: Of the model.
        table: Its table in the pipeline file.

    Raises:
        PipelineError: If it has none.
    """
    if config.context_window is not None and config.max_output_tokens >= config.context_window:
        raise PipelineError(
            f"{table}.max_output_tokens = {config.max_output_tokens} leaves no room for a question in context_window ="
            f" {config.context_window}",
            "lower max_output_tokens",
        )
