"""How often and how strongly a feature fires, as pages plot it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of activations.

    Attributes:
        low: Lower edge; None where it holds all below the upper one.
        high: Upper edge; None where it holds all above the lower one.
        n: Tokens on which the activation lies in it.
    """

    low: float | None
    high: float | None
    n: int


def filled_bins(edges: Sequence[float], counts: Sequence[int]) -> tuple[Bin, ...]:
    """From the first bin that holds something to the last; the outermost bins of all are open-ended.

    Args:
        edges: Of the bins, ascending; one more than there are bins.
        counts: In each.
    """
    filled = [place for place, count in enumerate(counts) if count]
    if not filled or len(edges) != len(counts) + 1:
        return ()
    return tuple(
        Bin(
            low=edges[place] if place else None,
            high=edges[place + 1] if place + 1 < len(counts) else None,
            n=counts[place],
        )
        for place in range(filled[0], filled[-1] + 1)
    )
