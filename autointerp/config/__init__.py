"""What a pipeline file says: frozen models of its tables (`tables`), and reading it (`file`)."""

from autointerp.config.corpus import CorpusConfig
from autointerp.config.indices import parse_indices
from autointerp.config.language_models import LlmConfig, ModelConfig
from autointerp.config.tables import (
    CoderConfig,
    CollectConfig,
    ContentFree,
    ContextsConfig,
    EmbedderConfig,
    ExplainConfig,
    FeaturesConfig,
    JudgeConfig,
    NegativeKind,
    Pipeline,
    RayConfig,
    ScoreConfig,
    SearchConfig,
    StopConfig,
    SubjectConfig,
)

__all__ = [
    "CoderConfig",
    "CollectConfig",
    "ContentFree",
    "ContextsConfig",
    "CorpusConfig",
    "EmbedderConfig",
    "ExplainConfig",
    "FeaturesConfig",
    "JudgeConfig",
    "LlmConfig",
    "ModelConfig",
    "NegativeKind",
    "Pipeline",
    "RayConfig",
    "ScoreConfig",
    "SearchConfig",
    "StopConfig",
    "SubjectConfig",
    "parse_indices",
]
