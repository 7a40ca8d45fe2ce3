"""The explainer `brief`: a language model reads the words on which the feature fires most, and names what they share.

Small models copy what a long prompt holds: its examples, or a line of a context. So the prompt is short, has no
examples, and shows no text but the words: of each context that is shown the token with the strongest activation, each
once, those of most contexts first. What the feature does in some places only can't be seen so.
"""

from collections import Counter
from collections.abc import Mapping

from autointerp.contexts.render import active_tokens
from autointerp.explain.llm_explainer import LlmExplainer
from autointerp.llm.prompts import quoted
from autointerp.records import FeatureEvidence

_MOST_WORDS = 8


class BriefExplainer(LlmExplainer):
    """See the module."""

    name = "brief"
    prompt = "explain_brief"

    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The words."""
        words = Counter[str]()
        for context in shown.active:
            tokens = active_tokens(context, shown.max_activation)
            if tokens:
                strongest, _ = max(tokens, key=lambda pair: pair[1])
                words[strongest.strip().lower() or strongest] += 1
        return {"words": ", ".join(quoted(word) for word, _ in words.most_common(_MOST_WORDS))}
