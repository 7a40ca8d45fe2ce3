"""What stands in a score's detail: measures by name, each with its interval, or with the reason why it is undefined."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from autointerp.records import SILENT_KINDS
from autointerp.rules.sentence import read_rule
from autointerp.score import metrics
from autointerp.score.clusters import effective_share
from autointerp.score.dispute import Referee
from autointerp.score.judges.rule import verdicts
from autointerp.score.trials import Answered, ScoreContexts


class Detail:
    """Collects measures by name; an undefined one is None, and its reason stands under `undefined`."""

    def __init__(self) -> None:
        self._measures: dict[str, Any] = {}
        self._reasons: dict[str, str] = {}

    def add(self, name: str, value: metrics.Estimate | metrics.Rate | float | None, reason: str = "") -> None:
        """Add a measure; its 95 % interval, where it has one, goes under `NAME_interval`."""
        if value is None:
            self._reasons[name] = reason
        if isinstance(value, metrics.Rate):
            value = value.estimate
        if isinstance(value, metrics.Estimate):
            self._measures[name] = value.value
            self._measures[f"{name}_interval"] = {"low": value.low, "high": value.high}
        else:
            self._measures[name] = value

    def add_by(
        self, name: str, estimates: Mapping[str, metrics.Estimate | float | None], counts: Mapping[str, int]
    ) -> None:
        """Add a measure by cell as `NAME`, its answered trials as `n_NAME`, and what intervals there are."""
        self._measures[name] = {c: e.value if isinstance(e, metrics.Estimate) else e for c, e in estimates.items()}
        if any(isinstance(estimate, metrics.Estimate) for estimate in estimates.values()):
            self._measures[f"{name}_interval"] = {
                c: {"low": e.low, "high": e.high} for c, e in estimates.items() if isinstance(e, metrics.Estimate)
            }
        self._measures[f"n_{name}"] = dict(counts)

    def add_numbers(self, name: str, numbers: Mapping[str, float]) -> None:
        """Add a mapping of names to numbers."""
        self._measures[name] = dict(numbers)

    def add_list(self, name: str, values: Sequence[float | str]) -> None:
        """Add several of a kind, in their order."""
        self._measures[name] = list(values)

    def add_bounds(self, low: float, high: float) -> None:
        """Add what the headline would be, had all unanswered questions been answered wrong, or right."""
        self._measures["bounds"] = {"low": low, "high": high}

    def add_note(self, name: str, text: str) -> None:
        """Add what is to be known of the answers, in words."""
        self._measures[name] = text

    def done(self, interval: str) -> Mapping[str, Any]:
        """The mapping for `Score.detail`, with how the headline's interval is made."""
        done = {"interval": interval, **self._measures, "undefined": self._reasons}
        json.dumps(done, allow_nan=False)  # an undefined measure that slipped through as NaN stops here
        return done


def add_confusion(detail: Detail, of: Answered) -> None:
    """Sensitivity, by activation quantile too, specificity, F1, Matthews and AUROC."""
    counts = of.confusion
    detail.add("sensitivity", metrics.sensitivity(counts), "no firing trial was answered")
    detail.add("specificity", metrics.specificity(counts), "no silent trial was answered")
    detail.add("n_positive", counts.n_positive)
    detail.add("n_negative", counts.n_negative)
    detail.add("f1", metrics.f1(counts), "there is neither a firing trial nor a yes")
    detail.add("matthews", metrics.matthews(counts), "the judge said the same of every trial")
    if of.probability is None:
        detail.add("auroc", None, "the judge gives no probabilities")
    else:
        detail.add("auroc", metrics.auroc(of.truth, of.probability, of.cluster), "one class has no answered trial")
    add_by_quantile(detail, of)


def add_by_quantile(detail: Detail, of: Answered) -> None:
    """Sensitivity for each activation quantile of the firing trials, 0 lowest."""
    cells = [p.question.context.quantile if p.truth else None for p in of.posed]
    _add_shares(detail, "sensitivity_by_quantile", cells, of.verdict)


def add_by_kind(detail: Detail, of: Answered) -> None:
    """Specificity for each kind of silent context."""
    kinds = (p.question.context.kind for p in of.posed)
    _add_shares(detail, "specificity_by_kind", [k if k in SILENT_KINDS else None for k in kinds], ~of.verdict)


def _add_shares(detail: Detail, name: str, cells: Sequence[Any], of_interest: Bool[np.ndarray, " trial"]) -> None:
    """The share of each cell's trials that are of interest; those of no cell have None."""
    said: defaultdict[Any, list[bool]] = defaultdict(list)
    for cell, one in zip(cells, of_interest.tolist(), strict=True):
        if cell is not None:
            said[cell].append(one)
    in_order = {str(cell): said[cell] for cell in sorted(said)}
    detail.add_by(
        name,
        {cell: sum(of_cell) / len(of_cell) for cell, of_cell in in_order.items()},
        {cell: len(of_cell) for cell, of_cell in in_order.items()},
    )


def add_referee(detail: Detail, referee: Referee, of: Answered) -> None:
    """Set a referee against a judge's verdicts.

    Args:
        detail: Gets what it says.
        referee: Of the feature.
        of: Answered questions about whole contexts, with verdicts.
    """
    rule = read_rule(referee.rule)
    assert rule is not None
    agrees = of.verdict == np.array(verdicts(rule, [p.question.context for p in of.posed]))
    worth = effective_share(agrees.astype(np.float64), of.cluster)
    detail.add_note("referee", referee.rule)
    detail.add("referee_precision", referee.precision)
    detail.add("referee_recall", referee.recall)
    detail.add("n_referee_windows", referee.n_windows)
    detail.add("referee_agreement", metrics.proportion(int(agrees.sum()), agrees.size, worth))
    detail.add("n_referee_agreement", agrees.size)


def context_rate(contexts: ScoreContexts, n_draws: int, rng: np.random.Generator) -> metrics.Rate:
    """Share of the corpus's contexts in which the feature fires: its base rate wherever a context is what is judged.

    From the share of pool tiles, of both splits, in which it fires, and from the feature's exact token density over
    the share of tokens it fires on inside its own contexts (see `metrics.firing_rate`).
    """
    firing = contexts.feature.of("score", active=True)
    n_tokens = sum(len(c.tokens) for c in firing)
    n_active = sum(sum(a > 0 for a in c.activations) for c in firing)
    assert n_active > 0, "a feature without firing contexts is not scored"
    assert contexts.density > 0, "a feature that fires has a density above 0"
    expected = min(1.0, contexts.density * n_tokens / n_active)
    peaks = contexts.pool.peaks(contexts.feature.feature_index)
    return metrics.firing_rate(int(np.sum(peaks > 0)), contexts.pool.n_tiles, expected, n_draws, rng)
