"""Tokens of a request, estimated on the high side, and the room that a window leaves for its answer."""

import asyncio
import re
from typing import Any

import pytest

from autointerp.assets import asset_folder
from autointerp.config import ModelConfig
from autointerp.llm import CallFailure, Reply
from autointerp.llm.protocol import Request
from autointerp.llm.tokens import estimated_tokens
from autointerp.llm.window import ask_in_window
from autointerp.records import Usage
from tests.llm.asking import Label, label_request
from tests.loopback.wordpieces import n_tokens

REQUEST = label_request("which? " * 300, max_output_tokens=4096)
# Of a window of 4,096 and a prompt of 1,000; what is left is 3,080, a margin of 16 apart.
TOLD = {
    "OpenAI": "maximum context length is 4096 tokens. However, you requested 5096 tokens (1000 in the messages, 4096 in"
    " the completion).",
    "vLLM": "'max_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has"
    " 1000 input tokens (4096 > 4096 - 1000).",
    "Anthropic": "input length and `max_tokens` exceed context limit: 1000 + 4096 > 4096, decrease input length",
    "SGLang": "exceeds the model's maximum context length of 4096 tokens. You requested a total of 5096 tokens: 1000"
    " tokens from the input messages and 4096 tokens for the completion.",
    "TGI": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 1000 `inputs` tokens and 4096 `max_new_tokens`",
    "OpenRouter": "maximum context length is 4096 tokens. However, you requested about 5096 tokens (1000 of text input,"
    " 4096 in the output).",
    "llama.cpp": '{"message": "exceeds the available context size", "n_prompt_tokens": 1000, "n_ctx": 4096}',
}
TOLD |= {
    "thousands": "maximum context length is 4,096 tokens. However, you requested 5,096 tokens (1,000 in the messages).",
    "thousands apart": "must be <= 4\u202f096. Given: 1'000 `inputs` tokens",
    "thousands in code": "exceeds the n_ctx 4_096: limit: 1_000 + 4_096",
}
NOT_FOR_WANT_OF_ROOM = {
    "the prompt alone": "The input (5200 tokens) is longer than the model's context length (4096 tokens).",
    "too little left": "input length and `max_tokens` exceed context limit: 198100 + 4096 > 200000",
    "nothing is said": "the prompt is too long",
}


class Model:
    """Refuses what asks for too much output, in a server's words."""

    name = "m"
    usage = Usage()

    def __init__(self, words: str, most_output: int) -> None:
        self._words = words
        self._most = most_output
        self.asked: list[int] = []

    async def ask(self, request: Request[Any]) -> Reply[Any] | CallFailure:
        self.asked.append(request.max_output_tokens)
        if request.max_output_tokens > self._most:
            return CallFailure("TooLong", "refused", self._words)
        return Reply("", Label(label="a"), Usage(), "m")


@pytest.mark.parametrize("words", TOLD.values(), ids=TOLD.keys())
def test_a_refusal_that_tells_the_room_that_is_left_is_taken_at_its_word(words: str) -> None:
    model = Model(words, 3096)
    outcome = asyncio.run(ask_in_window(model, REQUEST, ModelConfig(model="m")))
    assert isinstance(outcome, Reply)
    assert model.asked == [4096, 3080]


def test_where_a_refusal_tells_the_window_only_the_prompt_is_estimated() -> None:
    words = "maximum context length is 4096 tokens. However, your prompt contains at least 1 input tokens"
    model = Model(words, 4096 - 700)
    outcome = asyncio.run(ask_in_window(model, REQUEST, ModelConfig(model="m")))
    assert isinstance(outcome, Reply)
    assert len(model.asked) == 2
    assert 3000 < model.asked[1] < 4096 - 700


@pytest.mark.parametrize("words", NOT_FOR_WANT_OF_ROOM.values(), ids=NOT_FOR_WANT_OF_ROOM.keys())
def test_where_less_room_would_not_help_the_request_is_too_long(words: str) -> None:
    model = Model(words, 0)
    outcome = asyncio.run(ask_in_window(model, REQUEST, ModelConfig(model="m")))
    assert isinstance(outcome, CallFailure)
    assert (outcome.error_type, model.asked) == ("TooLong", [4096])


@pytest.mark.parametrize("prompt", sorted(p.stem for p in asset_folder("prompts").glob("*.txt")))
def test_the_estimate_is_not_below_what_a_small_vocabulary_makes_of_our_prompts(prompt: str) -> None:
    text = re.sub(r"{{ \w+ }}", "", (asset_folder("prompts") / f"{prompt}.txt").read_text(encoding="utf-8"))
    assert n_tokens(text) <= estimated_tokens(text) < 2 * n_tokens(text)


@pytest.mark.parametrize(("text", "n"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("日本語", 3), ("\ud800", 1)])
def test_a_token_is_three_bytes(text: str, n: int) -> None:
    assert estimated_tokens(text) == n
