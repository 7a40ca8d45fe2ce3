"""What an explainer may see of a feature."""

from autointerp.records import FeatureContexts, FeatureEvidence, FeatureRecord


def feature_evidence(contexts: FeatureContexts, feature: FeatureRecord) -> FeatureEvidence:
    """Gather a feature's explain split, and what is known of it from statistics and weights.

    The select split goes in fields of its own, which choose among labels and are never shown to who writes one. No
    context of the score split goes in. Some of the rest is of the whole corpus though, the documents of the score
    split included:

    - The density, the largest activation and the top tokens. An explainer that reads them knows on which tokens the
      feature fires there too, but nothing of the text around them.
    - The following tokens. They are counted on a uniform sample of the blocks where the feature fires, from which score
      contexts are chosen too: an explainer that reads them knows which single tokens stand behind peaks there, and how
      often, but not behind which peak, and nothing else of the text.

    The logits are of the weights alone.

    Args:
        contexts: All contexts of the feature.
        feature: The feature as it is stored.
    """
    assert (contexts.source_id, contexts.feature_index) == (feature.source_id, feature.feature_index)
    return FeatureEvidence(
        source_id=feature.source_id,
        feature_index=feature.feature_index,
        density=feature.density,
        max_activation=feature.max_activation,
        active=contexts.of("explain", active=True),
        silent=contexts.of("explain", active=False),
        top_tokens=feature.top_tokens,
        following_tokens=feature.following_tokens,
        n_followed_peaks=feature.n_followed_peaks,
        top_logits=feature.top_logits,
        bottom_logits=feature.bottom_logits,
        select_active=contexts.of("select", active=True),
        select_silent=contexts.of("select", active=False),
    )
