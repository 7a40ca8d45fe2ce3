"""Records of a source's table: what is asked of it, its rows, how many features are in each state, and its plot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from autointerp.errors import FilterError
from autointerp.identity import read_index
from autointerp.records.filter import EVERY_FEATURE, FeatureFilter

FeatureState = Literal["scored", "labelled", "failed", "few_contexts", "dense", "dead", "unlabelled"]
STATES: tuple[FeatureState, ...] = get_args(FeatureState)
"""In the order in which a table has them.

- `scored`: it has a label with a current score.
- `labelled`: it has a label, and no score of it yet.
- `failed`: an explainer was asked, and has given no label; why stands in its failures.
- `few_contexts`: it fires, but in too few places to be explained and scored.
- `dense`: it has no label, and fires on nearly all tokens.
- `dead`: it never fires.
- `unlabelled`: nobody asked for a label yet.
"""
COLUMNS = ("feature", "label", "explainer", "density", "max_activation", "state")
"""What a table can be sorted by, besides each scorer: `score:NAME`."""
OF_SCORER = "score:"
MOST_ROWS = 10_000
MOST_WORDS = 20
LONGEST_WORDS = 300
_MOST_SKIPPED = 2**31


@dataclass(frozen=True, slots=True)
class TableQuery:
    """Which features of a source a table shows, and in which order.

    Attributes:
        where: What features and their labels must have; its sources are not asked.
        max_score: Largest value by scorer; labels without this score don't pass.
        words: Each of them, apart by spaces, stands in the label, in whatever case, as a word or within one.
        state: Only features in this state; None for all.
        reason: Only features of which a failure says this; see `Failure.error_type`.
        sort: One of `COLUMNS`, or `score:NAME`. What lacks a value comes last in either direction; ties by index.
        descending: From the largest to the smallest.
        first: So many of those that pass are left out, before the first that is shown.
        n: Rows, at most.

    Raises:
        FilterError: If one of these makes no sense.

    Example:
        >>> from autointerp import TableQuery
        >>> TableQuery(words="river", sort="density", descending=True, n=20).n
        20
    """

    where: FeatureFilter = EVERY_FEATURE
    max_score: Mapping[str, float] = field(default_factory=dict)
    words: str = ""
    state: FeatureState | None = None
    reason: str | None = None
    sort: str = "feature"
    descending: bool = False
    first: int = 0
    n: int = 50

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            raise FilterError(f"no feature is in a state {self.state!r:.60}", f"states are {', '.join(STATES)}")
        if len(self.words) > LONGEST_WORDS or len(self.words.split()) > MOST_WORDS:
            raise FilterError(
                f"{len(self.words):,} characters are asked for in labels",
                f"give at most {MOST_WORDS} words of together {LONGEST_WORDS} characters",
            )
        for scorer, most in self.max_score.items():
            if not 0 <= most <= 1:
                raise FilterError(f"no score of {scorer!r:.60} can be {most!r}", "give a number from 0 to 1")
            if most < self.where.min_score.get(scorer, 0):
                raise FilterError(f"the largest score of {scorer!r:.60} is below the least", "exchange them")
        if not (self.sort in COLUMNS or self.sort.startswith(OF_SCORER)):
            raise FilterError(f"there is no column {self.sort!r:.60}", f"columns are {', '.join(COLUMNS)}, score:NAME")
        if read_index(self.first) is None or not 0 <= self.first <= _MOST_SKIPPED:
            raise FilterError(f"{self.first!r:.60} rows can't be left out", "give 0 or more")
        if read_index(self.n) is None or not 1 <= self.n <= MOST_ROWS:
            raise FilterError(f"a table can't have {self.n!r:.60} rows", f"ask for 1 to {MOST_ROWS}")

    @property
    def asked_scorers(self) -> list[str]:
        """The scorers whose values decide what is shown or where, each once."""
        sorting = [self.sort.removeprefix(OF_SCORER)] if self.sort.startswith(OF_SCORER) else []
        return list(dict.fromkeys([*sorting, *self.where.min_score, *self.max_score]))


@dataclass(frozen=True, slots=True)
class ScoreValue:
    """A scorer's value with the ends of its 95 % interval; None where one is not finite."""

    value: float
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One feature of a table.

    Attributes:
        feature_index: The feature.
        label: Its label; of several current ones that whose scores have the highest mean. None where it has none.
        explainer: Of the label.
        explanation_id: Of the label.
        scores: By scorer, of this label.
        density: Share of counted tokens on which it fires; None where it is not finite.
        max_activation: Its largest activation in the corpus, in the coder's own units; None where it is not finite.
        state: What has become of it.
        reasons: Failures of it and of this label, each as `stage: error type: message`.
    """

    feature_index: int
    label: str | None
    explainer: str | None
    explanation_id: str | None
    scores: Mapping[str, ScoreValue]
    density: float | None
    max_activation: float | None
    state: FeatureState
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Some rows of a source's table.

    Attributes:
        source_id: `model@source`.
        scorers: Those by which labels have scores, ascending.
        n_features: Features of the source.
        n_passing: Features that pass, on whatever page.
        rows: Those that were asked for, in order.
    """

    source_id: str
    scorers: tuple[str, ...]
    n_features: int
    n_passing: int
    rows: tuple[FeatureRow, ...]


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Features or labels of which a failure of one kind says why something is missing.

    Attributes:
        stage: Of the run.
        error_type: As in `Failure`.
        n: How many features.
    """

    stage: str
    error_type: str
    n: int


@dataclass(frozen=True, slots=True)
class StateCounts:
    """How many features of a source are in each state.

    Attributes:
        states: By state, in the order of `STATES`, also where there are none.
        reasons: Why labels and scores are missing, the most frequent first.
    """

    states: Mapping[FeatureState, int]
    reasons: tuple[ReasonCount, ...]


@dataclass(frozen=True, slots=True)
class PlotCell:
    """Features that lie close to each other in density and score.

    Attributes:
        n: How many.
        low_density: The smallest density among them.
        high_density: The largest.
        low_score: The smallest score among them.
        high_score: The largest.
        feature_index: The feature, where it is only one.
    """

    n: int
    low_density: float
    high_density: float
    low_score: float
    high_score: float
    feature_index: int | None


@dataclass(frozen=True, slots=True)
class DensityScores:
    """Density against score of a source's labelled features.

    Attributes:
        scorer: Of the scores.
        n: Features that have both.
        is_binned: Whether there are so many that cells hold several; else each cell is one feature.
        cells: Those with any feature, by density and score.
    """

    scorer: str
    n: int
    is_binned: bool
    cells: tuple[PlotCell, ...]


@dataclass(frozen=True, slots=True)
class SourceOverview:
    """What is told of a source besides its table.

    Attributes:
        counts: How many features are in each state.
        plot: Density against score; None where no label has a score.
    """

    counts: StateCounts
    plot: DensityScores | None


@dataclass(frozen=True, slots=True)
class TableState:
    """How far a store has come: in the same state tables of its sources are the same.

    Attributes:
        n_rows: Of the tables that they are read from.
        fingerprints: Of each stage.
    """

    n_rows: tuple[int, ...]
    fingerprints: tuple[tuple[str, str], ...]
