"""What text a model can read at all: tokens that it has an embedding for, in blocks no longer than its positions.

Sizes are those of the weights. A tokenizer or a config may say others: padding added to the tokenizer of a model that
was never resized, a tokenizer of another model, a context that was cut down.
"""

import logging
from typing import Any

from jaxtyping import Int
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subject.families import FAMILIES
from autointerp.subject.model import Subject

logger = logging.getLogger(__name__)

# Of a block, what stands where nothing is read; any token that every model has.
_MASKED = 0


def n_embedded(subject: Subject) -> int:
    """Tokens that the model has an embedding for: those of the ids below."""
    model: Any = subject.model
    return int(model.get_input_embeddings().weight.shape[0])


def window_of(subject: Subject) -> int | None:
    """Tokens that the model reads at once by its config; None where that does not say."""
    model: Any = subject.model
    n_trained = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return n_trained if isinstance(n_trained, int) else None


def check_text(subject: Subject, block_length: int) -> None:
    """See that the model can read its tokenizer's words, in blocks of a length.

    Added tokens, such as padding, may lack an embedding: texts in which they are written out are left to the caller.
    That blocks are longer than those of the model's training is told, where the model computes positions.

    Raises:
        SubjectError: If words of the vocabulary have no embedding, or a block has more positions than the model.
    """
    n_rows, vocabulary = n_embedded(subject), subject.tokenizer.get_vocab()
    added = subject.tokenizer.added_tokens_decoder
    beyond = {i: token for token, i in vocabulary.items() if i >= n_rows and i not in added}
    if beyond:
        first = min(beyond)
        raise SubjectError(
            f"the tokenizer of the model {subject.name} has {len(vocabulary):,} tokens, and its embedding {n_rows:,} "
            f"rows: none for {beyond[first]!r} ({first})",
            "save the tokenizer beside the model that it was trained with",
        )
    _check_length(subject, block_length)
    n_trained = window_of(subject)
    if n_trained is not None and n_trained < block_length:
        logger.warning(
            "corpus.block_length = %d, and the config of the model %s says that it reads %d tokens at once",
            block_length,
            subject.name,
            n_trained,
        )


def readable_tokens(
    subject: Subject, token_ids: Int[Tensor, "block position"], attention_mask: Int[Tensor, "block position"]
) -> Int[Tensor, "block position"]:
    """Blocks as the model can read them: where they are masked, a token that it has an embedding for.

    An id without one would end in an IndexError, and on a GPU in an assertion that names nothing.

    Raises:
        SubjectError: If another token has no embedding, or a block has more positions than the model.
    """
    token_ids = token_ids.masked_fill(attention_mask.to(token_ids.device) == 0, _MASKED)
    n_rows = n_embedded(subject)
    if token_ids.numel() and int(highest := token_ids.max()) >= n_rows:
        token = subject.tokenizer.convert_ids_to_tokens(int(highest))
        raise SubjectError(
            f"the model {subject.name} has an embedding of {n_rows:,} rows, none for the token {token!r} "
            f"({int(highest)}), which stands in the corpus",
            "run the corpus stage again, with the tokenizer that the model was trained with",
        )
    _check_length(subject, token_ids.shape[1])
    return token_ids


def _check_length(subject: Subject, n_positions: int) -> None:
    family = FAMILIES.get(subject.family)
    if family is None or family.position_embedding is None:
        return
    model: Any = subject.model
    # Of a model with a head on it, its positions are those of what is below.
    embedding: Any = getattr(model, "base_model", model).get_submodule(family.position_embedding)
    if n_positions > (n_rows := int(embedding.weight.shape[0])):
        raise SubjectError(
            f"the model {subject.name} has {n_rows:,} positions, and a block {n_positions:,}",
            f"set corpus.block_length to {n_rows} or less",
        )
