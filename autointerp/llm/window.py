"""Whether a request fits into the context window that a model's table sets, judged before it is sent.

A model's tokenizer is seldom at hand, so tokens are estimated on the high side: a token for every three bytes of UTF-8.
Vocabularies of today take four bytes and more of English in a token, and mostly three or more of other scripts. Where
the estimate is too low after all, the server refuses, which is told as `TooLong` just the same.
"""

import json
from typing import Any

from autointerp.config import ModelConfig
from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import CallFailure, Request

_BYTES_PER_TOKEN = 3


def estimated_tokens(text: str) -> int:
    """Tokens of a text, estimated on the high side."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def too_long(request: Request[Any], config: ModelConfig) -> CallFailure | None:
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
