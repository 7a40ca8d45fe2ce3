"""The page of steering: the model as it is beside the model with some of its features edited.

Nothing runs the model but a request that is sent: an address opens the page with its messages, edits and seed, from
which the answers follow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from autointerp.errors import VariantError
from autointerp.identity import read_index
from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.library.feature_edits import LARGEST
from autointerp.library.steer.auto import Steering
from autointerp.library.steer.choice import told_difference
from autointerp.library.variant import Variant
from autointerp.serve.knows import Knows
from autointerp.serve.serving import Serving
from autointerp.serve.views.shown import feature_line
from autointerp.serve.views.steer_shapes import (
    Arm,
    Edited,
    EditLine,
    Preset,
    SteerAnswer,
    SteerAsked,
    SteerReceipt,
    SteerView,
)
from autointerp.store.known import shown
from autointerp.text_table import percent, shorten

_PRESETS = 8
_STRENGTH = "1"


def steer_view(serving: Serving, asked: SteerAsked) -> SteerView:
    """How it is steered; nothing is answered.

    Raises:
        UnknownModelError: If there is no such source.
        UnknownFeatureError: If there is no such feature.
        VariantError: If a strength makes no sense.
    """
    able = {name: of.no_logits for name, of in serving.names.sources.items()}
    sources = tuple(name for name, why in able.items() if why is None)
    source = serving.names.source(asked.source) if asked.source is not None else None
    why_none: str | None = None
    if source is None:
        source = next(iter(sources), None)
        why_none = None if sources else next(iter(able.values()), None) or "nothing is collected yet"
    elif able[source] is not None:
        why_none = able[source]
        source = None
    return SteerView(
        asked=asked,
        sources=sources,
        source=source,
        why_none=why_none,
        edits=() if source is None else _edits(serving, source, asked),
        largest=dict(LARGEST),
        presets=() if source is None else tuple(_presets(serving, source)),
        path=path_of(asked),
    )


def path_of(asked: SteerAsked) -> str:
    """The page's address with this state, without what goes without saying."""
    said = asked.model_dump(exclude_defaults=True, include=set(SteerAsked.model_fields))
    columns = zip(*asked.rows, strict=True) if asked.rows else [()] * 4
    said |= dict(zip(("feature", "strength", "unit", "mode"), columns, strict=True)) | {"say": asked.messages}
    fields = [(name, one) for name, of in said.items() for one in (of if isinstance(of, tuple) else (of,))]
    return f"/steer?{urlencode(fields)}" if fields else "/steer"


@dataclass(frozen=True, slots=True)
class Side:
    """Begins the answer of one side to the last message.

    Attributes:
        asked: How it is steered, and what is said.
        source: Whose model.
        answers: What this side has answered to the messages before.
        is_steered: Whether features are edited.
    """

    asked: SteerAsked
    source: str
    answers: tuple[str, ...]
    is_steered: bool

    def __call__(self, knows: Knows) -> ChatStream:
        asked = self.asked
        model = _variant(knows, self.source, asked) if self.is_steered else self.source
        return knows.client.chat.completions.create(
            list(self._messages()),
            model,
            stream=True,
            max_completion_tokens=min(asked.n_tokens, knows.limits.longest_answer),
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=asked.seed,
        )

    def _messages(self) -> Iterator[dict[str, str]]:
        if self.asked.system.strip():
            yield {"role": "system", "content": self.asked.system}
        for place, said in enumerate(self.asked.messages):
            yield {"role": "user", "content": said}
            if place < len(self.answers):
                yield {"role": "assistant", "content": self.answers[place]}


def sides(asked: SteerAsked, source: str, plain: Sequence[str], steered: Sequence[str]) -> list[Side]:
    """What begins the answers to the last message: the model as it is, and steered where anything is edited."""
    as_it_is = Side(asked, source, tuple(plain), is_steered=False)
    return [as_it_is, *([Side(asked, source, tuple(steered), is_steered=True)] if asked.rows else [])]


def answer_of(last: ChatCompletionChunk, text: str) -> SteerAnswer:
    """An answer, of its last piece and all that was said."""
    assert last.usage is not None, "the last piece has it"
    of = last.edited
    return SteerAnswer(
        text=text,
        finish_reason=last.choices[0].finish_reason or "",
        n_prompt=last.usage.prompt_tokens,
        n_tokens=last.usage.completion_tokens,
        edited=None
        if of is None or not of.n_features
        else Edited(scope=of.scope.kind, n_prompt=of.n_prompt, n_generated=of.n_generated, n_features=of.n_features),
        notes=tuple(last.notes),
    )


def find_steering(wanted: str, source: str, knows: Knows) -> SteerReceipt:
    """Find features that steer towards what is wanted, and what they are worth; it takes minutes."""
    limits = knows.limits
    found = knows.client.features.AutoSteer(
        wanted, source=source, n_prompts=limits.n_steering_prompts, max_tokens=limits.steering_tokens
    )
    return _receipt(knows, found)


def _receipt(knows: Knows, found: Steering) -> SteerReceipt:
    of = found.receipt
    features = knows.client.features.lookup([kept.feature for kept in of.kept])
    return SteerReceipt(
        wanted=of.specification,
        steers=of.steers,
        reasons=of.reasons,
        edits=tuple(
            EditLine(feature=feature_line(feature), strength=kept.strength, unit="dose", mode="add")
            for feature, kept in zip(features, of.kept, strict=True)
        ),
        arms=tuple(
            Arm(
                name=arm.name,
                concept=arm.concept,
                over_plain=None if arm.over_plain is None else arm.over_plain.value,
                low=None if arm.over_plain is None else arm.over_plain.low,
                high=None if arm.over_plain is None else arm.over_plain.high,
                mentions=arm.mentions,
                loss=arm.loss,
                repetition=arm.repetition,
                kept=arm.kept,
                examples=arm.examples,
            )
            for arm in of.arms
        ),
        notes=tuple(_notes(found)),
        n_dropped=len(of.dropped),
        n_choose=of.n_choose,
        n_report=of.n_report,
        seed=of.settings.seed,
        seconds=of.cost.seconds,
    )


def _notes(found: Steering) -> Iterator[str]:
    of = found.receipt
    if of.verdict is not None:
        yield f"concept score, steered less noise of the same norm: {told_difference(of.verdict.over_noise)}"
        for facet in of.verdict.facets:
            yield f"{percent(facet.plain)} of plain answers mention “{facet.word}”, {percent(facet.steered)} of steered"
    if of.questions is not None:
        told = "" if of.questions.can_tell else ", which is no more than guessing would"
        yield (
            f"of {of.questions.n} questions {percent(of.questions.plain)} are answered right plain{told}, "
            f"{percent(of.questions.steered)} steered: {told_difference(of.questions.change)}"
        )


def _variant(knows: Knows, source: str, asked: SteerAsked) -> Variant:
    variant = Variant(knows.client, source)
    for feature, strength, unit, mode in asked.rows:
        index = read_index(feature)
        variant.set(feature if index is None else index, _number(strength), unit=unit, mode=mode)
    variant.scope = asked.scope
    return variant


def _edits(serving: Serving, source: str, asked: SteerAsked) -> tuple[EditLine, ...]:
    edits = list(_variant(serving, source, asked).edits)
    features = serving.client.features.lookup([f"{edit.source_id}:{edit.index}" for edit in edits])
    return tuple(
        EditLine(feature=feature_line(feature), strength=edit.value, unit=edit.unit, mode=edit.mode)
        for feature, edit in zip(features, edits, strict=True)
    )


def _number(strength: str) -> float:
    try:
        return float(strength)
    except ValueError as error:
        raise VariantError(f"{shown(strength)} is no strength", "give a number, such as 0.5") from error


def _presets(serving: Serving, source: str) -> Iterator[Preset]:
    """The labels that score best, each as a page that adds its feature."""
    for run in serving.client.runs:
        if all(of.source_id != source for of in run.sources()):
            continue
        for scored in run.reader.best(_PRESETS):
            of = scored.explanation
            if of.source_id == source:
                named: Mapping[str, Any] = {"feature": (str(of.feature_index),), "strength": (_STRENGTH,)}
                yield Preset(name=shorten(of.label), path=path_of(SteerAsked(source=source, **named)))
        return
