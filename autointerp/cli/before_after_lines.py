"""The features before and after one, as `autointerp show` prints them beneath a label of the explainer `graph`."""

from collections.abc import Iterator, Mapping
from typing import Any

from autointerp.text_table import shorten

_LINES_SHOWN = 5
_LABEL_WIDTH = 50
_TITLES = {"upstream": "before it", "downstream": "after it"}
_PLACES = {"with": "on the same token", "before": "before", "after": "after"}
_READ = frozenset(["feature", "label", "place", "n_both", "n_fired", "n_expected"])


def before_after_lines(detail: Mapping[str, Any]) -> list[str]:
    """A line for each of the strongest features before and after, with how often they meet.

    Args:
        detail: Of a label; one that `graph` did not write has no such lines, whatever else it has under these names.
    """
    return [line for side in _TITLES for line in _lines(side, detail.get(side))]


def _lines(side: str, neighbors: Any) -> Iterator[str]:
    if not isinstance(neighbors, list) or not all(isinstance(of, Mapping) and of.keys() >= _READ for of in neighbors):
        return
    for place, of in enumerate(neighbors[:_LINES_SHOWN]):
        name = shorten(of["label"], _LABEL_WIDTH) if of["label"] else "no label"
        met = f"{_PLACES.get(of['place'], of['place'])} at {of['n_both']:,} of {of['n_fired']:,} firings"
        yield f"{'' if place else _TITLES[side]:<10} {of['feature']} ({name}) {met}, {of['n_expected']:,.1f} by chance"
    if (n_more := len(neighbors) - _LINES_SHOWN) > 0:
        yield f"{'':<10} and {n_more} more (--json)"
