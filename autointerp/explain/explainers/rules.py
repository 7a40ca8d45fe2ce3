"""The explainer `rules`: a label that is a predicate over words, reads as one, and can be executed. Local.

The rule is found on the explain split alone (`rules.search`): on the contexts in which the feature fires, and on tiles
of the pool in which it is silent, at the rates of the corpus. It is written as a sentence (`rules.sentence`), from
which the judge `rule` reads it back.

What a rule will be worth on other documents lies between two: its F1 on the contexts that it was made of, and the F1
that it would have had there, had it been written as their documents came (`FeatureText.foreseen`). The first is too
high, of long lists most; the second is too low, since it has seen less. Their geometric mean is expected. Where that is
below `explain.least_rule_f1`, the feature gets the failure `NoRule`, which tells the best rule and what it comes to.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autointerp.config import ExplainConfig
from autointerp.explain.base import NO_RULE, BaseExplainer, Tools
from autointerp.records import Context, Explanation, Failure, FeatureEvidence
from autointerp.rules.evidence import FeatureText
from autointerp.rules.search import Found, find_rule
from autointerp.rules.sentence import write_rule

_DESCRIBES = (
    "looks ahead: the model has not read what comes after a word where it fires, so this describes, not explains"
)
# Place in a block of the first token that counts: 1 behind a special one.
_LAST_FIRST = 1
_NEARLY_ALL = 0.9


class RulesExplainer(BaseExplainer):
    """An explainer that finds rules; see the module.

    Args:
        tools: With text of the source's corpus as it comes, of the explain split.
    """

    name = "rules"
    version = 4

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._natural = tools.natural()
        self._is_causal = tools.is_causal()

    @classmethod
    def settings(cls, config: ExplainConfig) -> tuple[float]:
        """The F1 from which on a rule is a label."""
        return (config.least_rule_f1,)

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label; `NoRule` where none fits."""
        text = FeatureText.build(evidence.active, evidence.feature_index, evidence.density, self._natural)
        found = find_rule(text, is_causal=bool(self._is_causal), least_f1=self.config.least_rule_f1)
        foreseen = 0.0 if found is None else text.foreseen(found.rule).f1
        expected = 0.0 if found is None else text.expected_f1(found.rule)
        if found is not None and expected >= self.config.least_rule_f1:
            detail = {**self._detail(found), "foreseen_f1": foreseen, "expected_f1": expected}
            return self.explanation(evidence, write_rule(found.rule), side="input", detail=detail)
        if is_by_place(evidence.active):
            why = "it fires on the first token of a block, whatever that is: a rule sees a window, not where it stands"
        elif found is None:
            why = "no rule says better than chance where it fires"
        else:
            of = found.agreement
            why = (
                f"the best rule, {write_rule(found.rule)}, has a precision of {of.precision:.2f} and a recall of"
                f" {of.recall:.2f} on the explain split, and foretells there, document by document, with an F1 of"
                f" {foreseen:.2f}: {expected:.2f} may be expected of it, which is below explain.least_rule_f1"
            )
        return self.failure(evidence, NO_RULE, why)

    def _detail(self, found: Found) -> dict[str, Any]:
        of = found.agreement
        detail: dict[str, Any] = {
            "explain_precision": of.precision,
            "explain_recall": of.recall,
            "explain_f1": of.f1,
            "bits": found.bits,
            "n_parts": found.rule.n_parts,
            "looks_ahead": found.rule.looks_ahead,
        }
        return {**detail, "note": _DESCRIBES} if found.rule.looks_ahead and self._is_causal else detail


def is_by_place(active: Sequence[Context]) -> bool:
    """Whether nearly all tokens on which a feature fires are the first ones of their blocks, special tokens aside.

    Args:
        active: In which it fires.
    """
    places = np.array([context.start + at for context in active for at, a in enumerate(context.activations) if a > 0])
    return places.size > 0 and float((places <= _LAST_FIRST).mean()) >= _NEARLY_ALL
