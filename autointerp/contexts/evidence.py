"""What an explainer may see of a feature."""

from collections.abc import Sequence

from autointerp.records import FeatureContexts, FeatureEvidence, FeatureStatistics, TokenCount


def feature_evidence(
    contexts: FeatureContexts, statistics: FeatureStatistics, top_tokens: Sequence[TokenCount]
) -> FeatureEvidence:
    """Gather a feature's explain split and its statistics.

    No context of the score split goes in. The density, the largest activation and the top tokens are of the whole
    corpus though, the documents of the score split included: an explainer that reads them knows on which tokens the
    feature fires there too, but nothing of the text around them.

    Args:
        contexts: All contexts of the feature.
        statistics: Of the source, over all counted tokens of the corpus.
        top_tokens: The tokens of the corpus the feature fires on most, most often first.
    """
    feature_index = contexts.feature_index
    return FeatureEvidence(
        source_id=contexts.source_id,
        feature_index=feature_index,
        density=int(statistics.n_active[feature_index]) / max(statistics.n_tokens, 1),
        max_activation=float(statistics.max_activation[feature_index]),
        active=contexts.of("explain", active=True),
        silent=contexts.of("explain", active=False),
        top_tokens=tuple(top_tokens),
    )
