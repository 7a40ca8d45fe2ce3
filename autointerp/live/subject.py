"""The subject as it is asked now: a text to tokens, framed as the corpus's blocks, and what a feature does on it."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.records.live import TokenActivations
from autointerp.subject.limits import n_embedded
from autointerp.subject.source import Source, Sources


@dataclass(frozen=True, eq=False)
class LiveSubject:
    """A subject and its coders, ready to be run. Several threads may ask; one is served at a time.

    Attributes:
        sources: The subject and its coders.
        special: What stands around each text, and which tokens don't count: as in the corpus, so that activations are
            those of the pass over it.
        pieces: The text of each token.
        block_length: Tokens of a block of the corpus, those around it included: as long may a text be.
        n_tokens_at_once: Tokens of one forward pass, padding included.
        chat_template: File of the template for conversations; the tokenizer's own where None.
    """

    sources: Sources
    special: SpecialTokens
    pieces: TokenPieces
    block_length: int
    n_tokens_at_once: int
    chat_template: str | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def room(self) -> int:
        """Tokens of a text that are read at once."""
        return self.block_length - len(self.special.before) - len(self.special.after)

    def source(self, source_id: str) -> Source:
        """One of the sources, by its name.

        Raises:
            SubjectError: If none is of this name.
        """
        for source in self.sources.sources:
            if source.source_id == source_id:
                return source
        known = ", ".join(source.source_id for source in self.sources.sources)
        raise SubjectError(f"the subject has no coder {source_id!r}", f"it has {known}")

    def read_text(self, text: str) -> tuple[int, ...]:
        """A text's tokens, as many as a block has room for, without the special tokens around it.

        Raises:
            SubjectError: If it has no token, or one that the subject has no embedding for.
        """
        subject = self.sources.subject
        with self.lock:  # a tokenizer can't be used by two threads
            token_ids: list[int] = subject.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        read = tuple(token_ids[: self.room])
        if not read:
            raise SubjectError(f"the text {text!r} has no token for {subject.name}", "give it another")
        if max(read) >= n_embedded(subject):
            raise SubjectError(
                f"the model {subject.name} has no embedding for a token of the text {text!r}", "give it another"
            )
        return read

    def activations(
        self, source_id: str, texts: Sequence[Sequence[int]], features: Sequence[int]
    ) -> list[TokenActivations]:
        """Run texts, and read one feature on each.

        Args:
            source_id: The source that the features are of.
            texts: Tokens of each, from `read_text`.
            features: For each text the feature that is read on it.

        Returns:
            One a text, in order. An activation may be not finite, where the subject's or the coder's numbers overflow.
        """
        source = self.source(source_id)
        found: list[TokenActivations | None] = [None] * len(texts)
        with self.lock:
            for batch in self.batches(texts):
                values = self._run(source, [texts[i] for i in batch], [features[i] for i in batch])
                for i, of_text in zip(batch, values, strict=True):
                    tokens = tuple(self.pieces.pieces(texts[i]))
                    found[i] = TokenActivations(tuple(texts[i]), tokens, tuple(of_text.tolist()))
        return [of_text for of_text in found if of_text is not None]

    def batches(self, texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Places of texts to run together, those of like length: padding is run too."""
        n_around = len(self.special.before) + len(self.special.after)
        batch: list[int] = []
        for place in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
            longest = len(texts[batch[0] if batch else place]) + n_around
            if batch and (len(batch) + 1) * longest > self.n_tokens_at_once:
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def framed(
        self, texts: Sequence[Sequence[int]], *, open_ended: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, Bool[np.ndarray, "text position"]]:
        """Texts with the special tokens around them, padded on the right.

        Args:
            texts: Tokens of each.
            open_ended: Leave away what stands behind a block: the text is to go on.

        Returns:
            Token ids and attention mask, (text, position), and which positions count.
        """
        before, after = self.special.before, () if open_ended else self.special.after
        rows = [(*before, *text, *after) for text in texts]
        length = max(map(len, rows))
        token_ids = np.full((len(rows), length), self.special.padding, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        counted = np.zeros((len(rows), length), dtype=np.bool_)
        for place, (row, text) in enumerate(zip(rows, texts, strict=True)):
            token_ids[place, : len(row)], mask[place, : len(row)] = row, 1
            counted[place, len(before) : len(before) + len(text)] = True
        if self.special.uncounted:
            counted &= ~np.isin(token_ids, sorted(self.special.uncounted))
        return torch.from_numpy(token_ids), torch.from_numpy(mask), counted

    def _run(
        self, source: Source, texts: Sequence[Sequence[int]], features: Sequence[int]
    ) -> list[Float32[np.ndarray, " token"]]:
        token_ids, mask, counted = self.framed(texts)
        (rows,) = Sources(source.subject, (source,)).read_counted(token_ids, mask, torch.from_numpy(counted))
        at: Int64[np.ndarray, " row"] = np.flatnonzero(counted)
        wanted = np.repeat(np.asarray(features, dtype=np.int64), counted.sum(axis=1))
        values = np.zeros(counted.size, dtype=np.float32)
        for firings in source.encode_firings(rows):
            ours = firings.feature == wanted[firings.row]
            values[at[firings.row[ours]]] = firings.activation[ours]
        first = len(self.special.before)
        return [row[first : first + len(text)] for row, text in zip(values.reshape(counted.shape), texts, strict=True)]
