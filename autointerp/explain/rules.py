"""The explainer `rules`: a label that is a predicate over words, reads as one, and can be executed. Local.

The rule is found on the explain split alone (`rules.search`): on the contexts in which the feature fires, and on tiles
of the pool in which it is silent, at the rates of the corpus. It is written as a sentence (`rules.sentence`), from
which the judge `rule` reads it back. A rule whose F1 there is below `explain.least_rule_f1` is no label: the feature
gets the failure `NoRule`, with what the best one comes to.
"""

from autointerp.config import ExplainConfig
from autointerp.explain.base import BaseExplainer, Tools
from autointerp.records import Explanation, Failure, FeatureEvidence
from autointerp.rules.evidence import FeatureText
from autointerp.rules.search import Found, find_rule
from autointerp.rules.sentence import write_rule


class RulesExplainer(BaseExplainer):
    """An explainer that finds rules; see the module.

    Args:
        tools: With text of the source's corpus as it comes, of the explain split.
    """

    name = "rules"
    version = 3

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._natural = tools.natural()

    @classmethod
    def settings(cls, config: ExplainConfig) -> tuple[float]:
        """The F1 from which on a rule is a label."""
        return (config.least_rule_f1,)

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label; `NoRule` where none fits."""
        found = find_rule(FeatureText.build(evidence.active, evidence.feature_index, evidence.density, self._natural))
        if found is None:
            return self.failure(evidence, "NoRule", "no rule says better than chance where it fires")
        sentence = write_rule(found.rule)
        if found.agreement.f1 < self.config.least_rule_f1:
            return self.failure(
                evidence,
                "NoRule",
                f"the best rule, {sentence}, has a precision of {found.agreement.precision:.2f} and a recall of"
                f" {found.agreement.recall:.2f} on the explain split: its F1 is below explain.least_rule_f1",
            )
        return self.explanation(evidence, sentence, side="input", detail=_detail(found))


def _detail(found: Found) -> dict[str, float | int | bool]:
    of = found.agreement
    return {
        "explain_precision": of.precision,
        "explain_recall": of.recall,
        "explain_f1": of.f1,
        "bits": found.bits,
        "n_parts": found.rule.n_parts,
        "looks_ahead": found.rule.looks_ahead,
    }
