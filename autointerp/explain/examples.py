"""The explainer `examples`: a language model reads contexts in which the feature fires, and names what they share.

1. Up to `n_contexts` contexts of the explain split: half of them those with the highest peaks, half spread evenly over
   the ranks of the others, so that weak firings are seen too (Paulo et al. 2024, 2410.13928, found a mixture better
   than the top alone).
2. Each is one line: the context with its active tokens marked, then the strongest of them with their activations as
   integers, 10 the feature's largest in the corpus.
3. The model answers with a label and nothing else: no chain of thought, which costs more and gained nothing there.
4. A label that is empty, a paragraph, or the prompt repeated is a failure, kept with what the model wrote.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from autointerp.config import ExplainConfig
from autointerp.contexts.render import active_offsets, active_tokens, marked_text
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.llm.prompts import load_prompt, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure, LanguageModel, Request
from autointerp.records import Context, Explanation, Failure, FeatureEvidence

NAME = "examples"
_MAX_LABEL_LENGTH = 200
_MAX_VALUES = 4
_MIN_REPEATED_WORDS = 6


class LabelAnswer(AnswerModel):
    """What the model is asked for."""

    label: str


class ExamplesExplainer:
    """An `Explainer` that asks a language model; see the module's steps.

    Args:
        model: Asked.
        config: With its table `model`.

    Raises:
        PromptError: If the prompt file is missing or malformed.
    """

    def __init__(self, model: LanguageModel, config: ExplainConfig) -> None:
        assert config.model is not None, "the config is validated"
        self._model = model
        self._config = config.model
        self._n_contexts = config.n_contexts
        self._prompt = load_prompt("explain_examples")

    @property
    def name(self) -> str:
        """`examples`."""
        return NAME

    @property
    def fingerprint(self) -> str:
        """Of the model, its settings, the prompt's text and the number of contexts."""
        return fingerprint(
            NAME,
            [self._config.provider, self._config.model, self._config.temperature, self._config.max_output_tokens],
            self._n_contexts,
            [self._prompt.sha256, load_prompt("repair").sha256],
        )

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed.
        """
        shown = choose_contexts(evidence.active, self._n_contexts)
        if not shown:
            return self._failure(evidence, "NoContexts", "no context of the explain split fires", None, retry=False)
        request = Request(
            system=self._prompt.system,
            user=self._prompt.user(contexts=render_contexts(shown, evidence.max_activation)),
            answer=LabelAnswer,
            max_output_tokens=self._config.max_output_tokens,
            temperature=self._config.temperature,
        )
        outcome = await self._model.ask(request)
        if isinstance(outcome, CallFailure):
            retry = outcome.may_pass_later
            return self._failure(evidence, outcome.error_type, outcome.message, outcome.raw, retry=retry)
        label = " ".join(outcome.answer.label.split())
        if problem := label_problem(outcome.answer.label, f"{request.system}\n{request.user}"):
            error_type, message = problem
            return self._failure(evidence, error_type, message, outcome.text, retry=False)
        own_fingerprint = self.fingerprint
        return Explanation(
            explanation_id=stable_uuid(f"{feature_id(evidence.source_id, evidence.feature_index)}/{own_fingerprint}"),
            source_id=evidence.source_id,
            feature_index=evidence.feature_index,
            label=label,
            explainer=NAME,
            model=self._config.model,
            prompt_sha256=self._prompt.sha256,
            cost_usd=outcome.usage.cost_usd,
            created_at=datetime.now(UTC),
            fingerprint=own_fingerprint,
        )

    def _failure(
        self, evidence: FeatureEvidence, error_type: str, message: str, raw: str | None, *, retry: bool
    ) -> Failure:
        return Failure(
            stage="explain",
            source_id=evidence.source_id,
            feature_index=evidence.feature_index,
            error_type=error_type,
            message=message,
            raw=raw,
            retry=retry,
            created_at=datetime.now(UTC),
            fingerprint=self.fingerprint,
        )


def choose_contexts(active: Sequence[Context], n_contexts: int) -> tuple[Context, ...]:
    """The contexts to show, the highest peak first; ties by block and place.

    All of them where they are not more than `n_contexts`; else half from the top, and half evenly over the ranks of
    the rest, the weakest among them.
    """
    ranked = sorted(active, key=lambda c: (-c.max_activation, c.block_index, c.start))
    n_top = n_contexts - n_contexts // 2
    rest, n_rest = ranked[n_top:], n_contexts // 2
    if len(rest) <= n_rest:
        return tuple(ranked)
    spread = [rest[((i + 1) * len(rest)) // n_rest - 1] for i in range(n_rest)]
    return (*ranked[:n_top], *spread)


def render_contexts(contexts: Sequence[Context], feature_max: float) -> str:
    """Numbered lines: the marked context as a JSON string, and its strongest tokens with their activations.

    Args:
        contexts: In each of them the feature fires.
        feature_max: The feature's largest activation in the corpus, above 0.
    """
    lines = []
    for number, context in enumerate(contexts, start=1):
        text = quoted(marked_text(context, active_offsets(context)))
        lines.append(f"{number}: {text} {_values(context, feature_max)}")
    return "\n".join(lines)


def _values(context: Context, feature_max: float) -> str:
    tokens = active_tokens(context, feature_max)
    strongest = sorted(range(len(tokens)), key=lambda i: (-tokens[i][1], i))[:_MAX_VALUES]
    # without the quotation marks, yet with everything escaped that could end the line
    return ", ".join(f"{quoted(tokens[i][0])[1:-1]} {tokens[i][1]}" for i in sorted(strongest))


def label_problem(label: str, prompt: str) -> tuple[str, str] | None:
    """What is wrong with a label, as error type and message; None if it will do.

    Args:
        label: As the model wrote it.
        prompt: What the model read.
    """
    plain = " ".join(label.split())
    if not any(c.isalnum() for c in plain):
        return "EmptyLabel", "the label is empty"
    if len(plain) > _MAX_LABEL_LENGTH:
        return "LabelTooLong", f"the label has {len(plain)} characters; at most {_MAX_LABEL_LENGTH} were expected"
    if len(plain.split()) >= _MIN_REPEATED_WORDS and _words(plain) in _words(prompt):
        return "PromptRepeated", "the label repeats the prompt"
    return None


def _words(text: str) -> str:
    """The words of a text between single spaces, without marks and punctuation, in lower case."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
