"""The explainer `contrastive`: contexts as in `examples`, and look-alikes on which the feature is silent.

The model says what the label must exclude, too. A judge reads the label only, so the exclusion is put into its text:
`LABEL, but not EXCLUDES`. It is kept apart as `Explanation.excludes` as well.
"""

import re
from collections.abc import Mapping

from autointerp.explain.llm_explainer import Label, LlmExplainer
from autointerp.explain.shown import render_contexts, render_silent
from autointerp.llm.protocol import AnswerModel
from autointerp.records import FeatureEvidence

_BUT_NOT = re.compile(r"\A(?:but )?(?:not )?", re.IGNORECASE)
_NOTHING = frozenset({"", "none", "nothing", "n/a"})


class ContrastAnswer(AnswerModel):
    """A label, and what it must exclude; empty where that is nothing."""

    label: str
    excludes: str


class ContrastiveExplainer(LlmExplainer):
    """See the module."""

    name = "contrastive"
    prompt = "explain_contrastive"
    answer = ContrastAnswer
    shows_silent = True

    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The contexts and the look-alikes."""
        return {
            "contexts": render_contexts(shown.active, shown.max_activation),
            "silent": render_silent(shown.silent),
        }

    def read(self, answer: AnswerModel) -> Label:
        """The label with its exclusion."""
        assert isinstance(answer, ContrastAnswer)
        label, excludes = answer.label.strip(), _BUT_NOT.sub("", answer.excludes.strip(" ."))
        if excludes.casefold() in _NOTHING or not any(c.isalnum() for c in label):
            return Label(label)
        return Label(f"{label.rstrip('.,;')}, but not {excludes}", said=label, excludes=excludes)
