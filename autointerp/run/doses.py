"""The doses of a run's features: from its store, or found on texts of its own corpus.

Texts are drawn from the corpus by a keyed hash, one a document as long as there are others, and cut to the length that
the method says. So whoever asks finds the same doses, up to rounding. By the method's `mixed`, they are half of the
tokens; the other half are prompts of a chat (`run.dose_prompts`), where the subject has a chat template.
"""

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int32, Int64

from autointerp.corpus.reader import Blocks
from autointerp.errors import DiskFullError, StoreError
from autointerp.identity import hash_key, in_keyed_order
from autointerp.live.divergence import MeteredTexts
from autointerp.live.dose import USUAL_METHOD, DoseMethod, DoseSeeker, FoundDose
from autointerp.live.subject import LiveSubject
from autointerp.records import FeatureRecord
from autointerp.records.dose import Dose
from autointerp.run.dose_prompts import draw_prompts, mixed
from autointerp.run.live import LiveRun
from autointerp.store.doses import keep_doses, read_doses
from autointerp.store.reader import Reader

# For others to let go of the store; what is not kept is found once more, by who asks next.
_WAIT_S = 3.0
_WAIT_TO_READ_S = 10.0
# Blocks that are read for each that is wanted: some are of a document that was drawn before.
_READ_AHEAD = 4
# Features that are sought together, and then kept: who ends a search of thousands loses no more.
_AT_ONCE = 16

logger = logging.getLogger(__name__)


class CorpusBlocks(Protocol):
    """Blocks of a corpus, by their index."""

    @property
    def n_blocks(self) -> int: ...

    def read(self, block_indices: Int64[np.ndarray, " block"]) -> Blocks: ...

    def n_tokens(self, block_indices: Int64[np.ndarray, " block"]) -> Int32[np.ndarray, " block"]: ...


class Doses:
    """Finds and keeps the doses of one run's features.

    Args:
        reader: The run's store.
        live: Its subject.
        method: How doses are found.
        said: What users say, for the prompts of a chat.
    """

    def __init__(
        self, reader: Reader, live: LiveRun, method: DoseMethod = USUAL_METHOD, said: Sequence[str] = ()
    ) -> None:
        self._reader = reader
        self._live = live
        self._method = method
        self._said = tuple(said)
        self._seekers: dict[str, tuple[DoseSeeker, str]] = {}
        self._found: dict[tuple[str, int], Dose] = {}
        self._rough: dict[tuple[str, int], Dose] = {}
        self._lock = threading.Lock()

    def of(self, features: Sequence[FeatureRecord], *, roughly: bool = False) -> list[Dose]:
        """The doses of features of one source, in their order.

        Args:
            features: The features.
            roughly: Find them on few tokens, whatever is known, so that whoever asks when finds the same; they are
                remembered as long as this is.

        Raises:
            RunError: If the run's folder is not whole.
            SubjectError: If the model or a coder can't be loaded any more or is another one, the model has no
                language-model head, or its features can't be edited.
            ShardError: If the corpus is not there any more, or damaged.
        """
        if not features:
            return []
        source_id, path = features[0].source_id, self._reader.path
        by_index = {feature.feature_index: feature for feature in features}
        if roughly:
            known = self._find_roughly(list(by_index.values()))
            return [known[feature.feature_index] for feature in features]
        known = {index: self._found[source_id, index] for index in by_index if (source_id, index) in self._found}
        if asked := sorted(by_index.keys() - known.keys()):
            kept = read_doses(path, source_id, asked, self._method.fingerprint, _WAIT_TO_READ_S)
            known |= {index: replace(dose, found_on=self._method.texts) for index, dose in kept.items()}
        missing = sorted(by_index.keys() - known.keys())
        for start in range(0, len(missing), _AT_ONCE):
            known |= self._find([by_index[index] for index in missing[start : start + _AT_ONCE]])
        self._found |= {(source_id, index): dose for index, dose in known.items()}
        return [known[feature.feature_index] for feature in features]

    def _find(self, features: Sequence[FeatureRecord]) -> dict[int, Dose]:
        """Find doses of one source's features, or take those that another thread has just found, and keep them."""
        source_id, method = features[0].source_id, self._method.fingerprint
        with self._lock:
            indices = [feature.feature_index for feature in features]
            known = {index: self._found[source_id, index] for index in indices if (source_id, index) in self._found}
            missing = [feature for feature in features if feature.feature_index not in known]
            if not missing:
                return known
            logger.info("finding the doses of %d features of %s", len(missing), source_id)
            seeker, texts = self._seeker(source_id)
            found = seeker.find([feature.feature_index for feature in missing])
            new = [_dose(*pair, seeker.meter.n_tokens, self._method) for pair in zip(missing, found, strict=True)]
            self._found |= {(source_id, dose.feature_index): dose for dose in new}
        try:
            keep_doses(self._reader.path, new, method, texts, _WAIT_S)
        except (StoreError, DiskFullError) as error:
            logger.info("doses are not kept: %s", error.problem)
        return known | {dose.feature_index: dose for dose in new}

    def _find_roughly(self, features: Sequence[FeatureRecord]) -> dict[int, Dose]:
        """What few tokens say of features of one source."""
        source_id = features[0].source_id
        with self._lock:
            missing = [feature for feature in features if (source_id, feature.feature_index) not in self._rough]
            if missing:
                seeker, _ = self._seeker(source_id)
                found = seeker.find([feature.feature_index for feature in missing], roughly=True)
                for feature, dose in zip(missing, found, strict=True):
                    rough = _dose(feature, dose, self._method.n_few, self._method)
                    self._rough[source_id, feature.feature_index] = rough
            return {of.feature_index: self._rough[source_id, of.feature_index] for of in features}

    def _seeker(self, source_id: str) -> tuple[DoseSeeker, str]:
        if source_id not in self._seekers:
            live = self._live.of_source(self._reader.source(source_id))
            texts = self._texts(live)
            self._seekers[source_id] = DoseSeeker(live, source_id, texts, self._method), digest_of(texts)
        return self._seekers[source_id]

    def _texts(self, live: LiveSubject) -> MeteredTexts:
        method = self._method
        if method.texts == "corpus":
            return draw_texts(self._live.blocks, self._live.seed, method)
        half = replace(method, n_tokens=method.n_tokens // 2)
        prompts = draw_prompts(live, self._said, self._live.seed, half)
        return mixed(draw_texts(self._live.blocks, self._live.seed, half), prompts)


def draw_texts(blocks: CorpusBlocks, seed: int, method: DoseMethod, n_skipped: int = 0) -> MeteredTexts:
    """Beginnings of blocks of different documents, as long as there are others, in an order as good as random.

    Args:
        blocks: Of the corpus.
        seed: Of the draw.
        method: Says how many tokens, and how long a text may be.
        n_skipped: Leave out the texts of the first so many tokens, to have others.

    Raises:
        ShardError: If the corpus is not there any more, or damaged.
    """
    order = in_keyed_order(hash_key(seed, "doses"), np.arange(blocks.n_blocks))
    wanted, n_found = n_skipped + method.n_tokens, 0
    first, repeated = list[int](), list[int]()
    seen = set[str]()
    start = 0
    while n_found < wanted and start < len(order):
        some = order[start : start + _READ_AHEAD * max(1, wanted // method.longest_text)]
        read, start = blocks.read(some), start + len(some)
        n_counted = read.counted[:, : method.longest_text].sum(axis=1)
        for index, document, n in zip(some.tolist(), read.document_ids, n_counted.tolist(), strict=True):
            if n and document in seen:
                repeated.append(index)
            elif n and n_found < wanted:
                seen.add(document)
                first.append(index)
                n_found += n
    return _cut(blocks, [*first, *repeated], method.longest_text, n_skipped, wanted)


def _cut(blocks: CorpusBlocks, indices: Sequence[int], length: int, n_skipped: int, wanted: int) -> MeteredTexts:
    drawn = np.array(indices, dtype=np.int64)
    read = blocks.read(drawn)
    mask: Bool[np.ndarray, "block position"] = np.arange(read.token_ids.shape[1]) < blocks.n_tokens(drawn)[:, None]
    ids, mask, counted = read.token_ids[:, :length].astype(np.int64), mask[:, :length], read.counted[:, :length]
    before = np.cumsum(counted.sum(axis=1)) - counted.sum(axis=1)
    kept = (before >= n_skipped) & (before < wanted)
    return MeteredTexts(ids[kept], mask[kept], counted[kept])


def digest_of(texts: MeteredTexts) -> str:
    """SHA-256 of texts, in hexadecimal."""
    digest = hashlib.sha256()
    for array in (texts.token_ids, texts.mask, texts.counted):
        digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _dose(feature: FeatureRecord, found: FoundDose, n_tokens: int, method: DoseMethod) -> Dose:
    return Dose(
        source_id=feature.source_id,
        feature_index=feature.feature_index,
        unit=found.unit,
        kl_p95=found.divergence,
        of_max_activation=found.unit / feature.max_activation if found.unit and feature.max_activation > 0 else None,
        of_stream_norm=found.size,
        n_tokens=n_tokens,
        why=found.why,
        found_on=method.texts,
    )
