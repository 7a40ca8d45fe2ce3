"""What a pipeline file says: one frozen model per stage (`tables`), and reading it (`file`)."""

from autointerp.config.indices import parse_indices
from autointerp.config.tables import (
    CoderConfig,
    CollectConfig,
    ContextsConfig,
    CorpusConfig,
    EmbedderConfig,
    ExplainConfig,
    FeaturesConfig,
    JudgeConfig,
    LlmConfig,
    ModelConfig,
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
