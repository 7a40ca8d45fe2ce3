"""What the columns of a file of labels are called, here and elsewhere, and what their cells say.

The first name of each kind is the one that is documented. The others are those of our own exports, of Neuronpedia's
downloads and pages (`modelId`, `layer`, `index`, `description`, `explanationModelName`) and of what other tools write.
Names are compared without regard to capitals and surrounding space; where several are there, the first in this list
counts.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.errors import PipelineError
from autointerp.identity import feature_id, parse_feature_id, source_id
from autointerp.valid_text import valid_text

FEATURE, LABEL, AUTHOR = "feature", "label", "author"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    FEATURE: (FEATURE, "feature_id", "feature_index", "index", "latent", "neuron"),
    LABEL: (LABEL, "description", "explanation"),
    AUTHOR: (AUTHOR, "explainer_model", "explanationmodelname", "modelname"),
    "source": ("source_id",),
    "model": ("modelid", "model_id"),
    "layer": ("layer", "source"),
    "method": ("typename", "methodname", "method"),
    # Scores that others gave the label, and the hook point that its feature is of, as they say it.
    "scores": ("autointerpscores", "scores"),
    "hook": ("hook_point",),
    # Of our own exports alone.
    "explainer": ("explainer",),
    "label_id": ("explanation_id",),
    "shuffled": ("label_from",),
    "export": ("feature_uuid",),
}
MAX_LENGTH = 10_000
"""Characters of a label: nobody reads more, and every question to a judge carries it."""
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_WHOLE = re.compile(r"\A(\d+)\.0+\Z")
_LOCAL = "local"


def has_columns(names: Sequence[str], kind: str) -> bool:
    """Whether a column of a kind is among these."""
    return not {name.strip().lower() for name in names}.isdisjoint(COLUMNS[kind])


def is_export(names: Sequence[str]) -> bool:
    """Whether columns of these names are those of an export of ours."""
    return has_columns(names, "export") and has_columns(names, "label_id")


def column_fault(names: Sequence[str]) -> PipelineError | None:
    """What is wrong with the names of the columns: one that a label needs is missing, or stands there twice."""
    there = ", ".join(names) or "none"
    for wanted in (FEATURE, LABEL):
        if not has_columns(names, wanted):
            return PipelineError(f"there is no column {wanted!r}", f"name a column so; there are: {there}")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    return None if twice is None else PipelineError(f"two columns are named {twice!r}", "leave one of them")


@dataclass(frozen=True, slots=True)
class Cells:
    """A row's cells by what they are.

    Attributes:
        of: Of each kind of column that the row has.
    """

    of: Mapping[str, Any]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Cells":
        """Find out which column is which; a row of our own JSON lines is laid flat before."""
        if {"feature_uuid", "explanation"} <= row.keys() and not isinstance(row["explanation"], str):
            row = _flat(row)
        by_name = {name.strip().lower(): cell for name, cell in reversed(list(row.items()))}
        found = {kind: [by_name[name] for name in names if name in by_name] for kind, names in COLUMNS.items()}
        return cls({kind: cells[0] for kind, cells in found.items() if cells})

    @property
    def is_label(self) -> bool:
        """Whether the row is somebody's label: an export of ours has rows without one, and shuffled ones."""
        return not self._is_export or not (self._is_missing("label_id") or not self._is_missing("shuffled"))

    def feature(self) -> tuple[str | None, int]:
        """The source, where the row names one, and the index.

        Raises:
            PipelineError: If it is no feature.
        """
        value = self.of[FEATURE]
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a column of integers in which some row lacks one
        if isinstance(value, str):
            value = _WHOLE.sub(r"\1", valid_text(value.strip()))
        parsed = parse_feature_id(value)
        if parsed is None or parsed[1] < 0:
            shown = "nothing" if self._is_missing(FEATURE) else repr(value)
            raise PipelineError(f"the feature is {shown}", "give an index such as 650, or model@source:650")
        named, index = parsed
        beside = self._source()
        if named is not None and beside is not None and named != beside:
            raise PipelineError(f"the feature is {feature_id(named, index)}, the source {beside}", "leave one of them")
        return named or beside, index

    def label(self) -> str:
        """The text, on one line.

        Raises:
            PipelineError: If it is none, empty, or too long for a label.
        """
        text = "" if self._is_missing(LABEL) else self.of[LABEL]
        if not isinstance(text, str):
            raise PipelineError(f"the label is {text!r}, which is no text", "put it in quotes, or mend that row")
        label = " ".join(valid_text(text).split())
        if all(unicodedata.category(character) in _INVISIBLE for character in label):
            raise PipelineError("the label is empty", "mend that row, or leave it out")
        if len(label) > MAX_LENGTH:
            raise PipelineError(
                f"the label has {len(label):,} characters; at most {MAX_LENGTH:,} are read",
                "mend that row, or leave it out",
            )
        return label

    def author(self) -> str | None:
        """Who wrote the label; None where the row does not say.

        Raises:
            PipelineError: If it is no text.
        """
        kind = "explainer" if self._is_export and self.of.get(AUTHOR) == _LOCAL else AUTHOR
        if self._is_missing(kind):
            return None
        author = self.of[kind]
        if not isinstance(author, str):
            raise PipelineError(f"the author is {author!r}, which is no text", "mend that row")
        return " ".join(valid_text(author).split()) or None

    def method(self) -> str | None:
        """By what method it was written, as its author calls it; None where the row does not say."""
        method = self.of.get("method")
        return " ".join(valid_text(method).split()) or None if isinstance(method, str) else None

    def said(self) -> dict[str, Any]:
        """What else the row says of the label: `method`, `hook_point`, and `scores` that others gave it."""
        found = {"method": self.method(), "hook_point": self.of.get("hook"), "scores": self.of.get("scores")}
        if not isinstance(found["scores"], list | dict) or not _is_plain(found["scores"]):
            found["scores"] = None  # of a spreadsheet's own column of that name, perhaps
        return {name: value for name, value in found.items() if value}

    @property
    def _is_export(self) -> bool:
        return {"export", "label_id"} <= self.of.keys()

    def _source(self) -> str | None:
        if not self._is_missing("source"):
            return str(self.of["source"]).strip()
        if not self._is_missing("model") and not self._is_missing("layer"):
            return source_id(str(self.of["model"]).strip(), str(self.of["layer"]).strip())
        return None

    def _is_missing(self, kind: str) -> bool:
        value = self.of.get(kind)
        return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold it: no number in it that is not finite, as Python's own reader lets through."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of our JSON lines, whose records are nested, with the columns of the flat formats."""
    explanation = row["explanation"] or {}
    names = {"explanation_id": "explanation_id", "explainer": "explainer", "model": "explainer_model"}
    flat = {name: explanation.get(field) for field, name in {**names, "label_from": "label_from"}.items()}
    return {name: row.get(name) for name in ("feature_id", "feature_uuid", "label")} | flat
