"""A question as the model reads it: turns written out by the tokenizer's chat template, as tokens.

A template that knows no system role gets the fixed part at the head of the user's turn. Where there is no template the
roles are written out in words. Text of a corpus may hold what stands for a special token (`<|im_end|>`), and so could
end its turn: where one does, the turns' texts are made tokens apart, in which nothing is special.
"""

import logging
import re
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from autointerp.llm.protocol import Repair
from autointerp.llm.providers.body import turn_of
from autointerp.valid_text import valid_text

_LOG = logging.getLogger(__name__)
_SLOT = re.compile(r"⟦slot (\d+)⟧")

Turn = tuple[str, str]
"""A role and its text."""


class Prompts:
    """Writes out questions for one model.

    Args:
        tokenizer: The model's.
        name: The model's, for what is told.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._special = [token for token in tokenizer.all_special_tokens if token]
        self._has_template = bool(getattr(tokenizer, "chat_template", None))
        self._knows_system = True
        if not self._has_template:
            _LOG.warning("%s has no chat template: it is asked in plain text, with the roles written out", name)
        self.n_fixed = lru_cache(self._n_fixed)

    def tokens(self, system: str, user: str, repair: Repair | None) -> list[int]:
        """A question's tokens.

        Raises:
            ValueError: If the chat template refuses the turns.
        """
        turns = [("system", system), ("user", user)]
        if repair is not None:
            turns += [("assistant", turn_of(repair.bad_answer)), ("user", repair.complaint)]
        turns = [(role, valid_text(text)) for role, text in turns]
        if not self._has_template:
            said = "".join(f"{role.capitalize()}: {text}\n\n" for role, text in turns)
            return self._encode(f"{said}Assistant:", with_special=True, splits_special=self._holds_special(turns))
        if not self._knows_system:
            turns = _without_system(turns)
        try:
            return self._by_template(turns)
        except (TemplateError, LookupError) as error:
            if not self._knows_system:
                raise ValueError(f"its chat template refuses the turns ({error})") from error
        self._knows_system = False
        _LOG.warning("the chat template of %s knows no system role: the fixed part goes before the user's", self._name)
        return self.tokens(system, user, repair)

    def _n_fixed(self, system: str) -> int:
        """Tokens at a question's beginning that do not depend on the user's part."""
        one, other = self.tokens(system, "a", None), self.tokens(system, "1", None)
        return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)

    def _by_template(self, turns: list[Turn]) -> list[int]:
        """The turns by the chat template.

        Raises:
            TemplateError: If it refuses them.
            LookupError: If it leaves one out.
        """
        if not self._holds_special(turns):
            text = self._written(turns)
            if any(said.strip() not in text for _, said in turns):
                raise LookupError("it leaves a turn out")
            return self._encode(text)
        pieces = _SLOT.split(self._written([(role, f"⟦slot {n}⟧") for n, (role, _) in enumerate(turns)]))
        if len(pieces) != 2 * len(turns) + 1:
            raise LookupError("it leaves a turn out")
        tokens: list[int] = []
        for n, piece in enumerate(pieces):
            is_turn = n % 2 == 1
            tokens += self._encode(turns[int(piece)][1] if is_turn else piece, splits_special=is_turn)
        return tokens

    def _written(self, turns: list[Turn]) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        # Templates that know no thoughts take no notice of what is said of them.
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )

    def _holds_special(self, turns: list[Turn]) -> bool:
        return any(token in text for _, text in turns for token in self._special)

    def _encode(self, text: str, *, with_special: bool = False, splits_special: bool = False) -> list[int]:
        encoded = self._tokenizer(
            text, add_special_tokens=with_special, split_special_tokens=splits_special, verbose=False
        )
        return list(encoded["input_ids"])


def _without_system(turns: list[Turn]) -> list[Turn]:
    (_, system), (_, user), *rest = turns
    return [("user", f"{system}\n\n{user}"), *rest]
