"""The receipt of a steering: what was tried, what was left out and why, and what it does and costs, with intervals."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from autointerp.library.steer.choice import Questions, Verdict, told_difference
from autointerp.library.steer.measures import Difference
from autointerp.library.steer.settings import Settings
from autointerp.text_table import number, percent, shorten, table


@dataclass(frozen=True, slots=True)
class Kept:
    """A feature that is steered by.

    Attributes:
        feature: `model@source:index`.
        label: Its label, if it has one.
        strength: In doses: 1 moves the next token by one nat of KL at the 95th percentile of tokens.
        activation: The same in the coder's own units.
        of_max_activation: The same in multiples of its largest activation; None of one that never fires.
        of_stream_norm: Length of what is added over the stream's.
        found_by: Where it comes from.
        output_score: See `output_score`.
        points_to: The tokens that it points to.
    """

    feature: str
    label: str | None
    strength: float
    activation: float
    of_max_activation: float | None
    of_stream_norm: float
    found_by: tuple[str, ...]
    output_score: float
    points_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that was not kept.

    Attributes:
        feature: `model@source:index`.
        label: Its label, if it has one.
        found_by: Where it comes from.
        output_score: If it has one.
        why: A clause.
    """

    feature: str
    label: str | None
    found_by: tuple[str, ...]
    output_score: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Tried:
    """Features at a dose, on the half of the prompts by which is chosen.

    Attributes:
        features: Their indices.
        dose: Together; each has its share of it.
        concept: Mean concept score; that of plain answers stands in the receipt.
        loss: Mean nats a token.
        repetition: Mean share of repeated 4-grams.
    """

    features: tuple[int, ...]
    dose: float
    concept: float
    loss: float | None
    repetition: float


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """A way to answer, on the half of the prompts that is reported.

    Attributes:
        name: `plain`, `steered`, or a control's.
        concept: Mean concept score.
        over_plain: By how much that is above plain answers'; None of these.
        mentions: Share of answers that mention at least half of the facets.
        loss: Mean nats a token.
        repetition: Mean share of repeated 4-grams.
        kept: Mean cosine of answers and their instructions.
        examples: The first answers.
    """

    name: str
    concept: float
    over_plain: Difference | None
    mentions: float | None
    loss: float | None
    repetition: float
    kept: float
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took.

    Attributes:
        n_generated: Tokens generated.
        n_answers: Answers generated.
        n_known: Answers that had been generated before, for this specification or another, and were taken from there.
        n_read: Tokens read otherwise by the measurement: prompts, answers whose loss is read, questions. What finding
            doses and contrasts reads is not counted.
        n_questions: Questions asked, each time counted; the plain subject is asked once, as long as it is loaded.
        seconds: By the clock.
    """

    n_generated: int = field(compare=False)
    n_answers: int = field(compare=False)
    n_known: int = field(compare=False)
    n_read: int = field(compare=False)
    n_questions: int = field(compare=False)
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True, repr=False)
class Receipt:
    """What a steering is worth. Printed, it is a table; `to_json` gives all of it.

    Attributes:
        specification: What was asked for.
        source_id: Whose features were looked at.
        steers: Whether features steer this.
        reasons: Why not, each a clause.
        kept: The features, with their doses; of a declined steering those that came closest.
        dropped: The candidates that were not kept.
        tried: What was tried on the half of the prompts by which is chosen.
        plain_concept: Concept score of plain answers there.
        arms: What was found on the other half; none where nothing was worth measuring.
        verdict: The tests on it; None likewise.
        questions: Answered right; None where it did not come to that.
        n_choose: Prompts of the half by which is chosen.
        n_report: Prompts of the half that is reported.
        settings: How features were chosen and measured, the seed among it.
        prompts_digest: SHA-256 of the prompts.
        questions_digest: SHA-256 of the question set.
        cost: What it took.
    """

    specification: str
    source_id: str
    steers: bool
    reasons: tuple[str, ...]
    kept: tuple[Kept, ...]
    dropped: tuple[Dropped, ...]
    tried: tuple[Tried, ...]
    plain_concept: float | None
    arms: tuple[ArmFigures, ...]
    verdict: Verdict | None
    questions: Questions | None
    n_choose: int
    n_report: int
    settings: Settings
    prompts_digest: str
    questions_digest: str
    cost: Cost

    def arm(self, name: str) -> ArmFigures:
        """The figures of one arm.

        Raises:
            KeyError: If it was not measured.
        """
        for of in self.arms:
            if of.name == name:
                return of
        raise KeyError(name)

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it: numbers that are none are null."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def to_json(self) -> str:
        """All of it as a JSON object."""
        return json.dumps(self.as_plain(), ensure_ascii=False, allow_nan=False)

    def __repr__(self) -> str:
        lines = [f"{'steers' if self.steers else 'declined: no feature here steers this'}: {self.specification}"]
        lines += [f"  because {reason}" for reason in self.reasons]
        for of in self.kept:
            lines.append(
                f"  {of.feature} {shorten(of.label or 'without a label')}: dose {of.strength:g}"
                f" (activation {of.activation:.3g}, {_times(of.of_max_activation)} its largest,"
                f" {number(of.of_stream_norm)} of the stream), by {', '.join(of.found_by)}"
            )
        if self.arms:
            lines += ["", *table(*self._arm_table(), left=(0,))]
        if self.verdict is not None:
            lines += ["", f"steered against noise of the same norm: {told_difference(self.verdict.over_noise)}"]
            lines += [
                f"mentions {of.word!r}: {percent(of.plain)} of plain answers, {percent(of.steered)} of steered ones"
                for of in self.verdict.facets
            ]
        if self.questions is not None:
            lines.append(_told_questions(self.questions))
        lines.append(
            f"{self.n_choose} prompts to choose by, {self.n_report} others to report; {len(self.tried)} tries,"
            f" {len(self.dropped)} candidates dropped; {self.cost.n_answers:,} answers"
            f"{f' ({self.cost.n_known:,} others known)' if self.cost.n_known else ''},"
            f" {self.cost.n_generated:,} tokens generated and {self.cost.n_read:,} read in {self.cost.seconds:.0f} s"
        )
        return "\n".join(lines)

    def _arm_table(self) -> tuple[list[str], list[list[str]]]:
        header = ["answers", "concept", "over plain", "mentions", "loss", "repetition", "kept"]
        rows = [
            [
                of.name,
                number(of.concept),
                "" if of.over_plain is None else told_difference(of.over_plain),
                number(of.mentions),
                number(of.loss),
                number(of.repetition),
                number(of.kept),
            ]
            for of in self.arms
        ]
        return header, rows

    def _repr_html_(self) -> str:
        head, *rest = repr(self).split("\n\n")[0].split("\n")
        parts = [f"<p><b>{escape(head)}</b></p>", *(f"<p>{escape(line.strip())}</p>" for line in rest)]
        if self.arms:
            header, rows = self._arm_table()
            cells = [[*row, " / ".join(of.examples)] for row, of in zip(rows, self.arms, strict=True)]
            parts.append(_html_table([*header, "first answers"], cells))
        if self.questions is not None:
            parts.append(f"<p>{escape(_told_questions(self.questions))}</p>")
        if self.dropped:
            rows = [[of.feature, of.label or "", ", ".join(of.found_by), of.why] for of in self.dropped]
            parts.append(_html_table(["dropped", "label", "found by", "why"], rows))
        return "".join(parts)


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _told_questions(of: Questions) -> str:
    told = (
        f"questions answered right: {percent(of.plain)} plain, {percent(of.steered)} steered of {of.n}, a change of"
        f" {told_difference(of.change)}"
    )
    return (
        told if of.can_tell else f"{told}; the subject answers no more than guessing would, so they count for nothing"
    )


def _times(value: float | None) -> str:
    return "none of" if value is None else f"{value:.2g} times"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
