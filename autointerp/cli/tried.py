"""What `autointerp explain --try` prints: each explainer's label of each feature, its scores, and what differs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from autointerp.cli.comparison import overall_rows, signed
from autointerp.cli.tables import feature_name
from autointerp.config import parse_indices
from autointerp.errors import PipelineError
from autointerp.identity import FeatureKey
from autointerp.library.try_explainers import TriedExplainers, TriedFeature
from autointerp.score.compare import FALSE_DISCOVERY_RATE
from autointerp.text_table import number, table

_MOST = 1000


def read_features(texts: Sequence[str]) -> list[FeatureKey]:
    """The features that are named: `5`, `0-9`, `model@source:5`, one or more an option, with commas between.

    Raises:
        PipelineError: If a range ends before it begins, or is too long.
    """
    features: list[FeatureKey] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        if re.fullmatch(r"\d+\s*-\s*\d+", part):
            try:
                (indices,) = parse_indices(part)
            except ValueError as error:
                raise PipelineError(f"--only: {error}", "name features such as 5,7 or 0-9") from error
            if len(indices) > _MOST:
                raise PipelineError(f"--only {part} names {len(indices):,} features", f"try a few, {_MOST:,} at most")
            features += indices
        elif part:
            features.append(part)
    return features


def read_names(texts: Sequence[str]) -> list[str]:
    """The explainers that are named, one or more an option, with commas between."""
    return [part for text in texts for part in map(str.strip, text.split(",")) if part]


def tried_lines(found: TriedExplainers) -> list[str]:
    """Explainers that were tried, for people."""
    with_source = len({feature.source_id for feature in found.features}) > 1
    lines: list[str] = []
    for feature in found.features:
        name = feature_name(feature.source_id, feature.feature_index, with_source=with_source)
        lines += [f"feature {name}", *(f"  {line}" for line in _feature_lines(feature)), ""]
    first = found.explainers[0]
    for explainer, scorers in found.overall.items():
        n = max((len(of.features) for of in scorers), default=0)
        over = f"{n} feature{'' if n == 1 else 's'} that both have labelled"
        lines.append(f"{explainer} less {first}, over {over}, with 95 % intervals over features:")
        lines += overall_rows(scorers) if scorers else ["  no feature has a score of both"]
        lines.append("")
    lines.append(f"These labels are kept in {found.run}, beside the run's own, which they don't change.")
    return lines


def tried_as_json(found: TriedExplainers) -> dict[str, Any]:
    """Explainers that were tried, as plain values."""
    return asdict(found) | {"false_discovery_rate": FALSE_DISCOVERY_RATE}


def _feature_lines(feature: TriedFeature) -> list[str]:
    labels = [[of.explainer, _told(of.label, of.problems)] for of in feature.labels]
    scorers = sorted({scorer for of in feature.labels for scorer in of.scores})
    rows = []
    for scorer in scorers:
        for place, of in enumerate(feature.labels):
            score = of.scores.get(scorer)
            name = "" if place else scorer
            if score is None:
                rows.append([name, of.explainer, "none", of.problems.get(f"score:{scorer}", "")])
                continue
            value = f"{number(score.value)} [{number(score.low)} {number(score.high)}]"
            differs = ""
            if (difference := score.difference) is not None:
                differs = signed(difference.value, difference.low, difference.high)
                differs += "" if score.by_trials else " (of two intervals)"
            rows.append([name, of.explainer, value, differs])
    lines = table(["explainer", "label"], labels, left=(0, 1))
    if rows:
        header = ["scorer", "explainer", "score", f"less {feature.labels[0].explainer}, on the same trials"]
        lines += table(header, rows, left=(0, 1, 2, 3))
    return lines


def _told(label: str | None, problems: Mapping[str, str]) -> str:
    if label is not None:
        return label
    return "none: " + "; ".join(problems.values())
