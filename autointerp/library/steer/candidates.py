"""Features that may steer towards a specification, and where each comes from.

| from | features |
|---|---|
| `labels` | whose labels are about it, by the run's search, which finds none where none is |
| `contrast` | that are stronger in instructions that ask for it than in those that ask for something; or in examples |
| `output` | that make a word of it likelier (`pushing`), or have it among the 20 tokens that they point to |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.steer.lens import Lens
from autointerp.library.steer.prompts import with_request

if TYPE_CHECKING:
    from autointerp.library.contrast.result import Contrast

Origin = Literal["labels", "contrast", "output"]
SOMETHING = "something"
_N_LOOKED_AT = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A feature that may steer.

    Attributes:
        feature: The feature.
        found_by: Where it comes from, each once.
        promotes: Words of the specification among the tokens that it points to.
    """

    feature: Feature
    found_by: tuple[Origin, ...]
    promotes: tuple[str, ...] = ()

    @property
    def index(self) -> int:
        """The feature's index in its source."""
        return self.feature.index


def pairs_of(specification: str, instructions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Instructions that ask for it, and the same that ask for something."""
    return (
        [with_request(instruction, specification) for instruction in instructions],
        [with_request(instruction, SOMETHING) for instruction in instructions],
    )


def by_contrast(contrast: "Contrast") -> FeatureGroup:
    """The features that are stronger in the first set beyond chance."""
    return FeatureGroup(of.feature for of in contrast.dataset_1)


def by_output(lens: Lens, facets: Sequence[str], n: int) -> dict[int, tuple[str, ...]]:
    """Features that have facets among the tokens that they point to, with those facets; strongest first.

    Args:
        lens: Of the source.
        facets: The facets.
        n: At most so many of each facet.

    Returns:
        By feature the facets.
    """
    tokens = {facet: lens.tokens_of(facet) for facet in facets}
    all_tokens = sorted({token for of in tokens.values() for token in of})
    if not all_tokens:
        return {}
    towards = lens.towards(all_tokens)
    found: dict[int, tuple[str, ...]] = {}
    for facet, own in tokens.items():
        if not own:
            continue
        strength = towards[:, np.searchsorted(all_tokens, own)].max(axis=1)
        strongest = np.argsort(-strength, kind="stable")[:_N_LOOKED_AT]
        points_to = np.isin(lens.top(strongest.tolist()), own).any(axis=1)
        for feature in strongest[points_to & (strength[strongest] > 0)][:n].tolist():
            found[feature] = (*found.get(feature, ()), facet)
    return found


def gather(
    labels: FeatureGroup,
    contrast: FeatureGroup,
    output: dict[int, tuple[str, ...]],
    lookup: Callable[[Sequence[int]], FeatureGroup],
    n: int,
) -> list[Candidate]:
    """Candidates of all three, each once: those that several found first, then in turn the first of each.

    Args:
        labels: Found by their labels, most relevant first.
        contrast: Found by contrast, surest first.
        output: Found by the tokens that they point to, with the facets among these.
        lookup: Gives features by index.
        n: At most so many.
    """
    of_output = lookup(list(output)) if output else FeatureGroup()
    ways: tuple[tuple[Origin, FeatureGroup], ...] = (("labels", labels), ("contrast", contrast), ("output", of_output))
    rank = {feature: place for _, group in reversed(ways) for place, feature in enumerate(group)}
    for _, group in ways:
        rank |= {feature: min(rank[feature], place) for place, feature in enumerate(group)}
    found_by = {feature: tuple(way for way, group in ways if feature in group) for feature in rank}
    features = labels | contrast | of_output
    ordered = sorted(features, key=lambda feature: (-len(found_by[feature]), rank[feature]))
    return [Candidate(of, found_by[of], output.get(of.index, ())) for of in ordered[:n]]
