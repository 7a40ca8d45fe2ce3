"""The base of explainers that ask a language model: a subclass says which prompt, which answer, and what is shown.

1. Up to `n_contexts` contexts of the explain split are chosen, strong and weak ones, and up to `n_silent` silent ones
   for an explainer that shows them (`shown`).
2. The subclass renders them as the variables of its prompt. Whatever comes from the corpus it must pass through
   `llm.prompts.quoted`, so that it can't pose as instructions.
3. Where the prompt leaves no room for an answer in the model's window (`llm.window`), half as many contexts are shown,
   chosen anew from all, and so on down to a few. How many were shown at last is recorded, and how many would have been.
   What was too long for one feature is not remembered for the next, so that what is shown of a feature never depends on
   which came first.
4. What is no label (`not_a_label`) is a failure, kept with what the model wrote.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError, PromptError
from autointerp.explain.base import BaseExplainer, Tools
from autointerp.explain.not_a_label import label_problem
from autointerp.explain.shown import choose_contexts, choose_silent
from autointerp.llm.prompts import Prompt, load_prompt, read_prompt
from autointerp.llm.protocol import AnswerModel, Reply, Request
from autointerp.llm.window import ask_in_window, check_window
from autointerp.plugins import source_file
from autointerp.records import Explanation, Failure, FeatureEvidence, Side, Usage

N_CONTEXTS_WANTED = "n_contexts_wanted"
"""In a label's detail: how many contexts would have been shown if the model's window had room for them."""
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

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.settings(tools.config)  # what is wrong there is told before a connection is made
        assert tools.config.model is not None, "settings has looked"
        self._settings = tools.config.model
        self._prompt = self.read_prompt()
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
        return (
            [model.provider, model.model, model.temperature, model.max_output_tokens, model.context_window],
            [config.n_contexts, config.n_silent if cls.shows_silent else None],
            [cls.read_prompt().sha256, load_prompt("repair").sha256],
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

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed.
            PromptError: If the prompt's variables are not those that `variables` gives.
        """
        if not evidence.active:
            return self.failure(evidence, "NoContexts", "no context of the explain split fires")
        outcome: Explanation | Failure | None = None
        paid = Usage()
        for shown in self._ever_fewer(evidence):
            request = Request(
                system=self._prompt.system,
                user=self._prompt.user(**self.variables(shown)),
                answer=self.answer,
                max_output_tokens=self._settings.max_output_tokens,
                temperature=self._settings.temperature,
            )
            said = await ask_in_window(self._model, request, self._settings)
            paid = paid + said.usage
            if isinstance(said, Reply):
                return self._explanation(shown, request, said, paid, self._n_wanted(evidence))
            message = said.message
            if said.error_type == "TooLong":
                message = f"{message}, with {len(shown.active)} contexts, the fewest to show"
            outcome = self.failure(evidence, said.error_type, message, said.raw, retry=True, cost_usd=paid.cost_usd)
            if said.error_type != "TooLong":
                break
        assert outcome is not None, "something is always shown"
        return outcome

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

    def _explanation(
        self,
        shown: FeatureEvidence,
        request: Request[AnswerModel],
        reply: Reply[AnswerModel],
        paid: Usage,
        n_wanted: int,
    ) -> Explanation | Failure:
        label = self.read(reply.answer)
        read = f"{request.system}\n{request.user}"
        if problem := (label.said is not None and label_problem(label.said, read)) or label_problem(label.text, read):
            error_type, message = problem
            return self.failure(shown, error_type, message, reply.text, cost_usd=paid.cost_usd)
        return self.explanation(
            shown,
            " ".join(label.text.split()),
            model=self._settings.model,
            prompt_sha256=self._prompt.sha256,
            cost_usd=paid.cost_usd,
            side=label.side,
            n_contexts=len(shown.active),
            excludes=label.excludes,
            detail={**label.detail, **({N_CONTEXTS_WANTED: n_wanted} if len(shown.active) < n_wanted else {})},
        )
