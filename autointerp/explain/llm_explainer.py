"""The base of explainers that ask a language model: a subclass says which prompt, which answer, and what is shown.

1. Up to `n_contexts` contexts of the explain split are chosen, strong and weak ones, and up to `n_silent` silent ones
   for an explainer that shows them (`shown`).
2. The subclass renders them as the variables of its prompt. Whatever comes from the corpus it must pass through
   `llm.prompts.quoted`, so that it can't pose as instructions.
3. Where the prompt leaves no room for an answer in the model's window (`llm.window`), half as many contexts are shown,
   chosen anew from all, and so on down to a few. How many were shown at last is recorded, and how many would have been.
   What was too long for one feature is not remembered for the next, so that what is shown of a feature never depends on
   which came first.
4. Behind the prompt's fixed part stands a paragraph on the corpus's domain (`domain`), where there is one.
5. What is no label (`not_a_label`) is a failure, kept with what the model wrote.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError, PromptError
from autointerp.explain.base import NO_CONTEXTS, BaseExplainer, Tools
from autointerp.explain.domain import read_paragraph
from autointerp.explain.not_a_label import label_problem
from autointerp.explain.shown import choose_contexts, choose_silent, render_contexts, render_siblings
from autointerp.llm.prompts import Prompt, load_prompt, quoted, read_prompt
from autointerp.llm.protocol import AnswerModel, CallFailure, Reply, Request
from autointerp.llm.providers.local.loading import model_identity
from autointerp.llm.window import ask_in_window, check_window
from autointerp.plugins import source_file
from autointerp.records import Explanation, Failure, FeatureEvidence, Sibling, Side, Usage

N_CONTEXTS_WANTED = "n_contexts_wanted"
"""In a label's detail: how many contexts would have been shown if the model's window had room for them."""
_DOMAIN = "domain"
"""In a label's detail, the domain that the prompt has a paragraph of; in a user's prompt, the paragraph."""
_DISTINCT = "explain_distinct"
_OF_EACH_SIBLING = 8
_FEWEST_CONTEXTS = 5
"""As many as a feature needs to be explained at all, unless the pipeline says otherwise."""


class LabelAnswer(AnswerModel):
    """The answer of most explainers: a label and nothing else."""

    label: str


@dataclass(frozen=True, slots=True)
class Label:
    """What an answer comes to.

    Attributes:
        text: The label, with all that a judge must know, as a judge reads nothing else.
        said: The label as the model wrote it, where `text` says more.
        side: As in `Explanation`.
        excludes: As in `Explanation`.
        detail: As in `Explanation`.
    """

    text: str
    said: str | None = None
    side: Side | None = None
    excludes: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about a feature, and what came of it.

    Attributes:
        shown: The feature with the contexts that were shown at last.
        request: The question as it was asked then.
        said: The answer, or why there is none.
        paid: Of all calls that it took.
        n_wanted: Contexts that would have been shown if there had been room for them.
    """

    shown: FeatureEvidence
    request: Request[AnswerModel]
    said: Reply[AnswerModel] | CallFailure
    paid: Usage
    n_wanted: int

    @property
    def read(self) -> str:
        """What the model read."""
        return f"{self.request.system}\n{self.request.user}"


class LlmExplainer(BaseExplainer):
    """An explainer that asks a language model; see the module's steps.

    Attributes:
        prompt: Name of a prompt of ours, or of a file `NAME.txt` beside the file that the class is written in.
        answer: What the model is asked for; one that is no `LabelAnswer` needs a `read` of its own.
        shows_silent: Whether contexts in which the feature is silent are shown too.

    Args:
        tools: With a config that has the table `model`.

    Raises:
        NoKeyError: If the environment holds no key.
        PipelineError: If there is no table `model`, or no room for a question beside `max_output_tokens`.
        PromptError: If the prompt file is missing or malformed.
    """

    prompt: ClassVar[str] = ""
    answer: ClassVar[type[AnswerModel]] = LabelAnswer
    shows_silent: ClassVar[bool] = False
    tells_apart: ClassVar[bool] = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.settings(tools.config)  # what is wrong there is told before a connection is made
        assert tools.config.model is not None, "settings has looked"
        self._settings = tools.config.model
        self._paragraph = read_paragraph(tools.config.domain)
        self._prompt = self._with_paragraph(self.read_prompt(), self._paragraph)
        self._model = tools.language_model()

    @abstractmethod
    def variables(self, shown: FeatureEvidence) -> Mapping[str, str]:
        """The variables of the prompt.

        Args:
            shown: The feature with the contexts to show and no others: the active ones from the highest peak down, and
                the silent ones where the class shows them.
        """

    def read(self, answer: AnswerModel) -> Label:
        """What an answer, which is of the class's own type, comes to."""
        assert isinstance(answer, LabelAnswer), "another answer needs a `read` of its own"
        return Label(answer.label)

    @classmethod
    def asks_model(cls, config: ExplainConfig) -> bool:
        """Always."""
        return True

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """The model, what it is asked with, how many contexts are shown, and the prompts' text.

        Raises:
            PipelineError: If there is no table `model`, or no room for a question beside `max_output_tokens`.
            PromptError: If the prompt file is missing or malformed.
        """
        model = config.model
        if model is None:
            raise PipelineError(f"the explainer {cls.name!r} asks a language model", "add a table [explain.model]")
        check_window(model, "explain.model")
        if not issubclass(cls.answer, LabelAnswer) and cls.read is LlmExplainer.read:
            raise PipelineError(
                f"the explainer {cls.name!r} asks for {cls.answer.__name__}, and has no `read` for it",
                "derive the answer from LabelAnswer, or write `read`",
            )
        prompt, paragraph = cls.read_prompt(), read_paragraph(config.domain)
        return (
            [
                *(model.provider, model.model, model.temperature, model.max_output_tokens, model.context_window),
                *model_identity(model),
            ],
            [config.n_contexts, config.n_silent if cls.shows_silent else None],
            [cls._with_paragraph(prompt, paragraph).sha256, load_prompt("repair").sha256],
            *([paragraph] if prompt.uses(_DOMAIN) else []),
        )

    @classmethod
    def read_prompt(cls) -> Prompt:
        """Read the prompt.

        Raises:
            PromptError: If it is missing or malformed.
        """
        if not cls.prompt:
            raise PromptError(f"the explainer {cls.name!r} names no prompt", "set `prompt` in the class")
        owner = next(base for base in cls.__mro__ if "prompt" in vars(base))
        return read_prompt(cls.prompt, f"the explainer {cls.name!r}", source_file(owner))

    @classmethod
    def _with_paragraph(cls, prompt: Prompt, paragraph: str) -> Prompt:
        """Ours has it behind the fixed part; what a user wrote says where it wants it, by a variable."""
        return prompt if cls.prompt.endswith(".txt") else prompt.followed_by(paragraph)

    def _variables(self, shown: FeatureEvidence) -> dict[str, str]:
        """All variables of the prompt."""
        return {**self.variables(shown), **({_DOMAIN: self._paragraph} if self._prompt.uses(_DOMAIN) else {})}

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed.
            PromptError: If the prompt's variables are not those that `variables` gives.
        """
        if not evidence.active:
            return self.failure(evidence, NO_CONTEXTS, "no context of the explain split fires")
        asked = await self.ask(evidence, self._prompt, self.answer, self._variables)
        if isinstance(asked.said, CallFailure):
            return self.call_failure(asked, asked.said)
        return self.explanation_of(asked, self.read(asked.said.answer), asked.read)

    async def tell_apart(
        self, evidence: FeatureEvidence, first: Explanation, siblings: Sequence[Sibling]
    ) -> Explanation | Failure:
        """Ask what the feature fires on that features of like labels don't; `NoDifference` where that is nothing.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        prompt = load_prompt(_DISTINCT).followed_by(self._paragraph)
        n_wanted = self._n_wanted(evidence)

        def variables(shown: FeatureEvidence) -> Mapping[str, str]:
            n_each = max(1, _OF_EACH_SIBLING * len(shown.active) // max(1, n_wanted))
            return {
                "label": quoted(first.label),
                "contexts": render_contexts(shown.active, shown.max_activation),
                "others": render_siblings(siblings, n_each),
            }

        asked = await self.ask(evidence, prompt, LabelAnswer, variables)
        if isinstance(asked.said, CallFailure):
            return self.call_failure(asked, asked.said)
        assert isinstance(asked.said.answer, LabelAnswer), "it was asked for"
        told = self.explanation_of(asked, Label(asked.said.answer.label), asked.read)
        if isinstance(told, Failure) and told.error_type == "EmptyLabel":
            message = f"{self._settings.model} finds no difference"
            return self.failure(evidence, "NoDifference", message, told.raw, cost_usd=told.cost_usd)
        return told if isinstance(told, Failure) else replace(told, prompt_sha256=prompt.sha256)

    @classmethod
    def distinct_settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """The prompt that tells features apart, and how much it shows."""
        return (load_prompt(_DISTINCT).sha256, _OF_EACH_SIBLING)

    async def ask(
        self,
        evidence: FeatureEvidence,
        prompt: Prompt,
        answer: type[AnswerModel],
        variables: Callable[[FeatureEvidence], Mapping[str, str]],
    ) -> Asked:
        """Ask one question about a feature, showing ever fewer contexts until it fits; steps 1 to 3 of the module.

        Args:
            evidence: The feature, with all its contexts.
            prompt: The question.
            answer: What the model is asked for.
            variables: As the method of this name.

        Raises:
            LanguageModelError: If no further call can succeed.
            PromptError: If the prompt's variables are not those that `variables` gives.
        """
        asked: Asked | None = None
        paid = Usage()
        for shown in self._ever_fewer(evidence):
            request = Request(
                system=prompt.system,
                user=prompt.user(**variables(shown)),
                answer=answer,
                max_output_tokens=self._settings.max_output_tokens,
                temperature=self._settings.temperature,
            )
            said = await ask_in_window(self._model, request, self._settings)
            paid = paid + said.usage
            asked = Asked(shown, request, said, paid, self._n_wanted(evidence))
            if isinstance(said, Reply) or said.error_type != "TooLong":
                break
        assert asked is not None, "something is always shown"
        return asked

    def call_failure(self, asked: Asked, said: CallFailure) -> Failure:
        """The record of a feature that gets no label, as a call failed."""
        message = said.message
        if said.error_type == "TooLong":
            message = f"{message}, with {len(asked.shown.active)} contexts, the fewest to show"
        return self.failure(asked.shown, said.error_type, message, said.raw, retry=True, cost_usd=asked.paid.cost_usd)

    def _n_wanted(self, evidence: FeatureEvidence) -> int:
        return min(len(evidence.active), self.config.n_contexts)

    def _ever_fewer(self, evidence: FeatureEvidence) -> Iterator[FeatureEvidence]:
        """The feature with the contexts to show: at first all that are wanted, then half of them, and so on."""
        n_shown = n_wanted = self._n_wanted(evidence)
        while True:
            n_silent = self.config.n_silent * n_shown // n_wanted if self.shows_silent else 0
            yield replace(
                evidence,
                active=choose_contexts(evidence.active, n_shown),
                silent=choose_silent(evidence.silent, n_silent),
                select_active=(),
                select_silent=(),
            )
            if n_shown <= _FEWEST_CONTEXTS:
                return
            n_shown = max(n_shown // 2, _FEWEST_CONTEXTS)

    def explanation_of(self, asked: Asked, label: Label, read: str) -> Explanation | Failure:
        """The record of a label, or the failure of what is none; step 4 of the module.

        Args:
            asked: How the answer came about.
            label: What it comes to.
            read: What its writer read and may not repeat.
        """
        assert isinstance(asked.said, Reply), "a call that failed has no label"
        shown, n_shown = asked.shown, len(asked.shown.active)
        if problem := (label.said is not None and label_problem(label.said, read)) or label_problem(label.text, read):
            error_type, message = problem
            return self.failure(shown, error_type, message, asked.said.text, cost_usd=asked.paid.cost_usd)
        return self.explanation(
            shown,
            " ".join(label.text.split()),
            model=self._settings.model,
            prompt_sha256=self._prompt.sha256,
            cost_usd=asked.paid.cost_usd,
            side=label.side,
            n_contexts=n_shown,
            excludes=label.excludes,
            detail={
                **label.detail,
                **({N_CONTEXTS_WANTED: asked.n_wanted} if n_shown < asked.n_wanted else {}),
                **({_DOMAIN: self.config.domain} if self._paragraph else {}),
            },
        )
