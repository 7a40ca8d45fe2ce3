"""Whose words stand where in a conversation that a chat template rendered.

1. The template is given the same roles with private words in place of the contents. What it writes between those are
   its frames.
2. Frames and contents put together are the text, as they are or with the contents' white space stripped off, as most
   templates have it. So the place of each content is known, whatever it says.
3. Of a template that changes contents otherwise (one that takes a model's thoughts out), a content is what stands
   between two frames; where a frame is not found, nothing is known from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from autointerp.corpus.counts import Unfit
from autointerp.corpus.sources.chat import Message

# Of Unicode's private use area: no template has rules for them, and no content is likely to hold them.
_PRIVATE = "\ue2f0{}\ue2f1"


class Turn(NamedTuple):
    """The content of one message in the rendered text: characters `start` to `end`."""

    role: str
    start: int
    end: int


def find_turns(render: Callable[[object], str | Unfit], messages: Sequence[Message], text: str) -> list[Turn]:
    """Find the content of each message in a text, as far as it can be told.

    Args:
        render: The template.
        messages: The conversation, from `read_messages`.
        text: What the template makes of it.
    """
    roles = [str(message["role"]) for message in messages]
    frames = _frames(render, messages)
    if frames is None:
        return []
    contents = [str(message["content"]) for message in messages]
    for shown in (contents, [content.strip() for content in contents]):
        if _joined(frames, shown) == text:
            return _placed(roles, frames, shown)
    turns, at = [], 0
    for role, frame, following in zip(roles, frames, frames[1:], strict=False):
        start = at + len(frame)
        end = text.find(following, start) if following else len(text)
        if not text.startswith(frame, at) or end < 0:
            break
        turns.append(Turn(role, start, end))
        at = end
    return turns


def _frames(render: Callable[[object], str | Unfit], messages: Sequence[Message]) -> list[str] | None:
    """What stands before the first content, between two, and after the last; None where contents are moved about."""
    words = [_PRIVATE.format(number) for number in range(len(messages))]
    rendered = render([{**message, "content": word} for message, word in zip(messages, words, strict=True)])
    if isinstance(rendered, Unfit):
        return None
    frames, at = [], 0
    for word in words:
        place = rendered.find(word, at)
        if place < 0:
            return None
        frames.append(rendered[at:place])
        at = place + len(word)
    return [*frames, rendered[at:]]


def _joined(frames: Sequence[str], contents: Sequence[str]) -> str:
    return "".join(part for pair in zip(frames, [*contents, ""], strict=True) for part in pair)


def _placed(roles: Sequence[str], frames: Sequence[str], contents: Sequence[str]) -> list[Turn]:
    turns, at = [], 0
    for role, frame, content in zip(roles, frames, contents, strict=False):
        start = at + len(frame)
        at = start + len(content)
        turns.append(Turn(role, start, at))
    return turns
