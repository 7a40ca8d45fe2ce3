"""Which tokens follow a feature's peaks: what it may lead to, as its own tokens are what it responds to.

The uniform sample of firing blocks that `collect` keeps says where each feature peaks in each of them. The tokens are
in the corpus shards, which are read once for any number of sources, without the model.

1. `tokens_after_peaks` goes through the shards and looks up the token at the position after each sampled peak. A peak
   that ends its block, or stands before padding or a special token, has none.
2. `following_tokens` counts them by feature, and compares each token's share with its share of the whole corpus.

The counts are of a sample: of at most `n_fired` blocks a feature, one peak a block. They estimate, without bias, how
often a token follows the peak of a block in which the feature fires; not how often it follows any firing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64

from autointerp.collect.runs import as_unsigned, rank_in_run, run_lengths, run_starts, stable_order
from autointerp.collect.tokens import add_occurrences
from autointerp.errors import ShardError
from autointerp.records import BlockShard, SampledWindows

_NO_TOKEN = -1
_NOT_SEEN = -2


@dataclass(frozen=True, slots=True)
class TokensAfterPeaks:
    """The token after each sampled peak, and how common each token is.

    Attributes:
        token_ids: One array a sample, in the order given: the token after each row's peak, -1 where there is none.
        corpus_counts: Counted tokens of each id in all shards.
    """

    token_ids: tuple[Int32[np.ndarray, " row"], ...]
    corpus_counts: Int64[np.ndarray, " token"]


@dataclass(frozen=True, slots=True)
class FollowingTokens:
    """The tokens that follow each feature's sampled peaks most often.

    Attributes:
        offsets: Tokens of feature i are rows `offsets[i]` to `offsets[i + 1]`, most often first; ties by the lower
            token id.
        token_id: Token of each row.
        n_peaks: Sampled peaks of the feature that it follows, at least 1.
        lift: Its share among the feature's sampled peaks that a token follows, over its share of the corpus; 1 where
            it follows the feature as often as it occurs anyway.
        n_sampled: Peaks sampled of each feature: the size of its sample.
        n_followed: Of these, the peaks that a counted token follows.
    """

    offsets: Int64[np.ndarray, " feature_and_one"]
    token_id: Int32[np.ndarray, " row"]
    n_peaks: Int64[np.ndarray, " row"]
    lift: Float32[np.ndarray, " row"]
    n_sampled: Int64[np.ndarray, " feature"]
    n_followed: Int64[np.ndarray, " feature"]


def tokens_after_peaks(samples: Sequence[SampledWindows], shards: Iterable[BlockShard]) -> TokensAfterPeaks:
    """Look up the token after each sampled peak.

    Args:
        samples: The uniform sample `fired` of each source.
        shards: All of the corpus, in any order, each once; one is held at a time.

    Raises:
        ShardError: If a sampled block is in no shard.
    """
    found = tuple(np.full(len(sample.feature), _NOT_SEEN, dtype=np.int32) for sample in samples)
    orders = tuple(stable_order(as_unsigned(sample.block_index)) for sample in samples)
    blocks = tuple(sample.block_index[order] for sample, order in zip(samples, orders, strict=True))
    corpus_counts = np.zeros(0, dtype=np.int64)
    for shard in shards:
        corpus_counts = add_occurrences(corpus_counts, shard)
        for sample, order, sorted_blocks, tokens in zip(samples, orders, blocks, found, strict=True):
            ends = (shard.first_block, shard.first_block + len(shard.n_tokens))
            first, last = np.searchsorted(sorted_blocks, ends).tolist()
            rows = order[first:last]
            tokens[rows] = _tokens_after(
                shard, sample.block_index[rows] - shard.first_block, sample.peak_position[rows] + 1
            )
    for sample, tokens in zip(samples, found, strict=True):
        if np.any(tokens == _NOT_SEEN):
            block = int(sample.block_index[tokens == _NOT_SEEN][0])
            raise ShardError(
                f"block {block} was sampled, but no shard of the corpus holds it",
                "the samples are of another corpus; run the collect stage again",
            )
    return TokensAfterPeaks(found, corpus_counts)


def following_tokens(
    fired: SampledWindows,
    token_ids: Int32[np.ndarray, " row"],
    corpus_counts: Int64[np.ndarray, " token"],
    n_features: int,
    n_tokens: int,
) -> FollowingTokens:
    """Pick the tokens that follow each feature's sampled peaks most often.

    Args:
        fired: The uniform sample of one source.
        token_ids: The token after each of its peaks, -1 where there is none.
        corpus_counts: Counted tokens of each id in the corpus.
        n_features: Features of the source; one that never fires has no token.
        n_tokens: Tokens per feature at most.
    """
    is_followed = token_ids != _NO_TOKEN
    n_followed = np.bincount(fired.feature[is_followed], minlength=n_features)
    n_ids = len(corpus_counts)
    pair = np.sort(fired.feature[is_followed].astype(np.int64) * n_ids + token_ids[is_followed])
    starts = run_starts(pair)
    n_peaks = run_lengths(starts, len(pair))
    feature, token_id = np.divmod(pair[starts], max(n_ids, 1))
    # Pairs stand by (feature, token), and the order is stable: ties stay by the lower token.
    order = stable_order(as_unsigned(n_peaks.max(initial=0) - n_peaks), as_unsigned(feature))
    order = order[rank_in_run(feature[order]) < n_tokens]
    feature, token_id, n_peaks = feature[order], token_id[order], n_peaks[order]
    share = n_peaks / n_followed[feature]
    corpus_share = corpus_counts[token_id] / max(int(corpus_counts.sum()), 1)
    return FollowingTokens(
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(feature, minlength=n_features))]),
        token_id=token_id.astype(np.int32),
        n_peaks=n_peaks,
        lift=(share / corpus_share).astype(np.float32),
        n_sampled=np.bincount(fired.feature, minlength=n_features),
        n_followed=n_followed,
    )


def _tokens_after(
    shard: BlockShard, block: Int64[np.ndarray, " row"], position: Int32[np.ndarray, " row"]
) -> Int32[np.ndarray, " row"]:
    n_positions = shard.token_ids.shape[1]
    inside = np.minimum(position, n_positions - 1)
    is_token = (position < n_positions) & shard.counted[block, inside]
    tokens: Int32[np.ndarray, " row"] = np.where(is_token, shard.token_ids[block, inside], _NO_TOKEN).astype(np.int32)
    return tokens
