"""Answers held to their JSON schema token by token, by llguidance.

At each place the schema allows some tokens; where it allows one course only (names of fields, brackets), its tokens
are written without asking the model. Blanks are as `json.dumps` writes them, so that no model loses itself in them.
"""

import codecs
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from autointerp.errors import LanguageModelError, in_one_line

_BLANKS: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammar:
    """Of one model's tokens.

    Args:
        tokenizer: The model's.
        n_logits: Tokens that the model has a logit for.
        name: The model's, for messages.

    Raises:
        LanguageModelError: If answers can't be held to a schema with this tokenizer.
    """

    def __init__(self, tokenizer: Any, n_logits: int, name: str) -> None:
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        self._matcher = LLMatcher
        self._n_logits = n_logits
        try:
            self._tokens = from_tokenizer(tokenizer, n_vocab=max(n_logits, len(tokenizer)))
        except (ValueError, TypeError) as error:
            raise LanguageModelError(
                f"no answer can be held to a schema with the tokenizer of {name} ({in_one_line(error)})",
                "use a model with a fast tokenizer (a tokenizer.json), or a server",
            ) from error

    def begin(self, schema: dict[str, Any]) -> "Answer":
        """An answer of which nothing is written yet.

        Raises:
            LanguageModelError: If the schema is of a kind that can't be held to.
        """
        matcher = self._matcher(self._tokens, self._matcher.grammar_from_json_schema(json.dumps(schema), _BLANKS))
        if matcher.is_error():
            raise LanguageModelError(
                f"a local model can't be held to the schema of the answer ({matcher.get_error().splitlines()[0]})",
                "use types that JSON schemas of language models know: strings, numbers, choices, lists, objects",
            )
        return Answer(matcher, self._n_logits)

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token; put together, the text of all.

        A character of several tokens stands with its last; what is no UTF-8 becomes the replacement character.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts = [decoder.decode(self._tokens.decode_bytes([token])) for token in tokens]
        return [*texts[:-1], texts[-1] + decoder.decode(b"", final=True)] if texts else []


class Answer:
    """An answer under way."""

    def __init__(self, matcher: Any, n_logits: int) -> None:
        self._matcher = matcher
        self._n_logits = n_logits

    @property
    def is_whole(self) -> bool:
        """Whether it fits its schema, and nothing can follow."""
        return bool(self._matcher.is_stopped())

    def take(self, token: int) -> None:
        """Write a token that is allowed."""
        taken = self._matcher.consume_token(token)
        assert taken, f"token {token} was allowed: {self._matcher.get_error()}"

    def forced(self) -> list[int]:
        """Write what alone can follow, and return its tokens."""
        tokens: list[int] = [] if self.is_whole else self._matcher.compute_ff_tokens()
        for token in tokens:
            self.take(token)
        return tokens

    def allowed(self) -> Bool[Tensor, " token"]:
        """Which tokens may follow."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little", count=self._n_logits).astype(bool)
        return torch.from_numpy(allowed)
