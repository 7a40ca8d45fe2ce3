"""What was said before, said again for as long as the files that it was read from are as they were."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

V = TypeVar("V")
_N_MOST = 128
_TEXTS = 8


@dataclass(slots=True)
class _Kept:
    state: Hashable
    view: Any
    texts: dict[Hashable, str | bytes] = field(default_factory=dict)


class KeptViews:
    """The views that were asked for last, each with what was written of it: a page, its JSON.

    Args:
        n_most: So many are kept; one takes some 200 kB.
    """

    def __init__(self, n_most: int = _N_MOST) -> None:
        self._n_most = n_most
        self._lock = threading.Lock()
        self._views: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._by_id: dict[int, _Kept] = {}

    def view(self, name: Hashable, state: Hashable | None, make: Callable[[], V], keep: Callable[[V], bool]) -> V:
        """A view as it was said in this state, or is said now.

        Args:
            name: Names the view.
            state: Of all that it is read from, taken before; None where it can't be told from a later one.
            make: Makes it.
            keep: Whether one that was made may be said again.
        """
        with self._lock:
            kept = self._views.get(name)
            if kept is not None and state is not None and kept.state == state:
                self._views.move_to_end(name)
                found: V = kept.view
                return found
        made = make()
        if state is not None and keep(made):
            with self._lock:
                self._drop(name)
                self._views[name] = self._by_id[id(made)] = _Kept(state, made)
                while len(self._views) > self._n_most:
                    self._drop(next(iter(self._views)))
        return made

    def text(self, view: object, name: Hashable, write: Callable[[], str | bytes]) -> str | bytes:
        """What is written of a view, once where the view is kept.

        Args:
            view: The very view.
            name: Of all that is written of it, besides, and differs.
            write: Writes it.
        """
        kept = self._by_id.get(id(view))
        if kept is None or kept.view is not view:
            return write()
        text = kept.texts.get(name)
        if text is None:
            text = write()
            if len(kept.texts) < _TEXTS:
                kept.texts[name] = text
        return text

    def _drop(self, name: Hashable) -> None:
        gone = self._views.pop(name, None)
        if gone is not None:
            del self._by_id[id(gone.view)]
