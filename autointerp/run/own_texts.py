"""What features do on texts of the run's own corpus, drawn anew: blocks of different documents."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64

from autointerp.identity import fingerprint, hash_key, in_keyed_order
from autointerp.records import SourceRecord
from autointerp.records.on_texts import OnTexts
from autointerp.run.doses import CorpusBlocks
from autointerp.run.live import LiveRun
from autointerp.run.on_disk.kept_arrays import read_kept, write_kept

# Blocks that are read at once, of which some are of documents that were drawn before.
_READ_AT_ONCE = 256
_MOST_BYTES = 256 * 2**20
_RULES = 1  # raised whenever the same run comes to give other firings, or other texts


@dataclass(frozen=True, slots=True, eq=False)
class OwnFirings:
    """All firings on some texts, by feature.

    Attributes:
        n_asked: Texts that were asked for; there may be no more documents.
        ends: Of each text, the tokens that count up to its end.
        starts: Of each feature, the place of its first firing; with the end of the last one's.
        token: Of each firing, among the tokens that count.
        activation: Likewise, in the coder's own units.
    """

    n_asked: int
    ends: Int64[np.ndarray, " text"]
    starts: Int64[np.ndarray, " feature_and_end"]
    token: Int32[np.ndarray, " firing"]
    activation: Float32[np.ndarray, " firing"]

    @property
    def n_bytes(self) -> int:
        """That it takes."""
        return self.ends.nbytes + self.starts.nbytes + self.token.nbytes + self.activation.nbytes

    def of(self, features: Sequence[int], n: int) -> OnTexts:
        """What some features do on the first so many texts."""
        ends = self.ends[:n]
        n_tokens = int(ends[-1]) if len(ends) else 0
        values = np.zeros((n_tokens, len(features)), dtype=np.float32)
        for column, feature in enumerate(features):
            own = slice(self.starts[feature], self.starts[feature + 1])
            is_in = self.token[own] < n_tokens
            values[self.token[own][is_in], column] = self.activation[own][is_in]
        text = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        return OnTexts(len(ends), text, tuple(features), values)


def draw_documents(blocks: CorpusBlocks, seed: int, n: int) -> Int64[np.ndarray, " block"]:
    """Blocks of as many documents, or of all where there are fewer, in an order as good as random.

    Args:
        blocks: Of the corpus.
        seed: Of the draw.
        n: Blocks wanted.

    Raises:
        ShardError: If the corpus is not there any more, or damaged.
    """
    order = in_keyed_order(hash_key(seed, "conditions"), np.arange(blocks.n_blocks))
    found: dict[str, int] = {}
    for start in range(0, len(order), _READ_AT_ONCE):
        some = order[start : start + _READ_AT_ONCE]
        read = blocks.read(some)
        for index, document, counted in zip(some.tolist(), read.document_ids, read.counted, strict=True):
            if counted.any():
                found.setdefault(document, index)
        if len(found) >= n:
            break
    return np.array(list(found.values())[:n], dtype=np.int64)


class OwnTexts:
    """What all features of a run's sources do on texts of its corpus: run once, and kept.

    Kept in memory, those that were asked for last, and beside the run, one file a source, where its folder can be
    written: by the run's model, coder and corpus, the source and the seed. Several threads may ask.

    Args:
        live: The run's subject, which is loaded only for what is not kept.
        most_bytes: Of what is kept in memory, and of a file.
    """

    def __init__(self, live: LiveRun, most_bytes: int = _MOST_BYTES) -> None:
        self._live, self._most = live, most_bytes
        self._kept: OrderedDict[tuple[str, int], OwnFirings] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, source: SourceRecord, features: Sequence[int], n: int, seed: int) -> OnTexts:
        """What some features do on blocks of different documents.

        Args:
            source: Whose features.
            features: Their indices.
            n: Blocks, or fewer where there are no more documents.
            seed: Of the draw.

        Raises:
            As `LiveRun.run_blocks`.
        """
        key = source.source_id, seed
        with self._lock:
            firings = self._kept.pop(key, None)
            if firings is None or firings.n_asked < n:
                firings = self._read(source, n, seed)
            self._kept[key] = firings
            while sum(of.n_bytes for of in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return firings.of(features, n)

    def _read(self, source: SourceRecord, n: int, seed: int) -> OwnFirings:
        """From the file beside the run; or by running the blocks, and then for the file."""
        file = self._live.kept_file(source.source_id, "own_texts")
        made_of = fingerprint("own texts", _RULES, self._live.fingerprint, source.source_id, source.n_features, seed)
        kept = read_kept(file, made_of)
        if kept is not None and int(kept["n_asked"][0]) >= n:
            return OwnFirings(n_asked=int(kept.pop("n_asked")[0]), **kept)
        firings = self._run(source, n, seed)
        if firings.n_bytes <= self._most:
            arrays = {name: getattr(firings, name) for name in ("ends", "starts", "token", "activation")}
            write_kept(file, made_of, arrays | {"n_asked": np.array([n], dtype=np.int64)})
        return firings

    def _run(self, source: SourceRecord, n: int, seed: int) -> OwnFirings:
        drawn = draw_documents(self._live.blocks, seed, n)
        counted = self._live.blocks.read(drawn).counted
        token_of = np.cumsum(counted).reshape(counted.shape) - 1
        found = self._live.run_blocks(source, drawn)
        feature = np.concatenate([of.feature for of in found] or [np.zeros(0, np.int32)])
        places = [token_of[block, of.position] for block, of in enumerate(found)]
        token = np.concatenate(places or [np.zeros(0, np.int64)]).astype(np.int32)
        activation = np.concatenate([of.activation for of in found] or [np.zeros(0, np.float32)])
        by_feature = np.argsort(feature, kind="stable")
        return OwnFirings(
            n_asked=n,
            ends=np.cumsum(counted.sum(axis=1)).astype(np.int64),
            starts=np.searchsorted(feature[by_feature], np.arange(source.n_features + 1)).astype(np.int64),
            token=token[by_feature],
            activation=activation[by_feature],
        )
