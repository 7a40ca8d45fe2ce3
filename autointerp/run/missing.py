"""What a run was asked for and has not got, counted by reason.

A *finding* says something about the feature in this corpus, which no other try changes: it is dead, fires in too few
places, or nearly everywhere, or no rule or word says where. Anything else was asked for and is not done, whoever is at
fault.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autointerp.explain.base import NO_CONTEXTS, NO_RULE, NO_TELLING_WORDS
from autointerp.records import Failure
from autointerp.run.features import ChosenFeatures
from autointerp.score.registry import load_scorer
from autointerp.score.trials import NO_FALSE_MARKS, NO_SILENT_CONTEXTS
from autointerp.store.reader import Reader

_NO_LABEL = ("contexts", "explain")
_FINDINGS = {NO_CONTEXTS, NO_RULE, NO_TELLING_WORDS, NO_SILENT_CONTEXTS, NO_FALSE_MARKS}
NOT_TRIED = "NotTried"


@dataclass(frozen=True, slots=True)
class Missing:
    """Results that are missing for one reason.

    Attributes:
        stage: As in `Failure`.
        error_type: As in `Failure`; `NotTried` for features that no explainer was asked about.
        n: How many.
        n_retried: How many of them the same command tries again.
        example: One of them; None where there is no record.
    """

    stage: str
    error_type: str
    n: int
    n_retried: int
    example: Failure | None

    @property
    def is_finding(self) -> bool:
        """Whether it tells of the feature, and nothing that was asked for is undone."""
        return tells_of_feature(self.stage, self.error_type)

    @property
    def is_label(self) -> bool:
        """Whether labels are missing, not scores."""
        return self.stage in _NO_LABEL


def tells_of_feature(stage: str, error_type: str) -> bool:
    """Whether a failure is a finding; its stage and type as in `Failure`."""
    return stage == "contexts" or error_type in _FINDINGS


def find_missing(
    reader: Reader, chosen: ChosenFeatures, stages: Sequence[str], scorers: Sequence[str]
) -> list[Missing]:
    """What is missing of what was asked for, the most frequent reason of each stage first.

    Args:
        reader: Of the run's store.
        chosen: The features that were asked for.
        stages: The stages that were carried out.
        scorers: As the pipeline names them.
    """
    asked = {stage for stage in _NO_LABEL if "explain" in stages or "score" in stages}
    if "score" in stages:
        asked |= {f"score:{load_scorer(name).name}" for name in scorers}
    counts: Counter[tuple[str, str]] = Counter()
    retried: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], Failure] = {}
    n_without = 0
    for source_id, features in chosen.items():
        if not features or not asked:
            continue
        failures = [of for of in reader.failures(features, source_id=source_id) if of.stage in asked]
        for failure in failures:
            kind = (failure.stage, failure.error_type)
            counts[kind] += 1
            retried[kind] += failure.retry
            examples.setdefault(kind, failure)
        tried = {of.feature_index for of in failures if of.stage in _NO_LABEL}
        n_without += len(set(features) - tried - reader.labelled_indices(source_id))
    missing = [Missing(*kind, n, retried[kind], examples[kind]) for kind, n in counts.items()]
    missing += [Missing("explain", NOT_TRIED, n_without, 0, None)] if n_without else []
    return sorted(missing, key=lambda of: (not of.is_label, of.stage, -of.n, of.error_type))
