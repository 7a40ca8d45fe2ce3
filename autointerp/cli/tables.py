"""What commands print for people: plain text that survives pipes, logs and narrow terminals, numbers with intervals."""

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells, set_cell_size

from autointerp.contexts.render import shown_activations
from autointerp.identity import feature_id
from autointerp.records import Context, Failure, Score, SearchHit
from autointerp.store.results import ScoredLabel, ScorerSummary
from autointerp.valid_text import visible

_LABEL_WIDTH = 40
_GAP = "  "
_LEAST_TEXT = 12
_WIDEST_CELL = 2
_NULLS = {"most_frequent_token": "its top token", "no_label": "withheld"}
_BARS = "▁▂▃▄▅▆▇█"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Lines of a table, in the width of the terminal where there is one.

    What is too wide has its columns of text folded. Where the numbers alone are too wide, each row is put into lines of
    its own, its texts first and then each number behind its name.

    Args:
        header: Name of each column.
        rows: Cells.
        left: The columns that are flush left: the first, which names the row, and those of text; others are numbers.
    """
    cells = [[visible(cell.replace("\t", " ")) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(header))]
    columns = shutil.get_terminal_size(fallback=(0, 0)).columns  # 0 in a pipe or a file: lines may be of any length
    if columns > 0:
        texts = [column for column in left if column > 0]
        spare = columns - sum(widths) - len(_GAP) * (len(widths) - 1)
        while spare < 0 and texts and max(widths[column] for column in texts) > _LEAST_TEXT:
            widest = max(texts, key=lambda column: widths[column])
            widths[widest] -= 1
            spare += 1
        if spare < 0:
            return [line for row in cells[1:] for line in _stacked(cells[0], row, left, columns)]
    lines = []
    for row in cells:
        folded = [
            _folded(cell.split(" ") if place in left else [cell], widths[place]) for place, cell in enumerate(row)
        ]
        for parts in zip_longest(*folded, fillvalue=""):
            padded = (_pad(part, widths[place], place in left) for place, part in enumerate(parts))
            lines.append(_GAP.join(padded).rstrip())
    return lines


def _stacked(header: Sequence[str], row: Sequence[str], left: Collection[int], columns: int) -> list[str]:
    named = (
        f"{name} {cell.strip()}"
        for place, (name, cell) in enumerate(zip(header, row, strict=True))
        if place not in left and cell.strip()
    )
    texts = _GAP.join(row[place] for place in sorted(left) if row[place])
    lines = [*_folded(texts.split(" "), columns), *(f"  {line}" for line in _folded([*named], columns - 2, _GAP))]
    return [line.rstrip() for line in lines]


def _folded(words: Sequence[str], width: int, between: str = " ") -> list[str]:
    """Words in lines of a width; a word that is wider is cut."""
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + len(between) + cell_len(word) <= width:
            lines[-1] += between + word
        elif " " in word and cell_len(word) > width:
            lines += _folded(word.split(" "), width)
        else:
            lines += chop_cells(word, max(width, _WIDEST_CELL)) or [""]
    return lines


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
    """Each scorer over all labels, and in rows of their own over shuffled labels and other nulls, with chance.

    Under "> chance" and "> shuffled" stand the shares of labels whose whole interval lies above. Under "one answer"
    stands on how many labels the judge said the same to every question; the column is there where it did on any.
    """
    rows = []
    for s in summaries:
        wins = "-" if s.win_rate is None else f"{_share(s.win_rate)} of {s.n_paired}"
        rows.append(
            [
                *(s.scorer, "true", s.judge, str(s.n), number(s.median), number(s.mean)),
                f"{number(s.lower_quartile)}-{number(s.upper_quartile)}",
                *(number(s.chance), _share(s.share_above_chance), _share(s.share_above_shuffled), wins),
                *(str(s.n_uninformative), s.metric),
            ]
        )
        if s.n_baseline:
            rows.append(
                [
                    *("", "shuffled", "", str(s.n_baseline), number(s.baseline_median), number(s.baseline_mean)),
                    f"{number(s.baseline_lower_quartile)}-{number(s.baseline_upper_quartile)}",
                    *("", _share(s.baseline_share_above_chance), "", "", str(s.baseline_n_uninformative), ""),
                ]
            )
        for null in s.nulls:
            rows.append(
                [
                    *("", _NULLS.get(null.kind, null.kind), "", str(null.n), number(null.median), number(null.mean)),
                    f"{number(null.lower_quartile)}-{number(null.upper_quartile)}",
                    *("", _share(null.share_above_chance), "", "", str(null.n_uninformative), ""),
                ]
            )
    header = ["scorer", "labels", "judge", "n", "median", "mean", "quartiles", "chance"]
    header += ["> chance", "> shuffled", "true label wins", "one answer", "metric"]
    if not any(row[-2] != "0" for row in rows):
        place = header.index("one answer")
        header, *rows = ([*row[:place], *row[place + 1 :]] for row in (header, *rows))
    return table(header, rows, left=(0, 1, 2, len(header) - 1))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


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


def with_words(failure: Failure, n_characters: int = 120) -> str:
    """A failure's message, and the beginning of what came back, if anything did."""
    raw = " ".join((failure.raw or "").split())
    if not raw or raw in failure.message:
        return failure.message
    return f"{failure.message}; what came back: {raw[:n_characters]}{'…' if len(raw) > n_characters else ''}"
