"""What OpenAI's client asks for: what is done, what has no bearing on an answer, and what is refused.

Whatever would change an answer and is not offered here is refused, unless it asks for nothing; so is a setting whose
name nobody knows, since it may be a misspelt one. `controller` is ours (`extra_body` of that client).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from autointerp.errors import ServeError
from autointerp.library.chat.completions import ChatStream
from autointerp.serve.answers import ChatAsked, conversation
from autointerp.serve.controllers import variant_of
from autointerp.serve.knows import Knows
from autointerp.serve.shapes import Shape
from autointerp.store.known import shown

MOST_ANSWERS = 16
# Who asks, and how that service keeps and bills it: nothing that a model here would answer otherwise for.
PASSED_OVER = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "moderation": (None,),
    "reasoning_effort": (None, "none"),
    "store": (None, False),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
    "top_k": (None, -1, 0),
    "min_p": (None, 0.0),
    "repetition_penalty": (None, 1.0),
}
"""What is not offered, with what asks for nothing of it."""


class StreamOptions(Shape):
    """What a stream has besides; obfuscation, which that service adds, is not."""

    include_usage: bool | None = False


class Completion(ChatAsked):
    """A request."""

    model_config = ConfigDict(extra="allow")

    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = 1
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = 0.0
    presence_penalty: float | None = 0.0

    def begin(self, knows: Knows, source: str, seed: int) -> ChatStream:
        return knows.client.chat.completions.create(
            conversation(self.messages),
            variant_of(knows, source, self.controller),
            stream=True,
            max_completion_tokens=self.n_most(knows),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=seed,
            stop=self.stop,
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=self.logit_bias,
        )

    @property
    def n_answers(self) -> int:
        """How many answers are wanted."""
        return 1 if self.n is None else self.n

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def checked(self) -> "Completion":
        """The request with its settings where the others read them.

        Raises:
            ServeError: If it asks for what is not offered, or makes no sense.
        """
        besides = self.model_extra or {}
        if wrong := next((name for name, usual in REFUSED.items() if besides.get(name) not in usual), None):
            raise ServeError(f"{wrong} {shown(besides[wrong])} is not offered here", "leave it away")
        if unknown := [name for name in besides if name not in REFUSED and name not in PASSED_OVER]:
            raise ServeError(f"there is no setting {shown(unknown[0])}", "see how it is spelled, or leave it away")
        if not 1 <= self.n_answers <= MOST_ANSWERS:
            raise ServeError(f"n can't be {self.n_answers}", f"ask for 1 to {MOST_ANSWERS} answers")
        if self.stream_options is not None and not self.stream:
            raise ServeError("stream_options are given, and nothing is streamed", "leave them away, or stream")
        n_most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return self.model_copy(
            update={
                "max_completion_tokens": n_most,
                "temperature": 1.0 if self.temperature is None else self.temperature,
                "top_p": 1.0 if self.top_p is None else self.top_p,
            }
        )
