"""The sentence embedder: unit vectors of texts, and the similarity of a label and a context.

A text's vector must not depend on which other texts are embedded with it, or a resumed run would differ from an
uninterrupted one. Therefore only texts of exactly the same number of tokens share a batch, so that there is no padding,
and a batch of few tokens is filled up with copies of its last text, because products of small matrices add in another
order. Vectors of long texts then agree to the last bit on the CPUs we tried; those of short ones, in other batches or
with another number of threads, in all but the seventh digit: count on 1e-6.

The similarity of a label and a context is a late interaction of words, as in ColBERT (Khattab and Zaharia 2020,
2004.12832): a feature of an early layer stands for a word or two, and the vector of a whole context drowns them.

1. Label and context are cut into words (`words`); a context keeps its punctuation.
2. Each distinct word is embedded once, by itself: a context costs no run of the model, only look-ups.
3. Each word of the label is compared with the word of the context that is closest to it (cosine).
4. These are put together by a soft maximum, `log mean exp(SHARPNESS x) / SHARPNESS`: a label lists what a feature
   fires on, and one of it is enough.
5. The closest of many words is closer than the closest of few, whatever the label says. `LENGTH_SLOPE ln(n / 32)` is
   taken off, n the number of words of the context, so that long contexts don't win by length.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float32, Int64

from autointerp.identity import fingerprint
from autointerp.valid_text import valid_text
from autointerp.words import label_words, words_of

if TYPE_CHECKING:
    from autointerp.config import EmbedderConfig
    from autointerp.sentence_model import SentenceModel

logger = logging.getLogger(__name__)

MAX_CACHED_TEXTS = 65_536
MIN_BATCH_TOKENS = 64
# From here on batches run side by side: what a pool has, and the words or labels of one step don't.
_MANY_TEXTS = 1024
SHARPNESS = 20.0
LENGTH_SLOPE = 0.03
# Of some sixty texts each, with a megabyte of words' vectors.
_MAX_CUT_TEXTS = 8
# From here on texts are a pool's, with which many labels are compared that have words in common.
_SHARED_TEXTS = 256
_MAX_KEPT_COSINES = 1 << 24


class TextEmbedder(Protocol):
    """What gives texts a direction.

    Attributes:
        name: Of the model; embeddings of different names don't compare.
    """

    @property
    def name(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """One unit row a text, the same whatever else is embedded with it."""
        ...


class LabelEmbedder(TextEmbedder, Protocol):
    """What tells besides how close a label and texts are.

    Attributes:
        fingerprint: Of the model and of the way in which similarity is computed.
    """

    @property
    def fingerprint(self) -> str: ...

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        """One number a text, larger where the label describes it better."""
        ...

    def learn_words(self, texts: Sequence[str]) -> None:
        """Get ready for many similarities at once; changes nothing but the speed."""
        ...


class Embedder:
    """A `LabelEmbedder`: embeds texts, and remembers the vectors of the last `MAX_CACHED_TEXTS`.

    Attributes:
        name: Name of the model; stands in `label_embeddings.embedder`.
        fingerprint: Of the model and of the way in which similarity is computed.

    Args:
        config: Names the model, which is loaded at the first text: what is stored is found without it.

    Raises:
        SubjectError: From every method, if there is no such model.
    """

    def __init__(self, config: EmbedderConfig) -> None:
        self.name = Path(config.model).name
        self.fingerprint = fingerprint("embedder", config.model, 2, SHARPNESS, LENGTH_SLOPE)
        self._config = config
        self._loaded: SentenceModel | None = None
        self._cache: OrderedDict[str, Float32[np.ndarray, " dim"]] = OrderedDict()
        self._lock = threading.RLock()  # a run learns the next contexts' words in another thread

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._model.dim

    def has_word(self, word: str) -> bool:
        """Whether the model has a token for a word; else it knows of it only how its parts are spelled."""
        alone, nothing = self._model.token_ids([valid_text(word), ""])
        return len(alone) == len(nothing) + 1

    @property
    def _model(self) -> SentenceModel:
        with self._lock:
            if self._loaded is None:
                # Torch takes more than a second to import, which looking up what is stored does without.
                from autointerp.sentence_model import load_sentence_model

                self._loaded = load_sentence_model(self._config.model, self._config.device)
            return self._loaded

    @cached_property
    def _words(self) -> _WordTable:
        return _WordTable(self.dim)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        """Embed texts as unit vectors; a text longer than the model's limit counts up to there.

        Args:
            texts: Any texts; an empty one has the vector of the model's special tokens.

        Returns:
            One row a text, of length 1, the same for a text whatever else is embedded with it.
        """
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(valid_text(text), []).append(place)
        with self._lock:
            missing = [text for text in places if text not in self._cache]
            for text in places.keys() - set(missing):
                self._cache.move_to_end(text)
                rows[places[text]] = self._cache[text]
        for batch, vectors in self._forward(missing, side_by_side=len(missing) >= _MANY_TEXTS):
            with self._lock:
                for text, vector in zip(batch, vectors, strict=True):
                    rows[places[text]] = vector
                    self._cache[text] = vector
        with self._lock:
            while len(self._cache) > MAX_CACHED_TEXTS:
                self._cache.popitem(last=False)
        return rows

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        """How well a label describes each text; see the module's steps.

        Args:
            label: A label, as a list of words or as prose.
            texts: Texts of contexts.

        Returns:
            One number a text, larger where the label fits better: at most 1 + LENGTH_SLOPE ln 32 (one word, and the
            label is that word), seldom below 0. It compares texts under one label, not labels.
        """
        closest, n_words = self._closest(label_words(label), texts)
        return combine(closest, n_words)

    def word_similarity(self, words: Sequence[str], texts: Sequence[str]) -> Float32[np.ndarray, "text word"]:
        """Cosine of each word with the word of each text that is closest to it.

        Args:
            words: Words, each embedded by itself.
            texts: Texts of contexts.

        Returns:
            Cosines; -1 for a text without words.
        """
        return self._closest(words, texts)[0]

    def _closest(
        self, words: Sequence[str], texts: Sequence[str]
    ) -> tuple[Float32[np.ndarray, "text word"], Int64[np.ndarray, " text"]]:
        """`word_similarity`, and the words in each text."""
        of = tuple(texts)
        while True:
            with self._lock:
                found = self._words.closest(words, of)
            if found is not None:
                return found
            # Learnt again if another thread makes room before they are looked up.
            self._learn_words({word for of_one in (words, *map(words_of, of)) for word in of_one})

    def learn_words(self, texts: Sequence[str]) -> None:
        """Embed every word of these texts that is new: all at once is several times faster than a few at a time."""
        self._learn_words({word for text in texts for word in words_of(text)})

    def _learn_words(self, words: set[str]) -> None:
        with self._lock:
            new = sorted(self._words.missing(words))
        for batch, vectors in self._forward(new):
            with self._lock:
                self._words.add(batch, vectors)

    def _forward(
        self, texts: Sequence[str], *, side_by_side: bool = False
    ) -> Iterator[tuple[list[str], Float32[np.ndarray, "text dim"]]]:
        """Run the model on batches of texts of one length in tokens, shortest first.

        Between two batches another thread may have the model: one that answers language models can't wait for minutes.

        Args:
            texts: Distinct ones.
            side_by_side: Run as many batches at a time as there are threads, rather than each by all threads.
        """
        if not texts:
            return
        model = self._model
        with self._lock:
            token_ids = model.token_ids([model.prompt + text for text in texts])
        batches: list[list[int]] = []
        by_length = sorted(range(len(texts)), key=lambda place: len(token_ids[place]))
        for _, places in groupby(by_length, key=lambda place: len(token_ids[place])):
            same_length = list(places)
            for first in range(0, len(same_length), self._config.batch_size):
                batches.append(same_length[first : first + self._config.batch_size])

        def run(batch: list[int]) -> tuple[list[str], Float32[np.ndarray, "text dim"]]:
            rows = [token_ids[place] for place in batch]
            rows.extend(rows[-1:] * (-(-MIN_BATCH_TOKENS // max(1, len(rows[0]))) - len(rows)))
            return [texts[place] for place in batch], model.vectors(rows)[: len(batch)]

        if side_by_side and model.is_on_cpu:
            from autointerp.sentence_model import side_by_side as run_side_by_side

            yield from run_side_by_side(run, batches)
            return
        for batch in batches:
            with self._lock:
                embedded = run(batch)
            time.sleep(0)  # else this thread has the lock again before another wakes up
            yield embedded


def combine(
    similarity: Float32[np.ndarray, "text word"], n_words: Sequence[int] | Int64[np.ndarray, " text"]
) -> Float32[np.ndarray, " text"]:
    """Put a label's words together and take the length of the texts off: steps 4 and 5 of the module.

    Args:
        similarity: Of each text and each of the label's words, from `Embedder.word_similarity`.
        n_words: Words in each text.

    Returns:
        One number a text.
    """
    soft_maximum = np.log(np.exp(SHARPNESS * similarity).mean(axis=1)) / SHARPNESS
    length = LENGTH_SLOPE * np.log(np.maximum(np.asarray(n_words), 1) / 32.0)
    # Rounded so that equal cases tie whatever the shape of the matrix product they come from.
    combined: Float32[np.ndarray, " text"] = np.round(soft_maximum - length, 5).astype(np.float32)
    return combined


@dataclass(frozen=True, slots=True)
class _CutTexts:
    """Some texts as their words.

    Attributes:
        vectors: Of the distinct words.
        place: Of each word of the texts that have any, one text after the other, in `vectors`.
        starts: First word of each of these texts.
        n_words: Words in each text.
        columns: What `closest` gave for single words, by their row in the table; of shared texts only.
    """

    vectors: Float32[np.ndarray, "distinct dim"]
    place: Int64[np.ndarray, " word"]
    starts: Int64[np.ndarray, " text_with_words"]
    n_words: Int64[np.ndarray, " text"]
    columns: dict[int, Float32[np.ndarray, " text"]] = field(default_factory=dict)

    def closest(self, targets: Float32[np.ndarray, "... dim"]) -> Float32[np.ndarray, "text ..."]:
        """Cosine of each target, or of one, with the closest word of each text; -1 for a text without words."""
        closest = np.full((self.n_words.size, *targets.shape[:-1]), -1.0, dtype=np.float32)
        if closest.size and len(self.place):
            cosines = self.vectors @ targets.T
            closest[self.n_words > 0] = np.maximum.reduceat(cosines[self.place], self.starts, axis=0)
        return closest

    def shared_closest(
        self, rows: Sequence[int], table: Float32[np.ndarray, "word dim"]
    ) -> Float32[np.ndarray, "text target"]:
        """The same for words by their row in the table, each computed once, however many labels hold it.

        Each by itself, so that the last bits don't depend on which others are asked for with it.
        """
        if len(self.columns) > _MAX_KEPT_COSINES // self.n_words.size:
            self.columns.clear()
        for row in rows:
            if row not in self.columns:
                self.columns[row] = self.closest(table[row])
        return np.stack([self.columns[row] for row in rows], axis=1)


class _WordTable:
    """The unit vectors of single words, one row a word."""

    def __init__(self, dim: int) -> None:
        self._row: dict[str, int] = {}
        self._vectors = np.zeros((1024, dim), dtype=np.float32)
        # A label and the shuffled one beside it are compared with the same texts.
        self._cut: OrderedDict[tuple[str, ...], _CutTexts] = OrderedDict()
        self._texts: dict[str, Int64[np.ndarray, " word"]] = {}

    def missing(self, words: set[str]) -> set[str]:
        """Those of the words that have no row yet; before the table grows too large it is emptied."""
        # Not `words - self._row.keys()`, which looks at every row of the table.
        missing = {word for word in words if word not in self._row}
        if missing and len(self._row) + len(missing) > MAX_CACHED_TEXTS:
            self._row.clear()
            self._cut.clear()
            self._texts.clear()
            return words
        return missing

    def add(self, words: Sequence[str], vectors: Float32[np.ndarray, "word dim"]) -> None:
        """Add words that have no row yet."""
        are_new = [word not in self._row for word in words]  # another thread may have learned some meanwhile
        words, vectors = [w for w, is_new in zip(words, are_new, strict=True) if is_new], vectors[are_new]
        first, end = len(self._row), len(self._row) + len(words)
        if end > len(self._vectors):
            grown = np.zeros((max(end, 2 * len(self._vectors)), self._vectors.shape[1]), dtype=np.float32)
            grown[:first] = self._vectors[:first]
            self._vectors = grown
        self._vectors[first:end] = vectors
        self._row.update(zip(words, range(first, end), strict=True))

    def closest(
        self, words: Sequence[str], texts: tuple[str, ...]
    ) -> tuple[Float32[np.ndarray, "text word"], Int64[np.ndarray, " text"]] | None:
        """Cosine of each word with the closest word of each text, -1 for a text without words, and each text's words.

        None where a word, of the texts or else, has no row.
        """
        try:
            cut = self._cut.get(texts) or self._cut_texts(texts)
            rows = [self._row[word] for word in words]
        except KeyError:
            return None
        self._cut.move_to_end(texts)
        if rows and len(texts) >= _SHARED_TEXTS:
            return cut.shared_closest(rows, self._vectors), cut.n_words
        return cut.closest(self._vectors[rows]), cut.n_words

    def _cut_texts(self, texts: tuple[str, ...]) -> _CutTexts:
        """Look the words of texts up; KeyError where one has no row."""
        rows = [self._rows_of(text) for text in texts]
        distinct, place = np.unique(np.concatenate([*rows, np.empty(0, dtype=np.int64)]), return_inverse=True)
        n_words = np.array([of_one.size for of_one in rows], dtype=np.int64)
        starts = (np.cumsum(n_words) - n_words)[n_words > 0]
        cut = _CutTexts(self._vectors[distinct], place, starts, n_words)
        self._cut[texts] = cut
        if len(self._cut) > _MAX_CUT_TEXTS:
            self._cut.popitem(last=False)
        return cut

    def _rows_of(self, text: str) -> Int64[np.ndarray, " word"]:
        """The rows of a text's words, looked up once however many sets of texts it is in."""
        rows = self._texts.get(text)
        if rows is None:
            rows = np.array([self._row[word] for word in words_of(text)], dtype=np.int64)
            if len(self._texts) >= MAX_CACHED_TEXTS:
                self._texts.clear()
            self._texts[text] = rows
        return rows
