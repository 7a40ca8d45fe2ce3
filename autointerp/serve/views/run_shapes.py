"""What the pages of runs say, as plain values."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from autointerp.serve.views.asked import Asked, OneOf
from autointerp.serve.views.shown import View

State = Literal["not begun", "under way", "done", "stopped", "killed"]


class Stage(View):
    """How far a stage is.

    Attributes:
        stage: Its name.
        state: Whether it goes on; `killed` where its process is gone, `stopped` where a budget, an error or a person
            ended it.
        n_done: Features, or labels, with a result.
        n_failed: Those with a failure instead.
        n_pending: Those that have neither yet.
        cost_usd: What its calls cost; None where a price is unknown.
        n_calls: Calls of language models; None where it asks none.
        input_tokens: Of these.
        output_tokens: Of these.
        finished_at: UTC; None while it goes on.
    """

    stage: str
    state: State
    n_done: int
    n_failed: int
    n_pending: int
    cost_usd: float | None
    n_calls: int | None
    input_tokens: int | None
    output_tokens: int | None
    finished_at: datetime | None

    @property
    def share_done(self) -> float:
        """Share of all that has a result."""
        return self.n_done / max(1, self.n_done + self.n_failed + self.n_pending)

    @property
    def share_failed(self) -> float:
        """Share of all that has a failure instead."""
        return self.n_failed / max(1, self.n_done + self.n_failed + self.n_pending)


class Values(View):
    """A scorer's values over the labels of a kind.

    Attributes:
        kind: `true`, or the null that they are.
        n: Labels.
        mean: Of the values.
        lower_quartile: Of the values.
        median: Of the values.
        upper_quartile: Of the values.
        share_above_chance: Share whose interval lies wholly above chance; None where chance is unknown.
    """

    kind: str
    n: int
    mean: float
    lower_quartile: float
    median: float
    upper_quartile: float
    share_above_chance: float | None


class ScorerOver(View):
    """A scorer over all labels, beside the same of labels that say nothing.

    Attributes:
        scorer: The scorer.
        judge: The judge.
        metric: What the values are.
        chance: What a label that says nothing gets; None where nobody knows.
        values: Of true labels first, then of nulls.
        win_rate: Share of features whose label scores higher than the shuffled one; None without one.
    """

    scorer: str
    judge: str
    metric: str
    chance: float | None
    values: tuple[Values, ...]
    win_rate: float | None


class Reason(View):
    """Failures of one stage for one reason.

    Attributes:
        stage: The stage.
        error_type: The reason.
        n: How many.
        n_retry: Of these, that another run may fare better with.
        n_raw: Of these, that have an answer that came back.
        cost_usd: What they cost; None where a price is unknown.
        example: The message of the first.
    """

    stage: str
    error_type: str
    n: int
    n_retry: int
    n_raw: int
    cost_usd: float | None
    example: str


class FailedFeature(View):
    """A feature for which a stage has no result.

    Attributes:
        id: `model@source:index`.
        path: Of its page here.
        message: Why.
        raw: What came back, perhaps cut; None where nothing did.
        is_cut: Whether it was cut.
        retry: Whether another run may fare better.
        created_at: UTC.
    """

    id: str
    path: str
    message: str
    raw: str | None
    is_cut: bool
    retry: bool
    created_at: datetime


class Call(View):
    """A call of a language model that failed for good.

    Attributes:
        model: The model.
        error_type: The reason.
        message: One line.
        raw: What came back, perhaps cut; None where nothing did.
        is_cut: Whether it was cut.
        created_at: UTC.
    """

    model: str
    error_type: str
    message: str
    raw: str | None
    is_cut: bool
    created_at: str


class RunLine(View):
    """A run on one line.

    Attributes:
        name: What it is called here.
        path: Of its page.
        state: Whether it goes on.
        stage: The stage that goes on, or that ended before all was done; None where all are done.
        share_done: Of that stage, how much has a result or a failure; 1 where all are done.
        sources: Its sources.
        n_features: Of its sources.
        n_labels: True labels.
        n_failures: Failures.
        cost_usd: What its calls have cost; None where a price is unknown.
        problem: Why nothing is known of it; None where it can be read.
    """

    name: str
    path: str
    state: State | None = None
    stage: str | None = None
    share_done: float = 0.0
    sources: tuple[str, ...] = ()
    n_features: int = 0
    n_labels: int = 0
    n_failures: int = 0
    cost_usd: float | None = 0.0
    problem: str | None = None


class RunsView(View):
    """What the page of all runs says."""

    runs: tuple[RunLine, ...]


class RunAsked(Asked):
    """Which failures are told one by one.

    Attributes:
        stage: Of this stage.
        error: For this reason.
        first: Behind so many.
    """

    stage: OneOf = None
    error: OneOf = None
    first: Annotated[int, Field(ge=0, le=10**9)] = 0


class RunView(View):
    """What the page of a run says.

    Attributes:
        line: The run.
        asked: Which failures are told one by one.
        created_at: UTC; None where nobody wrote it down.
        program_version: Of autointerp, which wrote last; None likewise.
        paid_usd: What its calls have cost by its journal; None where it keeps none.
        paid_is_all: Whether the price of every one of them is known.
        stages: How far each is.
        scorers: Each scorer over all labels.
        explainers: Who wrote the labels.
        reasons: What failed, and how often.
        failures: Those of the stage and reason that were asked for.
        n_calls: Calls of language models that failed for good, by model and reason.
        calls: The last of them.
        notes: What is to be known of the run.
    """

    line: RunLine
    asked: RunAsked
    created_at: datetime | None
    program_version: str | None
    paid_usd: float | None
    paid_is_all: bool
    stages: tuple[Stage, ...]
    scorers: tuple[ScorerOver, ...]
    explainers: tuple[str, ...]
    reasons: tuple[Reason, ...]
    failures: tuple[FailedFeature, ...]
    n_calls: tuple[tuple[str, str, int], ...]
    calls: tuple[Call, ...]
    notes: tuple[str, ...]
