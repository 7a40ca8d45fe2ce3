"""What a feature does on a text, as one number.

| aggregate | over the text's tokens that count                                     |
|-----------|-----------------------------------------------------------------------|
| frequency | share on which the feature fires                                      |
| mean      | mean of the activation, 0 where it is silent                          |
| max       | largest activation                                                    |
| sum       | sum of the activation                                                 |
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from numpy.typing import NDArray

from autointerp.errors import SearchError
from autointerp.store.known import check_name

Aggregate = Literal["frequency", "mean", "max", "sum"]


def check_aggregate(aggregate: str) -> Aggregate:
    """See that there is such an aggregate.

    Raises:
        SearchError: If there is none.
    """
    check_name(aggregate, get_args(Aggregate), "aggregate", SearchError)
    known: dict[str, Aggregate] = {name: name for name in get_args(Aggregate)}
    return known[aggregate]


def by_feature(
    feature: Int[np.ndarray, " firing"], value: Float[np.ndarray, " firing"], n_counted: int, aggregate: Aggregate
) -> tuple[Int64[np.ndarray, " fired"], Float64[np.ndarray, " fired"]]:
    """One number for each feature that fires on a text.

    Args:
        feature: Feature of each firing.
        value: What the aggregate is of, for example the activation.
        n_counted: Tokens of the text that count.
        aggregate: The aggregate.

    Returns:
        The features, ascending, and the number of each; no feature that fires nowhere, of which every aggregate is 0.
    """
    fired, place, n_fired = np.unique(feature, return_inverse=True, return_counts=True)
    numbers: NDArray[np.float64]
    if aggregate == "frequency":
        numbers = n_fired / max(1, n_counted)
    elif aggregate == "max":
        order = np.argsort(place, kind="stable")
        starts = np.cumsum([0, *n_fired[:-1]])
        numbers = np.maximum.reduceat(value[order], starts) if len(fired) else np.zeros(0)
    else:
        summed = np.bincount(place, weights=value, minlength=len(fired)).astype(np.float64)
        numbers = summed / max(1, n_counted) if aggregate == "mean" else summed
    return fired.astype(np.int64), numbers.astype(np.float64)
