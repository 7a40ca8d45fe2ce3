"""What runs are called here."""

from collections.abc import Mapping

from autointerp.errors import UnknownRunError
from autointerp.serve.serving import Serving
from autointerp.serve.views.runs import named_runs
from autointerp.store.known import shown


def served_names(serving: Serving) -> dict[str, int]:
    """Places of the runs by what the pages call them."""
    return {name: place for place, name in enumerate(named_runs(serving))}


def place_of(names: Mapping[str, int], name: str) -> int:
    """The place of a run.

    Raises:
        UnknownRunError: If none has this name.
    """
    if name not in names:
        raise UnknownRunError(f"there is no run {shown(name)} here", f"runs are {', '.join(names) or 'none'}")
    return names[name]
