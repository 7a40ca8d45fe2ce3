"""What commands print for people: plain text that survives a pipe, a log and eighty columns, numbers with intervals."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from autointerp.contexts.render import shown_activations
from autointerp.identity import feature_id
from autointerp.records import Context, Score, SearchHit
from autointerp.store.results import ScoredLabel, ScorerSummary

_LABEL_WIDTH = 40
_BARS = "▁▂▃▄▅▆▇█"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Lines of a table; the columns in `left` are flush left, the others right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  ".join(
            _pad(cell, width, place in left) for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def number(value: float | None) -> str:
    """A share to two places without its leading zero; a dash where it is undefined."""
    if value is None:
        return "-"
    text = f"{value:.2f}"
    return text.removeprefix("0") if text != "0.00" else ".00"


def percent(share: float) -> str:
    """A share as a percentage with two significant digits or two places."""
    return f"{100 * share:.2f} %" if share >= 0.001 else f"{100 * share:.2g} %"


def with_interval(score: Score) -> str:
    """A score's value and 95 % interval."""
    return f"{number(score.value)} [{number(score.ci_low)} {number(score.ci_high)}]"


def feature_name(source_id: str, feature_index: int, *, with_source: bool) -> str:
    """A feature as `show` takes it: its index, behind its source where the run holds several."""
    return feature_id(source_id, feature_index) if with_source else str(feature_index)


def label_rows(
    labels: Sequence[ScoredLabel], baselines: Mapping[tuple[str, int], ScoredLabel], *, with_source: bool
) -> list[str]:
    """Labels with each scorer's value and interval, and the value of a shuffled label on the same feature.

    A scorer that graded none of the labels has no column.

    Args:
        labels: The labels.
        baselines: Shuffled labels, by source and feature.
        with_source: Whether the run holds several sources.
    """
    scorers = sorted({score.scorer for scored in labels for score in scored.scores})
    rows = []
    for scored in labels:
        source_id, feature_index = scored.explanation.source_id, scored.explanation.feature_index
        other = baselines.get((source_id, feature_index))
        row = [feature_name(source_id, feature_index, with_source=with_source), shorten(scored.explanation.label)]
        for name in scorers:
            own = next((s for s in scored.scores if s.scorer == name), None)
            shuffled = next((s for s in other.scores if s.scorer == name), None) if other else None
            cell = with_interval(own) if own else "-"
            row.append(f"{cell} {number(shuffled.value) if shuffled else '  -'}")
        rows.append(row)
    return table(["feature", "label", *scorers], rows, left=(0, 1))


def summary_rows(summaries: Sequence[ScorerSummary]) -> list[str]:
    """Each scorer's median and quartiles over all labels, beside shuffled labels."""
    rows = [
        [
            s.scorer,
            s.judge,
            str(s.n),
            number(s.median),
            f"{number(s.lower_quartile)}-{number(s.upper_quartile)}",
            number(s.baseline_median),
            "-" if s.win_rate is None else f"{100 * s.win_rate:.0f} % of {s.n_paired}",
            s.metric,
        ]
        for s in summaries
    ]
    header = ["scorer", "judge", "labels", "median", "quartiles", "shuffled", "true label wins", "metric"]
    return table(header, rows, left=(0, 1, 7))


def hit_rows(hits: Sequence[SearchHit], *, with_source: bool) -> list[str]:
    """Search hits, with their sources where the run holds several, and a column for each scorer that graded one."""
    scorers = sorted({scorer for hit in hits for scorer in hit.scores})
    rows = [
        [
            feature_name(hit.source_id, hit.feature_index, with_source=with_source),
            shorten(hit.label),
            number(hit.relevance),
            percent(hit.density),
            *(number(hit.scores.get(name)) for name in scorers),
        ]
        for hit in hits
    ]
    return table(["feature", "label", "relevance", "density", *scorers], rows, left=(0, 1))


def marked(context: Context, width: int = 100) -> str:
    """A context on one line, its active tokens between « and », clipped around the peak."""
    parts: list[str] = []
    before = 0
    activations = shown_activations(context)
    peak = max(activations)
    for token, activation in zip(context.tokens, activations, strict=True):
        space = token[: len(token) - len(token.lstrip())]
        if activation == peak > 0 and before == 0:
            before = len(_one_line(parts))
        parts.append(f"{space}«{token.strip()}»" if activation > 0 and token.strip() else token)
    line = _one_line(parts)
    if len(line) <= width:
        return line
    # Three quarters of what is shown stand before the peak, as in the context itself; of a silent one the end is shown.
    start = len(line) - width if peak == 0 else max(0, min(before - width * 3 // 4, len(line) - width))
    cut = line[start : start + width]
    return ("…" if start > 0 else "") + cut + ("…" if start + width < len(line) else "")


def _one_line(parts: Sequence[str]) -> str:
    return " ".join("".join(parts).replace("»«", "").split())


def bars(counts: Sequence[int]) -> str:
    """Counts as bars of eight heights, the largest the full one; a count above zero always shows."""
    largest = max(counts, default=0)
    return "".join(" " if count == 0 else _BARS[-(-count * len(_BARS) // largest) - 1] for count in counts)


def shorten(text: str, width: int = _LABEL_WIDTH) -> str:
    """A text on one line, cut to a width with an ellipsis."""
    line = " ".join(text.split())
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text
