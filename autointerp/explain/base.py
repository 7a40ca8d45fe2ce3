"""What every explainer is built on: names, fingerprints, and the records that it hands back.

An explainer is a class over `BaseExplainer`, ours or a user's, that `registry.load_explainer` finds by its name in the
pipeline. `make` builds it for one source from `Tools`, and takes of them what it needs.
"""

import hashlib
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.llm.protocol import LanguageModel
from autointerp.records import Explanation, Failure, FeatureEvidence, Side

if TYPE_CHECKING:
    from autointerp.explain.grading import LabelGrader
    from autointerp.explain.word_rates import BaseRates

from typing import Protocol

_NOT_A_USERS = frozenset({"autointerp"}) | sys.stdlib_module_names


@dataclass(frozen=True, slots=True)
class Tools:
    """What an explainer of one source may be made of; what costs something is made when it is first asked for.

    Attributes:
        config: The table `[explain]`.
        language_model: Connects the model of `[explain.model]`. Raises `NoKeyError` where the environment has no key.
        base_rates: Counts the words of the source's explain split.
        grader: Connects the judge that chooses among labels, for an explainer that `asks_a_judge`. Raises `NoKeyError`
            where the environment has no key.
    """

    config: ExplainConfig
    language_model: Callable[[], LanguageModel]
    base_rates: Callable[[], "BaseRates"]
    grader: "Callable[[], LabelGrader] | None" = None


class BaseExplainer(ABC):
    """Base of the explainers; an `Explainer`.

    Attributes:
        name: Stands in `explanations.explainer`.
        version: Raised when the code comes to write other labels, so that features are explained anew.
        asks_a_judge: Whether the run's judge helps to choose its labels.
        fingerprint: Of all that decides its labels.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    asks_a_judge: ClassVar[bool] = False

    def __init__(self, config: ExplainConfig) -> None:
        self.config = config
        self.fingerprint = self.settings_fingerprint(config)

    @classmethod
    def make(cls, tools: Tools) -> Self:
        """Build it for one source.

        Raises:
            NoKeyError: If it needs a key and the environment holds none.
            PromptError: If a prompt file is missing or malformed.
        """
        return cls(tools.config)

    @classmethod
    def asks_a_model(cls, config: ExplainConfig) -> bool:
        """Whether it will ask the language model of `[explain.model]`."""
        return False

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """What decides its labels besides its name, version and code: plain values, for the fingerprint."""
        return ()

    @classmethod
    def settings_fingerprint(cls, config: ExplainConfig) -> str:
        """Fingerprint of the explainer under a config, whatever source it explains: a user's includes its code.

        Raises:
            PromptError: If a prompt file is missing or malformed.
        """
        return fingerprint(cls.name, cls.version, *cls.settings(config), *source_digests(cls))

    @abstractmethod
    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed.
        """

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
        self, evidence: FeatureEvidence, error_type: str, message: str, raw: str | None = None, *, retry: bool = False
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
        )


def source_file(cls: type) -> Path | None:
    """The file that a class is written in; None where it was typed in."""
    try:
        return Path(inspect.getfile(cls))
    except (OSError, TypeError):
        return None


def source_digests(cls: type) -> list[str]:
    """SHA-256 of each file that a class and its bases are written in, our own package's left out.

    Ours have a `version` instead, so that a new release of the program does not by itself explain all features anew.

    Raises:
        PipelineError: If a file is gone.
    """
    users = (base for base in cls.__mro__ if base.__module__.partition(".")[0] not in _NOT_A_USERS)
    files = dict.fromkeys(file for base in users if (file := source_file(base)) is not None)
    try:
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    except OSError as error:
        raise PipelineError(
            f"the explainer's file {error.filename} can't be read ({error.strerror})", "put it back"
        ) from error


class Explainer(Protocol):
    """Writes one label for one feature.

    Attributes:
        name: For example `keywords`; stands in `explanations.explainer`.
        fingerprint: Of the settings, the prompt's text and the model that decide its labels.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label.

        Raises:
            LanguageModelError: If no further call can succeed (key refused, budget reached): the run stops.
        """
        ...
