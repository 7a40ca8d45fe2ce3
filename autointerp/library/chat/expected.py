"""`client.chat.logits`: what the model expects to come next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from autointerp.errors import GenerationError
from autointerp.library.chat.asking import Asked
from autointerp.store.known import shown
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from autointerp.live.subject import LiveSubject


@dataclass(frozen=True, slots=True)
class NextLogits:
    """Logits of the answer's first token.

    Attributes:
        model: The source whose model was asked.
        logits: By token, highest first.
        probabilities: Of the same tokens, among the whole vocabulary at temperature 1.
        token_ids: Of the same tokens.
    """

    model: str
    logits: Mapping[str, float]
    probabilities: Mapping[str, float]
    token_ids: tuple[int, ...]

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it, as Ember's client reads it."""
        return {"logits": dict(self.logits), "probabilities": dict(self.probabilities), "model": self.model}


def next_logits(
    asked: Asked, values: Float32[np.ndarray, " token"], top_k: int | None, vocabulary: Iterable[str] | None
) -> NextLogits:
    """The highest logits, or those of some words.

    Args:
        asked: What was asked.
        values: Of the whole vocabulary.
        top_k: At most so many; all where None.
        vocabulary: Only these, each one token; all where None.

    Raises:
        GenerationError: If a word is not one token.
    """
    values = values.astype(np.float64)
    chances = np.exp(values - np.logaddexp.reduce(values))
    if vocabulary is None:
        n = min(len(values), asked.live.pieces.n_tokens)
        order = np.argsort(-values[:n], kind="stable")[:top_k].tolist()
        named = dict(zip(order, _texts(asked.live, order), strict=True))
    else:
        named = _tokens(asked.live, vocabulary)
        order = sorted(named, key=lambda i: (-values[i], i))[:top_k]
    return NextLogits(
        asked.steering.source.source_id,
        {named[i]: float(values[i]) for i in order},
        {named[i]: float(chances[i]) for i in order},
        tuple(order),
    )


def _texts(live: "LiveSubject", token_ids: Sequence[int]) -> list[str]:
    """Each token's text; of two with the same text the later is told by its number."""
    texts: list[str] = []
    for token_id in token_ids:
        text = live.pieces.pieces([token_id])[0] or live.pieces.shown_alone(token_id)
        texts.append(f"{text}#{token_id}" if text in texts else text)
    return texts


def _tokens(live: "LiveSubject", vocabulary: Iterable[str]) -> dict[int, str]:
    """The tokens that words are."""
    if isinstance(vocabulary, str) or not isinstance(vocabulary, Iterable):
        raise GenerationError(f"{shown(vocabulary)} is no list of words", "give the words in a list")
    vocabulary = list(vocabulary)
    if not vocabulary:
        raise GenerationError("no word is given in filter_vocabulary", "give some, or None for all")
    found: dict[int, str] = {}
    tokenizer = live.sources.subject.tokenizer
    for word in vocabulary:
        if not isinstance(word, str) or not word:
            raise GenerationError(f"{shown(word)} is no word", "give texts of one token each")
        with live.lock:  # a tokenizer can't be used by two threads
            ids = tokenizer(valid_text(word), add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) != 1:
            told = ", ".join(map(repr, live.pieces.pieces(ids)))
            raise GenerationError(
                f"{shown(word)} is {len(ids)} tokens of this model ({told})", "give texts that are one token each"
            )
        found.setdefault(ids[0], word)
    return found
