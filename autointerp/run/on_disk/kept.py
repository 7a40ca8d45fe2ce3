"""What the pass over the corpus kept of a feature's firing, as contexts: more than any stage takes, and before it.

1. The feature's rows of the top set and of the uniform sample, a block once, strongest first.
2. Each with its quantile among the uniform sample, as the contexts stage tells it.
3. Cut from the corpus, and read by the subject's tokenizer: neither the model nor the coder is loaded.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from autointerp.collect.windows import join_rows, narrowed, rows_of, take_rows, window_starts
from autointerp.contexts.choose import quantiles_among
from autointerp.contexts.together import Together
from autointerp.contexts.windows import cut_windows, window_context
from autointerp.records import Context, ContextKind, SourceRecord
from autointerp.records.firing import FiringTogether
from autointerp.run.session import Session, SourceSession, open_session


class KeptWindows:
    """Reads the windows that a run's pass kept.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources: dict[str, SourceSession] = {}
        self._together: dict[str, Together] = {}

    @cached_property
    def _session(self) -> Session:
        return open_session(self._folder)

    def contexts(self, feature_index: int, source_id: str) -> list[Context]:
        """The windows in which one feature fires, strongest first; kind `top` or `quantile`, of no split.

        Args:
            feature_index: The feature.
            source_id: Its source.

        Raises:
            RunError: If there is no run in the folder, or one of another version.
            ShardError: If a file is damaged.
            SubjectError: If the tokenizer can't be loaded.
        """
        source = self._source(source_id)
        samples = source.collected
        top, fired = (take_rows(kept, rows_of(kept, [feature_index])[0]) for kept in (samples.top, samples.fired))
        blocks = self._session.blocks.read(fired.block_index)
        collect = self._session.pipeline.collect
        start = window_starts(
            fired.peak_position, blocks.span_start, blocks.span_end, collect.context_length, collect.peak_fraction
        )
        both = join_rows([top, narrowed(fired, start, collect.context_length)])
        _, first = np.unique(both.block_index, return_index=True)
        order = first[np.lexsort((both.block_index[first], -both.peak[first]))]
        n_quantiles = self._session.pipeline.contexts.n_quantiles
        chosen = take_rows(both, order)
        windows = cut_windows(chosen, self._session.blocks.read(chosen.block_index))
        quantiles = quantiles_among(chosen.peak, chosen.block_index, fired.peak, fired.block_index, n_quantiles)
        kinds: list[ContextKind] = ["top" if row < len(top.feature) else "quantile" for row in order.tolist()]
        return [
            window_context(
                windows,
                row,
                source_id=source_id,
                kind=kind,
                split=None,
                quantile=quantile,
                tokens=self._session.pieces.pieces(windows.tokens_of(row)),
            )
            for row, (kind, quantile) in enumerate(zip(kinds, quantiles.tolist(), strict=True))
        ]

    def together(self, feature_index: int, source: SourceRecord, n: int) -> tuple[FiringTogether, ...]:
        """The features that fire on the same tokens as one, counted on the pool's blocks; see `contexts.together`.

        Args:
            feature_index: The feature.
            source: Its source.
            n: At most so many.

        Raises:
            As `contexts`.
        """
        if source.source_id not in self._together:
            self._together[source.source_id] = self._source(source.source_id).together(source.n_features)
        return self._together[source.source_id].of(feature_index, n)

    def _source(self, source_id: str) -> SourceSession:
        return self._sources.setdefault(source_id, SourceSession(self._session, source_id))
