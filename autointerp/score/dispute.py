"""What a referee says of a label: a rule that is as good as the truth, set against a judge's verdicts.

1. The feature's rule (`referee`) is carried out on the contexts of trials. Agreement is the share of answered trials
   on which it says what the judge says, with Wilson's interval at as many independent ones as they are worth
   (`clusters`).
2. It *disputes* the label where that whole interval lies below `EXPECTED`. Two who are each right about 95 % of windows
   agree on 90 % at the least, if trials are like windows; silent contexts that score are harder than most.

So a dispute says that a simple thing can be said of the feature, and that the label, as its judge reads it, says
something else. It does not say which of the two, label or judge, is at fault: that the label is right and its judge
misreads it looks the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXPECTED = 0.9


@dataclass(frozen=True, slots=True)
class Referee:
    """A rule that is as good as the truth.

    Attributes:
        rule: Its sentence.
        precision: Share of the held-out windows in which it holds that the feature fires in.
        recall: Share of the feature's activation mass in held-out windows that lies in those in which it holds.
        n_windows: Held-out windows in which the feature fires.
    """

    rule: str
    precision: float
    recall: float
    n_windows: int


@dataclass(frozen=True, slots=True)
class Refereed:
    """What a referee says of a label, as its score's detail has it.

    Attributes:
        referee: The rule.
        agreement: Share of trials on which the judge says what the rule says.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n_trials: Trials that were answered.
    """

    referee: Referee
    agreement: float
    low: float
    high: float
    n_trials: int

    @property
    def is_disputed(self) -> bool:
        """Whether rule and judge agree on less than can be expected of two who are right."""
        return self.high < EXPECTED


def refereed(detail: Mapping[str, Any]) -> Refereed | None:
    """What a referee says of a label; None of a score without one.

    Args:
        detail: Of the score.
    """
    if "referee" not in detail:
        return None
    interval = detail["referee_agreement_interval"]
    return Refereed(
        Referee(detail["referee"], detail["referee_precision"], detail["referee_recall"], detail["n_referee_windows"]),
        detail["referee_agreement"],
        interval["low"],
        interval["high"],
        detail["n_referee_agreement"],
    )
