"""What a scorer is made from: the run's config, judge and embedder, and the subject and the model behind the judge."""

from collections.abc import Callable
from dataclasses import dataclass

from autointerp.config import ModelConfig, ScoreConfig
from autointerp.embedder import LabelEmbedder
from autointerp.errors import SubjectError
from autointerp.live.subject import LiveSubject
from autointerp.llm.protocol import LanguageModel
from autointerp.score.calibration import Calibrated
from autointerp.score.judge import Judge


def _no_subject() -> LiveSubject:
    raise SubjectError("there is no subject to ask here", "score in a run, or give ScoreTools a subject")


@dataclass(frozen=True, slots=True)
class JudgingModel:
    """The language model that judges, for a scorer that asks it something else.

    Attributes:
        config: Its table.
        connect: Gives the model. Raises `NoKeyError` where the environment has no key.
    """

    config: ModelConfig
    connect: Callable[[], LanguageModel]


@dataclass(frozen=True, slots=True)
class ScoreTools:
    """What a scorer may be made of; what costs something is made when it is first asked for.

    Attributes:
        config: The table `[score]`.
        seed: The run's.
        judge: The run's judge. Raises `NoKeyError` where the environment has no key.
        embedder: The run's sentence embedder.
        contexts_fingerprint: Of the contexts that are scored; it covers the subject and its coders.
        labels_fingerprint: Of every current label of the run, for scorers that set features against each other.
        subject: The subject with its coders, loaded when it is first asked for. Raises `SubjectError` if it can't be.
        judging_model: The language model that judges; None where the judge is local.
        device: Where a scorer's own model runs: as `subject.device` has it.
        calibrated: How often the run's judge errs, where `judge.calibration` names a file.
    """

    config: ScoreConfig
    seed: int
    judge: Callable[[], Judge]
    embedder: Callable[[], LabelEmbedder]
    contexts_fingerprint: str = ""
    labels_fingerprint: Callable[[], str] = str
    subject: Callable[[], LiveSubject] = _no_subject
    judging_model: JudgingModel | None = None
    device: str = "auto"
    calibrated: Calibrated | None = None
