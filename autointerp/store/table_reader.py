"""The store of one run, read for the table and the plot of a source."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, UInt64

from autointerp.errors import FilterError
from autointerp.records import KnownNames
from autointerp.records.feature_table import DensityScores, FeatureTable, StateCounts, TableQuery, TableState
from autointerp.records.label_map import LabelPoints, PointColumns
from autointerp.store import feature_table, map_points
from autointerp.store.known import check_name
from autointerp.store.run_reader import RunReader


class TableReader(RunReader):
    """Reads what is told of all features of a source at once."""

    def feature_table(self, asked: TableQuery, source_id: str | None = None) -> FeatureTable:
        """One page of the table of a source's features.

        Args:
            asked: Which features, in which order.
            source_id: The source; the run's only one where None.

        Raises:
            StoreError: If there is no such source, or several and none is named.
            FilterError: If a name is asked for that the run does not know.
        """
        with self.session(), self._open() as connection:
            source = self.source(source_id)
            known = feature_table.select_names(connection, source)
            replace(asked.where, sources=None).check(known)
            for scorer in asked.asked_scorers:
                check_name(scorer, known.scorers, "scorer", FilterError)
            return feature_table.select_table(connection, source, list(known.scorers), asked)

    def table_state(self) -> TableState:
        """How far the store has come, as far as tables of its sources go."""
        with self._open() as connection:
            return feature_table.read_table_state(connection)

    def table_names(self, source_id: str | None = None) -> KnownNames:
        """The names that the table of a source can be asked by.

        Raises:
            StoreError: As from `feature_table`.
        """
        with self.session(), self._open() as connection:
            return feature_table.select_names(connection, self.source(source_id))

    def state_counts(self, source_id: str | None = None) -> StateCounts:
        """How many features of a source are in each state, and why labels and scores are missing.

        Raises:
            StoreError: As from `feature_table`.
        """
        with self.session(), self._open() as connection:
            return feature_table.count_states(connection, self.source(source_id).source_id)

    def density_scores(self, scorer: str, source_id: str | None = None) -> DensityScores:
        """Density against one scorer's value of a source's labelled features, in cells where there are many.

        Raises:
            StoreError: As from `feature_table`.
            FilterError: If there is no score by that scorer.
        """
        with self.session(), self._open() as connection:
            source = self.source(source_id)
            check_name(scorer, feature_table.select_names(connection, source).scorers, "scorer", FilterError)
            return feature_table.plot_cells(connection, source.source_id, scorer)

    def embedded_points(self, embedder: str, source_id: str) -> tuple[LabelPoints, Float32[np.ndarray, "point dim"]]:
        """The labels of a source that an embedder has embedded, one a feature, with the unit vectors."""
        with self._open() as connection:
            return map_points.select_embedded(connection, embedder, source_id)

    def label_digests(self, source_id: str) -> UInt64[np.ndarray, " label"]:
        """What the current labels of a source, one a feature, are known again by."""
        with self._open() as connection:
            return map_points.select_digests(connection, source_id)

    def point_columns(self, source_id: str) -> tuple[LabelPoints, PointColumns]:
        """The labels of a source, one a feature, with what they can be coloured by."""
        with self.session(), self._open() as connection:
            scorers = feature_table.select_names(connection, self.source(source_id)).scorers
            return map_points.select_columns(connection, source_id, list(scorers))
