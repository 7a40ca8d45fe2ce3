"""A sheet for reading labels: of some features the label, and held-out contexts with the tokens they fire on marked.

    python -m benchmarks.reading_sheet write RUN [OTHER] --to FOLDER [--features 60] [--seed 0]
    python -m benchmarks.reading_sheet count FOLDER

`write` makes `FOLDER/sheet.md` and `FOLDER/key.json`:

1. Features are drawn by keyed hash among those with a label in each run and a firing context in the score split. How
   many have none is told: an explainer that only labels what is easy would look good otherwise.
2. Of each feature the label is shown and 12 of its firing contexts of the score split, which no explainer saw, drawn by
   keyed hash, strongest first. What it fires on stands between `<<` and `>>`; before a context stands its largest
   activation as a share of the largest of all that are shown.
3. With two runs of one source both labels are shown, as A and B, in an order drawn anew for each feature: only the key
   knows which is whose. Labels that read alike are shown, and judged, once.

Whoever reads writes `right`, `partly` or `wrong` behind each `A is:` and `B is:`, without looking at the key. `count`
then tells the shares of each run with Wilson's intervals, and of two runs the paired difference in points (right 1,
partly 1/2, wrong 0) with Student's interval over features.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autointerp import open_run
from autointerp.contexts.render import active_offsets, marked_text
from autointerp.identity import hash_key, in_keyed_order, keyed_hash
from autointerp.records import Context, FeatureContexts
from autointerp.score import metrics
from autointerp.score.compare import compare_pairs
from autointerp.words import plain_label

N_CONTEXTS = 12
POINTS = {"right": 1.0, "partly": 0.5, "wrong": 0.0}
_INTRODUCTION = """\
Read the contexts of a feature first: what is it that stands between << and >>, and what do these places have in common?
Then read the label, and write one word behind "is:".

- right: it says where the feature fires: most of the marked places are as it says, and it says hardly more than that
- partly: it is of some of these places, or far too broad or too narrow, or half of what it says is of something else
- wrong: it says nothing of what the marked places have in common

The contexts are text of a corpus: material to judge, never an instruction. The number before each is its largest
activation as a share of the largest that is shown.
"""
_FEATURE = re.compile(r"^## (\d+)$")
_VERDICT = re.compile(r"^([AB](?: and B)?) is:(.*)$")


@dataclass(frozen=True, slots=True)
class Feature:
    """What the sheet shows of one feature.

    Attributes:
        feature_index: The feature.
        labels: In the order in which they are shown, each text once.
        runs: Of each label the runs that it is of, by their place in the command.
        contexts: Held-out contexts in which it fires, strongest first.
    """

    feature_index: int
    labels: tuple[str, ...]
    runs: tuple[tuple[int, ...], ...]
    contexts: tuple[Context, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels are called on the sheet."""
        return ("A and B",) if len(self.runs[0]) == 2 else ("A", "B")[: len(self.labels)]


def draw(
    labels: Sequence[Mapping[int, str]], contexts: Mapping[int, FeatureContexts], n_features: int, seed: int
) -> list[Feature]:
    """Draw features, their contexts, and the order of their labels; ascending by feature.

    Args:
        labels: Of each run, by feature.
        contexts: Of the features that may be drawn.
        n_features: Features at most.
        seed: Of all three draws.
    """
    open_to_all = [f for f, of in contexts.items() if of.of("score", active=True) and all(f in own for own in labels)]
    chosen = in_keyed_order(hash_key(seed, "sheet"), np.array(sorted(open_to_all), dtype=np.int64))[:n_features]
    return [_lay_out(feature, labels, contexts[feature], seed) for feature in sorted(chosen.tolist())]


def _lay_out(feature: int, labels: Sequence[Mapping[int, str]], contexts: FeatureContexts, seed: int) -> Feature:
    order = list(range(len(labels)))
    if int(keyed_hash(hash_key(seed, "sheet order"), np.array([feature]))[0]) >> 63:
        order.reverse()
    by_text: dict[str, list[int]] = {}
    for run in order:
        by_text.setdefault(plain_label(labels[run][feature]), []).append(run)
    active = contexts.of("score", active=True)
    drawn = in_keyed_order(hash_key(seed, "sheet contexts", str(feature)), np.arange(len(active)))[:N_CONTEXTS]
    shown = sorted((active[i] for i in drawn.tolist()), key=lambda context: -context.max_activation)
    return Feature(
        feature,
        tuple(" ".join(labels[runs[0]][feature].split()) for runs in by_text.values()),
        tuple(tuple(sorted(runs)) for runs in by_text.values()),
        tuple(shown),
    )


def sheet_lines(features: Sequence[Feature]) -> Iterator[str]:
    """The sheet."""
    yield f"# {len(features)} features, and what their labels say of them\n"
    yield _INTRODUCTION
    for feature in features:
        yield f"## {feature.feature_index}\n"
        yield from (f"{name}: {label}" for name, label in zip(feature.names, feature.labels, strict=True))
        yield ""
        strongest = feature.contexts[0].max_activation
        for number, context in enumerate(feature.contexts, start=1):
            share = context.max_activation / strongest
            yield f"{number:>2}. [{share:.2f}] {marked_text(context, active_offsets(context))}"
        yield ""
        yield from (f"{name} is:" for name in feature.names)
        yield ""


def read_verdicts(sheet: str, runs: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[int, dict[int, str]]:
    """The verdicts of a sheet that was filled in: by feature, and by run; those left open are not in it.

    Args:
        sheet: Its text.
        runs: Of the key: by feature and by name on the sheet, the runs that the label is of.

    Raises:
        ValueError: If a verdict is none of the three words; it says in which line.
    """
    found: dict[int, dict[int, str]] = {}
    feature = ""
    for number, line in enumerate(sheet.splitlines(), start=1):
        if head := _FEATURE.match(line):
            feature = head[1]
        elif (said := _VERDICT.match(line)) and (verdict := said[2].strip().lower()):
            if verdict not in POINTS:
                raise ValueError(f"line {number}: {verdict!r} is none of {', '.join(POINTS)}")
            of_feature = found.setdefault(int(feature), {})
            of_feature.update(dict.fromkeys(runs[feature][said[1]], verdict))
    return found


def count_lines(verdicts: Mapping[int, Mapping[int, str]], names: Sequence[str], n_features: int) -> Iterator[str]:
    """What the verdicts come to.

    Args:
        verdicts: From `read_verdicts`.
        names: Of the runs.
        n_features: Features of the sheet.
    """
    read = [of for of in verdicts.values() if len(of) == len(names)]
    yield f"{len(read)} of {n_features} features read"
    for run, name in enumerate(names):
        told = []
        for word in POINTS:
            n = sum(of[run] == word for of in read)
            if share := metrics.proportion(n, len(read)):
                told.append(f"{word} {n} ({share.value:.0%}, {share.low:.0%} to {share.high:.0%})")
        yield f"{name}: {', '.join(told)}"
    if len(names) == 2 and read:
        points = np.array([[POINTS[of[run]] for run in (0, 1)] for of in read])
        mean = compare_pairs(points[:, 0], points[:, 1]).mean
        interval = f" ({mean.low:+.3f} to {mean.high:+.3f})" if mean.low is not None else ""
        yield f"points of {names[1]} less those of {names[0]}: {mean.value:+.3f}{interval}"


def write(runs: Sequence[Path], folder: Path, n_features: int, seed: int) -> None:
    """Write a sheet and its key."""
    readers = [open_run(run).reader for run in runs]
    of_runs = [reader.explanations() for reader in readers]
    if len(sources := {e.source_id for of_run in of_runs for e in of_run}) != 1:
        sys.exit(f"a sheet is of one source, and the labels of {' and '.join(map(str, runs))} are of {len(sources)}")
    labels = [{e.feature_index: e.label for e in of_run} for of_run in of_runs]
    everywhere = sorted(set.intersection(*map(set, labels)))
    n_lacking = len(set.union(*map(set, labels))) - len(everywhere)
    contexts = {of.feature_index: of for of in readers[0].feature_contexts(everywhere)}
    features = draw(labels, contexts, n_features, seed)
    key = {
        "names": [str(run) for run in runs],
        "seed": seed,
        "runs": {str(f.feature_index): dict(zip(f.names, f.runs, strict=True)) for f in features},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sheet.md").write_text("\n".join(sheet_lines(features)) + "\n", encoding="utf-8")
    (folder / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")
    print(
        f"{len(features)} features of {len(everywhere)}; {n_lacking} have a label in one run alone: {folder}/sheet.md"
    )


def count(folder: Path) -> None:
    """Print what the verdicts of a sheet come to."""
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    try:
        verdicts = read_verdicts((folder / "sheet.md").read_text(encoding="utf-8"), key["runs"])
    except ValueError as error:
        sys.exit(f"{folder / 'sheet.md'}, {error}")
    print(*count_lines(verdicts, key["names"], len(key["runs"])), sep="\n")


def main() -> None:
    """Write a sheet, or count what was written into one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="make the sheet and its key")
    writing.add_argument("run", type=Path, nargs="+", help="one run folder, or two of the same source")
    writing.add_argument("--to", type=Path, required=True, help="the folder for both files")
    writing.add_argument("--features", type=int, default=60, help="features at most")
    writing.add_argument("--seed", type=int, default=0)
    counting = commands.add_parser("count", help="count the verdicts of a sheet that was filled in")
    counting.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "count":
        count(arguments.folder)
    elif len(arguments.run) > 2:
        parser.error("a sheet shows the labels of one run or two")
    else:
        write(arguments.run, arguments.to, arguments.features, arguments.seed)


if __name__ == "__main__":
    main()
