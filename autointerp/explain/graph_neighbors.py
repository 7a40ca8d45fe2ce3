"""The features before and after one, as the explainer `graph` shows and records them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.explain.explainers.evidence import times_chance
from autointerp.identity import feature_id
from autointerp.llm.prompts import quoted
from autointerp.records import FiringNeighbor, FiringPlace

_MAX_LABEL = 120
"""Characters of a neighbor's label that are shown: one from outside may be as long as a page."""
_MAX_TOKENS = 3
_PLACES: dict[FiringPlace, str] = {"with": "on the same token", "before": "before", "after": "after"}


@dataclass(frozen=True, slots=True)
class Naming:
    """What a feature is called, where another one is explained.

    Attributes:
        label: Its label; None where it can't have one.
        tokens: Those that it fires on most above chance, its only name where it has no label.
    """

    label: str | None
    tokens: tuple[str, ...]

    @property
    def shown(self) -> str | None:
        """The label in one line, cut where it is long."""
        whole = " ".join((self.label or "").split())
        return (whole if len(whole) <= _MAX_LABEL else whole[: _MAX_LABEL - 1] + "…") or None


@dataclass(frozen=True, slots=True)
class NamedNeighbor:
    """A feature that fires near another, with what it is called."""

    neighbor: FiringNeighbor
    naming: Naming

    @property
    def account(self) -> dict[str, Any]:
        """For a label's detail."""
        of = self.neighbor
        return {
            "feature": feature_id(of.source_id, of.feature_index),
            "label": self.naming.shown,
            "place": of.place,
            "n_both": of.n_both,
            "n_fired": of.n_fired,
            "n_expected": round(of.n_expected, 3),
            "n_near": of.n_near,
            "n_blocks": of.n_blocks,
            "association": round(of.association, 3),
        }


def render_neighbors(neighbors: Sequence[NamedNeighbor]) -> str:
    """A line for each, the name as JSON strings; `none` where there are none."""
    return "\n".join(f"- {_name(of.naming)} {_met(of.neighbor)}" for of in neighbors) or "none"


def _name(naming: Naming) -> str:
    if naming.shown is not None:
        return f"{quoted(naming.shown)},"
    tokens = ", ".join(quoted(token) for token in naming.tokens[:_MAX_TOKENS])
    return f"no label, fires on {tokens};" if tokens else "no label,"


def _met(of: FiringNeighbor) -> str:
    return f"{_PLACES[of.place]} {of.n_both} of {of.n_fired} (x{times_chance(of.n_both / of.n_expected)})"
