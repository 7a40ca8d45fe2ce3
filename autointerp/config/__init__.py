"""What a pipeline file says: a frozen model per stage (`tables`), of language models, and reading it (`file`)."""

from autointerp.config.indices import parse_indices
from autointerp.config.language_models import LlmConfig, ModelConfig
from autointerp.config.tables import (
    CoderConfig,
    CollectConfig,
    ContextsConfig,
    CorpusConfig,
    EmbedderConfig,
    ExplainConfig,
    FeaturesConfig,
    JudgeConfig,
    NegativeKind,
    Pipeline,
    RayConfig,
    ScoreConfig,
    StopConfig,
    SubjectConfig,
)

__all__ = [
    "CoderConfig",
    "CollectConfig",
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
    "StopConfig",
    "SubjectConfig",
    "parse_indices",
]
