"""Steering: a prompt or a conversation is answered by the model as it is, and as it is with features turned up or down.

A strength is added to a feature's activation, in the coder's own units, times `strength_multiplier`. Prompts are asked
as a conversation of one message, since that is what is answered here. What is not offered is told in `notes`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AliasGenerator, ConfigDict, Field

from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.library.variant import Variant
from autointerp.serve.knows import Knows
from autointerp.serve.neuronpedia.paths import NamedFeature, Paths, feature_of
from autointerp.serve.serving import Serving
from autointerp.serve.shapes import Shape, Text

_MOST_FEATURES = 128
_SEEDS = 2**63
_CAMEL = {"model_id": "modelId", "default": "defaultChatMessages", "steered": "steeredChatMessages"}


class SteeredFeature(NamedFeature):
    """A feature, and what is added to its activation."""

    strength: float


class Said(Shape):
    """A message."""

    role: Text
    content: Text


class Steer(Shape):
    """How answers are drawn, and what is done to the model."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=lambda name: _CAMEL.get(name, name)))

    model_id: Text
    features: Annotated[list[SteeredFeature], Field(min_length=1, max_length=_MOST_FEATURES)]
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.5
    n_tokens: Annotated[int, Field(ge=1)] = 32
    freq_penalty: float = 0
    seed: int = 42
    strength_multiplier: float = 1


class SteerPrompt(Steer):
    """A prompt."""

    prompt: Annotated[Text, Field(min_length=1)]


class SteerChat(Steer):
    """A conversation, as it was with the model as it is and as it was with the steered one."""

    default: Annotated[list[Said], Field(min_length=1, max_length=1_000)]
    steered: Annotated[list[Said], Field(min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True)
class _Answer:
    """Begins one of the answers."""

    source: str
    messages: tuple[tuple[str, str], ...]
    strengths: tuple[tuple[str, float], ...]
    asked: Steer

    def __call__(self, knows: Knows) -> ChatStream:
        model: Variant | str = self.source
        if self.strengths:
            model = Variant(knows.client, self.source).set(dict(self.strengths), unit="activation")
        return knows.client.chat.completions.create(
            [{"role": role, "content": content} for role, content in self.messages],
            model,
            stream=True,
            max_completion_tokens=min(self.asked.n_tokens, knows.limits.longest_answer),
            temperature=self.asked.temperature,
            top_p=1.0,
            seed=self.asked.seed % _SEEDS,
        )


def add_routes(routes: APIRouter, serving: Serving) -> None:
    """Answer for steering."""
    paths = Paths(routes)

    @paths.post("/steer")
    async def steer(request: Request, asked: SteerPrompt) -> Any:
        prompt = (("user", asked.prompt),)
        default, steered = await _answers(serving, request, asked, prompt, prompt)
        return {"DEFAULT": _text(default), "STEERED": _text(steered), **_besides(asked, steered)}

    @paths.post("/steer-chat")
    async def steer_chat(request: Request, asked: SteerChat) -> Any:
        talks = [tuple((said.role, said.content) for said in some) for some in (asked.default, asked.steered)]
        default, steered = await _answers(serving, request, asked, *talks)
        told = {
            kind: {
                "raw": _text(answer),
                "chatTemplate": [
                    *({"role": role, "content": content} for role, content in talk),
                    {"role": "assistant", "content": _text(answer)},
                ],
            }
            for kind, talk, answer in zip(("DEFAULT", "STEERED"), talks, (default, steered), strict=True)
        }
        return {**told, **_besides(asked, steered)}


async def _answers(
    serving: Serving,
    request: Request,
    asked: Steer,
    default: tuple[tuple[str, str], ...],
    steered: tuple[tuple[str, str], ...],
) -> Sequence[ChatCompletionChunk]:
    strengths: dict[str, float] = {}
    for of in asked.features:
        feature = feature_of(serving.names, of)
        strengths[feature] = strengths.get(feature, 0.0) + of.strength * asked.strength_multiplier
    source = next(iter(strengths)).rpartition(":")[0]
    begins = [_Answer(source, default, (), asked), _Answer(source, steered, tuple(strengths.items()), asked)]
    return await serving.chats.whole(request, begins)


def _text(answer: ChatCompletionChunk) -> str:
    return answer.choices[0].delta.content


def _besides(asked: Steer, steered: ChatCompletionChunk) -> dict[str, Any]:
    notes = ["freq_penalty is not offered: the answers are drawn without"] if asked.freq_penalty else []
    return {"id": None, "shareUrl": None, "limit": None, "notes": [*notes, *steered.notes]}
