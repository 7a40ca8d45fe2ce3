"""The explainer `examples`: a language model reads contexts in which the feature fires, and names what they share.

Each is one line: the context with its active tokens marked, then the strongest of them with their activations as
integers, 10 the feature's largest in the corpus. The model answers with a label and nothing else: no chain of thought,
which costs more and gained nothing in Paulo et al. 2024 (2410.13928).
"""

from collections.abc import Mapping

from autointerp.explain.llm_explainer import LlmExplainer
from autointerp.explain.shown import render_contexts
from autointerp.records import FeatureEvidence


class ExamplesExplainer(LlmExplainer):
    """See the module."""

    name = "examples"
    prompt = "explain_examples"

    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The contexts."""
        return {"contexts": render_contexts(shown.active, shown.max_activation)}
