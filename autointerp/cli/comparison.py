"""What `compare` and `agreement` print: two sides by each scorer, and the features that differ."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autointerp.cli.tables import feature_name
from autointerp.library.agreement import RunAgreement
from autointerp.library.compare import FeatureDifference, RunComparison, ScorerComparison
from autointerp.score.agreement import Agreed
from autointerp.score.compare import FALSE_DISCOVERY_RATE
from autointerp.text_table import number, shorten, table


def comparison_lines(found: RunComparison, *, n_shown: int, with_source: bool) -> list[str]:
    """A comparison for people.

    Args:
        found: What was compared.
        n_shown: Features that got better, and worse, to be listed of each scorer.
        with_source: Whether the features are of several sources.
    """
    lines = [f"first:  {found.first.name}", f"second: {found.second.name}"]
    lines += [f"  differs in {what}" for what in found.differs]
    lines += [f"  note: {what}" for what in found.warnings]
    lines += ["", "The second less the first, with 95 % intervals over features:", *overall_rows(found.scorers)]
    for of in (one for one in found.scorers if one.is_paired):
        lines += ["", *_feature_lines(of, n_shown, with_source=with_source)]
    return lines


def comparison_as_json(found: RunComparison) -> dict[str, Any]:
    """A comparison as plain values, with which features are better and worse."""
    content = asdict(found)
    for of, plain in zip(found.scorers, content["scorers"], strict=True):
        for name in ("better", "worse"):
            plain[name] = [{"source_id": f.source_id, "feature_index": f.feature_index} for f in getattr(of, name)]
    return content


def overall_rows(scorers: Sequence[ScorerComparison]) -> list[str]:
    """Two sides over all features, a row a scorer, and whether that settles which is better."""
    rows = []
    for of in scorers:
        overall = of.overall
        n = str(overall.n_first) if of.is_paired else f"{overall.n_first}, {overall.n_second}"
        rows.append(
            [
                *(of.scorer, n, number(overall.first_mean), number(overall.second_mean)),
                signed(overall.mean.value, overall.mean.low, overall.mean.high),
                signed(overall.median.value, overall.median.low, overall.median.high),
                f"{_percent(overall.won.value)} [{_percent(overall.won.low)} {_percent(overall.won.high)}]",
                _needed(of),
            ]
        )
    header = ["scorer", "features", "first", "second", "mean difference", "median", "% won by second", "settled?"]
    return table(header, rows, left=(0, 7))


def _needed(of: ScorerComparison) -> str:
    """Whether the features at hand settle which is better; how many would, and what so many can show."""
    mean = of.overall.mean
    if mean.detectable is None:
        n = of.overall.n_first
        return f"unknown: {'one feature' if n == 1 else f'all {n} features differ by the same'}"
    at_hand = str(of.overall.n_first) if of.is_paired else f"{of.overall.n_first} and {of.overall.n_second}"
    shows = f"{at_hand} show {number(mean.detectable)} or more"
    if mean.is_settled:
        return f"yes; {shows}"
    if mean.n_to_settle is None:
        return f"no: no difference; {shows}"
    return f"no: about {mean.n_to_settle:,} features would, if it is so large; {shows}"


def _feature_lines(of: ScorerComparison, n_shown: int, *, with_source: bool) -> list[str]:
    by = "from pairs of the same trials"
    if of.n_by_trials < len(of.features):
        n_apart = len(of.features) - of.n_by_trials
        by = f"{n_apart} of {len(of.features)} from two intervals, which sees less: their trials can't be paired"
    lines = [
        f"{of.scorer}, feature by feature ({by}; Benjamini-Hochberg, false discovery rate"
        f" {100 * FALSE_DISCOVERY_RATE:.0f} %): {len(of.better)} better, {len(of.worse)} worse,"
        f" {len(of.features) - len(of.better) - len(of.worse)} not told apart"
    ]
    for name, features in (("better", of.better), ("worse", of.worse)):
        if features and n_shown:
            lines += _feature_rows(name, features[:n_shown], with_source=with_source)
            if len(features) > n_shown:
                lines.append(f"  and {len(features) - n_shown} more (--top-k)")
    return lines


def _feature_rows(name: str, features: Sequence[FeatureDifference], *, with_source: bool) -> list[str]:
    rows = [
        [
            feature_name(of.source_id, of.feature_index, with_source=with_source),
            f"{number(of.first_value)} {shorten(of.first_label, 30)}",
            f"{number(of.second_value)} {shorten(of.second_label, 30)}",
            signed(of.difference.value, of.difference.low, of.difference.high),
            f"{of.q_value:.2g}",
        ]
        for of in features
    ]
    return table([name, "first", "second", "difference", "q"], rows, left=(0, 1, 2))


def signed(value: float, low: float | None, high: float | None) -> str:
    """A difference with the ends of its interval, where it has one."""
    if low is None or high is None:
        return _with_sign(value)
    return f"{_with_sign(value)} [{_with_sign(low)} {_with_sign(high)}]"


def _with_sign(value: float) -> str:
    text = f"{value:+.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def agreement_lines(found: RunAgreement) -> list[str]:
    """How far two sides agree, for people."""
    lines = [f"first:  {found.first.name}", f"second: {found.second.name}"]
    if found.n_other_labels:
        lines.append(f"  note: {found.n_other_labels} features have other labels on the two sides, and are left out")
    rows = []
    for of in found.scorers:
        judges = of.first_judge if of.first_judge == of.second_judge else f"{of.first_judge}, {of.second_judge}"
        verdicts = of.verdicts
        cells = ["-"] * 4
        if verdicts is not None:
            cells = [
                f"{verdicts.n_trials:,} of {verdicts.n_features}",
                *map(_agreed, (verdicts.share, verdicts.kappa, verdicts.alpha)),
            ]
        rows.append([of.scorer, judges, str(of.n_features), *cells, str(of.n_unanswered), _agreed(of.scores)])
    header = ["scorer", "judges", "features", "same trials", "same verdict", "Cohen's kappa", "Krippendorff's alpha"]
    header += ["unanswered", "ICC of scores"]
    lines += ["", "With 95 % intervals over features:", *table(header, rows, left=(0, 1))]
    return lines


def _agreed(of: Agreed) -> str:
    if of.value is None:
        return "undefined"
    return f"{of.value:.3f}" if of.low is None else f"{of.value:.3f} [{of.low:.3f} {of.high:.3f}]"
