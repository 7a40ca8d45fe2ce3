"""The tier of a label: on which side of the feature its scores carry it.

A score *carries* a label if its whole 95 % interval lies above chance, and above what the feature's shuffled label
scores, where one was scored. Which side a score is of stands in its detail: the input (what the feature fires on) or
the output (what it does to what comes next); a score that looks at no label is of neither. One score that carries is
enough for its side. The rule was written down before it was tried on any run.

A side of which no score was asked for is not judged, and its tier says so: of most runs nothing is known of the output.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autointerp.records import Score

_NAMES = {(True, True): "both", (True, False): "input", (False, True): "output", (False, False): "neither"}
CHANCE_OF = {"balanced accuracy": 0.5, "AUROC": 0.5}
"""What a label that says nothing gets, of metrics whose chance is the same for every feature."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Where a label is carried.

    Attributes:
        name: `input`, `output`, `both` or `neither`, with the side that nobody asked about.
        by_input: Scorers of the input that carry it; None where none scored it.
        by_output: Scorers of the output that carry it; None where none scored it.
    """

    name: str
    by_input: tuple[str, ...] | None
    by_output: tuple[str, ...] | None

    @property
    def carried_by(self) -> tuple[str, ...]:
        """The scorers that carry it, of the input before those of the output."""
        return (*(self.by_input or ()), *(self.by_output or ()))


class Graded(NamedTuple):
    """Of one score what decides a tier.

    Attributes:
        scorer: Name of the scorer.
        side: `input` or `output`; anything else for a score that looks at no label.
        ci_low: Lower end of its interval.
        chance: What a label that says nothing gets; None where it is not known.
        shuffled: What the feature's shuffled label scores; None where none was scored.
    """

    scorer: str
    side: str
    ci_low: float
    chance: float | None
    shuffled: float | None

    @property
    def carries(self) -> bool:
        """Whether its interval lies above both, as far as they are known; not where neither is."""
        bars = [bar for bar in (self.chance, self.shuffled) if bar is not None]
        return bool(bars) and self.ci_low > max(bars)


def tier_of(scores: Sequence[Score], shuffled: Mapping[str, float]) -> Tier | None:
    """The tier of one label.

    Args:
        scores: Its current scores.
        shuffled: By scorer what the feature's shuffled label scores, the mean where there are several.

    Returns:
        None where no score says anything of either side.
    """
    return tier_from(
        Graded(score.scorer, side_of(score.detail), score.ci_low, chance_of(score), shuffled.get(score.scorer))
        for score in scores
    )


def tier_from(graded: Iterable[Graded]) -> Tier | None:
    """As `tier_of`, from what decides it alone."""
    sides: dict[str, list[str]] = {}
    for of in graded:
        if of.side in ("input", "output"):
            names = sides.setdefault(of.side, [])
            names += [of.scorer] if of.carries else []
    by_input, by_output = (tuple(sides[side]) if side in sides else None for side in ("input", "output"))
    if not sides:
        return None
    not_asked = {"input": by_input, "output": by_output}
    note = "".join(f" ({side} not asked)" for side, names in not_asked.items() if names is None)
    return Tier(_NAMES[bool(by_input), bool(by_output)] + note, by_input, by_output)


def side_of(detail: Mapping[str, Any]) -> str:
    """The side of a score; of one that was made before sides were told the input, as all were."""
    return str(detail.get("side", "input"))


def chance_of(score: Score) -> float | None:
    """What a label that says nothing gets: the feature's own where the scorer knows it; None where it isn't known."""
    own = score.detail.get("chance")
    return float(own) if isinstance(own, int | float) else CHANCE_OF.get(score.metric)
