"""Keys and values of several texts that are read on together, in memory that is taken once.

1. Each text has a row. All rows end at one place, so that what is read next is written at the same place of each, and
   what a row holds lies right before it: shorter rows have nothing at their beginning.
2. transformers' `DynamicCache` copies all that was read at every step, to put one token behind it. Here that is
   written where there is room for it; room is doubled when there is none.
3. A row joins from a cache of its own, and leaves by having the last row put in its place.
4. Texts that are begun at once, in one pass over all of each, begin where they have to so as to end at one place: what
   stands before the shorter ones is read too, and looked at by none.

Distances between places are those between tokens, so a model that attends to the last few tokens only, as Gemma's and
Mistral's do in some layers, masks the right ones.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

_LEAST_ROOM = 128


class TextCache:
    """Keys and values of some texts.

    Args:
        n_layers: Of the model.
        lengths: Of the texts that are to be read into it next, each from its beginning, a row each; none for no row.

    Attributes:
        n_rows: Texts in it.
        end: Place behind what was read.
        starts: Where each row begins.
        for_model: The same, as transformers' models take it.
    """

    def __init__(self, n_layers: int, lengths: Sequence[int] = (0,)) -> None:
        from transformers import Cache

        layer = _layer_class()
        self.n_rows = len(lengths)
        self.end = 0
        self.starts = [max(lengths) - length for length in lengths]
        self._layers: list[_Layer] = [layer(self) for _ in range(n_layers)]
        self.for_model: Any = Cache(layers=list(self._layers))

    @property
    def first(self) -> int:
        """Where the longest row begins."""
        return min(self.starts, default=self.end)

    def length(self, row: int = 0) -> int:
        """Tokens of a row."""
        return self.end - self.starts[row]

    def advance(self, n_tokens: int) -> None:
        """Say that a forward pass has read as many tokens in each row."""
        self.end += n_tokens

    def cut(self, length: int) -> None:
        """Forget what was read beyond a length; of a cache of one row."""
        assert self.n_rows == 1
        self.end = self.starts[0] + length

    def mask(self, device: torch.device, n_next: int = 1) -> Bool[Tensor, "row place"] | None:
        """Which places hold something, with those that are read next; None where all do."""
        if all(start == self.first for start in self.starts):
            return None
        places = torch.arange(self.first, self.end + n_next, device=device)
        return places >= torch.tensor(self.starts, device=device)[:, None]

    def positions(self, device: torch.device, n_next: int = 1) -> Int64[Tensor, "row place"]:
        """Of each row, the positions of the tokens that are read next; 0 of what stands before its first."""
        places = torch.arange(self.end, self.end + n_next, device=device)
        return (places - torch.tensor(self.starts, device=device)[:, None]).clamp(min=0)

    def join(self, other: "TextCache") -> None:
        """Take in the row of a cache of one row, as the last."""
        n = other.length()
        if self.n_rows == 0:
            self.end = n
        elif n > self.end:
            self._move(n - self.end)
        for mine, its in zip(self._layers, other._layers, strict=True):
            for name in ("keys", "values"):
                taken = getattr(its, name)[:1, :, other.starts[0] : other.end]
                mine.room(name, taken, self.n_rows + 1, self.end + 1)
                getattr(mine, name)[self.n_rows, :, self.end - n : self.end] = taken[0]
        self.starts.append(self.end - n)
        self.n_rows += 1

    def leave(self, row: int) -> "TextCache":
        """Take a row out; the last row takes its place.

        Returns:
            A cache of that row alone.
        """
        alone = self.of_row(row)
        self.drop(row)
        return alone

    def of_row(self, row: int) -> "TextCache":
        """A cache of its own with what a row holds."""
        alone = TextCache(len(self._layers))
        alone.end = self.length(row)
        for mine, its in zip(self._layers, alone._layers, strict=True):
            for name in ("keys", "values"):
                taken = getattr(mine, name)[row : row + 1, :, self.starts[row] : self.end]
                its.room(name, taken, 1, alone.end + 1)
                getattr(its, name)[:1, :, : alone.end] = taken
        return alone

    def drop(self, row: int, *, wipe: bool = False) -> None:
        """Forget a row; the last row takes its place.

        Args:
            row: The row.
            wipe: Whether it may hold what is not finite, which no mask keeps from others.
        """
        last = self.n_rows - 1
        if wipe:
            for tensor in self._tensors():
                tensor[row] = 0
        if row != last:
            of = slice(self.starts[last], self.end)
            for tensor in self._tensors():
                tensor[row, :, of] = tensor[last, :, of]
            self.starts[row] = self.starts[last]
        self.starts.pop()
        self.n_rows = last

    def _move(self, by: int) -> None:
        """Move all rows towards the end."""
        first, end = self.first, self.end
        for layer in self._layers:
            for name in ("keys", "values"):
                held = getattr(layer, name)
                layer.room(name, held, self.n_rows, end + by + 1)
                held = getattr(layer, name)
                held[: self.n_rows, :, first + by : end + by] = held[: self.n_rows, :, first:end].clone()
        self.end += by
        self.starts = [start + by for start in self.starts]

    def make_room(self) -> None:
        """Move all rows to the beginning, where more of the memory lies before them than they take."""
        first, end = self.first, self.end
        if first <= max(_LEAST_ROOM, end - first):
            return
        for tensor in self._tensors():
            tensor[: self.n_rows, :, : end - first] = tensor[: self.n_rows, :, first:end].clone()
        self.end -= first
        self.starts = [start - first for start in self.starts]

    def _tensors(self) -> Iterator[Tensor]:
        for layer in self._layers:
            for tensor in (layer.keys, layer.values):
                if tensor is not None:
                    yield tensor


@cache
def _layer_class() -> Any:
    """`_Layer` as a layer of transformers, which it takes seconds to import."""
    from transformers.cache_utils import CacheLayerMixin

    return type("TextLayer", (_Layer, CacheLayerMixin), {})


class _Layer:
    """One layer's keys and values, (row, head, place, width) each: a layer of transformers' `Cache`."""

    is_sliding = is_compileable = is_croppable = False
    is_initialized = True

    def __init__(self, of: TextCache) -> None:
        self._of = of
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: room is made when something is written."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write what is read now, and give it with what was read before."""
        of = self._of
        end = of.end + key_states.shape[2]
        for name, states in (("keys", key_states), ("values", value_states)):
            self.room(name, states, of.n_rows, end)
            getattr(self, name)[: of.n_rows, :, of.end : end] = states
        assert self.keys is not None
        assert self.values is not None
        return self.keys[: of.n_rows, :, of.first : end], self.values[: of.n_rows, :, of.first : end]

    def room(self, name: str, like: Tensor, n_rows: int, n_places: int) -> None:
        """See that there is room for rows and places; what is there stays."""
        held: Tensor | None = getattr(self, name)
        if held is not None and held.shape[0] >= n_rows and held.shape[2] >= n_places:
            return
        n_held, room = (0, 0) if held is None else (held.shape[0], held.shape[2])
        rows = n_held if n_held >= n_rows else max(n_rows, 2 * n_held)
        places = room if room >= n_places else max(n_places + _LEAST_ROOM, 2 * room)
        # What no row has written may be looked at, behind a mask: it must be numbers.
        made = torch.zeros((rows, like.shape[1], places, like.shape[3]), dtype=like.dtype, device=like.device)
        if held is not None:
            made[:n_held, :, :room] = held
        setattr(self, name, made)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Places that are looked at, and which is the first."""
        return self._of.end - self._of.first + query_length, 0

    def get_seq_length(self) -> int:
        """Places before what is read now."""
        return self._of.end - self._of.first

    def get_max_length(self) -> int:
        """No limit."""
        return -1
