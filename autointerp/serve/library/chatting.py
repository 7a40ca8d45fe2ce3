"""Questions that the models of all runs answer: chats, what is expected to come next, steering to order."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.expected import NextLogits
from autointerp.library.chat.steering import Model
from autointerp.library.remote import calls, shapes
from autointerp.library.variant import Variant
from autointerp.serve.chats import Piece
from autointerp.serve.knows import Knows


@dataclass(frozen=True, slots=True)
class Beginning:
    """Begins an answer.

    Attributes:
        asked: The request.
    """

    asked: shapes.Completed

    def __call__(self, knows: Knows) -> ChatStream:
        asked = self.asked
        return knows.client.chat.completions.create(
            asked.messages,
            _model(asked.model),
            stream=True,
            max_completion_tokens=min(asked.max_completion_tokens, knows.limits.longest_answer),
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=asked.seed,
            stop=asked.stop,
            system_prompt=asked.system_prompt,
            timeout=asked.timeout_s,
            logprobs=asked.logprobs,
            top_logprobs=asked.top_logprobs,
            frequency_penalty=asked.frequency_penalty,
            presence_penalty=asked.presence_penalty,
            logit_bias=asked.logit_bias,
        )


def shapes_of(piece: Piece) -> Iterable[dict[str, Any]]:
    """The event of a piece, as `calls.CHAT` reads it."""
    yield json.loads(calls.CHAT.write(piece.chunk))


def logits(knows: Knows, asked: shapes.Expected) -> NextLogits:
    """What is expected to come next."""
    model = _model(asked.model)
    return knows.client.chat.logits(
        asked.messages, model, asked.top_k, asked.vocabulary, system_prompt=asked.system_prompt
    )


def auto_steer(knows: Knows, asked: shapes.Steered) -> shapes.WireSteering:
    """Features that steer to what is said in words."""
    found = knows.client.features.AutoSteer(
        asked.specification,
        examples=asked.examples,
        source=asked.source,
        n_prompts=asked.n_prompts,
        max_tokens=asked.max_tokens,
        seed=asked.seed,
    )
    return shapes.WireSteering.model_construct(None, receipt=found.receipt, edits=list(found.edits))


def _model(model: dict[str, Any] | str | None) -> Model:
    """What is meant by a model; whether its features are there is seen when it is asked."""
    return Variant.from_json(model) if isinstance(model, dict) else model
