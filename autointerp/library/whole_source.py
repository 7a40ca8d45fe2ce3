"""What runs tell of all features of a source at once."""

import time
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

from autointerp.errors import FileError, file_error
from autointerp.records.feature_table import (
    DensityScores,
    FeatureTable,
    SourceOverview,
    StateCounts,
    TableQuery,
    TableState,
)

if TYPE_CHECKING:
    from autointerp.records.label_map import LabelMap
    from autointerp.store.reader import Reader

EVERY_ROW = TableQuery()
_TOLD_AGAIN = 20


class WholeSourceRun(ABC):
    """A run whose sources are looked at as a whole."""

    reader: "Reader"

    def feature_table(self, asked: TableQuery = EVERY_ROW, source_id: str | None = None) -> FeatureTable:
        """One page of the table of a source's features: sorted, filtered, and counted.

        Args:
            asked: Which features, in which order; the first 50 by default.
            source_id: The source; the run's only one where None.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            FilterError: If a name is asked for that the run does not know.

        Example:
            >>> table = client.run.feature_table(autointerp.TableQuery(sort="density", descending=True, n=1))
            >>> table.n_passing, len(table.rows)
            (12, 1)
        """
        return self.reader.feature_table(asked, source_id)

    def state_counts(self, source_id: str | None = None) -> StateCounts:
        """How many features of a source are labelled, scored, dead and so on, and why labels and scores are missing.

        Raises:
            StoreError: If there is no such source, or several and none is named.

        Example:
            >>> client.run.state_counts().states["scored"]
            10
        """
        return self.reader.state_counts(source_id)

    def density_scores(self, scorer: str, source_id: str | None = None) -> DensityScores:
        """Density against one scorer's value of a source's labelled features, in cells where there are many.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            FilterError: If there is no score by that scorer.
        """
        return self.reader.density_scores(scorer, source_id)

    def source_overview(self, scorer: str | None = None, source_id: str | None = None) -> SourceOverview:
        """What `state_counts` and `density_scores` tell, kept for as long as the store is as it was.

        While a run writes, what was told is told again for twenty times as long as it took to find.

        Args:
            scorer: Of the plot; there is none where None.
            source_id: The source; the run's only one where None.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            FilterError: If there is no score by that scorer.
        """
        with self.reader.session() as reader:
            state, source = reader.table_state(), reader.source(source_id).source_id
            kept = self._overviews.get((source, scorer))
            began = time.monotonic()
            if kept is None or (kept[0] != state and began > kept[2]):
                plot = None if scorer is None else reader.density_scores(scorer, source)
                overview = SourceOverview(reader.state_counts(source), plot)
                now = time.monotonic()
                kept = state, overview, now + _TOLD_AGAIN * (now - began)
                self._overviews[source, scorer] = kept
        return kept[1]

    def label_map(self, source_id: str | None = None) -> "LabelMap | None":
        """The map of a source's labels that `make_label_map` made; None where none was made yet.

        Labels that are not current any more are left out; `n_unplaced` says how many are not on it yet.

        Args:
            source_id: The source; the run's only one where None.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            SearchError: If the file of the map is damaged.
        """
        from autointerp.search.maps.make import current_map

        with self.reader.session() as reader:
            return current_map(reader, reader.source(source_id).source_id)

    def make_label_map(self, source_id: str | None = None, seed: int = 0, *, fresh: bool = False) -> "LabelMap":
        """Lay the labels of a source out in the plane by their meaning, and keep the map in the run's folder.

        It takes seconds to minutes, and is made when it is asked for only. A map of the very same labels is left as it
        is; made again after more labels came, it keeps its shape.

        Args:
            source_id: The source; the run's only one where None.
            seed: Of the layout.
            fresh: Take no account of an earlier map.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            SearchError: If no label of it is embedded yet.
            FileError: If the map can't be written.
        """
        from autointerp.search.maps.make import make_map

        source = self.reader.source(source_id).source_id
        try:
            return make_map(self.reader, self.embedder_name, source, seed, fresh=fresh)
        except OSError as error:
            raise file_error(error, self.reader.path.parent / "map", FileError) from error

    @property
    @abstractmethod
    def embedder_name(self) -> str:
        """The model that labels are embedded by."""

    @cached_property
    def _overviews(self) -> dict[tuple[str, str | None], tuple[TableState, SourceOverview, float]]:
        return {}
