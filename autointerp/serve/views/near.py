"""Features near a feature: of the same label, close in a space, firing on the same tokens."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from autointerp.errors import AutointerpError, SearchError, SubjectError, UnknownFeatureError
from autointerp.library.feature_page import FeaturePage
from autointerp.library.run import Run
from autointerp.records import TokenCount
from autointerp.records.firing import FiringTogether
from autointerp.records.store import fires_on
from autointerp.records.tokens import most_telling
from autointerp.search.hits import shown_tokens
from autointerp.store.neighbors import LABEL_SPACE

_LOG = logging.getLogger(__name__)
_SHOWN = 8
_SAME_SHOWN = 6
_TOKENS = 5
SPACES = {
    "label": "labels that say nearly the same",
    "decoder": "close decoder directions",
    "coactivation": "active in the same texts",
}
"""What the spaces are, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class NearFeature:
    """A feature close to another in a space.

    Attributes:
        index: The feature.
        label: Its label; None where it has none.
        similarity: Of the two.
    """

    index: int
    label: str | None
    similarity: float


@dataclass(frozen=True, slots=True)
class NearInSpace:
    """The features that are closest in one space.

    Attributes:
        space: Its name.
        title: The same in words.
        features: Closest first.
    """

    space: str
    title: str
    features: tuple[NearFeature, ...]


@dataclass(frozen=True, slots=True)
class SameLabel:
    """Another feature with the same label, and what tells it from this one.

    Attributes:
        index: The feature.
        density: Share of tokens on which it fires.
        only_there: Tokens that it fires on, most telling first, and this one is not known to.
        only_here: Tokens that this one fires on, and it is not known to.
    """

    index: int
    density: float
    only_there: tuple[str, ...]
    only_here: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FiresWith:
    """A feature that fires on the same tokens.

    Attributes:
        index: The feature.
        label: What is told of it.
        precision: Share of its firings on which this one fires too.
        recall: Share of this one's firings on which it fires too.
        jaccard: Of the tokens on which either fires, the share on which both do.
        n_both: Tokens on which both fire, in the sample of the corpus that was counted.
    """

    index: int
    label: str | None
    precision: float
    recall: float
    jaccard: float
    n_both: int


@dataclass(frozen=True, slots=True)
class Near:
    """All of these.

    Attributes:
        spaces: The closest in each space.
        n_same_label: How many others carry the same label, to the letter.
        same_label: Some of them.
        together: Those that fire on the same tokens, most alike first.
        no_together: Why nobody counted them; None where somebody did.
    """

    spaces: tuple[NearInSpace, ...]
    n_same_label: int
    same_label: tuple[SameLabel, ...]
    together: tuple[FiresWith, ...]
    no_together: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """What is near a feature and is not read from the store: it may have to be loaded first.

    Attributes:
        by_label: Features with like labels; none where labels can't be compared, or it has none.
        together: What fires on the same tokens.
        no_together: Why nobody counted it.
    """

    by_label: tuple[NearFeature, ...]
    together: tuple[FiringTogether, ...]
    no_together: str | None


def count_near(run: Run, source: str, index: int) -> Counted:
    """Look up what is near a feature beside the store."""
    together: tuple[FiringTogether, ...] = ()
    by_label: tuple[NearFeature, ...] = ()
    no_together = None
    try:
        together = run.together(index, _SHOWN, source)
    except UnknownFeatureError:
        raise
    except AutointerpError as error:
        _LOG.warning("%s", error)  # it may name the server's own files
        no_together = "nobody can count it here: the server's log says why"
    with suppress(SearchError, SubjectError):  # it has no label, or nobody has indexed labels
        hits = run.neighbors(index, LABEL_SPACE, _SHOWN, source)
        by_label = tuple(
            NearFeature(hit.feature_index, hit.label, hit.relevance) for hit in hits if hit.source_id == source
        )
    return Counted(by_label, together, no_together)


def near(run: Run, page: FeaturePage, counted: Counted) -> Near:
    """What is near a feature."""
    source, same_label = page.feature.source_id, page.same_label[:_SAME_SHOWN]
    stored = {
        space: [of for of in page.neighbors if of.space == space][:_SHOWN]
        for space in dict.fromkeys(of.space for of in page.neighbors)
    }
    others = {of.feature_index for of in counted.together} | {
        of.feature_index for some in stored.values() for of in some
    }
    labels = run.reader.best_labels(sorted(others), source)
    tokens = run.reader.firing_tokens(sorted({*same_label, *(others - labels.keys())}), source)
    labels |= {index: fires_on(shown_tokens(*tokens[index])) for index in others - labels.keys() if index in tokens}
    spaces = {LABEL_SPACE: counted.by_label} | {
        space: tuple(NearFeature(of.feature_index, labels.get(of.feature_index), of.similarity) for of in some)
        for space, some in stored.items()
    }
    return Near(
        spaces=tuple(
            NearInSpace(space, SPACES.get(space, space), spaces[space])
            for space in [*SPACES, *sorted(spaces.keys() - SPACES.keys())]
            if spaces.get(space)
        ),
        n_same_label=len(page.same_label),
        same_label=_same_label(page, {index: tokens[index] for index in same_label if index in tokens}),
        together=tuple(
            FiresWith(of.feature_index, labels.get(of.feature_index), of.precision, of.recall, of.jaccard, of.n_both)
            for of in counted.together
        ),
        no_together=counted.no_together,
    )


def _same_label(page: FeaturePage, others: Mapping[int, tuple[float, Sequence[TokenCount]]]) -> tuple[SameLabel, ...]:
    here = _telling(page.feature.top_tokens, page.feature.density)
    found = []
    for index, (density, tokens) in others.items():
        there = _telling(tokens, density)
        found.append(
            SameLabel(
                index=index,
                density=density,
                only_there=tuple(token for token in there if token not in here)[:_TOKENS],
                only_here=tuple(token for token in here if token not in there)[:_TOKENS],
            )
        )
    return tuple(found)


def _telling(tokens: Sequence[TokenCount], density: float) -> dict[str, None]:
    """Tokens, most telling first."""
    return dict.fromkeys(of.token for of in (most_telling(tokens, density) or tokens))
