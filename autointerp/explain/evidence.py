"""The explainer `evidence`: contexts as in `examples`, and what else is known of the feature on either of its sides.

Some features mean what they fire on, others what they promote. So the model also reads on which tokens the feature
fires most, which tokens follow its peaks, and whose logits it raises and lowers; and it says which side, input or
output, its label is about. Where a source has no logits, nothing is said of them.

The counts are of the whole corpus, as `contexts.evidence` tells; they hold single tokens and nothing of the text around
them.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from autointerp.explain.llm_explainer import Label, LlmExplainer
from autointerp.explain.shown import render_contexts
from autointerp.llm.prompts import quoted
from autointerp.llm.protocol import AnswerModel
from autointerp.records import FeatureEvidence, Side

_MAX_TOKENS = 10
_SAYS_OUTPUT = ("predict", "promot", "expect", "anticipat")


class SidedAnswer(AnswerModel):
    """Which side the label is about, and the label."""

    side: Side
    label: str


class EvidenceExplainer(LlmExplainer):
    """See the module."""

    name = "evidence"
    prompt = "explain_evidence"
    answer = SidedAnswer

    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The contexts and the further facts."""
        return {"contexts": render_contexts(shown.active, shown.max_activation), "facts": render_facts(shown)}

    def read(self, answer: AnswerModel) -> Label:
        """The label; one of the output side says so itself, as a judge reads nothing else."""
        assert isinstance(answer, SidedAnswer)
        label = answer.label.strip()
        says_input_only = not label.casefold().startswith(_SAYS_OUTPUT) and any(c.isalnum() for c in label)
        if answer.side == "output" and says_input_only:
            return Label(f"predicts {label}", said=label, side=answer.side)
        return Label(label, side=answer.side)


def render_facts(evidence: FeatureEvidence) -> str:
    """A line of tokens, as JSON strings, for each thing that is known; `Nothing more is known.` where nothing is."""
    following = (f"{quoted(t.token)} {t.n_peaks} (x{_times(t.lift)})" for t in evidence.following_tokens)
    lines = (
        _line("Fires most on", (f"{quoted(t.token)} {t.n_active}" for t in evidence.top_tokens)),
        _line(f"After {evidence.n_followed_peaks} peaks", following),
        _line("Raises", (quoted(t.token) for t in evidence.top_logits)),
        _line("Lowers", (quoted(t.token) for t in evidence.bottom_logits)),
    )
    return "\n".join(line for line in lines if line) or "Nothing more is known."


def _line(title: str, items: Iterable[str]) -> str:
    shown = ", ".join(islice(items, _MAX_TOKENS))
    return f"{title}: {shown}" if shown else ""


def _times(lift: float) -> str:
    return f"{lift:.0f}" if lift >= 10 else f"{lift:.1f}"
