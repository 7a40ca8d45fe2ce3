"""What a store says of its run as a whole: its stages and sources, the names that it knows, counts and summaries."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from json import loads
from typing import TYPE_CHECKING, Any

from autointerp.errors import FilterError, StoreError
from autointerp.records import EVERY_FEATURE, FeatureFilter, KnownNames, SourceRecord
from autointerp.store import rows, summary
from autointerp.store.digest import content_digest
from autointerp.store.known import check_count, check_name, one_source
from autointerp.store.neighbors import neighbor_spaces
from autointerp.store.query import TABLES, VIEWS, columns_of
from autointerp.store.results import (
    Author,
    RefereeCounts,
    RunRecord,
    ScoredLabel,
    ScorerSummary,
    StageRecord,
    StageStatus,
)
from autointerp.store.sql import Table, ask
from autointerp.store.store_file import StoreFile

if TYPE_CHECKING:
    import pandas as pd


class RunReader(StoreFile):
    """Reads what concerns a run as a whole; `Reader` reads its features too."""

    # --- stages and tables ------------------------------------------------------------------------------------------

    def run(self) -> RunRecord | None:
        """The run that the store belongs to, once it said so."""
        found = self._fetch("run", columns_of(RunRecord))
        moments = [{**row, "created_at": row["created_at"].replace(tzinfo=UTC)} for row in found]
        return RunRecord(**{**moments[0], "pipeline": loads(moments[0]["pipeline"])}) if moments else None

    def stages(self) -> list[StageRecord]:
        """What counts as each stage's result."""
        columns = ["stage", "fingerprint", "status", "n_asked", "cost_usd", "summary", "finished_at"]
        return rows.stages_of(self._kept_while_same("stages", lambda: self._fetch("stages", columns, order=("stage",))))

    def status(self) -> list[StageStatus]:
        """How far each stage is: done, failed, pending, cost."""
        with self._open() as connection:
            return summary.stage_status(connection)

    def content_digest(self) -> str:
        """Digest of everything but times and costs, the same for any order of writing."""
        with self._open() as connection:
            return content_digest(connection)

    def dataframe(self, name: str) -> "pd.DataFrame":
        """A whole table, or a view such as `current_explanations`, as a data frame.

        Raises:
            StoreError: If there is no such table or view.
        """
        if name not in (*TABLES, *VIEWS):
            raise StoreError(f"the store has no table {name!r}", f"one of {', '.join((*TABLES, *VIEWS))}")
        with self._open() as connection:
            return connection.table(name).df()

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Table:
        """A query of the caller's own; see `store.sql.ask`.

        Raises:
            SearchError: If it is no SELECT, or DuckDB can't answer it.
        """
        with self._open() as connection:
            return ask(connection, query, parameters)

    # --- sources and names ------------------------------------------------------------------------------------------

    def sources(self) -> list[SourceRecord]:
        """Every source."""
        known = self._known
        if known is not None and "sources" in known:
            return list(known["sources"])
        rows_of = self._kept_while_same(
            "sources", lambda: self._fetch("sources", columns_of(SourceRecord), order=("source_id",))
        )
        found = [SourceRecord(**row) for row in rows_of]
        if known is not None:
            known["sources"] = tuple(found)  # within a session nothing changes
        return found

    def source(self, source_id: str | None = None) -> SourceRecord:
        """One source; the only one where none is named.

        Raises:
            StoreError: If there is none of this name, or several and none is named.
        """
        return one_source(self.sources(), source_id)

    def scorers(self) -> list[str]:
        """The scorers by which current labels, baselines too, have scores; ascending."""
        with self._open() as connection:
            found = connection.execute(
                "SELECT DISTINCT scorer FROM current_scores SEMI JOIN current_explanations USING (explanation_id)"
                " ORDER BY scorer"
            ).fetchall()
        return [str(scorer) for (scorer,) in found]

    def known_names(self, *, baselines: bool = False) -> KnownNames:
        """The names that a filter can ask for.

        Args:
            baselines: Also the explainer of shuffled labels.
        """
        of_true = "" if baselines else "WHERE label_from IS NULL"

        def read() -> KnownNames:
            with self.session(), self._open() as connection:
                found = connection.execute(f"SELECT DISTINCT explainer FROM current_explanations {of_true}").fetchall()
                n_features = {source.source_id: source.n_features for source in self.sources()}
                return KnownNames(n_features, self.scorers(), [str(explainer) for (explainer,) in found])

        return self._kept_while_same(f"known names {baselines}", read)

    def neighbor_spaces(self) -> list[str]:
        """The spaces for which neighbors are stored."""
        with self._open() as connection:
            return neighbor_spaces(connection)

    # --- counts and summaries ---------------------------------------------------------------------------------------

    def n_labels(self) -> int:
        """How many current true labels there are."""
        with self._open() as connection:
            return summary.count_labels(connection)

    def authors(self) -> list[Author]:
        """Who wrote the current true labels, and how many, the most first."""
        with self._open() as connection:
            return summary.label_authors(connection)

    def feature_of_label(self, explanation_id: str) -> tuple[str, int] | None:
        """The source and index of the feature that a current label is of; None where there is no such label."""
        columns = ["source_id", "feature_index"]
        found = self._fetch("current_explanations", columns, {"explanation_id": explanation_id})
        return (found[0]["source_id"], int(found[0]["feature_index"])) if found else None

    def labelled_indices(self, source_id: str) -> frozenset[int]:
        """The features of a source that have a current true label."""
        with self._open() as connection:
            return summary.labelled_indices(connection, source_id)

    def score_summary(self) -> list[ScorerSummary]:
        """Each scorer's quartiles over the current labels, beside the shuffled labels."""
        with self._open() as connection:
            return summary.score_summary(connection)

    def tier_counts(self) -> dict[str, int]:
        """How many of the current labels are of each tier (`score.tier`), the most frequent first."""
        with self._open() as connection:
            return summary.tier_counts(connection)

    def chosen_counts(self) -> dict[str, int]:
        """How many of the current labels each candidate of a `best_of` wrote, the most frequent first."""
        with self._open() as connection:
            return summary.chosen_counts(connection)

    def referee_counts(self) -> RefereeCounts:
        """How many current labels are of features with a rule that is as good as the truth, and it disputes."""
        with self._open() as connection:
            return summary.referee_counts(connection)

    def shuffled_values(self, where: FeatureFilter = EVERY_FEATURE) -> dict[tuple[str, int], dict[str, float]]:
        """What shuffled labels score, by feature and scorer; the mean where a feature has several.

        Args:
            where: Only of its sources and features; what else it asks for is of true labels.

        Raises:
            FilterError: If a name is asked for that the run does not know.
        """
        where.check(self.known_names())
        with self._open() as connection:
            return summary.shuffled_values(connection, where)

    def best(self, n: int, scorer: str | None = None) -> list[ScoredLabel]:
        """The current labels with the highest value of one scorer, or of all scorers' mean.

        Raises:
            FilterError: If there is no score by that scorer.
            SearchError: If `n` is no whole number above 0.
        """
        return self._ranked(n, scorer, best=True)

    def worst(self, n: int, scorer: str | None = None) -> list[ScoredLabel]:
        """The current labels with the lowest value of one scorer, or of all scorers' mean.

        Raises:
            FilterError: If there is no score by that scorer.
            SearchError: If `n` is no whole number above 0.
        """
        return self._ranked(n, scorer, best=False)

    def _ranked(self, n: int, scorer: str | None, *, best: bool) -> list[ScoredLabel]:
        n = check_count("n", n)
        with self.session(), self._open() as connection:
            return summary.ranked_labels(connection, self._known_scorer(scorer), n, best=best)

    def _known_scorer(self, scorer: str | None) -> str | None:
        if scorer is not None:
            check_name(scorer, self.scorers(), "scorer", FilterError)
        return scorer
