"""Folders of labels: Delphi's results, and Neuronpedia's bulk files.

Delphi writes an explanation a file, `explanations/layers.5_latent12.txt`, with a JSON string in it, and what its
scorers asked beside them as `scores/detection/layers.5_latent12.txt`: a list of examples, each with whether the feature
fires (`activating`) and whether the answer was right (`correct`, null where there was none). From these comes what
stands beside our scores: its balanced accuracy, in which an example without an answer has no part. One hook point at a
time is read: where there are several, it is named behind the folder, as if it were a file in it.

Neuronpedia's `MODEL/SOURCE/explanations/batch-N.jsonl.gz` name model, source and index in each line. Explanations are
joined with nothing: the files of features and activations are cut otherwise. A feature may have several.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.corpus.sources.files import open_text
from autointerp.errors import CorpusError, PipelineError
from autointerp.explain.label_files.columns import AUTHOR, FEATURE, LABEL
from autointerp.explain.label_files.faults import Faults
from autointerp.explain.label_files.formats import FORMATS, Row, rows_of_file
from autointerp.json_text import parse_json

_DELPHI_FILE = re.compile(r"(?P<module>.*)_(?:latent|feature)(?P<index>\d+)\.txt")
# What Delphi writes where it could not read its model's answer.
_DELPHI_UNREAD = "Explanation could not be parsed."
_EXPLANATIONS, _SCORES, _CONFIG = "explanations", "scores", "run_config.json"
_BATCH = re.compile(r"(?P<name>.*?)(?P<number>\d*)\.jsonl(?:\.\w+)?")
_LAYER = re.compile(r"(?:\A|[._])(?:layers?|h|blocks)[._](\d+)(?:\Z|\D)")
_LAYER_OF_SOURCE = re.compile(r"@(\d+)(?:-|\Z)")


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows of labels are, and how they are read.

    Attributes:
        path: As it was named.
        files: All that is read, so that it shows when one of them changes.
        read: Reads the rows; the argument gets what is wrong with single ones.
        may_repeat: Whether it is usual that a feature has several labels of one author.
    """

    path: Path
    files: tuple[Path, ...]
    read: Callable[[Faults], Iterator[Row]]
    may_repeat: bool = False


def find_rows(path: Path) -> Rows:
    """The rows that a path leads to: of a file, or of one of the folders.

    Raises:
        PipelineError: If it is no such folder, or one of several hook points.
        OSError: If it can't be read.
    """
    if not path.is_dir():
        folder, module = path.parent, path.name
        if path.exists() or not folder.is_dir() or not (files := _delphi_files(folder, module)):
            return Rows(path, (path,), lambda faults: rows_of_file(path, faults))
        return _delphi(path, folder, files)
    if batches := _batches(path):
        return Rows(path, tuple(batches), lambda faults: _batch_rows(path, batches, faults), may_repeat=True)
    if files := _delphi_files(path, None):
        return _delphi(path, path, files)
    raise PipelineError(f"{path} is not a file", f"labels are read from {FORMATS}")


def is_of_another_layer(hook_point: str | None, source_id: str) -> bool:
    """Whether a hook point, as Delphi names it, is of another layer than a source, as far as both say of which."""
    named, own = _LAYER.search(hook_point or ""), _LAYER_OF_SOURCE.search(source_id)
    return bool(named and own and int(named[1]) != int(own[1]))


# --- Neuronpedia ------------------------------------------------------------------------------------------------------


def _batches(path: Path) -> list[Path]:
    """Files of explanations in a folder of them, of a source, of a model or of several, in order."""
    there = [path] if path.name == _EXPLANATIONS else sorted(path.rglob(_EXPLANATIONS))
    found = [
        (folder, match["name"], int(match["number"] or 0), file)
        for folder in there
        if folder.is_dir()
        for file in folder.iterdir()
        if (match := _BATCH.fullmatch(file.name)) and not file.name.startswith(".")
    ]
    return [file for *_, file in sorted(found)]


def _batch_rows(path: Path, batches: Sequence[Path], faults: Faults) -> Iterator[Row]:
    for file in batches:
        of_file = Faults(path)
        for row in rows_of_file(file, of_file):
            yield row._replace(place=f"{file.relative_to(path)}, {row.place}")
        faults.add_all(of_file, file.relative_to(path))


# --- Delphi -----------------------------------------------------------------------------------------------------------


def _delphi_files(folder: Path, module: str | None) -> list[tuple[str, int, Path]]:
    """Explanations in a folder of results, or of explanations, of one hook point or all, by feature."""
    inner = folder / _EXPLANATIONS
    found = [
        (match["module"], int(match["index"]), file)
        for file in (inner if inner.is_dir() else folder).iterdir()
        if (match := _DELPHI_FILE.fullmatch(file.name)) and module in (None, match["module"])
    ]
    return sorted(found, key=lambda one: one[:2])


def _delphi(path: Path, folder: Path, files: Sequence[tuple[str, int, Path]]) -> Rows:
    modules = list(dict.fromkeys(module for module, _, _ in files))
    if len(modules) > 1:
        raise PipelineError(
            f"{path} holds explanations of {len(modules)} hook points ({', '.join(modules[:5])})",
            f"name the one that the source is of behind it, as {folder / modules[0]}",
        )
    results = folder.parent if folder.name == _EXPLANATIONS else folder
    read = tuple(file for _, _, file in files)
    return Rows(path, read, lambda faults: _delphi_rows(results, files, faults))


def _delphi_rows(results: Path, files: Sequence[tuple[str, int, Path]], faults: Faults) -> Iterator[Row]:
    config = _read_json(results / _CONFIG)
    about = config if isinstance(config, dict) else {}
    scores = results / _SCORES
    scorers = sorted(of for of in scores.iterdir() if of.is_dir()) if scores.is_dir() else []
    for module, index, file in files:
        try:
            with open_text(file) as text:
                label = parse_json(text.read())
        except json.JSONDecodeError as error:
            faults.add(file.name, f"no valid JSON ({error})", "mend that file")
            continue
        except CorpusError as error:
            raise PipelineError(error.problem, error.remedy) from error
        if label == _DELPHI_UNREAD:
            continue
        graded = ((of.name, _delphi_score(_read_json(of / file.name))) for of in scorers)
        yield Row(
            file.name,
            {
                FEATURE: index,
                LABEL: label,
                "hook_point": module,
                "scores": {n: of for n, of in graded if of is not None},
            }
            | ({AUTHOR: about["explainer_model"]} if isinstance(about.get("explainer_model"), str) else {})
            | ({"method": f"delphi {about['explainer']}"} if isinstance(about.get("explainer"), str) else {}),
        )


def _delphi_score(examples: Any) -> dict[str, float | int] | None:
    """What a scorer of Delphi's found; None where its file is not there, or is not a list of such examples."""
    if not isinstance(examples, list) or not all(isinstance(of, dict) and "activating" in of for of in examples):
        return None
    answered = [of for of in examples if isinstance(of.get("correct"), bool)]
    rates = [
        sum(of["correct"] for of in some) / len(some)
        for truth in (True, False)
        if (some := [of for of in answered if bool(of["activating"]) is truth])
    ]
    counts: dict[str, float | int] = {"n": len(examples), "n_unanswered": len(examples) - len(answered)}
    return counts | ({"balanced_accuracy": sum(rates) / 2} if len(rates) == 2 else {})


def _read_json(path: Path) -> Any:
    """What stands in a file beside the labels; None where it is not there or is no JSON: no label hangs on it."""
    try:
        with open_text(path) as text:
            return parse_json(text.read())
    except (CorpusError, OSError, json.JSONDecodeError):
        return None
