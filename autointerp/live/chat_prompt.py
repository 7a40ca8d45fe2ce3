"""A conversation to the prompt of its next answer.

1. It is rendered by the chat template as inspecting reads conversations (`live.read`), with what stands before an
   answer behind it. What stands before each block of the corpus (a BOS token, where there is one) stands before it too.
2. A template that refuses a system message, or leaves it out, gets it at the head of the first of the user's; that is
   noted, and those words count as the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autointerp.corpus.counts import Unfit
from autointerp.corpus.sources.chat import ChatTemplate, Message, read_messages
from autointerp.errors import CorpusError, GenerationError, SubjectError
from autointerp.live.read import USUAL_ROLES, read_any
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from autointerp.live.subject import LiveSubject

_MERGED = (
    "the chat template takes no system message: it stands before the user's first words, and its tokens count as theirs"
)


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """What the model reads before its answer.

    Attributes:
        token_ids: Special tokens included.
        roles: Whose words each token is of; None for what the template adds. None as a whole where the tokenizer does
            not tell places.
        notes: What was done to the messages, a line each.
    """

    token_ids: tuple[int, ...]
    roles: tuple[str | None, ...] | None
    notes: tuple[str, ...] = ()


def read_prompt(live: LiveSubject, messages: object, template: str | None = None) -> ChatPrompt:
    """Read the prompt of the next answer in a conversation.

    Args:
        live: The subject.
        messages: In any of the shapes that a corpus takes; see `corpus.sources.chat`.
        template: File of a chat template; the corpus's, or the tokenizer's own, where None.

    Raises:
        GenerationError: If there is no message.
        SubjectError: If there is no chat template, it refuses the messages, or they are none.
    """
    if template is not None:
        live = replace(live, chat_template=template)
    found = read_messages(list(messages) if isinstance(messages, tuple) else messages)
    if isinstance(found, Unfit):
        raise GenerationError(
            f"the conversation {found.detail}", 'give a list of messages such as {"role": "user", "content": "…"}'
        )
    taken, notes = _taken(live, found)
    if strange := [role for role in dict.fromkeys(str(of["role"]) for of in found) if role not in USUAL_ROLES]:
        notes += (f"the role {strange[0][:40]!r} is none of {', '.join(USUAL_ROLES)}: see how it is spelled",)
    read = read_any(live, taken, "the conversation", open_ended=True)
    before = live.special.before
    is_placed = live.sources.subject.tokenizer.is_fast
    roles = (*[None] * len(before), *(read.roles or ())) if is_placed else None
    return ChatPrompt((*before, *read.token_ids), roles, notes)


def with_system(messages: Iterable[Mapping[str, Any]], system: str | None) -> list[Mapping[str, Any]]:
    """Messages with a system message first, where they have none."""
    given = list(messages)
    has_one = bool(given) and isinstance(given[0], Mapping) and given[0].get("role") == "system"
    return given if system is None or has_one else [{"role": "system", "content": system}, *given]


def _taken(live: LiveSubject, messages: Sequence[Message]) -> tuple[Sequence[Message], tuple[str, ...]]:
    """The messages as the template takes them, and what was done for that."""
    first, *rest = messages
    with live.lock:  # a tokenizer can't be used by two threads
        try:
            template = ChatTemplate(live.sources.subject.tokenizer, live.chat_template)
            text = template.render(messages, open_ended=True)
        except CorpusError as error:
            raise SubjectError(error.problem, f"{error.remedy}; or name a file by client.chat.template") from error
    said = valid_text(str(first["content"])).strip()
    if first["role"] != "system" or not (isinstance(text, Unfit) or said not in text):
        return messages, ()
    place = next((i for i, message in enumerate(rest) if message["role"] == "user"), None)
    if place is None:
        return messages, ()
    user = rest[place]
    merged = [*rest[:place], {**user, "content": f"{first['content']}\n\n{user['content']}"}, *rest[place + 1 :]]
    return merged, (_MERGED,)
