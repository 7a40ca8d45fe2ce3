"""The frozen records that cross from one stage to the next.

Words: a *block* is a fixed-length token sequence of one document of the corpus; a *context* is a window of a block
with one feature's activation at each token. Activations are in the coder's own units. Shapes are written in jaxtyping's
form: a name in a shape is an axis, the same name in one record is the same length. Index dtypes are int32 where a
model or a coder bounds them, int64 where the corpus does.
"""

from autointerp.records.collect import (
    Collected,
    FeatureStatistics,
    Pool,
    RowFirings,
    SampledWindows,
    TokenCounts,
)
from autointerp.records.contexts import (
    ACTIVE_KINDS,
    MADE_KINDS,
    SCORER_KINDS,
    SILENT_KINDS,
    Context,
    ContextKind,
    FeatureContexts,
    Split,
)
from autointerp.records.corpus import BlockShard, Document
from autointerp.records.filter import EVERY_FEATURE, FeatureFilter, KnownNames
from autointerp.records.firing import FiringNeighbor, FiringNeighbors, FiringPlace
from autointerp.records.labels import (
    Explanation,
    Failure,
    FeatureEvidence,
    FollowingToken,
    Score,
    ScoreWithTrials,
    Sibling,
    Side,
    TokenCount,
    TokenLogit,
    Trial,
    Usage,
    total_cost,
)
from autointerp.records.store import FeatureRecord, FeatureStatus, Neighbor, SearchHit, SourceRecord
from autointerp.records.tokens import TOKEN_ORDERS, InputToken, NextToken, TokenOrder, input_tokens, next_tokens

__all__ = [
    "ACTIVE_KINDS",
    "EVERY_FEATURE",
    "MADE_KINDS",
    "SCORER_KINDS",
    "SILENT_KINDS",
    "TOKEN_ORDERS",
    "BlockShard",
    "Collected",
    "Context",
    "ContextKind",
    "Document",
    "Explanation",
    "Failure",
    "FeatureContexts",
    "FeatureEvidence",
    "FeatureFilter",
    "FeatureRecord",
    "FeatureStatistics",
    "FeatureStatus",
    "FiringNeighbor",
    "FiringNeighbors",
    "FiringPlace",
    "FollowingToken",
    "InputToken",
    "KnownNames",
    "Neighbor",
    "NextToken",
    "Pool",
    "RowFirings",
    "SampledWindows",
    "Score",
    "ScoreWithTrials",
    "SearchHit",
    "Sibling",
    "Side",
    "SourceRecord",
    "Split",
    "TokenCount",
    "TokenCounts",
    "TokenLogit",
    "TokenOrder",
    "Trial",
    "Usage",
    "input_tokens",
    "next_tokens",
    "total_cost",
]
