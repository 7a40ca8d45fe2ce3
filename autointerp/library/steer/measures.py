"""What an edit is measured by, without a language model that judges: pure functions over answers.

1. A specification is cut into *facets*: its words that say something, each once by its stem, without what only asks
   ("talk about", "write"). An answer mentions a facet where one of its words has the same stem, or a vector whose
   cosine with the facet's is at least `CLOSE`, both being words that the embedder knows: of one that it cuts into
   parts it has only the spelling, by which a made-up word is close to some real ones. Facets are the specification's
   own words: that a feature promotes its own tokens counts for nothing unless they are close to what was asked for.
2. The *concept score* of an answer is the mean of the share of facets that it mentions and of the cosine of its vector
   and the specification's, negative ones counting 0. Where examples are given, it is by how much closer the answer is
   to those with the concept than to those without, and there are no facets.
3. *Repetition* is the share of an answer's 4-grams of tokens that stood in it before.
4. Differences are paired: by prompt, or by question. Their interval is Student's over prompts, and for shares of right
   answers that of Agresti and Min (2005): Wald's with half a pair added to each cell of the table of pairs, which has
   a width also where no answer changes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.special import ndtri, stdtrit

from autointerp.embedder import TextEmbedder
from autointerp.errors import SearchError
from autointerp.store.known import shown
from autointerp.words import label_words, stem, words_of

CLOSE = 0.6
N_GRAM = 4
_Z_95 = float(ndtri(0.975))
_SAME = 1e-12
# What a specification asks by, and is not about.
_ASKS = """
act acting answer answers be behave give like make mention more please reply respond say speak speaking talk talking
tell telling write writing
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference of pairs, with its 95 % interval.

    Attributes:
        value: The difference.
        low: Lower end; None where there is none: of a single pair, and where all pairs differ by the same.
        high: Upper end; None where there is none.
        n: Pairs.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def is_above_0(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low is not None and self.low > 0


def paired_mean(first: Float[np.ndarray, " pair"], second: Float[np.ndarray, " pair"]) -> Difference:
    """The mean of `first - second`, with Student's interval.

    Args:
        first: A value of each pair, at least one.
        second: The other value.
    """
    differs = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    value, n = float(differs.mean()), differs.size
    error = float(differs.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    if error <= _SAME:
        return Difference(value, None, None, n)
    half = float(stdtrit(n - 1, 0.975)) * error
    return Difference(value, value - half, value + half, n)


def paired_share(first: Bool[np.ndarray, " pair"], second: Bool[np.ndarray, " pair"]) -> Difference:
    """The share of yes in `first` less that in `second`, with Agresti and Min's interval.

    Args:
        first: A verdict of each pair, at least one.
        second: The other verdict.
    """
    n, gained, lost = first.size, int((first & ~second).sum()), int((second & ~first).sum())
    size, more, less = n + 2, gained + 0.5, lost + 0.5
    centre = (more - less) / size
    half = _Z_95 * np.sqrt(more + less - (more - less) ** 2 / size) / size
    value = (gained - lost) / n
    return Difference(value, float(min(value, centre - half)), float(max(value, centre + half)), n)


def repetition(tokens: Sequence[int]) -> float:
    """The share of 4-grams that stood in the text before; 0 of a text without any."""
    grams = [tuple(tokens[i : i + N_GRAM]) for i in range(len(tokens) - N_GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@dataclass(frozen=True, slots=True)
class ConceptScores:
    """How much of a specification is in some answers.

    Attributes:
        values: The concept score of each, in [0, 1].
        mentions: Whether each mentions each facet.
    """

    values: Float64[np.ndarray, " answer"]
    mentions: Bool[np.ndarray, "answer facet"]


class Concept:
    """What a specification asks for, as answers are scored by it.

    Attributes:
        facets: Words of the specification; none where examples say what is meant.
        known: Whether the embedder knows each.

    Args:
        specification: In words.
        embedder: Gives vectors of words and texts.
        examples: Texts with what is asked for, and as many or more without; none where the words are to say it.
        is_known: Whether the embedder knows a word as a whole; others are mentioned by their stem only.

    Raises:
        SearchError: If the specification has no word.
    """

    def __init__(
        self,
        specification: str,
        embedder: TextEmbedder,
        examples: tuple[Sequence[str], Sequence[str]] | None = None,
        is_known: Callable[[str], bool] = bool,
    ) -> None:
        self._embedder = embedder
        self._is_known = is_known
        self.facets = facets_of(specification) if examples is None else ()
        self.known = tuple(map(is_known, self.facets))
        self._of_facets = embedder.embed(self.facets) if self.facets else np.zeros((0, 1), np.float32)
        if examples is None:
            self._towards, self._away = embedder.embed([specification])[0], None
        else:
            self._towards, self._away = (embedder.embed(list(texts)).mean(axis=0) for texts in examples)

    def score(self, answers: Sequence[str]) -> ConceptScores:
        """How much of it is in each answer."""
        vectors = self._embedder.embed(answers)
        similarity = (vectors @ self._towards).astype(np.float64)
        if self._away is not None:
            values = np.clip(0.5 + (similarity - vectors @ self._away) / 2, 0.0, 1.0)
            return ConceptScores(values, np.zeros((len(answers), 0), dtype=np.bool_))
        mentions = np.array([self._mentioned(answer) for answer in answers]).reshape(len(answers), len(self.facets))
        return ConceptScores((mentions.mean(axis=1) + np.maximum(similarity, 0.0)) / 2, mentions)

    def _mentioned(self, answer: str) -> Bool[np.ndarray, " facet"]:
        words = [word for word in dict.fromkeys(words_of(answer)) if any(c.isalnum() for c in word)]
        if not words:
            return np.zeros(len(self.facets), dtype=np.bool_)
        stems = {stem(word) for word in words}
        found = np.array([stem(facet) in stems for facet in self.facets], dtype=np.bool_)
        if known := [word for word in words if self._is_known(word)] if any(self.known) else []:
            closest = (self._of_facets @ self._embedder.embed(known).T).max(axis=1)
            found |= (closest >= CLOSE) & np.array(self.known)
        return found


def facets_of(specification: str) -> tuple[str, ...]:
    """The words of a specification that say what is asked for, each once by its stem.

    Raises:
        SearchError: If it has no word.
    """
    words = [word for word in label_words(specification) if any(c.isalnum() for c in word)]
    by_stem = {stem(word): word for word in reversed(words)}
    said = [word for word in words if by_stem[stem(word)] == word]
    facets = [word for word in said if word not in _ASKS.split()] or said
    if not facets:
        raise SearchError(f"the specification {shown(specification)} has no word", "say what is to be steered towards")
    return tuple(dict.fromkeys(facets))
