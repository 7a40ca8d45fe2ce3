"""What the page of a source is asked, and what it says."""

import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from autointerp.records.feature_table import MOST_ROWS, FeatureState
from autointerp.serve.shapes import Text
from autointerp.serve.views.asked import Asked, OneOf, Share
from autointerp.serve.views.shown import Chip, View

LONGEST_LIST = 100_000


class SourceAsked(Asked):
    """What is asked of a source, as it stands in the page's address.

    Attributes:
        q: Words that stand in the label.
        state: Only features in this state.
        reason: Only features of which a failure says this.
        min_score: Least scores, each as `scorer:value`.
        max_score: Largest scores, written the same.
        density_from: Least share of tokens on which a feature fires.
        density_to: Largest share.
        explainer: Only labels that it wrote.
        features: Only these features, with commas between.
        plot: Scorer against which density is plotted.
        sort: By what rows are sorted: `feature`, `label`, `explainer`, `density`, `max_activation`, `state`, or
            `score:NAME`.
        order: From the smallest, or from the largest.
        page: Page of the table, from 1 on.
        n: Rows of a page.
    """

    q: Text = ""
    state: OneOf = None
    reason: OneOf = None
    min_score: tuple[Text, ...] = ()
    max_score: tuple[Text, ...] = ()
    density_from: Share = None
    density_to: Share = None
    explainer: OneOf = None
    features: Annotated[Text, Field(max_length=LONGEST_LIST)] = ""
    plot: OneOf = None
    sort: Text = "feature"
    order: Literal["asc", "desc"] = "asc"
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    n: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 50


class StateCount(View):
    """Features in one state.

    Attributes:
        state: Its name in the store's words.
        told: In plain words.
        n: How many.
    """

    state: FeatureState
    told: str
    n: int


class Reason(View):
    """Why a label or a score is missing.

    Attributes:
        stage: Of the run.
        error_type: Of the failures.
        n: Features of which they tell.
    """

    stage: str
    error_type: str
    n: int


class Cell(View):
    """Features that lie close to each other in the plot, or one.

    Attributes:
        n: How many.
        density_from: The smallest density among them.
        density_to: The largest.
        score_from: The smallest score.
        score_to: The largest.
        index: The feature, where it is only one.
    """

    n: int
    density_from: float
    density_to: float
    score_from: float
    score_to: float
    index: int | None


class Plot(View):
    """Density against score.

    Attributes:
        scorer: Of the scores.
        n: Labelled features that have such a score.
        is_binned: Whether cells hold several features.
        cells: All that hold any.
    """

    scorer: str
    n: int
    is_binned: bool
    cells: tuple[Cell, ...]

    @cached_property
    def decades(self) -> range:
        """Powers of ten between which the densities lie; one at least on either side."""
        low = min((of.density_from for of in self.cells), default=0.001)
        high = max((of.density_to for of in self.cells), default=1.0)
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return range(first, max(last, first + 1) + 1)

    def told(self, decade: int) -> str:
        """A power of ten as a share of tokens."""
        return f"{10.0 ** (decade + 2):.{max(0, -decade - 2)}f} %"

    def across(self, density: float) -> float:
        """Where a density lies between the first and the last of `decades`, from 0 to 1."""
        decades = self.decades
        return (math.log10(density) - decades[0]) / (decades[-1] - decades[0])

    def middle(self, cell: Cell) -> tuple[float, float]:
        """Where a cell lies, across and up, from 0 to 1 each."""
        return self.across(math.sqrt(cell.density_from * cell.density_to)), (cell.score_from + cell.score_to) / 2

    @cached_property
    def largest_n(self) -> int:
        """Features of the fullest cell."""
        return max((of.n for of in self.cells), default=1)


class Row(View):
    """A feature in the table.

    Attributes:
        index: The feature.
        path: Of its page.
        label: Its label; None where it has none.
        explainer: Who wrote it.
        scores: By scorer.
        density: Share of tokens on which it fires; None where nobody knows.
        max_activation: Its largest activation; None where nobody knows.
        state: As in `StateCount`.
        told: The state in plain words.
        reasons: Why a label or a score is missing.
    """

    index: int
    path: str
    label: str | None
    explainer: str | None
    scores: dict[str, Chip]
    density: float | None
    max_activation: float | None
    state: FeatureState
    told: str
    reasons: tuple[str, ...]


class SourceView(View):
    """What the page of a source says.

    Attributes:
        id: `model@source`.
        path: Of the page.
        run: Name of its run.
        model: The subject, as the pipeline names it.
        hook: The hook point.
        coder: The coder.
        n_features: Features of the coder.
        n_tokens: Counted tokens of the corpus.
        states: How many features are in each state.
        reasons: Why labels and scores are missing.
        plot: Density against score; None where nothing is scored.
        scorers: By which labels have scores.
        explainers: Who wrote labels.
        asked: What the table was asked for.
        least: The least score of each scorer that one is asked of.
        most: The largest.
        is_filtered: Whether a filter leaves features out.
        n_passing: Features that pass.
        n_pages: Pages of the table.
        rows: Those of this page.
    """

    id: str
    path: str
    run: str
    model: str
    hook: str
    coder: str
    n_features: int
    n_tokens: int
    states: tuple[StateCount, ...]
    reasons: tuple[Reason, ...]
    plot: Plot | None
    scorers: tuple[str, ...]
    explainers: tuple[str, ...]
    asked: SourceAsked
    least: dict[str, float]
    most: dict[str, float]
    is_filtered: bool
    n_passing: int
    n_pages: int
    rows: tuple[Row, ...]
