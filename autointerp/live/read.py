"""A text or a conversation to tokens, cut into windows as the corpus's pass would cut it.

1. A conversation is rendered by the template that the corpus would be rendered by (`corpus.sources.chat`), and each
   token gets the role of the message of which it has a character. A tokenizer written in Python does not tell places:
   its tokens get no role.
2. Half surrogate pairs become U+FFFD, as in the corpus. Of a text that begins or ends with the special tokens that
   stand around each window anyway, these are left out.
3. A window is as long as a block has room for. Unlike in a corpus, a last window may be of any length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from autointerp.corpus.blocks import cut_contents
from autointerp.corpus.counts import Unfit
from autointerp.corpus.long_text import iter_placed_tokens, iter_token_ids
from autointerp.corpus.sources.chat import ChatTemplate, read_messages
from autointerp.corpus.sources.turns import Turn, find_turns
from autointerp.errors import CorpusError, SubjectError
from autointerp.records.live import EditScope
from autointerp.subject.limits import n_embedded
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from autointerp.live.subject import LiveSubject

Readable = str | Sequence[Mapping[str, Any]]
"""A text, or a conversation: a list of messages, `{"role": …, "content": …}`."""
USUAL_ROLES = ("system", "user", "assistant", "developer", "tool")
_MESSAGES = 'give a text, or a list of messages such as {"role": "user", "content": "…"}'


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text as the subject will see it.

    Attributes:
        windows: Tokens of each piece that is read at once; none of a text without a token.
        roles: Of all tokens in a row, where the text was a conversation; None for what the template adds.
    """

    windows: tuple[tuple[int, ...], ...]
    roles: tuple[str | None, ...] | None

    @property
    def token_ids(self) -> list[int]:
        """All tokens in a row."""
        return [token_id for window in self.windows for token_id in window]


def read_any(live: LiveSubject, text: Readable, name: str, *, open_ended: bool = False) -> ReadText:
    """Read a text or a conversation.

    Args:
        live: The subject.
        text: What to read.
        name: What errors call it.
        open_ended: A conversation is to be answered: what stands before an answer is put behind it.

    Raises:
        SubjectError: If it is neither, the subject has no chat template, or it refuses the conversation, or a token has
            no embedding.
    """
    with live.lock:  # a tokenizer can't be used by two threads
        if isinstance(text, str):
            return _windows(live, valid_text(text), None, name)
        rendered, turns = _rendered(live, text, name, open_ended=open_ended)
        return _windows(live, rendered, turns, name)


def check_role(role: str | None, roles: Sequence[str | None]) -> None:
    """See that the role whose tokens are edited is one: of the conversation, or one that it might have.

    Raises:
        SubjectError: If it is neither.
    """
    known = dict.fromkeys([*(of for of in roles if of is not None), *USUAL_ROLES])
    if role not in known:
        told = f"the tokens of {str(role)[:40]!r} are to be edited, and nobody here has that role"
        raise SubjectError(told, f"roles are {', '.join(known)}")


def edited_tokens(live: LiveSubject, text: ReadText, scope: EditScope) -> list[Bool[np.ndarray, " position"]]:
    """Which positions of each window, with the special tokens around it, are edited.

    Raises:
        SubjectError: If one role's tokens are to be edited, and the text tells no roles, or there is no such role.
    """
    if scope.kind == "role" and text.roles is None:
        raise SubjectError(
            f"the tokens of {scope.role} are to be edited, and the text is no conversation",
            "give a list of messages, or edit other tokens",
        )
    if scope.kind == "role" and text.roles is not None:
        check_role(scope.role, text.roles)
    n_before, n_after = len(live.special.before), len(live.special.after)
    masks, start = [], 0
    for window in text.windows:
        n = n_before + len(window) + n_after
        match scope.kind:
            case "all":
                mask = np.ones(n, dtype=np.bool_)
            case "from":
                mask = np.arange(start, start + n) >= scope.position
            case "role":
                assert text.roles is not None
                mask = np.zeros(n, dtype=np.bool_)
                roles = text.roles[start : start + len(window)]
                mask[n_before : n_before + len(window)] = [role == scope.role for role in roles]
            case "generated":
                mask = np.zeros(n, dtype=np.bool_)
        masks.append(mask)
        start += len(window)
    return masks


def _rendered(live: LiveSubject, conversation: object, name: str, *, open_ended: bool) -> tuple[str, list[Turn]]:
    messages = read_messages(list(conversation) if isinstance(conversation, tuple) else conversation)
    if isinstance(messages, Unfit):
        raise SubjectError(f"{name} {messages.detail}", _MESSAGES)
    messages = [{**message, "content": valid_text(message["content"])} for message in messages]
    try:
        template = ChatTemplate(live.sources.subject.tokenizer, live.chat_template)
    except CorpusError as error:
        raise SubjectError(error.problem, "give it a text instead of a conversation") from error
    try:
        render = partial(template.render, open_ended=open_ended)
        text = render(messages)
        if isinstance(text, Unfit):
            raise SubjectError(f"{name} {text.detail}", "give messages that the template takes, or a text")
        return text, find_turns(render, messages, text)
    except CorpusError as error:
        raise SubjectError(error.problem, error.remedy) from error


def _windows(live: LiveSubject, text: str, turns: list[Turn] | None, name: str) -> ReadText:
    subject, special = live.sources.subject, live.special
    token_ids: list[int] = []
    roles: list[str | None] = []
    if turns is None or not subject.tokenizer.is_fast:
        token_ids += (i for part in iter_token_ids(subject.tokenizer, text) for i in part)
        roles += [None] * len(token_ids)
    else:
        for part, places in iter_placed_tokens(subject.tokenizer, text):
            token_ids += part
            roles += _roles(turns, places)
    n_rows = n_embedded(subject)
    strange = next((i for i in token_ids if i >= n_rows), None)
    if strange is not None:
        token = subject.tokenizer.convert_ids_to_tokens(strange)
        raise SubjectError(
            f"the model {subject.name} has no embedding for the token {token!r} ({strange}), which {name} holds",
            "give it another text",
        )
    windows = tuple(tuple(window) for window in cut_contents([token_ids], special, live.room))
    if turns is None:
        return ReadText(windows, None)
    first = len(token_ids) - len(special.strip_start(token_ids))
    return ReadText(windows, tuple(roles[first : first + sum(map(len, windows))]))


def _roles(turns: Sequence[Turn], places: Sequence[tuple[int, int]]) -> list[str | None]:
    """The role of the first turn that each token has a character of."""
    ends = [turn.end for turn in turns]
    roles: list[str | None] = []
    for start, end in places:
        turn = bisect_right(ends, start)
        roles.append(turns[turn].role if turn < len(turns) and turns[turn].start < end else None)
    return roles
