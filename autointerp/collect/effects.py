"""What each feature may lead to: which tokens follow its peaks, and what its direction promotes.

The collect stage asks for it once the pass over the corpus is merged, for all sources of one subject together, and puts
it into the features' rows.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from autointerp.collect.following import FollowingTokens, following_tokens, tokens_after_peaks
from autointerp.records import BlockShard, SampledWindows
from autointerp.subject.coder import Coder
from autointerp.subject.logits import (
    ExtremeLogits,
    NoLogits,
    Unembedding,
    extreme_logits,
    find_projection,
    find_unembedding,
)
from autointerp.subject.model import Subject

if TYPE_CHECKING:
    from autointerp.config import CollectConfig
    from autointerp.corpus.pieces import TokenPieces

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceEffects:
    """The effects of every feature of one source, as arrays.

    Attributes:
        following: What follows the peaks of the uniform sample.
        logits: What the directions promote, or why nothing is known of it.
        occurrences: Counted tokens of each id in the corpus, the same of all sources.
    """

    following: FollowingTokens
    logits: ExtremeLogits | NoLogits
    occurrences: Int64[np.ndarray, " token"]

    @property
    def no_logits(self) -> str | None:
        """Why no feature has logits; None where they have."""
        return self.logits.reason if isinstance(self.logits, NoLogits) else None


def gather_effects(
    subject: Subject,
    coders: Sequence[Coder],
    samples: Sequence[SampledWindows],
    shards: Iterable[BlockShard],
    n_tokens: int,
    settings: "CollectConfig",
) -> list[SourceEffects]:
    """Gather the effects of several sources of one subject.

    Reads the tokens of the corpus once, and runs no model. The projection onto the vocabulary takes about as long as
    encoding a text of as many tokens as the vocabulary has; `settings.n_logits = 0` leaves it out.

    Args:
        subject: The model.
        coders: One a source.
        samples: The uniform sample `fired` of each source.
        shards: All of the corpus, each once; one is held at a time.
        n_tokens: Tokens in the vocabulary.
        settings: How many tokens are listed.

    Returns:
        One a source, in the order given.

    Raises:
        ShardError: If the shards lack a sampled block, or one can't be read.
    """
    after = tokens_after_peaks(samples, shards)
    unembedding = find_unembedding(subject) if settings.n_logits else NoLogits("collect.n_logits is 0")
    effects = []
    for coder, fired, tokens in zip(coders, samples, after.token_ids, strict=True):
        following = following_tokens(fired, tokens, after.corpus_counts, coder.n_features, settings.n_following_tokens)
        logits = (
            unembedding
            if isinstance(unembedding, NoLogits)
            else _project(subject, coder, unembedding, n_tokens, settings.n_logits)
        )
        if isinstance(logits, NoLogits):
            logger.info("%s: no logits: %s", coder.origin, logits.reason)
        effects.append(SourceEffects(following, logits, after.corpus_counts))
    return effects


def token_texts(pieces: "TokenPieces") -> tuple[str, ...]:
    """Each token as it is shown by itself.

    Args:
        pieces: Of the subject's vocabulary.
    """
    return tuple(pieces.shown_alone(token_id) for token_id in range(pieces.n_tokens))


def _project(
    subject: Subject, coder: Coder, unembedding: Unembedding, n_tokens: int, n_logits: int
) -> ExtremeLogits | NoLogits:
    does_not_say = coder.is_transcoder and coder.hook_name_out is None
    projection = find_projection(subject, None if does_not_say else coder.hook_name_out or coder.hook_name)
    if isinstance(projection, NoLogits):
        return projection
    return extreme_logits(coder.decoder, projection, unembedding, n_tokens, n_logits)
