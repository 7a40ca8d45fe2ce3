"""Conversations to text, by the tokenizer's own chat template.

1. A conversation is a list of messages, or a table that holds one under `messages`, `conversations` or `conversation`,
   or either as JSON text. A message is `{"role": …, "content": …}`, or ShareGPT's `{"from": …, "value": …}`.
2. Roles get the names that templates know, in lower case: human is user; gpt, chatgpt, model and bot are assistant;
   others stay.
3. Content in parts (`[{"type": "text", "text": …}]`) is joined. A conversation with an image, a sound or any other part
   that is not text is unfit as a whole: what is said of the image would be out of place without it.
4. The template renders it, without a prompt for a further answer. One that writes today's date into the text writes
   FIXED_DATE instead, so that the corpus is the same tomorrow.

The text then goes the way of all texts. A special token that it holds (`<|im_start|>`) becomes that one token, as in
`apply_chat_template` and in SAELens, and is not counted, by the rule of `corpus.special`.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, TemplateSyntaxError

from autointerp.corpus.counts import Unfit
from autointerp.errors import CorpusError, in_one_line
from autointerp.json_text import parse_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONVERSATION_KEYS = ("messages", "conversations", "conversation")
# What Llama 3.1's own template falls back to where it can't have today's.
FIXED_DATE = date(2024, 7, 26)

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant"}
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", None})
_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")

Message = dict[str, Any]  # as templates take them: role, content, and what else the row has (tool calls, names)


class ChatTemplate:
    """A tokenizer's chat template, or one from a file."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, file: str | None) -> None:
        """Find the template.

        Args:
            tokenizer: The subject's.
            file: Holds the template; the tokenizer's own where None.

        Raises:
            CorpusError: If the tokenizer has none and no file is given, or the file can't be read.
        """
        self._tokenizer = tokenizer
        template = _template_text(tokenizer, file)
        self._template = _TODAY.sub(lambda match: repr(FIXED_DATE.strftime(match.group(2))), template)

    def render(self, value: object, *, open_ended: bool = False) -> str | Unfit:
        """The text of one conversation.

        Args:
            value: What the row holds.
            open_ended: With what stands before the assistant's next answer.

        Raises:
            CorpusError: If the template is no valid Jinja.
        """
        messages = read_messages(value)
        if isinstance(messages, Unfit):
            return messages
        try:
            text = self._tokenizer.apply_chat_template(
                messages, chat_template=self._template, tokenize=False, add_generation_prompt=open_ended
            )
        except TemplateSyntaxError as error:
            raise CorpusError(
                f"the chat template is no valid Jinja (line {error.lineno}: {error.message})",
                "mend it, or set corpus.chat_template to another file",
            ) from error
        # A template is a program that others wrote: besides refusing in words, it may add text to a missing value, or
        # look up what is not there.
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            return Unfit(
                "refused by the chat template",
                f"is refused by the chat template ({in_one_line(error)})",
                "set corpus.chat_template to a file with one that takes such conversations",
            )
        return str(text) if str(text).strip() else Unfit.empty()


def read_messages(value: object) -> list[Message] | Unfit:
    """The messages of one conversation, with the names of keys and roles that templates know.

    Args:
        value: What the row holds, in any of the shapes of the module's first step.

    Returns:
        At least one message with text in it, or why there is none.
    """
    found = _find_list(value)
    if isinstance(found, Unfit):
        return found
    messages: list[Message] = []
    for number, entry in enumerate(found, start=1):
        message = _read_message(entry, number)
        if isinstance(message, Unfit):
            return message
        messages.append(message)
    if not any(message["content"].strip() or message.get("tool_calls") for message in messages):
        return Unfit.empty()
    return messages


def looks_like_conversation(value: object) -> bool:
    """Whether a value that should be text is a list of messages."""
    return not isinstance(value, str) and not isinstance(read_messages(value), Unfit)


def _template_text(tokenizer: PreTrainedTokenizerBase, file: str | None) -> str:
    if file is not None:
        try:
            return Path(file).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            problem = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise CorpusError(
                f"the chat template {file} can't be read ({problem})", "correct corpus.chat_template"
            ) from error
    if tokenizer.chat_template is None:
        raise CorpusError(
            "the subject's tokenizer has no chat template",
            "set corpus.chat_template to a Jinja file, for example that of the model's instruction-tuned version",
        )
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:  # several templates, none of them the default
        names = ", ".join(sorted(tokenizer.chat_template))
        raise CorpusError(
            f"the subject's tokenizer has several chat templates ({names}) and no default one",
            "set corpus.chat_template to a file with the one to use",
        ) from error


def _find_list(value: object) -> list[object] | Unfit:
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            value = parse_json(value)
        except json.JSONDecodeError:
            return _no_conversation(value)
    if isinstance(value, dict):
        value = next((value[key] for key in CONVERSATION_KEYS if key in value), _as_rows(value))
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return Unfit.empty()
    return value if isinstance(value, list) else _no_conversation(value)


def _as_rows(columns: dict[Any, Any]) -> object:
    """`datasets` gives some lists of messages as one table of lists, `{"role": […], "content": […]}`."""
    lists = {key: values for key, values in columns.items() if isinstance(values, list)}
    if not lists or len({len(values) for values in lists.values()}) != 1:
        return columns
    return [dict(zip(lists, entry, strict=True)) for entry in zip(*lists.values(), strict=True)]


def _read_message(entry: object, number: int) -> Message | Unfit:
    if not isinstance(entry, dict):
        return _no_conversation([entry])
    role = entry.get("role") or entry.get("from")
    if not isinstance(role, str):
        return Unfit("a message without a role", f"has no role in message {number}", _OTHER_COLUMN)
    content = entry["content"] if entry.get("content") is not None else entry.get("value")
    text = _join_parts(content, number) if isinstance(content, list) else content
    if text is None and entry.get("tool_calls"):
        text = ""
    if isinstance(text, Unfit):
        return text
    if not isinstance(text, str):
        return Unfit("a message without text", f"has no text in message {number}", _OTHER_COLUMN)
    rest = {key: item for key, item in entry.items() if key not in {"from", "value"} and item is not None}
    return {**rest, "role": _ROLES.get(role.lower(), role.lower()), "content": text}


def _join_parts(parts: list[object], number: int) -> str | Unfit:
    texts: list[str] = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type") in _TEXT_PARTS else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            return Unfit(
                "content that is not text",
                f"has content of the type {kind} in message {number}",
                "give conversations that are text only",
            )
        texts.append(text)
    return "".join(texts)


_OTHER_COLUMN = (
    'set corpus.column to one with lists of {"role": …, "content": …}, or corpus.chat = false for plain text'
)


def _no_conversation(value: object) -> Unfit:
    kind = "text" if isinstance(value, str) else type(value).__name__
    inside = f" of {type(value[0]).__name__}" if isinstance(value, list) else ""
    return Unfit("not a conversation", f"is {kind}{inside}, not a list of messages", _OTHER_COLUMN)
