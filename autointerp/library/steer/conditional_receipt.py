"""What a condition that was chosen from words is measured to do: its receipt, as a table and as JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from autointerp.library.conditions import Condition
from autointerp.library.steer.thresholds import Share
from autointerp.store.known import shown
from autointerp.text_table import percent, shorten, table

_LABEL_WIDTH = 40


@dataclass(frozen=True, slots=True)
class KeptFeature:
    """A feature of the condition.

    Attributes:
        feature: `model@source:index`.
        label: Its label, if it has one.
        threshold: It has to be above, in the coder's own units.
        of_max_activation: The same in multiples of its largest activation in the corpus.
        hits: Of the texts that it was chosen by: examples, or those made of the specification.
    """

    feature: str
    label: str | None
    threshold: float
    of_max_activation: float
    hits: Share


@dataclass(frozen=True, slots=True)
class DroppedFeature:
    """A candidate that is not part of the condition.

    Attributes:
        feature: `model@source:index`.
        label: Its label, if it has one.
        why: A clause.
    """

    feature: str
    label: str | None
    why: str


@dataclass(frozen=True, slots=True)
class ConditionalReceipt:
    """What a condition was measured to do, on texts that had no part in choosing it.

    Attributes:
        specification: What it is to tell.
        allowed: The rate of false alarms that was asked for, of texts.
        kept: Its features; none where no feature tells it.
        dropped: The other candidates, with the reasons.
        false_alarms: Texts of the corpus, of those kept for this, in which it holds anywhere; those that are about the
            specification count as such, too.
        false_alarm_tokens: The share of these texts' tokens at which it holds.
        n_tokens: These tokens.
        hits: Examples of the other half in which it holds; None where no examples were given.
        alarms_on_negatives: Negative examples of the other half in which it holds; None likewise.
        why_none: Why there is no condition; None where there is.
    """

    specification: str
    allowed: float
    kept: tuple[KeptFeature, ...]
    dropped: tuple[DroppedFeature, ...]
    false_alarms: Share | None
    false_alarm_tokens: float | None
    n_tokens: int
    hits: Share | None
    alarms_on_negatives: Share | None
    why_none: str | None

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        plain = asdict(self)
        for name in ("false_alarms", "hits", "alarms_on_negatives"):
            plain[name] = _plain_share(getattr(self, name))
        for kept, row in zip(self.kept, plain["kept"], strict=True):
            row["hits"] = _plain_share(kept.hits)
        return plain

    def to_json(self) -> str:
        """It as JSON."""
        return json.dumps(self.as_plain(), ensure_ascii=False, allow_nan=False)

    def __repr__(self) -> str:
        what = f"tells {shown(self.specification)}"
        lines = [f"no feature here {what}: {self.why_none}" if self.why_none else f"{what}, where any of these holds:"]
        rows = [
            [
                of.feature,
                shorten(of.label or "(no label)", _LABEL_WIDTH),
                f"> {of.threshold:.3g}",
                f"{of.of_max_activation:.2f}",
                f"{of.hits.n_yes}/{of.hits.n}",
            ]
            for of in self.kept
        ]
        lines += table(["feature", "label", "activation", "of its max", "chosen by"], rows, left=(0, 1)) if rows else []
        for told, share in (
            (f"false alarms (at most {percent(self.allowed)} asked for)", self.false_alarms),
            ("hits on held-out examples", self.hits),
            ("alarms on held-out negative examples", self.alarms_on_negatives),
        ):
            if share is not None:
                low, high = share.interval
                lines.append(
                    f"{told}: {share.n_yes} of {share.n} texts, {percent(share.value)} [{percent(low)} {percent(high)}]"
                )
        if self.false_alarm_tokens is not None:
            lines.append(f"holds at {percent(self.false_alarm_tokens)} of their {self.n_tokens:,} tokens")
        return "\n".join([*lines, *(f"left out: {of.feature} {of.label or ''}: {of.why}" for of in self.dropped)])


@dataclass(frozen=True, slots=True, repr=False)
class AutoCondition:
    """A condition that was chosen, and what it was measured to do. Printed, it is the receipt.

    Attributes:
        condition: For `set_when` and `abort_when`; None where no feature tells what was asked.
        receipt: Figures, of texts that had no part in the choice.
    """

    condition: Condition | None
    receipt: ConditionalReceipt

    def __repr__(self) -> str:
        return repr(self.receipt)


def _plain_share(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    low, high = share.interval
    return {"n_yes": share.n_yes, "n": share.n, "share": share.value, "low": low, "high": high}
