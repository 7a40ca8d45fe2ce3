"""The store of one run, read for what stands around a feature: narrow columns, and one query for all of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from autointerp.records import Neighbor, TokenCount
from autointerp.store.table_reader import TableReader


class NearReader(TableReader):
    """Reads what is told of features beside the one that is looked at."""

    def histogram_edges(self, source_id: str | None = None) -> tuple[float, ...]:
        """Edges of the bins of the source's histograms."""
        source, columns = self.source(source_id).source_id, ["source_id", "histogram_edges"]
        found = self._kept_while_same("histogram_edges", lambda: self._fetch("sources", columns))
        return next(tuple(row["histogram_edges"]) for row in found if row["source_id"] == source)

    def stored_neighbors(self, feature_index: int, source_id: str) -> list[Neighbor]:
        """What is stored of a feature's neighbors, by space and closest first; none where the feature has none."""
        wanted = {"source_id": source_id, "feature_index": feature_index}
        found = self._fetch("neighbors", ["space", "neighbor_index", "similarity"], wanted, ("space", "rank"))
        return [Neighbor(row["neighbor_index"], row["space"], row["similarity"]) for row in found]

    def best_labels(self, features: Sequence[int], source_id: str) -> dict[int, str]:
        """The true label of each feature that has one; of several the one whose scores have the highest mean.

        As `search.describe` chooses it, without what else that reads.
        """
        if not features:
            return {}
        wanted = {"source_id": source_id, "feature_index": list(features)}
        columns = ["feature_index", "explanation_id", "label", "label_from"]
        labels: dict[int, dict[str, str]] = defaultdict(dict)
        for row in self._fetch("current_explanations", columns, wanted, ("explanation_id",)):
            if row["label_from"] is None:
                labels[row["feature_index"]][row["explanation_id"]] = row["label"]
        of_several = [name for some in labels.values() if len(some) > 1 for name in some]
        means = self._score_means(of_several, [index for index, some in labels.items() if len(some) > 1], source_id)
        return {index: some[max(some, key=lambda name: means.get(name, -1.0))] for index, some in labels.items()}

    def _score_means(self, labels: Sequence[str], features: Sequence[int], source_id: str) -> Mapping[str, float]:
        if not labels:
            return {}
        wanted = {"source_id": source_id, "feature_index": list(features)}
        order = ("explanation_id", "scorer", "judge")
        values: dict[str, list[float]] = defaultdict(list)
        for row in self._fetch("current_scores", ["explanation_id", "value"], wanted, order):
            values[row["explanation_id"]].append(row["value"])
        return {name: sum(of) / len(of) for name, of in values.items()}

    def firing_tokens(self, features: Sequence[int], source_id: str) -> dict[int, tuple[float, tuple[TokenCount, ...]]]:
        """Of features, ascending, the density and the tokens that they fire on."""
        if not features:
            return {}
        wanted = {"source_id": source_id, "feature_index": list(features)}
        columns = ["feature_index", "density", "top_tokens"]
        return {
            row["feature_index"]: (row["density"], tuple(TokenCount(**token) for token in row["top_tokens"]))
            for row in self._fetch("features", columns, wanted, ("feature_index",))
        }
