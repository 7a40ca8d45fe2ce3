"""Why a feature has too few contexts to be explained and scored, and what its user can do about it."""

from typing import NamedTuple

import numpy as np

from autointerp.config import ContextsConfig
from autointerp.contexts.choose import Candidates


class Lack(NamedTuple):
    """Why a feature has too few contexts.

    Attributes:
        error_type: `TooFewContexts`, `TooFewDocuments` or `RepeatedContexts`.
        message: One line, with what to do.
    """

    error_type: str
    message: str


def why_too_few(
    candidates: Candidates, n_explain: int, n_score: int, n_active_blocks: int, config: ContextsConfig
) -> Lack:
    """Tell which of its causes a lack of contexts has.

    - `RepeatedContexts`: there are enough windows on both sides, but they nearly repeat each other.
    - `TooFewDocuments`: it fires in enough blocks, but of fewer groups of documents than it needs contexts, and a
      group is of one split.
    - `TooFewContexts`: it fires in too few blocks, or they happen to lie on one side.

    Args:
        candidates: The feature's sampled windows, with the splits of their documents.
        n_explain: Its explain contexts.
        n_score: Its score contexts.
        n_active_blocks: Blocks of the corpus in which it fires.
        config: How many are needed.
    """
    windows, splits = candidates.windows, candidates.splits
    rows = np.concatenate([candidates.top_rows, candidates.fired_rows]).tolist()
    n_groups = len({windows.group_ids[row] for row in rows})
    n_documents = len({windows.document_ids[row] for row in rows})
    explain = {int(windows.block_index[row]) for row in rows if splits[row] == "explain"}
    n_able_to_score = sum(splits[row] == "score" for row in candidates.fired_rows.tolist())
    n_needed = config.min_explain + config.min_score
    found = (
        f"{n_explain} explain and {n_score} score contexts, where {config.min_explain} and {config.min_score} are "
        f"needed; it fires in {n_active_blocks} blocks"
    )
    if len(explain) >= config.min_explain and n_able_to_score >= config.min_score:
        return Lack(
            "RepeatedContexts",
            f"{found}, {len(explain)} and {n_able_to_score} of which were sampled, but a context that nearly repeats "
            "another does not count: give more varied text, or raise contexts.near_duplicate",
        )
    if n_active_blocks >= n_needed > n_groups:
        groups = "1 group" if n_groups == 1 else f"{n_groups} groups"
        documents = "1 document" if n_documents == 1 else f"{n_documents} documents"
        return Lack(
            "TooFewDocuments",
            f"{found}, sampled from {documents}, each of which is for one of the two only: give text of more documents"
            if n_groups == n_documents
            else f"{found}, sampled from {documents} of {groups} (source files or another group), each of which is for "
            'one of the two only: give text of more groups, or set corpus.groups = "document"',
        )
    less = "lower contexts.min_explain and contexts.min_score"
    less = f"lower contexts.select_share, or {less}" if config.select_share > 0.0 else less
    return Lack("TooFewContexts", f"{found}: give more text (corpus.n_tokens), or {less}")
