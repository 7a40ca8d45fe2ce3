"""How telling a token is of a feature: of those that it fires on, and of those that follow its peaks.

Counts alone put the language's common words on top of every list. So three measures stand beside a count:

- *recall*: the share of the feature's firings that are on the token; and its *mass*, the same of its activation.
- *precision*: the share of the token's occurrences on which the feature fires.
- *pmi*: pointwise mutual information, log2(P(fires, token) / (P(fires) P(token))) (Church and Hanks 1990). That is the
  log2 of what is observed over what is expected were the two independent. It is largest for what was seen once by
  chance: of a feature that fires on a thousandth of the text, a token that occurs once and fires has 10 bits. So half
  an event is added to either (Norén, Hopstadius and Bate 2013), by which it gets 1.6, a token that fires 8 times of 20
  gets 4, and one that fires 90 times of 90 gets 7.3. Bouma's (2009) normalisation is for the same fault; it leaves the
  token seen once in the midst of the list.

A count may be too low by `FeatureRecord.top_tokens_n_missed`; then so are the measures, and never too high.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import log2
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float32

from autointerp.records.labels import FollowingToken, TokenCount
from autointerp.records.store import FeatureRecord

TokenOrder = Literal["pmi", "precision", "count"]
TOKEN_ORDERS: tuple[TokenOrder, ...] = ("pmi", "precision", "count")
_HALF_AN_EVENT = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class InputToken:
    """A token that a feature fires on, with the measures of the module.

    Attributes:
        token: Its text.
        n_active: Counted tokens of it on which the feature fires.
        mean_activation: The feature's mean activation on these.
        n_occurrences: Counted tokens of it in the corpus; None where nobody counted them, as in stores of before.
        recall: Share of the feature's firings.
        mass: Share of the feature's activation.
        precision: `n_active` over `n_occurrences`; None where that is.
        pmi: Bits, shrunk as the module says; None where `n_occurrences` is.
    """

    token: str
    n_active: int
    mean_activation: float
    n_occurrences: int | None
    recall: float
    mass: float
    precision: float | None
    pmi: float | None


@dataclass(frozen=True, slots=True)
class NextToken:
    """A token that follows a feature's sampled peaks, with the measures of the module.

    Attributes:
        token: Its text.
        n_peaks: Sampled peaks that it follows.
        lift: Its share among the sampled peaks that a token follows, over its share of the corpus.
        recall: That first share.
        pmi: Bits: log2 of `lift`, shrunk as the module says.
    """

    token: str
    n_peaks: int
    lift: float
    recall: float
    pmi: float


_Measured = TypeVar("_Measured", InputToken, NextToken)


def input_tokens(feature: FeatureRecord) -> tuple[InputToken, ...]:
    """The tokens that a feature fires on, most often first."""
    total = feature.n_active * feature.mean_activation
    return tuple(
        InputToken(
            token=of.token,
            n_active=of.n_active,
            mean_activation=of.mean_activation,
            n_occurrences=of.n_occurrences,
            recall=_share(of.n_active, feature.n_active),
            mass=_share(of.n_active * of.mean_activation, total),
            precision=None if of.n_occurrences is None else of.n_active / of.n_occurrences,
            pmi=input_pmi(of, feature.density),
        )
        for of in feature.top_tokens
    )


def next_tokens(feature: FeatureRecord) -> tuple[NextToken, ...]:
    """The tokens that follow a feature's sampled peaks, most often first."""
    return tuple(
        NextToken(of.token, of.n_peaks, of.lift, _share(of.n_peaks, feature.n_followed_peaks), next_pmi(of))
        for of in feature.following_tokens
    )


def input_pmi(token: TokenCount, density: float) -> float | None:
    """Of a token and the firing on it, in bits, shrunk; None where nobody counted its occurrences.

    Args:
        token: The token.
        density: Share of counted tokens on which the feature fires.
    """
    return None if token.n_occurrences is None else _bits(token.n_active, density * token.n_occurrences)


def next_pmi(token: FollowingToken) -> float:
    """Of a token and the peak before it, in bits, shrunk."""
    return _bits(token.n_peaks, token.n_peaks / token.lift)


def most_telling(tokens: Iterable[TokenCount], density: float) -> list[TokenCount]:
    """The tokens whose occurrences are counted, the highest pmi first; ties as they stand.

    Args:
        tokens: Of one feature.
        density: Share of counted tokens on which it fires.
    """
    measured = ((pmi, of) for of in tokens if (pmi := input_pmi(of, density)) is not None)
    return [of for _, of in sorted(measured, key=lambda pair: -pair[0])]


def shrunk_ratios(
    observed: Float32[np.ndarray, " row"], expected: Float32[np.ndarray, " row"]
) -> Float32[np.ndarray, " row"]:
    """What is observed over what is expected, half an event added to either: 2 to the power of the pmi."""
    ratios: Float32[np.ndarray, " row"] = (observed + _HALF_AN_EVENT) / (expected + _HALF_AN_EVENT)
    return ratios


def in_order(tokens: Iterable[_Measured], order: TokenOrder) -> list[_Measured]:
    """Tokens by a measure, the largest first; ties, and tokens without it, stay as they stand.

    Of what follows peaks a sample is known, and so no precision: these are by `pmi` instead.
    """

    def largest_first(of: InputToken | NextToken) -> float:
        if order == "count":
            return 0.0
        measure = of.precision if order == "precision" and isinstance(of, InputToken) else of.pmi
        return np.inf if measure is None else -measure

    return sorted(tokens, key=largest_first)


def _share(part: float, whole: float) -> float:
    """At most 1, also where both are sums of floats; 0 of nothing."""
    return min(1.0, part / whole) if whole > 0 else 0.0


def _bits(observed: float, expected: float) -> float:
    half = float(_HALF_AN_EVENT)
    return log2((observed + half) / (expected + half))
