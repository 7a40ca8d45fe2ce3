"""Documents to token blocks, in shards.

1. A block is a token sequence of one document, `block_length` long. A long document is cut into consecutive blocks, a
   short one is padded on the right.
2. Special tokens stand around each block by the rule of `corpus.special`. Neither they nor padding are counted.
3. A tail of fewer than `min_block_tokens` tokens is dropped, and so is one without any counted token. A document of
   which nothing is left is rejected, with its reason in the counts; so is one with a token that the subject has no
   embedding for, as an added token may be that is written out in a text. Where the first `MOST_UNFIT` are all rejected,
   it is told, and of a stream no more are read.
4. Pieces of the first documents' tokens, as contexts will show them, are compared with their texts: of a tokenizer that
   nobody can read a run would be paid for in vain.
5. Blocks are gathered into shards of `blocks_per_shard`, until `n_tokens` counted tokens are reached. The cut depends
   on the corpus alone, so any number of workers sees the same shards.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from autointerp.config import CorpusConfig
from autointerp.corpus.counts import MOST_UNFIT, DocumentCounts
from autointerp.corpus.long_text import MOST_CHARACTERS, PART_CHARACTERS, iter_token_ids
from autointerp.corpus.pieces import TokenPieces, share_found
from autointerp.corpus.sources.rows import is_stream
from autointerp.corpus.special import SpecialTokens, find_special_tokens
from autointerp.corpus.vocabulary import count_ids
from autointerp.errors import CorpusError
from autointerp.records import BlockShard, Document
from autointerp.records.corpus import TokenizedDocument

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# Fast tokenizers work on a batch of texts in parallel; more would only read further ahead of what is needed.
_DOCUMENTS_PER_CALL = 64
# Tokenizing takes a hundred bytes a character and more. Longer texts are tokenized by themselves, in parts.
_CHARACTERS_PER_CALL = PART_CHARACTERS
_LEAST_SHARE_FOUND = 0.5
_EXCERPT_TOKENS = 8
_EXCERPT_CHARACTERS = 60


class _Block(NamedTuple):
    document_id: str
    group_id: str
    token_ids: list[int]  # special tokens included, padding not
    n_counted: int


def cut_shards(
    documents: Iterable[Document | TokenizedDocument],
    tokenizer: PreTrainedTokenizerBase,
    config: CorpusConfig,
    *,
    prepend_bos: bool | None = None,
    counts: DocumentCounts | None = None,
    n_embedded: int | None = None,
) -> Iterator[BlockShard]:
    """Cut documents into shards of token blocks until `config.n_tokens` counted tokens are reached.

    Args:
        documents: In corpus order; read no further than needed.
        tokenizer: The subject's.
        config: Block length, special tokens, number of tokens.
        prepend_bos: Whether the coder was trained on blocks that begin with a BOS token, None where it does not say;
            decides where `special_tokens` is "tokenizer".
        counts: Gets the documents that gave blocks and those that are rejected, as far as they were read.
        n_embedded: Tokens that the subject has an embedding for, those of the ids below; None for all.

    Yields:
        Shards of `blocks_per_shard` blocks; the last may be shorter.

    Raises:
        CorpusError: If no document is long enough for a block (of a stream: none of the first `MOST_UNFIT`), or a
            special token is asked for that the tokenizer or the subject's embedding does not have, or special tokens
            leave no room in a block.
    """
    special = find_special_tokens(tokenizer, config, prepend_bos=prepend_bos)
    n_embedded = count_ids(tokenizer) if n_embedded is None else n_embedded
    if strange := [i for i in (*special.before, *special.after) if i >= n_embedded]:
        raise CorpusError(
            f"the subject has no embedding for {tokenizer.convert_ids_to_tokens(strange[0])!r} ({strange[0]}), which "
            f"stands around each block ({special.reason})",
            'set corpus.special_tokens = "none"',
        )
    cutter = _Cutter(tokenizer, config, special, counts or DocumentCounts(), n_embedded)
    blocks = cutter.cut(documents)
    shard_index = n_blocks = n_counted = 0
    while n_counted < config.n_tokens:
        rows: list[_Block] = []
        for block in islice(blocks, config.blocks_per_shard):
            rows.append(block)
            n_counted += block.n_counted
            if n_counted >= config.n_tokens:
                break
        if not rows:
            break
        yield _pack(rows, shard_index, n_blocks, special, config)
        shard_index += 1
        n_blocks += len(rows)
    if n_blocks == 0:
        raise cutter.nothing_left()
    if n_counted < config.n_tokens:
        logger.warning("corpus: %d tokens in all, of %d asked for", n_counted, config.n_tokens)


class _Cutter:
    """Cuts documents into blocks, and remembers what became of those that gave none."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: CorpusConfig,
        special: SpecialTokens,
        counts: DocumentCounts,
        n_embedded: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._config = config
        self._special = special
        self._counts = counts
        self._n_embedded = n_embedded
        self._lacks_embeddings = count_ids(tokenizer) > n_embedded
        self._example: str | None = None  # of a document left out for a token without an embedding
        self._room = config.block_length - len(special.before) - len(special.after)
        self._is_checked = False  # whether the first tokens were compared with what they are to be
        self._n_unembedded = 0
        self._n_read = 0  # with an embedding for each token
        self._longest = 0

    def cut(self, documents: Iterable[Document | TokenizedDocument]) -> Iterator[_Block]:
        n_before = self._counts.n_documents
        is_told = False
        for batch in _batches(documents):
            if isinstance(batch, TokenizedDocument):
                yield from self._cut_tokenized(batch)
            elif len(batch[0].text) > _CHARACTERS_PER_CALL:
                yield from self._cut_long(batch[0])
            else:
                yield from self._cut_batch(batch)
            is_unfit = self._counts.n_documents == n_before and self._n_read + self._n_unembedded >= MOST_UNFIT
            if is_unfit and not is_told:
                error = self.nothing_left(is_at_end=False)
                if is_stream(self._config):
                    raise error
                logger.warning("corpus: %s; reading on to the end", error.problem)
                is_told = True

    def _cut_tokenized(self, document: TokenizedDocument) -> Iterator[_Block]:
        if not self._is_checked:
            self._warn_of_others_tokens(document)
        token_ids = list(document.token_ids)
        if self._is_embedded(document.document_id, [token_ids]):
            yield from self._cut_one(document, [token_ids])

    def _cut_batch(self, documents: list[Document]) -> Iterator[_Block]:
        encoded = self._tokenizer(
            [document.text for document in documents],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        if not self._is_checked:
            self._check_readable(documents, encoded["input_ids"])
        for document, token_ids in zip(documents, encoded["input_ids"], strict=True):
            if self._is_embedded(document.document_id, [token_ids]):
                yield from self._cut_one(document, [token_ids])

    def _cut_long(self, document: Document) -> Iterator[_Block]:
        parts = iter_token_ids(self._tokenizer, document.text)
        if not self._is_checked:
            first = next(parts)
            self._check_readable([document], [first])
            parts = chain([first], parts)
        if self._lacks_embeddings:
            # The last may be without, so all are had before the first is cut: in four bytes each, as the text takes.
            held: list[array[int]] = []
            if not self._is_embedded(document.document_id, _holding(parts, held)):
                return
            parts = (part.tolist() for part in held)
        yield from self._cut_one(document, parts)

    def _is_embedded(self, document_id: str, parts: Iterable[list[int]]) -> bool:
        """Whether the subject has an embedding for every token of a document; one that it can't read is rejected."""
        if not self._lacks_embeddings:
            return True
        strange = next((i for part in parts for i in part if i >= self._n_embedded), None)
        if strange is None:
            return True
        token = self._tokenizer.convert_ids_to_tokens(strange)
        example = f"{document_id} has {token!r} ({strange}), and the subject's embedding {self._n_embedded:,} rows"
        self._example = self._example or example
        self._n_unembedded += 1
        self._counts.reject("with a token that has no embedding", example)
        return False

    def _check_readable(self, documents: Sequence[Document], token_ids: Sequence[list[int]]) -> None:
        self._is_checked = True
        # What stands for no text, or for text that the vocabulary does not have.
        passed_over = self._special.uncounted | {self._tokenizer.unk_token_id}
        pieces = TokenPieces(self._tokenizer)
        kept = [[i for i in of_document if i not in passed_over] for of_document in token_ids]
        shown = "".join(piece for of_document in kept for piece in pieces.pieces(of_document))
        # Of a long document the first part is compared, which may be as long as parts become.
        text = "".join(document.text[:MOST_CHARACTERS] for document in documents)
        if share_found(shown, text) < _LEAST_SHARE_FOUND:
            number = next(i for i, of_document in enumerate(kept) if of_document)
            excerpt = "".join(pieces.pieces(kept[number][:_EXCERPT_TOKENS]))
            raise CorpusError(
                f"the tokens of {documents[number].document_id} read as {excerpt!r}, which is not its text",
                "give the tokenizer.json of the model a decoder, as its own library writes it",
            )

    def _warn_of_others_tokens(self, document: TokenizedDocument) -> None:
        self._is_checked = True
        token_ids = [i for i in document.token_ids if i not in self._special.uncounted]
        text = "".join(TokenPieces(self._tokenizer).pieces(token_ids))
        again = Counter(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if (again & Counter(token_ids)).total() < _LEAST_SHARE_FOUND * len(token_ids):
            logger.warning(
                "corpus: the tokens of %s read as %r; if that is no text, the subject's tokenizer did not make them",
                document.document_id,
                text[:_EXCERPT_CHARACTERS],
            )

    def nothing_left(self, *, is_at_end: bool = True) -> CorpusError:
        """Why no document gave a block: none there is, or none of the first."""
        least = self._config.min_block_tokens
        n_first = self._n_read + self._n_unembedded
        none = "no document of the corpus" if is_at_end else f"none of the first {n_first:,} documents of the corpus"
        if self._n_read == 0 and self._example is not None:
            return CorpusError(
                f"the subject can read {none}: {self._example}",
                "give other text, or the tokenizer that the model was trained with",
            )
        if self._longest >= least:
            return CorpusError(
                f"{none} has {least} tokens, special ones aside",
                "give other text, lower corpus.min_block_tokens, or set corpus.count_special = true",
            )
        found = f" (the longest of {self._n_read} has {self._longest})" if self._n_read else ""
        return CorpusError(f"{none} has {least} tokens{found}", "give more text, or lower corpus.min_block_tokens")

    def _cut_one(self, document: Document | TokenizedDocument, parts: Iterable[list[int]]) -> Iterator[_Block]:
        document_id, group_id = document.document_id, document.group_id
        self._n_read += 1
        n_tokens = n_blocks = n_dropped = 0
        for content in cut_contents(parts, self._special, self._room):
            n_tokens += len(content)
            n_counted = self._count(content)
            if len(content) < self._config.min_block_tokens or n_counted == 0:
                n_dropped += 1
                continue
            if n_blocks == 0:
                self._counts.n_documents += 1
            n_blocks += 1
            block = [*self._special.before, *content, *self._special.after]
            yield _Block(document_id, group_id, block, len(block) if self._config.count_special else n_counted)
        self._longest = max(self._longest, n_tokens)
        if n_blocks:
            self._counts.n_tails += n_dropped
        elif n_tokens < self._config.min_block_tokens:
            least = self._config.min_block_tokens
            self._counts.reject("too short", f"{document_id} has {n_tokens} of {least} tokens")
        else:
            self._counts.reject("only special tokens", f"{document_id} has nothing beside {n_tokens} of them")

    def _count(self, content: list[int]) -> int:
        if self._config.count_special:
            return len(content)
        return sum(token_id not in self._special.uncounted for token_id in content)


def cut_contents(parts: Iterable[list[int]], special: SpecialTokens, room: int) -> Iterator[list[int]]:
    """What goes into each block of a document between its special tokens; the last may be shorter.

    Args:
        parts: The document's tokens, in consecutive parts.
        special: What stands around each block; a document that begins or ends with it gets no second ones.
        room: Tokens between them.
    """
    kept: list[int] = []
    n_before, n_after = len(special.before), len(special.after)
    at_start = True
    for part in parts:
        kept = kept + part
        if len(kept) < n_before + room + n_after:
            continue
        if at_start:
            kept, at_start = special.strip_start(kept), False
        # Its last tokens may be those that stand behind a block anyway.
        n_full = (len(kept) - n_after) // room * room
        yield from (kept[start : start + room] for start in range(0, n_full, room))
        kept = kept[n_full:]
    kept = special.strip_end(special.strip_start(kept) if at_start else kept)
    yield from (kept[start : start + room] for start in range(0, len(kept), room))


def _holding(parts: Iterable[list[int]], held: list[array[int]]) -> Iterator[list[int]]:
    """The parts, each of which is kept in a list while it is given."""
    for part in parts:
        held.append(array("i", part))
        yield part


def _batches(documents: Iterable[Document | TokenizedDocument]) -> Iterator[list[Document] | TokenizedDocument]:
    """Documents to tokenize together; one that is longer than they may be together, or needs none of it, is alone."""
    batch: list[Document] = []
    n_characters = 0
    for document in documents:
        if isinstance(document, TokenizedDocument):
            yield document
            continue
        n_characters += len(document.text)
        if batch and n_characters > _CHARACTERS_PER_CALL:
            yield batch
            batch, n_characters = [], len(document.text)
        batch.append(document)
        if len(batch) == _DOCUMENTS_PER_CALL or n_characters > _CHARACTERS_PER_CALL:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch


def _pack(
    rows: list[_Block], shard_index: int, first_block: int, special: SpecialTokens, config: CorpusConfig
) -> BlockShard:
    token_ids = np.full((len(rows), config.block_length), special.padding, dtype=np.int32)
    n_tokens = np.array([len(row.token_ids) for row in rows], dtype=np.int32)
    for number, row in enumerate(rows):
        token_ids[number, : len(row.token_ids)] = row.token_ids
    counted = np.arange(config.block_length)[None, :] < n_tokens[:, None]
    if not config.count_special:
        counted &= ~np.isin(token_ids, sorted(special.uncounted))
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
        group_ids=tuple({row.document_id: row.group_id for row in rows}.values()),
    )
