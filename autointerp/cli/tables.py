"""What commands print for people: plain text that survives pipes, logs and narrow terminals, numbers with intervals."""

from collections.abc import Mapping, Sequence

from autointerp.contexts.render import shown_activations
from autointerp.identity import feature_id
from autointerp.records import Context, Failure, Score, SearchHit
from autointerp.store.results import ScoredLabel, ScorerSummary
from autointerp.text_table import number, percent, shorten, table

_KINDS = {
    "most_frequent_token": "its top token",
    "no_label": "withheld",
    "too_broad": "too broad",
    "too_narrow": "too narrow",
}
_BARS = "▁▂▃▄▅▆▇█"


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

    Under "> chance" and "> shuffled" stand the shares of labels whose whole interval lies above, under "< true" the
    share of features where a null's value lies below the true label's interval, and under "one answer" on how many
    labels the judge said the same to every question; that column is there where it did on any.
    """
    rows = []
    for s in summaries:
        wins = "-" if s.win_rate is None else f"{_share(s.win_rate)} of {s.n_paired}"
        for place, of in enumerate(s.rows):
            is_true, is_first = of is s.true, place == 0
            rows.append(
                [
                    *(
                        s.scorer if is_first else "",
                        _KINDS.get(of.kind, of.kind.replace("_", " ")),
                        s.judge if is_first else "",
                    ),
                    *(str(of.n), number(of.median), number(of.mean)),
                    f"{number(of.lower_quartile)}-{number(of.upper_quartile)}",
                    *(number(s.chance) if is_true else "", _share(of.share_above_chance)),
                    *((_share(s.share_above_shuffled), wins, "") if is_true else ("", "", _share(of.share_below_true))),
                    *(str(of.n_uninformative), s.metric if is_first else ""),
                ]
            )
    header = ["scorer", "labels", "judge", "n", "median", "mean", "quartiles", "chance"]
    header += ["> chance", "> shuffled", "true label wins", "< true", "one answer", "metric"]
    if not any(row[-2] != "0" for row in rows):
        place = header.index("one answer")
        header, *rows = ([*row[:place], *row[place + 1 :]] for row in (header, *rows))
    return table(header, rows, left=(0, 1, 2, len(header) - 1))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def hit_rows(hits: Sequence[SearchHit], *, with_source: bool) -> list[str]:
    """Search hits, with their sources where the run holds several, and a column for each scorer that graded one."""
    scorers = sorted({scorer for hit in hits for scorer in hit.scores})
    alike = ["alike"] if any(hit.n_alike for hit in hits) else []
    rows = [
        [
            feature_name(hit.source_id, hit.feature_index, with_source=with_source),
            shorten(hit.told),
            number(hit.relevance),
            percent(hit.density),
            *(number(hit.scores.get(name)) for name in scorers),
            *(f"+{hit.n_alike}" if hit.n_alike else "" for _ in alike),
        ]
        for hit in hits
    ]
    return table(["feature", "label", "relevance", "density", *scorers, *alike], rows, left=(0, 1))


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


def told_counts(counts: Mapping[str, int]) -> str:
    """Counts by name on one line."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())


def with_words(failure: Failure, n_characters: int = 120) -> str:
    """A failure's message, and the beginning of what came back, if anything did."""
    raw = " ".join((failure.raw or "").split())
    if not raw or raw in failure.message:
        return failure.message
    return f"{failure.message}; what came back: {raw[:n_characters]}{'…' if len(raw) > n_characters else ''}"
