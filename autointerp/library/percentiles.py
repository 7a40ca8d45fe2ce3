"""Thresholds at percentiles of features' own activations."""

from collections.abc import Sequence
from numbers import Real

from autointerp.errors import FilterError
from autointerp.identity import feature_id
from autointerp.library.backend import Backend
from autointerp.library.conditions import AnyOf, Condition, FeatureName, Threshold
from autointerp.library.scales import Scales
from autointerp.store.known import shown


def above_percentile(features: Sequence[tuple[Backend, FeatureName]], percentile: float) -> Condition:
    """Holds where one of some features is more active than a share of its own firings in the corpus.

    Args:
        features: Each with the run that knows it.
        percentile: That share, times 100.

    Raises:
        FilterError: If it is no percentile, or a feature fires nowhere in the corpus.
    """
    if not (isinstance(percentile, Real) and not isinstance(percentile, bool) and 0 <= percentile <= 100):
        raise FilterError(f"{shown(percentile)} is no percentile", "give a number from 0 to 100, such as 99")
    parts = []
    for run, (source, index) in features:
        histograms = run.activation_histograms([index], source)
        if not histograms.counts.sum():
            raise FilterError(
                f"{feature_id(source, index)} fires nowhere in the corpus, so it has no percentiles",
                "compare its activation with a number",
            )
        parts.append(Threshold(((source, index),), ">", Scales(histograms).at_percentile(index, float(percentile))))
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))
