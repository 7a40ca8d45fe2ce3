"""What was collected of a source's features as rows of the store, column by column: no step loops over features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32, Int64

from autointerp.collect.effects import SourceEffects
from autointerp.collect.tokens import TopTokens
from autointerp.config import Pipeline
from autointerp.records import Collected
from autointerp.store.rows import FEATURES, struct_lists
from autointerp.subject.logits import NoLogits


@dataclass(frozen=True, slots=True)
class FeatureColumns:
    """What the rows of one source's features are made of.

    Attributes:
        source_id: `model@source`.
        collected: What the pass kept.
        tokens: The tokens that each feature fires on most.
        effects: What follows each feature's peaks, and what its direction promotes.
        token_texts: Text of each token of the vocabulary.
        pipeline: Says from where on a feature is dense, and how many blocks it needs.
    """

    source_id: str
    collected: Collected
    tokens: TopTokens
    effects: SourceEffects
    token_texts: Sequence[str]
    pipeline: Pipeline

    def table(self, first: int, last: int) -> pa.Table:
        """Rows of `features`, of the features from `first` to before `last`."""
        of = slice(first, last)
        statistics, following = self.collected.statistics, self.effects.following
        n_active = statistics.n_active[of]
        n_features, n_bins = statistics.histogram[of].shape
        texts = pa.array(self.token_texts, pa.string())
        top_logits, bottom_logits = self._logits(of, texts)
        columns = {
            "source_id": pa.repeat(self.source_id, n_features),
            "feature_index": np.arange(first, first + n_features, dtype=np.int32),
            "n_active": n_active,
            "density": n_active / statistics.n_tokens,
            "max_activation": statistics.max_activation[of].astype(np.float64),
            "mean_activation": statistics.activation_sum[of] / np.maximum(n_active, 1),
            "histogram": pa.ListArray.from_arrays(
                pa.array(np.arange(n_features + 1) * n_bins, pa.int32()), statistics.histogram[of].ravel()
            ),
            "status": self._status(of),
            "top_tokens": _lists(
                "top_tokens",
                self.tokens.offsets[first : last + 1],
                texts,
                (
                    self.tokens.token_id,
                    self.tokens.n_active,
                    self.tokens.mean_activation,
                    self.effects.occurrences[self.tokens.token_id],
                ),
            ),
            "top_tokens_n_missed": self.collected.token_counts.n_missed[of],
            "following_tokens": _lists(
                "following_tokens",
                following.offsets[first : last + 1],
                texts,
                (following.token_id, following.n_peaks, following.lift),
            ),
            "n_sampled_peaks": following.n_sampled[of],
            "n_followed_peaks": following.n_followed[of],
            "top_logits": top_logits,
            "bottom_logits": bottom_logits,
        }
        return pa.table(columns, schema=FEATURES)

    def _status(self, of: slice) -> pa.Array:
        statistics, contexts = self.collected.statistics, self.pipeline.contexts
        n_active = statistics.n_active[of]
        is_dead = n_active == 0
        is_dense = n_active > self.pipeline.collect.dense_above * statistics.n_tokens
        has_few = statistics.n_active_blocks[of] < contexts.min_explain + contexts.min_score
        return pa.array(np.select([is_dead, is_dense, has_few], ["dead", "dense", "few_contexts"], "ok"))

    def _logits(self, of: slice, texts: pa.Array) -> tuple[pa.ListArray, pa.ListArray]:
        logits = self.effects.logits
        if isinstance(logits, NoLogits):
            n_features = self.collected.statistics.n_active[of].size
            none = np.zeros((n_features, 0))
            return (_ranked("top_logits", none.astype(np.int32), none.astype(np.float32), texts),) * 2
        return (
            _ranked("top_logits", logits.top_tokens[of], logits.top_logits[of], texts),
            _ranked("bottom_logits", logits.bottom_tokens[of], logits.bottom_logits[of], texts),
        )


def _ranked(
    name: str, tokens: Int32[np.ndarray, "feature rank"], logits: Float32[np.ndarray, "feature rank"], texts: pa.Array
) -> pa.ListArray:
    """Tokens with their logits, none for a direction of length 0."""
    has_any = logits.any(axis=1)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(has_any * logits.shape[1])])
    return _lists(name, offsets, texts, (tokens[has_any].ravel(), logits[has_any].ravel()))


def _lists(
    name: str,
    offsets: Int64[np.ndarray, " feature_and_one"],
    texts: pa.Array,
    columns: tuple[Int32[np.ndarray, " row"], *tuple[np.ndarray, ...]],
) -> pa.ListArray:
    """The lists of some features in a column; of each record's numbers the first is a token, which becomes its text."""
    token_id, *numbers = (column[offsets[0] : offsets[-1]] for column in columns)
    return struct_lists(FEATURES.field(name).type, offsets - offsets[0], [texts.take(pa.array(token_id)), *numbers])
