"""Which special tokens stand around each block, and which tokens don't count.

| `special_tokens` | first in every block                                                    | last              |
|------------------|-------------------------------------------------------------------------|-------------------|
| tokenizer        | the tokenizer's own; with BOS where the coder was trained behind one,   | the tokenizer's   |
|                  | without where it was trained without, whatever the tokenizer does       |                   |
| bos              | BOS                                                                     |                   |
| none             |                                                                         |                   |

1. SAELens trains a coder with `prepend_bos` on blocks that each begin with BOS, also in the middle of a document, and
   one without it on blocks to which the tokenizer adds none. The same is done here, so that activations are those of
   training. A tokenizer without BOS lends its EOS, as in TransformerLens, with which SAELens trains.
2. A document that already begins (or ends) with these tokens, as one from a chat template may, gets no second ones.
3. A token does not count if the tokenizer calls it special: its `all_special_ids`, and added tokens with the flag
   `special` (Llama 3 lists `<|start_header_id|>` in that way only). UNK stands for text and counts, unless it has
   another of the roles below; that a token was written out in the text makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.config import CorpusConfig
from autointerp.errors import CorpusError
from autointerp.records.corpus import SpecialToken, SpecialTokenRule

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Special tokens as ids.

    Attributes:
        before: First in every block.
        after: Last in every block.
        uncounted: Those that don't count, wherever they stand.
        padding: Fills a block that is not full.
        reason: Why `before` is what it is.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    uncounted: frozenset[int]
    padding: int
    reason: str

    def strip_start(self, token_ids: list[int]) -> list[int]:
        """A document's first tokens without those that will stand before its blocks anyway."""
        n_before = len(self.before)
        return token_ids[n_before:] if self.before and tuple(token_ids[:n_before]) == self.before else token_ids

    def strip_end(self, token_ids: list[int]) -> list[int]:
        """A document's last tokens without those that will stand behind its blocks anyway."""
        n_after = len(self.after)
        return token_ids[:-n_after] if self.after and tuple(token_ids[-n_after:]) == self.after else token_ids


def find_special_tokens(
    tokenizer: PreTrainedTokenizerBase, config: CorpusConfig, *, prepend_bos: bool | None = None
) -> SpecialTokens:
    """Work out which special tokens stand around each block, and which tokens don't count.

    Args:
        tokenizer: The subject's.
        config: The rule asked for.
        prepend_bos: Whether the coder was trained on blocks that begin with BOS; None where it does not say.

    Raises:
        CorpusError: If a BOS token is needed and there is none, or no room is left in a block.
    """
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    reason = f'corpus.special_tokens = "{config.special_tokens}"'
    if config.special_tokens == "bos":
        before = (_bos(tokenizer, remedy='set corpus.special_tokens = "tokenizer" or "none"'),)
    elif config.special_tokens == "tokenizer":
        before, after = _tokenizers_own(tokenizer)
        reason = "the tokenizer's own rule"
        if prepend_bos and not before:
            before = (_bos(tokenizer, remedy='set corpus.special_tokens = "none"'),)
            reason = "the coder was trained behind a BOS token"
        elif prepend_bos is False and tokenizer.bos_token_id in before:
            before = tuple(token_id for token_id in before if token_id != tokenizer.bos_token_id)
            reason = "the coder was trained without a BOS token"
    n_special = len(before) + len(after)
    if n_special + config.min_block_tokens > config.block_length:
        raise CorpusError(
            f"corpus.block_length = {config.block_length} has no room for corpus.min_block_tokens = "
            f"{config.min_block_tokens} tokens and {n_special} special ones",
            "raise corpus.block_length",
        )
    uncounted = frozenset({*before, *after, *_special_ids(tokenizer)})
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return SpecialTokens(before, after, uncounted, padding, reason)


def describe_special_tokens(
    tokenizer: PreTrainedTokenizerBase, config: CorpusConfig, *, prepend_bos: bool | None = None
) -> SpecialTokenRule:
    """The rule in force as a record, with each token's text.

    Args:
        tokenizer: As for `find_special_tokens`.
        config: The same.
        prepend_bos: The same.

    Raises:
        CorpusError: As `find_special_tokens` does.
    """
    special = find_special_tokens(tokenizer, config, prepend_bos=prepend_bos)

    def named(token_ids: tuple[int, ...]) -> tuple[SpecialToken, ...]:
        return tuple(SpecialToken(i, str(tokenizer.convert_ids_to_tokens(i))) for i in token_ids)

    return SpecialTokenRule(
        setting=config.special_tokens,
        coder_prepends_bos=prepend_bos,
        reason=special.reason,
        before=named(special.before),
        after=named(special.after),
        counts_special=config.count_special,
        uncounted=named(tuple(sorted(special.uncounted))),
    )


def _tokenizers_own(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts around a text; read off an encoding, because tokenizers differ in where they keep it."""
    plain = tokenizer.encode("a", add_special_tokens=False)
    full = tokenizer.encode("a", add_special_tokens=True)
    start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
    return tuple(full[:start]), tuple(full[start + len(plain) :])


def _bos(tokenizer: PreTrainedTokenizerBase, *, remedy: str) -> int:
    token_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token_id is None:
        raise CorpusError("the tokenizer has no BOS token, and no EOS token to stand for it", remedy)
    return int(token_id)


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    flagged = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    roles = {
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.pad_token_id,
    }
    special = {*tokenizer.all_special_ids, *flagged}
    return special - ({tokenizer.unk_token_id} - roles)
