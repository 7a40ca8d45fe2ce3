"""An explainer of one's own: in what kind of text a feature fires, rather than on which words."""

from autointerp.contexts.render import plain_text
from autointerp.explain.llm_explainer import LlmExplainer
from autointerp.llm.prompts import numbered
from autointerp.records import FeatureEvidence


class KindOfText(LlmExplainer):
    """Shows the contexts without marks, and asks where such texts stand."""

    name = "kind_of_text"
    prompt = "example_explainer.txt"  # beside this file

    def variables(self, shown: FeatureEvidence) -> dict[str, str]:
        return {"texts": numbered([plain_text(context) for context in shown.active])}
