"""What the tools reply: shapes, whose descriptions become the output schemas, and how records are put into them.

A reply is bounded in size: an agent's window is. Long text is cut, with its length told, and so are long lists, with
what to ask to see the rest.
"""

import math
from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

MOST_CHARACTERS = 24_000
_LABEL = 600
_TEXT = 1_000
_MESSAGE = 300


class Reply(BaseModel):
    """A reply, or a part of one."""

    model_config = ConfigDict(frozen=True)


class Scored(Reply):
    """A label's score; an interval that includes `shuffled` or chance means that it shows nothing."""

    value: float | None
    ci_low: Annotated[float | None, Field(description="Lower end of the 95 % interval.")]
    ci_high: Annotated[float | None, Field(description="Upper end of the 95 % interval.")]


class FoundFeature(Reply):
    """A feature with its best label."""

    feature: Annotated[str, Field(description="model@source:index, as the other tools take it.")]
    label: str | None
    explainer: str | None
    relevance: Annotated[float | None, Field(description="To the query, or similarity; larger is closer.")]
    density: Annotated[float | None, Field(description="Share of tokens on which it fires.")]
    scores: dict[str, Scored]
    run: str


class Found(Reply):
    """Features that were found."""

    features: list[FoundFeature]
    more: Annotated[str | None, Field(description="How to ask for the rest; null where this is all.")]


class FullScore(Scored):
    """A score with how it was had."""

    metric: str
    judge: str
    n_trials: int
    n_unanswered: int
    chance: Annotated[float | None, Field(description="What a label that says nothing gets, where that is known.")]
    shuffled: Annotated[
        float | None, Field(description="What other features' labels get here; the value has to beat it.")
    ]
    uninformative: Annotated[str | None, Field(description="Why the judge's answers tell nothing, where they don't.")]


class Label(Reply):
    """A label that was written for the feature."""

    label: str
    explainer: str
    model: str
    side: Annotated[str | None, Field(description="input: what it fires on; output: what it promotes.")]
    excludes: str | None
    scores: dict[str, FullScore]


class Baseline(Reply):
    """A label that says nothing of the feature, scored beside its own."""

    kind: str
    label: str
    label_from: int | None
    scores: dict[str, Scored]


class FiredToken(Reply):
    """A token that it fires on."""

    token: str
    n_active: int
    precision: Annotated[float | None, Field(description="Share of the token's occurrences on which it fires.")]
    pmi_bits: float | None


class MovedToken(Reply):
    """A token whose logit it moves."""

    token: str
    logit: float


class Failed(Reply):
    """What could not be done for it."""

    stage: str
    error: str
    message: str


class Shown(Reply):
    """All that is known of one feature but its contexts and trials."""

    feature: str
    run: str
    status: Annotated[str, Field(description="ok, dead (never fires), dense (nearly always), few_contexts.")]
    n_active: int
    density: float | None
    mean_activation: float | None
    max_activation: float | None
    labels: list[Label]
    tier: Annotated[str | None, Field(description="The side of the feature on which scores carry the label.")]
    disputed: Annotated[str | None, Field(description="A rule as good as the truth that disagrees with the judge.")]
    baselines: list[Baseline]
    fires_on: list[FiredToken]
    followed_by: list[str]
    promotes: list[MovedToken]
    suppresses: list[MovedToken]
    neighbor_spaces: list[str]
    n_contexts: int
    failures: list[Failed]
    more: str | None


class ShownContext(Reply):
    """A piece of the corpus, with << >> around the tokens on which the feature fires."""

    text: str
    max_activation: float
    peak_token: str | None
    kind: str
    split: str | None
    quantile: int | None
    document: str


class Contexts(Reply):
    """Contexts, strongest first."""

    feature: str
    n: Annotated[int, Field(description="How many there are.")]
    contexts: list[ShownContext]
    more: str | None


class TrialsSummary(Reply):
    """What the trials of a label by a scorer came to."""

    label: str
    label_of: Annotated[str, Field(description="own, or the baseline that it is.")]
    scorer: str
    judge: str
    score: Scored
    n_trials: int
    n_right: Annotated[int | None, Field(description="null where the judge gives no verdicts.")]


class ShownTrial(Reply):
    """One question to the judge."""

    scorer: str
    label_of: str
    truth: Annotated[bool, Field(description="What a perfect judge of a perfect label would say.")]
    verdict: bool | None
    probability: float | None
    unanswered: Annotated[str | None, Field(description="Why there is no answer.")]
    shown: Annotated[str | None, Field(description="What the judge saw; null where it is kept no more.")]
    kind: str | None
    document: str | None


class Trials(Reply):
    """Trials of a feature's labels, in the order in which they were put."""

    feature: str
    summaries: list[TrialsSummary]
    n: Annotated[int, Field(description="How many trials were asked for.")]
    trials: list[ShownTrial]
    more: str | None


class FiredFeature(Reply):
    """What a feature does on the text."""

    feature: str
    label: str | None
    explainer: str | None
    density: float | None
    scores: dict[str, Scored]
    run: str
    activation: Annotated[float | None, Field(description="The aggregate that was asked for.")]
    percentile: Annotated[float | None, Field(description="Of its largest activation, among its own in the corpus.")]
    surprise: Annotated[float | None, Field(description="3: one token in a thousand of the corpus has the like.")]
    n_tokens: Annotated[int, Field(description="Tokens on which it fires.")]
    peak: int
    around: Annotated[str, Field(description="The text around the token where it is largest, which is marked.")]


class TokenFeature(Reply):
    """What a feature does on a token."""

    feature: str
    label: str | None
    activation: float | None
    percentile: float | None


class ReadToken(Reply):
    """A token of the text."""

    position: int
    token: str
    fires: list[TokenFeature]


class Inspected(Reply):
    """What features do on a text."""

    n_tokens: int
    n_features: Annotated[int, Field(description="Features that fire on it at all.")]
    features: list[FiredFeature]
    tokens: list[ReadToken]
    more: str | None


class Source(Reply):
    """A coder at a hook point of a model."""

    source: str
    model: str
    hook: str
    coder: str
    corpus: str
    n_features: int
    n_tokens: int


class Values(Reply):
    """Values of a scorer over many labels."""

    n: int
    mean: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    share_above_chance: Annotated[float | None, Field(description="Share whose whole interval lies above chance.")]


class Scorer(Reply):
    """A scorer over all labels, beside labels that say nothing."""

    scorer: str
    judge: str
    metric: str
    chance: float | None
    labels: Values | None
    shuffled: Annotated[Values | None, Field(description="Other features' labels; what `labels` has to beat.")]
    other_baselines: dict[str, Values]
    win_rate: Annotated[float | None, Field(description="Share of features whose own label beats the shuffled one.")]
    share_above_shuffled: float | None


class Stage(Reply):
    """How far a stage of the run is."""

    stage: str
    state: str
    n_done: int
    n_failed: int
    n_pending: int


class RunStatus(Reply):
    """A run."""

    run: str
    problem: Annotated[str | None, Field(description="Why nothing can be told of it; null where it can.")] = None
    sources: list[Source] = []
    n_labels: int = 0
    scorers: list[Scorer] = []
    tiers: dict[str, int] = {}
    explainers: list[str] = []
    stages: list[Stage] = []
    failures: Annotated[dict[str, int], Field(description="How many features failed, by stage and reason.")] = {}
    notes: list[str] = []


class Status(Reply):
    """The runs that are served."""

    runs: list[RunStatus]


_Row = TypeVar("_Row", bound=Reply)


def fitting(
    rows: Sequence[_Row], n: int, offset: int, room: int = MOST_CHARACTERS, *, start: int = 0
) -> tuple[list[_Row], str | None]:
    """The rows of a reply that were asked for, as far as they fit into it.

    Args:
        rows: All there are, or at least one more than are asked for.
        n: Rows asked for.
        offset: Of those, left out at the start.
        room: Characters of JSON; the first row is shown in any case.
        start: Place of the first of `rows` among all, where only some were made.

    Returns:
        The rows, and how to ask for the rest; None where there is none.
    """
    shown: list[_Row] = []
    for row in rows[offset - start : offset - start + n]:
        room -= len(row.model_dump_json())
        if shown and room < 0:
            break
        shown.append(row)
    end = offset + len(shown)
    if end < start + len(rows):
        return shown, f"there are more: ask again with offset={end}"
    if rows and not shown:
        return shown, f"there are only {len(rows)}: ask with a smaller offset"
    return shown, None


def measured(value: float | None) -> float | None:
    """A number with four significant digits; None where it is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def cut(text: str, most: int) -> str:
    """Text, or its beginning with its length where it is long."""
    return text if len(text) <= most else f"{text[:most]}… (cut: {len(text):,} characters in all)"


def label_text(text: str) -> str:
    """A label as replies have it."""
    return cut(text, _LABEL)


def corpus_text(text: str) -> str:
    """Text of the corpus as replies have it."""
    return cut(text, _TEXT)


def message_text(text: str) -> str:
    """A message as replies have it."""
    return cut(" ".join(text.split()), _MESSAGE)
