"""What clients call models and features here: a source by its name or its model's, a feature by its UUID."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import numpy as np
from jaxtyping import Int64, UInt64

from autointerp.errors import UnknownFeatureError, UnknownModelError
from autointerp.identity import feature_id, stable_uuid
from autointerp.library.client import Client
from autointerp.store.known import shown


class Names:
    """What names mean.

    A source is named by its own name (`model@source`), by its model's where the model has only this one, and by any
    other name that it is given: clients may know no others than those of their own service.

    Args:
        client: Whose sources.
        aliases: Other names of sources.

    Raises:
        UnknownModelError: If an alias is of none.
    """

    def __init__(self, client: Client, aliases: Mapping[str, str] | None = None) -> None:
        self._client, self._aliases = client, dict(aliases or {})
        self._uuids: dict[str, Uuids] = {}
        self.reread()

    def reread(self) -> None:
        """Take up sources that came meanwhile.

        Raises:
            UnknownModelError: If an alias is of none.
        """
        self.sources = {source.source_id: source for source in self._client.sources()}
        own = [of.source_id for run in self._client.runs if run.can_run for of in run.sources()]
        self._own = sorted(set(own)) or list(self.sources)
        names = {source: source for source in self.sources}
        models = [source.rpartition("@")[0] for source in self._own]
        names |= {model: source for model, source in zip(models, self._own, strict=True) if models.count(model) == 1}
        self._names = names
        self._names = names | {alias: self.source(source) for alias, source in self._aliases.items()}
        self._uuids = {
            source: of for source, of in self._uuids.items() if of.n_features == self.sources[source].n_features
        }

    @property
    def models(self) -> tuple[str, ...]:
        """Every name, those of models first."""
        return tuple(sorted(self._names, key=lambda name: (name in self.sources, name)))

    def source(self, model: str | None) -> str:
        """The source that a name means; the only one where None.

        Raises:
            UnknownModelError: If there is none of this name, or several and none is named.
        """
        if model is None and len(self._own) == 1:
            return self._own[0]
        if model is None or model not in self._names:
            problem = "no model is named" if model is None else f"there is no model {shown(model)} here"
            raise UnknownModelError(problem, f"models are {', '.join(self.models) or 'none yet'}")
        return self._names[model]

    def of_model(self, model: str) -> list[str]:
        """The sources of a model.

        Raises:
            UnknownModelError: If there are none.
        """
        found = [source for source in self.sources if source.rpartition("@")[0] == model]
        if not found:
            raise UnknownModelError(f"there is no model {shown(model)} here", f"models are {', '.join(self.models)}")
        return found

    def features(self, uuids: Iterable[str]) -> list[tuple[str, int]]:
        """Source and index of features, in order.

        Args:
            uuids: With dashes or without, in either case.

        Raises:
            UnknownFeatureError: If one is no UUID, or of no feature here.
        """
        found = []
        for text in uuids:
            uuid = _read(text)
            of = next((named for source in self.sources for named in self.uuids(source).find(uuid)), None)
            if of is None:
                raise UnknownFeatureError(f"no feature here has the id {shown(text)}", "search for one, or look one up")
            found.append(of)
        return found

    def uuid(self, source_id: str, index: int) -> str:
        """A feature's UUID, in lower case and with dashes."""
        return stable_uuid(feature_id(source_id, index))

    def uuids(self, source_id: str) -> "Uuids":
        """Those of a source's features."""
        if source_id not in self._uuids:
            self._uuids[source_id] = Uuids(source_id, self.sources[source_id].n_features)
        return self._uuids[source_id]


class Uuids:
    """The features of one source by their UUIDs: 16 bytes a feature, since a source may have millions."""

    def __init__(self, source_id: str, n_features: int) -> None:
        self._source_id = source_id
        self.n_features = n_features
        keys: UInt64[np.ndarray, " feature"] = np.fromiter(
            (_key(UUID(self.text(index))) for index in range(n_features)), np.uint64, n_features
        )
        self._order: Int64[np.ndarray, " feature"] = np.argsort(keys)
        self._keys = keys[self._order]

    def text(self, index: int) -> str:
        """A feature's, in lower case and with dashes."""
        return stable_uuid(feature_id(self._source_id, index))

    def find(self, uuid: UUID) -> Sequence[tuple[str, int]]:
        """Source and index of the feature that has it, if one does."""
        start, end = (np.searchsorted(self._keys, np.uint64(_key(uuid)), side) for side in ("left", "right"))
        among = self._order[start:end].tolist()
        return [(self._source_id, index) for index in among if self.text(index) == str(uuid)]


def _key(uuid: UUID) -> int:
    return uuid.int >> 64


def _read(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UnknownFeatureError(f"{shown(text)} is no feature's id", "give the UUID of one") from error
