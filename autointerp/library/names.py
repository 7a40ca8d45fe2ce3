"""Which features of which run are meant, where callers name them."""

from collections.abc import Iterable, Mapping, Sequence

from autointerp.errors import UnknownFeatureError, UnknownSourceError
from autointerp.identity import FeatureKey, parse_feature_id
from autointerp.library.backend import Backend
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.store.known import shown

AnyFeature = Feature | FeatureKey
"""How callers name a feature: itself, its index, or `model@source:index`."""
SomeFeatures = FeatureGroup | Sequence[AnyFeature]


class Names:
    """What names mean in some runs.

    Args:
        runs: Of several with the same source, the first tells of it, but of a feature that comes from another of them.
    """

    def __init__(self, runs: Sequence[Backend]) -> None:
        self._runs = runs

    def all(self, features: AnyFeature | SomeFeatures, source: str | None = None) -> list[tuple[Backend, str, int]]:
        """The run, source and index of each feature that a caller names, in order; as from `one`."""
        some: Iterable[object] = [features]
        if isinstance(features, Iterable) and not isinstance(features, str | bytes):
            some = features
        homes = self.homes  # read once: each reading opens every store
        return [self._named(feature, source, homes) for feature in some]

    def one(self, feature: object, source: str | None) -> tuple[Backend, str, int]:
        """The run, source and index of one feature.

        Raises:
            UnknownFeatureError: If it is no feature, or of another source than the one that is named.
            UnknownSourceError: If there is no such source, or several and none is named.
        """
        return self._named(feature, source, self.homes)

    def _named(self, feature: object, source: str | None, homes: Mapping[str, Backend]) -> tuple[Backend, str, int]:
        if isinstance(feature, Feature):
            of, index = feature.source_id, feature.index
            for run in self._runs:
                if run is feature.backend:
                    return run, of, index
        else:
            parsed = parse_feature_id(feature.strip() if isinstance(feature, str) else feature)
            if parsed is None:
                raise UnknownFeatureError(
                    f"{shown(feature)} is not a feature", "give an index such as 650, or model@source:650"
                )
            if None not in (parsed[0], source) and parsed[0] != source:
                raise UnknownFeatureError(
                    f"{shown(feature)} is no feature of {shown(source)}", "name the one or the other"
                )
            of, index = parsed[0] or source or _only(homes), parsed[1]
        if of not in homes:
            raise UnknownSourceError(
                f"there is no source {shown(of)} here", f"there are {', '.join(homes) or 'none yet'}"
            )
        return homes[of], of, index

    @property
    def homes(self) -> Mapping[str, Backend]:
        """The run that tells of each source: of several the first."""
        found: dict[str, Backend] = {}
        for run in self._runs:
            for source in run.sources():
                found.setdefault(source.source_id, run)
        return found


def _only(homes: Mapping[str, Backend]) -> str:
    own = [source for source, run in homes.items() if run.can_run] or list(homes)
    if len(own) != 1:
        some = ", ".join(homes) or "none yet"
        raise UnknownSourceError(
            f"there are several sources: {some}", "name one by source=, or the feature as model@source:index"
        )
    return own[0]


def by_source(named: Iterable[tuple[Backend, str, int]]) -> list[tuple[Backend, str, list[int]]]:
    """Runs and sources, each once, with the features of each."""
    found: dict[tuple[int, str], tuple[Backend, str, list[int]]] = {}
    for run, source, index in named:
        found.setdefault((id(run), source), (run, source, []))[2].append(index)
    return list(found.values())
