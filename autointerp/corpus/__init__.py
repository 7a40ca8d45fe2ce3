"""Text sources to documents to token blocks."""

from autointerp.corpus.blocks import cut_shards
from autointerp.corpus.counts import DocumentCounts
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.shard_files import load_shard, save_shard
from autointerp.corpus.sources.documents import iter_documents, iter_tokenized

__all__ = [
    "DocumentCounts",
    "TokenPieces",
    "cut_shards",
    "iter_documents",
    "iter_tokenized",
    "load_shard",
    "save_shard",
]
