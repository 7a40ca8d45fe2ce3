"""Our scorers by name; a user's is named `module:Class` or `path/to/file.py:Class` (`plugins`)."""

from autointerp.plugins import load_class
from autointerp.score.base import BaseScorer

BUILT_IN = {
    "detection": "autointerp.score.scorers.detection:DetectionScorer",
    "fuzzing": "autointerp.score.scorers.fuzzing:FuzzingScorer",
    "embedding": "autointerp.score.scorers.embedding:EmbeddingScorer",
    "discrimination": "autointerp.score.scorers.discrimination:DiscriminationScorer",
    "intruder": "autointerp.score.scorers.intruder:IntruderScorer",
    "natural": "autointerp.score.scorers.natural:NaturalScorer",
    "recall": "autointerp.score.scorers.recall:RecallScorer",
    "rule": "autointerp.score.scorers.rule:RuleScorer",
    "generation": "autointerp.score.scorers.generation:GenerationScorer",
    "surprisal": "autointerp.score.scorers.surprisal:SurprisalScorer",
    "intervention": "autointerp.score.scorers.intervention:InterventionScorer",
    "simulation": "autointerp.score.scorers.simulation:SimulationScorer",
}


def load_scorer(name: str) -> type[BaseScorer]:
    """Find a scorer's class.

    Args:
        name: As `score.scorers` has it.

    Raises:
        PipelineError: If there is no such file, module or class, if it can't be imported, or is no scorer.
    """
    found: type[BaseScorer] = load_class(name, "a scorer", BUILT_IN, BaseScorer)
    return found
