"""What every explainer is built on: what it is made of, its fingerprint, and the records that it hands back.

An explainer is a class over `BaseExplainer`, ours or a user's, that `registry.load_explainer` finds by its name in the
pipeline. It is built once for each source, on `Tools`, and takes of them what it needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from autointerp.config import ExplainConfig
from autointerp.explain.word_rates import BaseRates
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.llm.protocol import LanguageModel
from autointerp.plugins import source_digests
from autointerp.records import Explanation, Failure, FeatureEvidence, FiringNeighbors, Sibling, Side
from autointerp.rules.evidence import NaturalText

# Failures of explaining that tell of the feature, and that no other try changes.
NO_CONTEXTS = "NoContexts"
NO_TELLING_WORDS = "NoTellingWords"
NO_RULE = "NoRule"


def _unknown() -> bool | None:
    return None


def _no_text() -> NaturalText:
    raise AssertionError("these tools have no text of a corpus")


class Nearby(Protocol):
    """The features that fire near one, of all sources of the run."""

    def neighbors(self, source_id: str, feature_index: int) -> FiringNeighbors:
        """Those of one feature, told from the explain split."""
        ...

    def evidence(self, source_id: str, features: Sequence[int]) -> Sequence[FeatureEvidence]:
        """What an explainer may see of some features of a source, in their order; one may have no contexts.

        It is the same whether or not a run has chosen these features to be labelled.
        """
        ...

    def tools(self, source_id: str) -> "Tools":
        """What an explainer of a source is made of."""
        ...


def _none_nearby() -> Nearby:
    raise AssertionError("these tools know of no other features")


@dataclass(frozen=True, slots=True)
class Tools:
    """What an explainer of one source may be made of; what costs something is made when it is first asked for.

    Attributes:
        config: The table `[explain]`.
        language_model: Connects the model of `[explain.model]`. Raises `NoKeyError` where the environment has no key.
        base_rates: Counts the words of the source's explain split.
        fingerprint: Of all that decides the labels, the contexts included; stands in what the explainer hands back.
        natural: Cuts the explain split's tiles of the source's pool into words.
        nearby: Counts which features fire near each other.
        is_causal: Whether a token of the subject has read only those before it; None where nobody can tell.
    """

    config: ExplainConfig
    language_model: Callable[[], LanguageModel]
    base_rates: Callable[[], BaseRates]
    fingerprint: str = ""
    natural: Callable[[], NaturalText] = _no_text
    nearby: Callable[[], Nearby] = _none_nearby
    is_causal: Callable[[], bool | None] = _unknown


class BaseExplainer(ABC):
    """Writes one label for one feature, or says why it has none.

    Attributes:
        name: Stands in `explanations.explainer`.
        version: Raised when the code comes to write other labels, so that features are explained anew.
        asks_judge: Whether the run's judge helps to choose its labels.
        reads_labels: Whether it takes labels from the file `explain.labels`.
        tells_apart: Whether it has a `tell_apart`.
        config: The table `[explain]`.
        fingerprint: Of all that decides its labels.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    asks_judge: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = False
    tells_apart: ClassVar[bool] = False

    def __init__(self, tools: Tools) -> None:
        self.config = tools.config
        self.fingerprint = tools.fingerprint

    @classmethod
    def asks_model(cls, config: ExplainConfig) -> bool:
        """Whether it will ask the language model of `[explain.model]`."""
        return False

    @classmethod
    def labelled(cls, config: ExplainConfig, n_features: Mapping[str, int]) -> Mapping[str, Sequence[int]] | None:
        """The features that it has a label for, by source, ascending; None where labels are yet to be written.

        Args:
            config: The table `[explain]`.
            n_features: Of each source.

        Raises:
            PipelineError: If a label is of no feature of these.
        """
        return None

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """What decides its labels besides its name, version and code: plain values, for the fingerprint.

        Raises:
            PipelineError: If the config lacks something, or says what can't be.
        """
        return ()

    @classmethod
    def settings_fingerprint(cls, config: ExplainConfig) -> str:
        """Fingerprint of the explainer under a config, whatever source it explains: a user's includes its code.

        Raises:
            PipelineError: If the config lacks something, or says what can't be.
            PromptError: If a prompt file is missing or malformed.
        """
        return fingerprint(cls.name, cls.version, *cls.settings(config), *source_digests(cls))

    def prepare(self, evidence: Sequence[FeatureEvidence]) -> None:
        """Get ready for many features at once; changes nothing but the speed."""
        return

    @abstractmethod
    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """

    @classmethod
    def distinct_settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """What decides how it tells features apart, besides its other settings: plain values, for the fingerprint."""
        return ()

    async def tell_apart(
        self, evidence: FeatureEvidence, first: Explanation, siblings: Sequence[Sibling]
    ) -> Explanation | Failure:
        """Write a label that says what a feature fires on and others of nearly the same label don't.

        Args:
            evidence: Of the feature, without its select contexts.
            first: Its label, as `explain` wrote it.
            siblings: The others, nearest first, at least one.

        Returns:
            The label, or a failure with the reason why there is no other: the first is kept then.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        raise AssertionError(f"{self.name} tells no features apart")

    def explanation(
        self,
        evidence: FeatureEvidence,
        label: str,
        *,
        model: str = "local",
        prompt_sha256: str | None = None,
        cost_usd: float | None = 0.0,
        side: Side | None = None,
        n_contexts: int | None = None,
        excludes: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """The record of a label; the arguments are its fields."""
        return Explanation(
            explanation_id=stable_uuid(f"{feature_id(evidence.source_id, evidence.feature_index)}/{self.fingerprint}"),
            source_id=evidence.source_id,
            feature_index=evidence.feature_index,
            label=label,
            explainer=self.name,
            model=model,
            prompt_sha256=prompt_sha256,
            cost_usd=cost_usd,
            created_at=datetime.now(UTC),
            fingerprint=self.fingerprint,
            side=side,
            n_contexts=n_contexts,
            excludes=excludes,
            detail=detail or {},
        )

    def failure(
        self,
        evidence: FeatureEvidence,
        error_type: str,
        message: str,
        raw: str | None = None,
        *,
        retry: bool = False,
        cost_usd: float | None = 0.0,
    ) -> Failure:
        """The record of a feature that gets no label; the arguments are its fields."""
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
            cost_usd=cost_usd,
        )
