"""Puzzles from TOML files: a planted feature each, its true label, and labels that are wrong in a known way."""

import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autointerp.assets import asset_folder
from autointerp.errors import PuzzleError, file_error, in_one_line
from autointerp.puzzles.predicate import Rule

PuzzleKind = Literal[
    "token", "pattern", "words", "topic", "position", "conjunction", "polysemantic", "absorbed", "shared", "rare",
    "dense",
]  # fmt: skip
Fault = Literal["true", "broad", "narrow", "sibling", "unrelated"]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, slots=True)
class PuzzleLabel:
    """A label of which it is known what it means.

    Attributes:
        text: The label.
        fault: What is wrong with it as a label of the puzzle's feature.
        means: What it says, executable.
    """

    text: str
    fault: Fault
    means: Rule


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A planted feature.

    Attributes:
        name: Its own among all puzzles.
        kind: What sort of feature it is.
        fires: Where it fires.
        labels: One of each fault, the true one first.
    """

    name: str
    kind: PuzzleKind
    fires: Rule
    labels: tuple[PuzzleLabel, ...]

    def label(self, fault: Fault) -> PuzzleLabel:
        """Its label of one fault."""
        return self.labels[FAULTS.index(fault)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Own(_Strict):
    label: str = Field(min_length=1)
    means: Rule


class _Entry(_Strict):
    name: str = Field(min_length=1)
    kind: PuzzleKind
    label: str = Field(min_length=1)
    fires: Rule
    broad: _Own
    narrow: _Own
    sibling: str
    unrelated: str


class _File(_Strict):
    puzzle: tuple[_Entry, ...] = Field(min_length=1)


def load_puzzles(folder: Path | None = None) -> tuple[Puzzle, ...]:
    """Read every puzzle of a folder's TOML files, in the order of file names.

    Args:
        folder: None for those that come with the program.

    Raises:
        PuzzleError: One line that names the file and the puzzle.
    """
    folder = asset_folder("data") / "puzzles" if folder is None else folder
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise PuzzleError(f"no puzzle files (*.toml) in {folder}", "name a folder that has some")
    read = [(path, entry) for path in paths for entry in _read(path)]
    entries = {entry.name: entry for _, entry in read}
    name, n_times = Counter(entry.name for _, entry in read).most_common(1)[0]
    if n_times > 1:
        raise PuzzleError(f"{folder}: {n_times} puzzles are named {name!r}", "give each a name of its own")
    for path, entry in read:
        for key, other in (("sibling", entry.sibling), ("unrelated", entry.unrelated)):
            if other not in entries or other == entry.name:
                raise PuzzleError(
                    f"{path}: {key} of puzzle {entry.name!r} is {other!r}", "name another puzzle of the folder"
                )
    return tuple(_puzzle(entry, entries) for _, entry in read)


def _puzzle(entry: _Entry, entries: dict[str, _Entry]) -> Puzzle:
    sibling, unrelated = entries[entry.sibling], entries[entry.unrelated]
    labels = (
        PuzzleLabel(entry.label, "true", entry.fires),
        PuzzleLabel(entry.broad.label, "broad", entry.broad.means),
        PuzzleLabel(entry.narrow.label, "narrow", entry.narrow.means),
        PuzzleLabel(sibling.label, "sibling", sibling.fires),
        PuzzleLabel(unrelated.label, "unrelated", unrelated.fires),
    )
    return Puzzle(entry.name, entry.kind, entry.fires, labels)


def _read(path: Path) -> tuple[_Entry, ...]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise file_error(error, path, PuzzleError) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or nested too deep
        raise PuzzleError(f"{path} is no TOML ({in_one_line(error)})", "mend it") from error
    try:
        return _File.model_validate(content).puzzle
    except ValidationError as error:
        first = error.errors()[0]
        raise PuzzleError(f"{path}: {_place(first['loc'], content)}: {first['msg']}", "mend that puzzle") from error


def _place(loc: tuple[int | str, ...], content: dict[str, object]) -> str:
    """Where in a file a problem lies, by the puzzle's name where it has one."""
    keys = ".".join(str(part) for part in loc)
    puzzles = content.get("puzzle")
    if isinstance(puzzles, list) and len(loc) > 1 and isinstance(loc[1], int):
        entry = puzzles[loc[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        return f"puzzle {name or loc[1] + 1!r}, key `{'.'.join(map(str, loc[2:]))}`"
    return f"key `{keys}`"
