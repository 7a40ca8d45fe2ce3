"""The explainer `evidence`: contexts as in `examples`, and what else is known of the feature on either of its sides.

Some features mean what they fire on, others what they promote. So the model also reads on which tokens the feature
fires most, and on which most above chance, which tokens follow its peaks, and whose logits it raises and lowers; and it
says which side, input or output, its label is about. Where a source has no logits, nothing is said of them.

Beside a count stands how often the token occurs: a feature that fires on one of a hundred " the" has that word on top
of what it fires on most, and says nothing by it. The order above chance is by `records.tokens`.

The counts are of the whole corpus, as `contexts.evidence` tells; they hold single tokens and nothing of the text around
them.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from autointerp.explain.llm_explainer import Label, LlmExplainer
from autointerp.explain.shown import render_contexts
from autointerp.llm.prompts import quoted
from autointerp.llm.protocol import AnswerModel
from autointerp.records import FeatureEvidence, Side, TokenCount
from autointerp.records.tokens import most_telling, next_pmi

_MAX_TOKENS = 10
_SAYS_OUTPUT = ("predict", "promot", "expect", "anticipat")


class SidedAnswer(AnswerModel):
    """Which side the label is about, and the label."""

    side: Side
    label: str


class EvidenceExplainer(LlmExplainer):
    """See the module."""

    name = "evidence"
    version = 2
    prompt = "explain_evidence"
    answer = SidedAnswer

    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The contexts and the further facts."""
        return {"contexts": render_contexts(shown.active, shown.max_activation), "facts": render_facts(shown)}

    def read(self, answer: AnswerModel) -> Label:
        """The label; one of the output side says so itself, as a judge reads nothing else."""
        assert isinstance(answer, SidedAnswer)
        return sided_label(answer.side, answer.label)


def sided_label(side: Side, label: str) -> Label:
    """A label about one side; one of the output says so itself, as a judge reads nothing else."""
    label = label.strip()
    says_input_only = not label.casefold().startswith(_SAYS_OUTPUT) and any(c.isalnum() for c in label)
    if side == "output" and says_input_only:
        return Label(f"predicts {label}", said=label, side=side)
    return Label(label, side=side)


def render_facts(evidence: FeatureEvidence) -> str:
    """A line of tokens, as JSON strings, for each thing that is known; `Nothing more is known.` where nothing is."""
    lines = (render_input_facts(evidence), render_output_facts(evidence))
    return "\n".join(line for line in lines if line) or "Nothing more is known."


def render_input_facts(evidence: FeatureEvidence) -> str:
    """The lines of tokens that a feature fires on most, and most above chance; empty where none is known."""
    lines = (
        _line("Fires most on", map(_counted, evidence.top_tokens)),
        _line("Fires most above chance on", map(_counted, most_telling(evidence.top_tokens, evidence.density))),
    )
    return "\n".join(line for line in lines if line)


def render_output_facts(evidence: FeatureEvidence) -> str:
    """The lines of tokens that follow a feature, and of those whose logits it changes; empty where none is known."""
    by_pmi = sorted(evidence.following_tokens, key=next_pmi, reverse=True)
    following = (f"{quoted(t.token)} {t.n_peaks} (x{times_chance(t.lift)})" for t in by_pmi)
    lines = (
        _line(f"After {evidence.n_followed_peaks} peaks", following),
        _line("Raises", (quoted(t.token) for t in evidence.top_logits)),
        _line("Lowers", (quoted(t.token) for t in evidence.bottom_logits)),
    )
    return "\n".join(line for line in lines if line)


def _line(title: str, items: Iterable[str]) -> str:
    shown = ", ".join(islice(items, _MAX_TOKENS))
    return f"{title}: {shown}" if shown else ""


def _counted(token: TokenCount) -> str:
    of = "" if token.n_occurrences is None else f"/{token.n_occurrences}"
    return f"{quoted(token.token)} {token.n_active}{of}"


def times_chance(lift: float) -> str:
    """How many times as often as by chance, as a prompt says it."""
    return f"{lift:.0f}" if lift >= 10 else f"{lift:.1f}"
