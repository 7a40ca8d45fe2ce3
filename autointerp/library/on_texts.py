"""What a run's features do on texts: of one text, of many as a matrix, and between two sets of them."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autointerp.errors import SearchError
from autointerp.library.activations import text_matrix, token_matrix
from autointerp.library.backend import Backend
from autointerp.library.chat.steering import Steerer, Steering, rules
from autointerp.library.feature import FeatureGroup
from autointerp.library.inspector import ContextInspector
from autointerp.library.scales import Scales
from autointerp.library.when import ChatEvent, When
from autointerp.live.generation.request import Happening

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from autointerp.live.read import Readable
    from autointerp.records.live import TextFirings

Progress = Callable[[int], None]
Groups = tuple[Sequence[Hashable], Sequence[Hashable]]
Lookup = Callable[[Sequence[int]], FeatureGroup]


def inspect(
    run: Backend,
    source: str,
    text: "Readable",
    features: Sequence[int] | None,
    aggregate_by: str,
    lookup: Lookup,
    steered: tuple[Steerer, Steering] | None = None,
) -> ContextInspector:
    """What the features of one source do on one text; see `Features.inspect`."""
    if steered is None:
        (firings,) = run.firings([text], source)
    elif not steered[1].ruled:
        (firings,) = run.firings([text], source, None, steered[1].edits, steered[1].scope)
    else:
        firings = _under_rules(run, source, text, *steered)
    fired = np.unique(firings.feature).tolist()
    return ContextInspector(firings, Scales(run.activation_histograms(fired, source)), lookup, features, aggregate_by)


def _under_rules(run: Backend, source: str, text: "Readable", steerer: Steerer, steering: Steering) -> "TextFirings":
    from autointerp.live.held import read_held  # looking a feature up needs no torch

    live = run.live.of_source(steering.source)
    rules_of = rules(steerer, steering, _nobody)
    generator = run.live.generator(steering.source)
    return read_held(live, generator, text, source, steering.edits, steering.scope, rules_of)


def _nobody(when: When, happening: Happening) -> ChatEvent:
    raise AssertionError(f"{when} asks nobody at token {happening.position}")


def activations(
    run: Backend,
    source: str,
    texts: "Iterable[Readable]",
    features: Sequence[int] | None,
    aggregate_by: str | None,
    on_progress: Progress | None,
) -> "csr_array":
    """What the features of one source do on texts, as a matrix; see `Features.activations`."""
    firings = run.firings(several(texts), source, on_progress)
    if aggregate_by is not None:
        n_features = next(of.n_features for of in run.sources() if of.source_id == source)
        return text_matrix(firings, n_features, features, aggregate_by)
    from scipy.sparse import vstack  # slow to import

    matrices = [token_matrix(of_text, features) for of_text in firings]
    if not matrices:
        raise SearchError("there is no text", "give one or more")
    return vstack(matrices, format="csr")


def several(texts: "Iterable[Readable]") -> "Iterator[Readable]":
    """Texts one by one, as they are given.

    Raises:
        SearchError: If it is one text, or one conversation, and no collection of them.
    """
    if isinstance(texts, str | Mapping) or not isinstance(texts, Iterable):
        raise SearchError("many texts are asked for, and one is given", "put it into a list: [text]")
    for text in texts:
        if isinstance(text, Mapping):
            raise SearchError(
                "many texts are asked for, and one conversation is given", "put it into a list: [messages]"
            )
        yield text
