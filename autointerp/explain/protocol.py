"""What an explainer is: a function from what a feature's explain split shows to a label, or to a recorded failure."""

from typing import Protocol

from autointerp.records import Explanation, Failure, FeatureEvidence


class Explainer(Protocol):
    """Writes one label for one feature.

    Attributes:
        name: For example `keywords`; stands in `explanations.explainer`.
        fingerprint: Of the settings, the prompt's text and the model that decide its labels.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        ...
