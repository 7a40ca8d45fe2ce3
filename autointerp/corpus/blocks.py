"""Documents to token blocks, in shards.

1. A block is a token sequence of one document, `block_length` long. A long document is cut into consecutive blocks, a
   short one is padded on the right.
2. Special tokens stand around each block by `CorpusConfig.special_tokens`. Neither they nor padding are counted.
3. A tail (or a document) of fewer than `min_block_tokens` tokens is dropped, and the number dropped is logged.
4. Blocks are gathered into shards of `blocks_per_shard`, until `n_tokens` counted tokens are reached. The cut depends
   on the corpus alone, so any number of workers sees the same shards.
"""

from __future__ import annotations

import errno
import json
import logging
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from autointerp.config import CorpusConfig
from autointerp.errors import CorpusError, DiskFullError, ShardError
from autointerp.records import BlockShard, Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# Fast tokenizers work on a batch of texts in parallel; more would only read further ahead of what is needed.
_DOCUMENTS_PER_CALL = 64


class _Block(NamedTuple):
    document_id: str
    token_ids: list[int]  # special tokens included, padding not


class SpecialTokens(NamedTuple):
    """Token ids that stand around each block, and those that never count wherever they stand."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    uncounted: tuple[int, ...]
    padding: int


def cut_shards(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    config: CorpusConfig,
    *,
    prepend_bos: bool = False,
) -> Iterator[BlockShard]:
    """Cut documents into shards of token blocks until `config.n_tokens` counted tokens are reached.

    Args:
        documents: In corpus order; read no further than needed.
        tokenizer: The subject's.
        config: Block length, special tokens, number of tokens.
        prepend_bos: Whether the coder was trained behind a BOS token; puts one first where the tokenizer's own rule
            does not. Ignored where `special_tokens` is "none".

    Yields:
        Shards of `blocks_per_shard` blocks; the last may be shorter.

    Raises:
        CorpusError: If no document is long enough for a block, or a special token is asked for that the tokenizer
            does not have, or special tokens leave no room in a block.
    """
    special = find_special_tokens(tokenizer, config, prepend_bos=prepend_bos)
    blocks = _cut_blocks(documents, tokenizer, config, special)
    shard_index = n_blocks = n_counted = 0
    while n_counted < config.n_tokens:
        rows: list[_Block] = []
        for block in islice(blocks, config.blocks_per_shard):
            rows.append(block)
            n_counted += _count(block, special, config)
            if n_counted >= config.n_tokens:
                break
        if not rows:
            break
        yield _pack(rows, shard_index, n_blocks, special, config)
        shard_index += 1
        n_blocks += len(rows)
    if n_blocks == 0:
        raise CorpusError(
            f"no document of the corpus has {config.min_block_tokens} tokens",
            "give more text, or lower corpus.min_block_tokens",
        )
    if n_counted < config.n_tokens:
        logger.warning("corpus: %d tokens in all, of %d asked for", n_counted, config.n_tokens)


def find_special_tokens(
    tokenizer: PreTrainedTokenizerBase, config: CorpusConfig, *, prepend_bos: bool = False
) -> SpecialTokens:
    """Work out which special tokens stand around each block.

    The tokenizer's own rule is read off an encoding, because tokenizers differ in where they keep it.

    Raises:
        CorpusError: If a BOS token is needed and there is none, or no room is left in a block.
    """
    before: list[int] = []
    after: list[int] = []
    if config.special_tokens == "tokenizer":
        plain = tokenizer.encode("a", add_special_tokens=False)
        full = tokenizer.encode("a", add_special_tokens=True)
        start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
        before, after = full[:start], full[start + len(plain) :]
    if config.special_tokens == "bos" or (prepend_bos and config.special_tokens == "tokenizer"):
        if tokenizer.bos_token_id is None and not before:
            raise CorpusError("the tokenizer has no BOS token", 'set corpus.special_tokens = "tokenizer" or "none"')
        if not before:
            before = [tokenizer.bos_token_id]
    if len(before) + len(after) + config.min_block_tokens > config.block_length:
        raise CorpusError(
            f"corpus.block_length = {config.block_length} has no room for corpus.min_block_tokens = "
            f"{config.min_block_tokens} tokens and {len(before) + len(after)} special ones",
            "raise corpus.block_length",
        )
    # UNK stands for text and counts; a [SEP] written out in the text is still the model's separator and does not.
    roles = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.pad_token_id,
    )
    uncounted = sorted({*before, *after, *(role for role in roles if role is not None)})
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return SpecialTokens(tuple(before), tuple(after), tuple(uncounted), padding)


def _cut_blocks(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, config: CorpusConfig, special: SpecialTokens
) -> Iterator[_Block]:
    room = config.block_length - len(special.before) - len(special.after)
    n_dropped = 0
    remaining = iter(documents)
    while batch := list(islice(remaining, _DOCUMENTS_PER_CALL)):
        encoded = tokenizer(
            [document.text for document in batch],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        for document, token_ids in zip(batch, encoded["input_ids"], strict=True):
            for start in range(0, len(token_ids), room):
                content = token_ids[start : start + room]
                if len(content) < config.min_block_tokens:
                    n_dropped += 1
                else:
                    yield _Block(document.document_id, [*special.before, *content, *special.after])
    logger.info("corpus: %d tails of under %d tokens dropped", n_dropped, config.min_block_tokens)


def _count(block: _Block, special: SpecialTokens, config: CorpusConfig) -> int:
    if config.count_special:
        return len(block.token_ids)
    return sum(1 for token_id in block.token_ids if token_id not in special.uncounted)


def _pack(
    rows: list[_Block], shard_index: int, first_block: int, special: SpecialTokens, config: CorpusConfig
) -> BlockShard:
    token_ids = np.full((len(rows), config.block_length), special.padding, dtype=np.int32)
    n_tokens = np.array([len(row.token_ids) for row in rows], dtype=np.int32)
    for number, row in enumerate(rows):
        token_ids[number, : len(row.token_ids)] = row.token_ids
    counted = np.arange(config.block_length)[None, :] < n_tokens[:, None]
    if not config.count_special:
        counted &= ~np.isin(token_ids, special.uncounted)
    places: dict[str, int] = {}
    document_index = np.array([places.setdefault(row.document_id, len(places)) for row in rows], dtype=np.int32)
    return BlockShard(
        shard_index=shard_index,
        first_block=first_block,
        token_ids=token_ids,
        n_tokens=n_tokens,
        counted=counted,
        document_index=document_index,
        document_ids=tuple(places),
    )


def save_shard(shard: BlockShard, path: Path) -> None:
    """Write a shard to one `.npz` file; the file has its name only once it is whole.

    Raises:
        DiskFullError: If there is no space left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    document_ids = json.dumps(shard.document_ids, ensure_ascii=False).encode()
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                place=np.array([shard.shard_index, shard.first_block], dtype=np.int64),
                token_ids=shard.token_ids,
                n_tokens=shard.n_tokens,
                counted=shard.counted,
                document_index=shard.document_index,
                document_ids=np.frombuffer(document_ids, dtype=np.uint8),
            )
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"no space left for {path}", "free some, or set `runs` to another disk") from error
        raise


def load_shard(path: Path) -> BlockShard:
    """Read a shard back.

    Raises:
        ShardError: If the file is missing or damaged.
    """
    try:
        # opened here, because np.load leaves a damaged file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            shard_index, first_block = arrays["place"].tolist()
            return BlockShard(
                shard_index=shard_index,
                first_block=first_block,
                token_ids=arrays["token_ids"],
                n_tokens=arrays["n_tokens"],
                counted=arrays["counted"],
                document_index=arrays["document_index"],
                document_ids=tuple(json.loads(arrays["document_ids"].tobytes())),
            )
    except FileNotFoundError as error:
        raise ShardError(f"the shard {path} is missing", "run the corpus stage again") from error
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise ShardError(f"the shard {path} is damaged", "remove it and run the corpus stage again") from error
