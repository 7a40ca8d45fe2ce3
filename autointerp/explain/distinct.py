"""Features of nearly the same label: who has to be told apart from whom, and who does the same.

1. A feature's *siblings* are the features of its source whose first labels are nearest to its own by embedding, as far
   as the cosine of the two is at least `explain.distinct_similarity`, or they are of the same words.
2. A sibling *does the same* where both fire on the same tokens of the pool: by a cosine of their firings of
   `_SAME_FIRINGS`, or of `_SAME_FIRINGS_OF_COPIES` where their decoder directions, too, are the same. There is nothing
   to tell apart: a label that did would be made up.
3. A feature with siblings that do something else is explained anew against these (`BaseExplainer.tell_apart`).

Siblings are found by first labels only, never by what told others apart: so what becomes of a feature does not depend
on who was asked first, nor on when a run was killed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.records import Neighbor
from autointerp.words import label_words, plain_label, stem

_SAME_FIRINGS = 0.9
_SAME_FIRINGS_OF_COPIES = 0.5
_SAME_DIRECTION = 0.9


@dataclass(frozen=True, slots=True)
class Same:
    """A feature that does the same as another.

    Attributes:
        feature_index: The feature.
        coactivation: Cosine of their firings over the pool's tokens.
        decoder: Cosine of their decoder directions; None where they are none of each other's nearest.
    """

    feature_index: int
    coactivation: float
    decoder: float | None

    def told(self) -> dict[str, Any]:
        """As it stands in a label's detail."""
        return {"feature": self.feature_index, "coactivation": self.coactivation, "decoder": self.decoder}


def find_same(siblings: Sequence[int], coactivation: Sequence[Neighbor], decoder: Sequence[Neighbor]) -> list[Same]:
    """Those of a feature's siblings that do the same; see step 2 of the module.

    Args:
        siblings: The siblings.
        coactivation: The feature's neighbors by firing on the same tokens.
        decoder: Those by decoder direction.
    """
    together = _by_feature(coactivation)
    alike = _by_feature(decoder)
    found: list[Same] = []
    for sibling in siblings:
        firings, direction = together.get(sibling, 0.0), alike.get(sibling)
        is_copy = direction is not None and direction >= _SAME_DIRECTION
        if firings >= (_SAME_FIRINGS_OF_COPIES if is_copy else _SAME_FIRINGS):
            found.append(Same(sibling, firings, direction))
    return found


def say_the_same(one: str, other: str) -> bool:
    """Whether two labels are of the same words, whatever their order, case and inflection."""
    return plain_label(one) == plain_label(other) or _stems(one) == _stems(other)


def _stems(label: str) -> frozenset[str]:
    return frozenset(map(stem, label_words(label)))


def _by_feature(neighbors: Sequence[Neighbor]) -> Mapping[int, float]:
    return {neighbor.feature_index: neighbor.similarity for neighbor in neighbors}
