"""The nulls of `score.nulls` by name, and who scores which; the shuffled labels of `score.baseline` stand apart."""

from autointerp.score.judge import Judge

MOST_FREQUENT_TOKEN = "most_frequent_token"
NO_LABEL = "no_label"
TOO_BROAD, TOO_NARROW = "too_broad", "too_narrow"
NOT_OF_ALL_SCORERS = (NO_LABEL, TOO_BROAD, TOO_NARROW)
"""Nulls that some scorers have nothing to say of, or are not asked about."""


def is_asked_about(kind: str, judge: Judge, *, sees_label: bool, n_partly_wrong: int | None) -> bool:
    """Whether a scorer scores labels of a null.

    Args:
        kind: The null.
        judge: The scorer's: what costs something is not asked about every null.
        sees_label: Whether the scorer looks at labels.
        n_partly_wrong: As `score.n_partly_wrong` has it.
    """
    if not sees_label:
        return False
    if kind == NO_LABEL:
        return not judge.is_free
    return kind not in (TOO_BROAD, TOO_NARROW) or n_partly_wrong is not None or judge.is_free
