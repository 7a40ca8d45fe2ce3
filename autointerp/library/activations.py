"""Activations of many texts as sparse matrices, for statistics and machine learning."""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from autointerp.errors import ActivationRangeError
from autointerp.library.aggregate import by_feature, check_aggregate
from autointerp.records.live import TextFirings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

logger = logging.getLogger(__name__)


def text_matrix(
    texts: Iterable[TextFirings],
    n_features: int,
    features: Sequence[int] | None = None,
    aggregate_by: str = "mean",
) -> "csr_array":
    """One row a text, one column a feature.

    Texts may be read lazily: of each only its row is kept. A text without a token that counts has an empty row, and is
    told of.

    Args:
        texts: What one source does on each.
        n_features: Of the source.
        features: The columns, no feature twice; all features of the source where None.
        aggregate_by: What a feature does on a text, as one number; one of `frequency`, `mean`, `max`, `sum`
            (`library.aggregate`).

    Returns:
        Numbers in float32, (text, feature).

    Raises:
        SearchError: If there is no such aggregate.
        ActivationRangeError: If an activation is not finite.
    """
    from scipy.sparse import csr_array  # slow to import

    aggregate = check_aggregate(aggregate_by)
    columns = _Columns(n_features, features)
    fired, values, ends, empty = [], [], [0], []
    for number, text in enumerate(texts):
        check_finite(text, f"text {number}")
        place, kept = columns.of(text)
        of_text, value = by_feature(place, text.activation[kept], text.n_counted, aggregate)
        fired.append(of_text)
        values.append(value.astype(np.float32))
        ends.append(ends[-1] + len(of_text))
        if not text.n_counted:
            empty.append(number)
    if empty:
        logger.warning(
            "%d of %d texts have no token that counts (the first is text %d): their rows are empty",
            len(empty),
            len(ends) - 1,
            empty[0],
        )
    return csr_array(
        (
            np.concatenate([*values, np.zeros(0, np.float32)]),
            np.concatenate([*fired, np.zeros(0, np.int64)]),
            np.array(ends, dtype=np.int64),
        ),
        shape=(len(ends) - 1, columns.n),
    )


def token_matrix(text: TextFirings, features: Sequence[int] | None = None) -> "csr_array":
    """One row a token of a text, one column a feature.

    Args:
        text: What one source does on it.
        features: The columns, no feature twice; all features of the source where None.

    Returns:
        Activations in float32, (token, feature).
    """
    from scipy.sparse import csr_array  # slow to import

    columns = _Columns(text.n_features, features)
    place, kept = columns.of(text)
    ends = np.searchsorted(text.token[kept], np.arange(len(text.tokens) + 1))
    matrix = csr_array((text.activation[kept], place, ends), shape=(len(text.tokens), columns.n))
    matrix.sort_indices()
    return matrix


def check_finite(text: TextFirings, name: str) -> None:
    """See that no activation has overflowed.

    Raises:
        ActivationRangeError: If one has.
    """
    if not np.isfinite(text.activation).all():
        raise ActivationRangeError(
            f"activations of {text.source_id} on {name} are not finite", 'set subject.dtype = "float32"'
        )


class _Columns:
    """Which column each feature has: its own index, or its place among those that are wanted."""

    def __init__(self, n_features: int, features: Sequence[int] | None) -> None:
        self.n = n_features if features is None else len(features)
        self._place = None
        if features is not None:
            self._place = np.full(n_features, -1, dtype=np.int64)
            self._place[np.asarray(features, dtype=np.int64)] = np.arange(len(features))
            assert (self._place >= 0).sum() == len(features), "a feature is named twice"

    def of(self, text: TextFirings) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " kept"]]:
        """The column of each firing that has one, and which these are."""
        if self._place is None:
            return text.feature.astype(np.int64), np.arange(len(text.feature))
        place = self._place[text.feature]
        kept = np.flatnonzero(place >= 0)
        return place[kept], kept
