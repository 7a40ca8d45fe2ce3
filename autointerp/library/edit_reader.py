"""What callers say is to be done to features, read for one model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autointerp.errors import UnknownFeatureError, VariantError
from autointerp.identity import feature_id
from autointerp.library.backend import Backend
from autointerp.library.feature import Feature
from autointerp.library.feature_edits import FeatureEdit, FeatureEdits, StrengthUnit
from autointerp.library.names import Names, by_source
from autointerp.library.variant_shapes import model_of, read_name
from autointerp.records.live import EditMode, FeatureName


@dataclass(frozen=True, slots=True)
class NamedFeature:
    """A feature, as far as it is known."""

    source_id: str
    index: int
    label: str | None


class EditReader:
    """Reads edits of one model's features.

    Attributes:
        base_model: The source, or the model alone.

    Args:
        names: Of the runs that know the features; None where nobody does yet.
    """

    def __init__(self, base_model: str, names: Names | None) -> None:
        self.base_model = base_model
        self._names = names

    def edits(self, features: Any, value: float | None, mode: EditMode, unit: StrengthUnit) -> list[FeatureEdit]:
        """The edits that a caller names, in order.

        Args:
            features: A feature, several, strengths by features, or edits.
            value: Of features the strength; None of none.
            mode: Of each.
            unit: Of each.

        Raises:
            UnknownFeatureError: If there is no such feature.
            VariantError: If it is of another model, or strengths are given twice.
        """
        if isinstance(features, FeatureEdits | Mapping) and value is not None:
            raise VariantError("strengths are given twice", "give a mapping alone, or features and one strength")
        if isinstance(features, FeatureEdits) and (mode, unit) != ("add", "dose"):
            raise VariantError("edits have their own modes and units", "give them alone, or {feature: strength}")
        if isinstance(features, FeatureEdits):
            for edit in features:
                self.check_model(edit.source_id)
            return list(features)
        pairs = features.items() if isinstance(features, Mapping) else [(features, value)]
        return [
            FeatureEdit(of.source_id, of.index, strength, mode, unit, of.label)
            for feature, strength in pairs
            if strength is not None
            for of in self._some(feature)
        ]

    def _some(self, features: Any) -> list[NamedFeature]:
        found = self.named(features)
        if not found:
            raise VariantError("no feature is named", "name one, or several")
        return found

    def named(self, features: Any) -> list[NamedFeature]:
        """The features that a caller names, in order.

        Raises:
            As `edits`.
        """
        some = [features] if isinstance(features, str | bytes) or not isinstance(features, Iterable) else list(features)
        if self._names is None:
            found = [self._unseen(feature) for feature in some]
            for of in found:
                self.check_model(of.source_id)
            return found
        asked = [of for feature in some for of in self._seen(self._names, feature)]
        for _, source, _ in asked:
            self.check_model(source)
        labels = {
            (of, hit.feature_index): hit.label or None
            for run, of, indices in by_source(asked)
            for hit in run.describe(indices, of)
        }
        return [NamedFeature(of, index, labels[of, index]) for _, of, index in asked]

    def check(self, names: Iterable[FeatureName]) -> None:
        """See that features are there, as far as that can be seen, and of the same model.

        Raises:
            As `edits`.
        """
        for source, index in names:
            self.check_model(source)
            if self._names is not None:
                run, _, _ = self._names.one(feature_id(source, index), None)
                n = next(of.n_features for of in run.sources() if of.source_id == source)
                if index >= n:
                    raise UnknownFeatureError(f"{source} has no feature {index}", f"its features are 0 to {n - 1}")

    def check_model(self, source: str) -> None:
        """See that a source is of the same model.

        Raises:
            VariantError: If it is not.
        """
        if model_of(source) != model_of(self.base_model):
            raise VariantError(
                f"a feature of {source} is named, and the variant is of {self.base_model}",
                "edit features of the variant's own model",
            )

    def _seen(self, names: Names, feature: object) -> list[tuple[Backend, str, int]]:
        """A feature that names its own source may be of another than the variant's, but not of another model."""
        if isinstance(feature, Feature):
            return names.all([feature])
        of, index = read_name(feature)
        if of is not None and "@" in of:
            return names.all([f"{of}:{index}"])
        if of is not None:
            self.check_model(of)
        return names.all([index], self.base_model if "@" in self.base_model else None)

    def _unseen(self, feature: object) -> NamedFeature:
        if isinstance(feature, Feature):
            return NamedFeature(feature.source_id, feature.index, feature.label)
        of, index = read_name(feature)
        return NamedFeature(of or self.base_model, index, None)
