"""What a planted feature fires on, and what a label means: a rule that can be executed.

A rule gives, for rows of pieces, whether each piece is meant. It has one root (whole `words`, a `pattern`, `any` of
other rules, or `anything`), which further keys narrow down: `near`, `after` and `before` ask that another rule's piece
stands within so many pieces of it in the same row, `unless` that another rule does not hold of it. In TOML:

    { words = ["cat", "dog"], after = { words = ["the"] }, within = 1 }

A rule sees a row and nothing else: of a window, what is shown of it.
"""

import re
from functools import cached_property

import numpy as np
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autointerp.puzzles.text import RowText


class Rule(BaseModel):
    """One rule; see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    words: tuple[str, ...] = Field((), description="whole words, letters and digits only")
    pattern: str | None = Field(None, description="regular expression on the text in lower case; its group `at` fires")
    any: tuple["Rule", ...] = Field((), description="rules of which one is enough")
    anything: bool = Field(False, description="every piece")
    near: "Rule | None" = Field(None, description="a piece of this rule stands near by, before or after")
    after: "Rule | None" = Field(None, description="a piece of this rule stands before it")
    before: "Rule | None" = Field(None, description="a piece of this rule stands after it")
    unless: "Rule | None" = Field(None, description="this rule does not hold of the piece")
    within: int = Field(1, gt=0, le=128, description="how many pieces away for `near`, `after` and `before`")

    @field_validator("words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not re.fullmatch(r"[^\W_]+", word) or word != word.lower():
                raise ValueError(f"{word!r} is no word of small letters and digits; use a pattern")
        return words

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
        return pattern

    @model_validator(mode="after")
    def _has_one_root(self) -> "Rule":
        n_roots = sum(map(bool, (self.words, self.pattern, self.any, self.anything)))
        if n_roots != 1:
            raise ValueError(f"a rule needs one of words, pattern, any and anything, and has {n_roots}")
        if "within" in self.model_fields_set and not (self.near or self.after or self.before):
            raise ValueError("`within` says nothing without near, after or before")
        return self

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern or "")

    def holds(self, rows: RowText) -> Bool[np.ndarray, " piece"]:
        """Whether each piece of the rows is meant."""
        mask = self._root(rows)
        reach = self.within
        for other, before, after in ((self.near, reach, reach), (self.after, reach, 0), (self.before, 0, reach)):
            if other is not None:
                mask &= rows.nearby(other.holds(rows), before=before, after=after)
        return mask if self.unless is None else mask & ~self.unless.holds(rows)

    def _root(self, rows: RowText) -> Bool[np.ndarray, " piece"]:
        if self.words:
            return rows.find_words(frozenset(self.words))
        if self.pattern:
            return rows.find(self._compiled)
        if self.any:
            of_any: Bool[np.ndarray, " piece"] = np.logical_or.reduce([rule.holds(rows) for rule in self.any])
            return of_any
        return np.ones(rows.n_pieces, dtype=np.bool_)
