"""Our explainers by name; a user's is named `module:Class` or `path/to/file.py:Class` (`plugins`)."""

from autointerp.explain.base import BaseExplainer
from autointerp.plugins import load_class

BUILT_IN = {
    "keywords": "autointerp.explain.keywords:KeywordsExplainer",
    "rules": "autointerp.explain.rules:RulesExplainer",
    "examples": "autointerp.explain.examples:ExamplesExplainer",
    "contrastive": "autointerp.explain.contrastive:ContrastiveExplainer",
    "evidence": "autointerp.explain.evidence:EvidenceExplainer",
    "best_of": "autointerp.score.best_of:BestOfExplainer",  # it stands above the judges that it asks
    "outside": "autointerp.explain.outside:OutsideExplainer",
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
