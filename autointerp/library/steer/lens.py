"""Which tokens features promote: the logit lens of their directions, for some features or towards some tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Int32

from autointerp.errors import SubjectError
from autointerp.live.next_token import read_unembedding
from autointerp.live.subject import LiveSubject
from autointerp.subject.logits import (
    ExtremeLogits,
    NoLogits,
    Projection,
    Unembedding,
    extreme_logits,
    find_projection,
    token_logits,
)
from autointerp.words import plain_word, stem

N_TOKENS = 20
"""Of the lens, by which an output score goes."""
_SAME_BEGINNING = 3
# Tokens that are words, as long as a subject is loaded: each specification needs them.
_WORDS: WeakKeyDictionary[LiveSubject, dict[str, dict[str, list[int]]]] = WeakKeyDictionary()
_REMEDY = "steer features that write into the residual stream of a causal language model"


@dataclass(frozen=True)
class Lens:
    """The logit lens of one source.

    Attributes:
        live: The subject.
        source_id: The source.
    """

    live: LiveSubject
    source_id: str

    def top(self, features: Sequence[int]) -> Int32[np.ndarray, "feature rank"]:
        """The tokens that each feature promotes most, highest first.

        Raises:
            SubjectError: If what the coder writes does not reach the logits, or the subject has no head.
        """
        return self._extremes(features).top_tokens

    def towards(self, token_ids: Sequence[int]) -> Float32[np.ndarray, "feature token"]:
        """By how much each feature of the source promotes some tokens.

        Raises:
            SubjectError: As of `top`.
        """
        decoder = self.live.source(self.source_id).coder.decoder
        return token_logits(decoder, self._projection, self._unembedding, token_ids)

    def shown(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Tokens as they are shown in a list."""
        return tuple(self.live.pieces.shown_alone(token_id).strip() for token_id in token_ids)

    def tokens_of(self, word: str) -> tuple[int, ...]:
        """Tokens that are a word by themselves, in any of its forms and cases; none where it takes several."""
        word = plain_word(word)
        wanted = stem(word)
        found = self._words.get(word[:_SAME_BEGINNING], {})
        return tuple(i for text, ids in found.items() if text == word or stem(text) == wanted for i in ids)

    @property
    def _words(self) -> dict[str, dict[str, list[int]]]:
        """Tokens that are words, by how they begin."""
        if self.live not in _WORDS:
            _WORDS[self.live] = self._read_words()
        return _WORDS[self.live]

    def _read_words(self) -> dict[str, dict[str, list[int]]]:
        live = self.live
        found: dict[str, dict[str, list[int]]] = {}
        for token_id in range(min(live.pieces.n_tokens, len(self._unembedding.weights))):
            text = plain_word(live.pieces.shown_alone(token_id).strip())
            if text.isalpha() and token_id not in live.special.uncounted:
                found.setdefault(text[:_SAME_BEGINNING], {}).setdefault(text, []).append(token_id)
        return found

    def _extremes(self, features: Sequence[int]) -> ExtremeLogits:
        decoder = self.live.source(self.source_id).coder.decoder[list(features)]
        n_tokens = min(self.live.pieces.n_tokens, len(self._unembedding.weights))
        return extreme_logits(decoder, self._projection, self._unembedding, n_tokens, N_TOKENS)

    @cached_property
    def _projection(self) -> Projection:
        coder = self.live.source(self.source_id).coder
        does_not_say = coder.is_transcoder and coder.hook_name_out is None
        hook_name = None if does_not_say else coder.hook_name_out or coder.hook_name
        projection = find_projection(self.live.sources.subject, hook_name)
        if isinstance(projection, NoLogits):
            raise SubjectError(projection.reason, _REMEDY)
        return projection

    @property
    def _unembedding(self) -> Unembedding:
        return read_unembedding(self.live.sources.subject, _REMEDY)
