"""The explainer `graph`: a label from the features that fire before a feature and those that fire after it.

In the manner of the three passes of goodfire-ai/param-decomp's `graph_interp`; there neighbors are told by attributions
and get their labels in the same run, here they are told by what fires together, and another explainer labels them.

1. The neighbors upstream and downstream are found (`contexts.before_after`), and each is labelled by the explainer that
   `explain.neighbors_from` names, from its own explain split. So what the model reads does not depend on which features
   a run has chosen or labelled before, nor in what order.
2. Output pass: the model reads the labels of the neighbors downstream, which tokens follow the feature's peaks, and
   whose logits it raises and lowers. Where none of this is known it is not asked.
3. Input pass: it reads the labels of the neighbors upstream, the contexts, and which tokens the feature fires on most.
4. Unification: it reads both answers and the contexts, writes the label, and says which side it is about. Where there
   was no output pass, the input pass's answer is the label.

A pass that fails is the feature's failure, and so is a neighbor's label that may yet be written: a label never rests on
what happened to be there. A neighbor that can't be labelled is shown by the tokens on which it fires most. The answers
and the neighbors stand in the label's `detail`. What the neighbors' labels cost is counted in the stage, and in no
label: several features share them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.base import NO_CONTEXTS, BaseExplainer, Tools
from autointerp.explain.domain import read_paragraph
from autointerp.explain.explainers.evidence import SidedAnswer, render_input_facts, render_output_facts, sided_label
from autointerp.explain.graph_neighbors import NamedNeighbor, Naming, render_neighbors
from autointerp.explain.llm_explainer import Asked, Label, LabelAnswer, LlmExplainer
from autointerp.explain.not_a_label import label_problem
from autointerp.explain.registry import load_explainer
from autointerp.explain.shown import render_contexts
from autointerp.identity import feature_id
from autointerp.llm.prompts import Prompt, load_prompt, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure
from autointerp.plugins import called_by_us
from autointerp.records import Explanation, Failure, FeatureEvidence, FiringNeighbor, Usage
from autointerp.records.tokens import most_telling

_PASS_PROMPTS = ("explain_graph_input", "explain_graph_output")
_NOTHING_IN_COMMON = "nothing in common"


@dataclass(frozen=True, slots=True)
class _Said:
    """What a pass said.

    Attributes:
        label: In one line.
        asked: How; its `paid` is that of the passes before, too.
    """

    label: str
    asked: Asked


class GraphExplainer(LlmExplainer):
    """See the module.

    Args:
        tools: With a config that has the table `model`, and with the features nearby.
    """

    name = "graph"
    prompt = "explain_graph"
    answer = SidedAnswer
    reads_labels = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._input_prompt, self._output_prompt = self._pass_prompts(self._paragraph)
        self._nearby = tools.nearby()
        self._labelers: dict[str, BaseExplainer] = {}
        self._namings: dict[tuple[str, int], Naming] = {}

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """Those of any that asks a model, who labels the neighbors, and what a neighbor is.

        Raises:
            PipelineError: If there is no table `model`, or `neighbors_from` is no explainer that can label neighbors.
            PromptError: If a prompt file is missing or malformed.
        """
        return (
            *super().settings(config),
            [prompt.sha256 for prompt in cls._pass_prompts(read_paragraph(config.domain))],
            _labeler(config).settings_fingerprint(config),
            [config.n_neighbors, config.neighbor_reach],
        )

    @classmethod
    def labelled(cls, config: ExplainConfig, n_features: Mapping[str, int]) -> None:
        """None, as its labels are yet to be written; those that neighbors take from a file are checked.

        Raises:
            PipelineError: If a label of the file is of no feature of these.
        """
        _labeler(config).labelled(config, n_features)

    @classmethod
    def _pass_prompts(cls, paragraph: str) -> list[Prompt]:
        """Those of the input pass and of the output pass."""
        return [cls._with_paragraph(load_prompt(name), paragraph) for name in _PASS_PROMPTS]

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        if not evidence.active:
            return self.failure(evidence, NO_CONTEXTS, "no context of the explain split fires")
        near = self._nearby.neighbors(evidence.source_id, evidence.feature_index)
        if failed := await self._name((*near.upstream, *near.downstream)):
            return self._not_named(evidence, failed)
        upstream, downstream = self._named(near.upstream), self._named(near.downstream)
        output: _Said | None = None
        if downstream or render_output_facts(evidence):
            said = await self._output_pass(evidence, downstream)
            if isinstance(said, Failure):
                return said
            output = said
        input = await self._input_pass(evidence, upstream, Usage() if output is None else output.asked.paid)
        if isinstance(input, Failure):
            return input
        asked, label = input.asked, Label(input.label, side="input")
        if output is not None and output.label.casefold().strip(" .") != _NOTHING_IN_COMMON:
            asked = await self._unify(evidence, input, output)
            if isinstance(asked.said, CallFailure):
                return self.call_failure(asked, asked.said)
            label = self.read(asked.said.answer)
        detail = {
            "input": input.label,
            "output": None if output is None else output.label,
            "upstream": [of.account for of in upstream],
            "downstream": [of.account for of in downstream],
        }
        return self.explanation_of(asked, replace(label, detail=detail), self._may_not_repeat(asked))

    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The contexts."""
        return {"contexts": render_contexts(shown.active, shown.max_activation)}

    def read(self, answer: AnswerModel) -> Label:
        """The label; one of the output side says so itself, as a judge reads nothing else."""
        assert isinstance(answer, SidedAnswer)
        return sided_label(answer.side, answer.label)

    async def _output_pass(self, evidence: FeatureEvidence, downstream: Sequence[NamedNeighbor]) -> _Said | Failure:
        def variables(shown: FeatureEvidence) -> dict[str, str]:
            facts = render_output_facts(shown) or "Nothing more is known."
            return {"neighbors": render_neighbors(self._some(downstream, shown, evidence)), "facts": facts}

        return self._said(await self.ask(evidence, self._output_prompt, LabelAnswer, variables), Usage())

    async def _input_pass(
        self, evidence: FeatureEvidence, upstream: Sequence[NamedNeighbor], paid: Usage
    ) -> _Said | Failure:
        def variables(shown: FeatureEvidence) -> dict[str, str]:
            facts = render_input_facts(shown) or "Nothing more is known."
            neighbors = render_neighbors(self._some(upstream, shown, evidence))
            return {**self.variables(shown), "neighbors": neighbors, "facts": facts}

        return self._said(await self.ask(evidence, self._input_prompt, LabelAnswer, variables), paid)

    async def _unify(self, evidence: FeatureEvidence, input: _Said, output: _Said) -> Asked:
        def variables(shown: FeatureEvidence) -> dict[str, str]:
            return {**self.variables(shown), "input": quoted(input.label), "output": quoted(output.label)}

        asked = await self.ask(evidence, self._prompt, self.answer, variables)
        return replace(asked, paid=input.asked.paid + asked.paid)

    def _said(self, asked: Asked, paid: Usage) -> _Said | Failure:
        asked = replace(asked, paid=paid + asked.paid)
        if isinstance(asked.said, CallFailure):
            return self.call_failure(asked, asked.said)
        assert isinstance(asked.said.answer, LabelAnswer)
        label = " ".join(asked.said.answer.label.split())
        if problem := label_problem(label, self._may_not_repeat(asked)):
            return self.failure(asked.shown, *problem, asked.said.text, cost_usd=asked.paid.cost_usd)
        return _Said(label, asked)

    def _may_not_repeat(self, asked: Asked) -> str:
        """What the model read, without labels: that of a neighbor, or of a pass, may be the right one word for word."""
        return f"{asked.request.system}\n{self.variables(asked.shown)['contexts']}"

    def _some(
        self, neighbors: Sequence[NamedNeighbor], shown: FeatureEvidence, evidence: FeatureEvidence
    ) -> Sequence[NamedNeighbor]:
        """The strongest neighbors, as large a share of them as of the contexts is shown."""
        n_wanted = min(len(evidence.active), self.config.n_contexts)
        return neighbors[: -(-len(neighbors) * len(shown.active) // n_wanted)]

    def _named(self, neighbors: Sequence[FiringNeighbor]) -> list[NamedNeighbor]:
        return [NamedNeighbor(of, self._namings[of.source_id, of.feature_index]) for of in neighbors]

    async def _name(self, neighbors: Sequence[FiringNeighbor]) -> Failure | None:
        """Have those neighbors labelled that are not yet; the failure of one that another run may label."""
        unknown: dict[str, set[int]] = {}
        for of in neighbors:
            if (of.source_id, of.feature_index) not in self._namings:
                unknown.setdefault(of.source_id, set()).add(of.feature_index)
        for source_id, features in sorted(unknown.items()):
            labeler = self._labeler_of(source_id)
            for evidence in self._nearby.evidence(source_id, sorted(features)):
                label = None
                if evidence.active or labeler.reads_labels:
                    with called_by_us(labeler, f"the explainer {labeler.name!r} on feature {evidence.feature_index}"):
                        outcome = await labeler.explain(evidence)
                    if isinstance(outcome, Explanation):
                        label = outcome.label
                    elif outcome.retry:
                        return outcome
                telling = most_telling(evidence.top_tokens, evidence.density) or evidence.top_tokens
                tokens = tuple(of.token for of in telling)
                self._namings[source_id, evidence.feature_index] = Naming(label, tokens)
        return None

    def _not_named(self, evidence: FeatureEvidence, failed: Failure) -> Failure:
        of = feature_id(failed.source_id, failed.feature_index)
        message = f"its neighbor {of} has no label yet: {failed.message}"
        return self.failure(evidence, failed.error_type, message, failed.raw, retry=True)

    def _labeler_of(self, source_id: str) -> BaseExplainer:
        if source_id not in self._labelers:
            made = _labeler(self.config)
            with called_by_us(made, f"the explainer {made.name!r}"):
                self._labelers[source_id] = made(self._nearby.tools(source_id))
        return self._labelers[source_id]


def _labeler(config: ExplainConfig) -> type[BaseExplainer]:
    """The class that labels neighbors.

    Raises:
        PipelineError: If there is none of the name, it would ask for neighbors or a judge itself, or it reads no labels
            where a file of them is named.
    """
    name = config.neighbors_from
    found = load_explainer(name)
    if issubclass(found, GraphExplainer) or found.asks_judge:
        raise PipelineError(
            f"explain.neighbors_from = {name!r} can't label the features before and after one: it needs "
            + ("a judge" if found.asks_judge else "their neighbors itself"),
            "name one that reads contexts alone, for example 'keywords' or 'examples', or 'outside' with a file",
        )
    if config.labels is not None and not found.reads_labels:
        raise PipelineError(
            f"explain.labels names a file, and explain.neighbors_from = {name!r} reads none",
            "set explain.neighbors_from to 'outside', or take explain.labels away",
        )
    return found
