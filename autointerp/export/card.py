"""The data card of an export: what it holds, how it was made and scored, how far to trust that, and what made it.

Names from a run are data here: they stand in code, on one line. The licence is left open: only the user can give one.
"""

import json
import shlex
from collections.abc import Iterable, Sequence

from autointerp.export.options import Order
from autointerp.export.report.floor import floors
from autointerp.score.judges import LOCAL_JUDGE_CAVEAT
from autointerp.store.results import ScorerSummary, ValueSummary
from autointerp.valid_text import visible

_FLOOR_FEATURES = 100
_MOST_LABELS_WITH_FLOOR = 100_000
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGEST = "1M<n<10M"
_LOCAL = "local"


def data_card(order: Order, n_rows: int) -> str:
    """The card of a folder of Parquet files in `data/`, as Markdown with the header that the hub reads.

    Args:
        order: What was exported.
        n_rows: How many rows that gave.
    """
    reader = order.reader
    with reader.session():
        sources, run, authors = reader.sources(), reader.run(), reader.authors()
        summaries, n_labels = reader.score_summary(), reader.n_labels()
    size = next((name for most, name in _SIZES if n_rows < most), _LARGEST)
    title = f"Labels of features{f' ({run.name})' if run else ''}"
    lines = [
        "---",
        f"pretty_name: {json.dumps(visible(title), ensure_ascii=True)}",
        "tags: [interpretability, sparse-autoencoder, feature-labels]",
        f"size_categories: [{json.dumps(size)}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/train-*.parquet",
        "---",
        "# Labels of features",
        "",
        f"{n_rows:,} rows: one a label of a feature of a sparse coder, and one for each feature without a label, with"
        " the reason. A row has the label, who wrote it and by which prompt, its scores with 95 % intervals, judges and"
        " fingerprints, and what was counted of the feature.",
        "",
        "| source | model | hook | coder | features | corpus | tokens |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {_code(of.source_id)} | {_code(of.model)} | {_code(of.hook)} | {_code(of.coder)} | {of.n_features:,} |"
            f" {_code(of.corpus)} | {of.n_tokens:,} |"
            for of in sources
        ),
        "",
        "## Who wrote the labels",
        "",
        "| explainer | model | prompt (SHA-256) | labels |",
        "|---|---|---|---|",
        *(
            f"| {_code(of.explainer)} | {_code(of.model)} | {_code(of.prompt_sha256 or 'none')} | {of.n:,} |"
            for of in authors
        ),
        "",
        "## How they are scored",
        "",
        *_scores(summaries),
        *_floor(order, n_labels),
        "",
        "## Caveats",
        "",
        *(f"- {caveat}" for caveat in _caveats(summaries, [of.model for of in authors])),
        "",
        "## What made it",
        "",
        f"autointerp {_code(run.program_version if run else 'of an unknown version')}, by the command",
        "",
        f"    {visible(command(order))}",
        "",
        "The licence is for who shares this to choose: labels and scores are this run's, tokens are from the"
        " corpus, and the model and the coder have licences of their own.",
    ]
    return "\n".join(lines) + "\n"


def command(order: Order) -> str:
    """The command that writes this export; of paths it has the last names only."""
    where = order.options.where
    run = order.reader.path.parent.name or "RUN"
    words = ["autointerp", "export", run, order.name, "--format", order.format_name]
    words += ["--baselines"] if order.options.baselines else []
    for scorer, least in where.min_score.items():
        words += ["--min-score", f"{scorer}={least}"]
    words += ["--min-density", str(where.min_density)] if where.min_density > 0 else []
    words += ["--max-density", str(where.max_density)] if where.max_density < 1 else []
    for source in sorted(where.sources or ()):
        words += ["--source", source]
    words += ["--explainer", where.explainer] if where.explainer is not None else []
    if where.features is not None:
        words += ["--features", ",".join(map(str, sorted(where.features)))]
    return shlex.join(words)


def _scores(summaries: Sequence[ScorerSummary]) -> list[str]:
    if not summaries:
        return ["Nothing is scored."]
    lines = [
        "Of the whole run, whatever was chosen for this export. *Shuffled* is the mean that the same judge gives each"
        " feature the label of another; *above chance* is the share of labels whose whole interval lies above it.",
        "",
        "| scorer | judge | metric | labels | mean | middle half | chance | shuffled | above chance | beats shuffled |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for of in summaries:
        true, null = of.true, of.shuffled
        cells = [_code(of.scorer), _code(of.judge), _code(of.metric or "unnamed")]
        cells += [f"{true.n:,}", _number(true.mean), _half(true)] if true else ["0", "", ""]
        cells += [_number(of.chance), _number(null.mean if null else None)]
        cells += [_share(true.share_above_chance if true else None), _share(of.win_rate)]
        lines.append(f"| {' | '.join(cells)} |")
    if not any(of.shuffled for of in summaries):
        lines += [
            "",
            "No shuffled labels were scored beside them, so it is not known what a label of another feature gets.",
        ]
    return lines


def _floor(order: Order, n_labels: int) -> Iterable[str]:
    if n_labels > _MOST_LABELS_WITH_FLOOR:
        return [
            "",
            f"How far trials are solved without any label was not tried: {n_labels:,} labels are many. `autointerp"
            " report` does.",
        ]
    found = floors(order.reader, _FLOOR_FEATURES)
    if not found:
        return ["", "How far trials are solved without any label could not be tried on so few."]
    return [
        "",
        f"The floor, on trials of at most {_FLOOR_FEATURES} features: the AUROC of a solver that never sees a label."
        " What lies above .50 can be had without one.",
        "",
        "| scorer | shown | AUROC | 95 % interval | features |",
        "|---|---|---|---|---|",
        *(
            f"| {_code(of.scorer)} | {of.setting} | {of.auroc:.2f} | {of.low:.2f} to {of.high:.2f} | {of.n_features} |"
            for of in found
        ),
    ]


def _caveats(summaries: Sequence[ScorerSummary], models: Sequence[str]) -> Iterable[str]:
    if any(of.judge == _LOCAL for of in summaries):
        yield LOCAL_JUDGE_CAVEAT
    if _LOCAL in models:
        yield "Labels of the model `local` were written without a language model: they list words."
    yield "A score says how well the label tells this corpus's contexts apart, not that nothing better can be said."
    yield "An interval is of one label's trials, of one judge; another judge may give another value."


def _half(of: ValueSummary) -> str:
    return f"{_number(of.lower_quartile)} to {_number(of.upper_quartile)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _code(text: str) -> str:
    """Text as code on one line, also in a cell of a table."""
    return f"`{visible(text).replace('`', chr(39)).replace('|', '/')}`"
