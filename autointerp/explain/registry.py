"""Our explainers by name; a user's is named `module:Class` or `path/to/file.py:Class` (`plugins`)."""

from autointerp.explain.base import BaseExplainer
from autointerp.plugins import load_class

BUILT_IN = {
    "keywords": "autointerp.explain.explainers.keywords:KeywordsExplainer",
    "rules": "autointerp.explain.explainers.rules:RulesExplainer",
    "examples": "autointerp.explain.explainers.examples:ExamplesExplainer",
    "brief": "autointerp.explain.explainers.brief:BriefExplainer",
    "contrastive": "autointerp.explain.explainers.contrastive:ContrastiveExplainer",
    "evidence": "autointerp.explain.explainers.evidence:EvidenceExplainer",
    "graph": "autointerp.explain.explainers.graph:GraphExplainer",
    "best_of": "autointerp.score.best_of:BestOfExplainer",  # it stands above the judges that it asks
    "outside": "autointerp.explain.explainers.outside:OutsideExplainer",
}


def load_explainer(name: str) -> type[BaseExplainer]:
    """Find an explainer's class.

    Args:
        name: As `explain.explainer` has it.

    Raises:
        PipelineError: If there is no such file, module or class, if it can't be imported, or is no explainer.
    """
    found: type[BaseExplainer] = load_class(name, "an explainer", BUILT_IN, BaseExplainer)
    return found
