"""Edits of many texts at once, made in one forward pass: what each token is given is worked out before.

1. The edits that hold at a token become one vector for each source: the sum of its adds and pushes; and the values of
   its pins, of several of one feature the last.
2. In the pass, what is added at the tokens that are edited is one row of a matrix each, found by its index. For pins
   the source's coder is asked for the pinned features alone, where its architecture allows (`subject.some_features`),
   and what they lack is multiplied by their directions.
3. Where no token is edited, nothing is done to the stream; tokens that are not edited keep their bits.

Sources are edited where they write, in the order that the subject has them in.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from autointerp.live.edits import direction, divisor, writing_hook
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Push, SourceEdits
from autointerp.subject.hooks import HookPoint, hook_place
from autointerp.subject.some_features import SomeFeatures
from autointerp.subject.source import Source

_MOST_KEPT = 64
_MOST_DIRECTIONS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class AtToken:
    """What is done at a token where one source writes.

    Attributes:
        delta: Added, before a coder's normalisation is undone.
        pins: Values of features.
    """

    delta: Float32[Tensor, " d_out"]
    pins: Mapping[int, float]


Compiled = Mapping[str, AtToken]
"""What is done at a token, by source; empty where nothing is."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one pass changes where one source writes.

    Attributes:
        rows: Tokens that are edited, of all that the pass reads, text by text; None for all.
        deltas: Each different vector that is added.
        which: Of each edited token.
        pinned: Features that are pinned at some token; None for none.
        towards: Their directions.
        targets: Their values at each edited token; not a number where they are not pinned.
    """

    rows: Int64[Tensor, " edited"] | None
    deltas: Float32[Tensor, "vector d_out"]
    which: Int64[Tensor, " edited"]
    pinned: SomeFeatures | None = None
    towards: Float32[Tensor, "feature d_out"] | None = None
    targets: Float32[Tensor, "edited feature"] | None = None


class FeatureReader:
    """A source's coder, asked for some of its features.

    Args:
        source: The source.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._made: dict[tuple[int, ...], SomeFeatures] = {}

    def some(self, features: tuple[int, ...]) -> SomeFeatures:
        """Reads some features; those that were asked for last are kept."""
        made = self._made.get(features)
        if made is None:
            made = SomeFeatures(self.source, features)
            if len(self._made) >= _MOST_KEPT:
                self._made.clear()
            self._made[features] = made
        return made


class SourceEditor:
    """Edits the features of one source.

    Args:
        source: The source.
        reader: Reads some of its features.

    Raises:
        SubjectError: If its features can't be edited.
    """

    def __init__(self, source: Source, reader: "FeatureReader") -> None:
        self.source = source
        self.hook = writing_hook(source)
        self._reader = reader
        self._device = source.subject.device
        self._directions: dict[int, Float32[Tensor, " d_out"]] = {}

    def at_token(self, edits: Sequence[SourceEdits]) -> AtToken:
        """Edits that hold at one token, as one."""
        delta = torch.zeros(self.source.coder.decoder.shape[1], dtype=torch.float32, device=self._device)
        pins: dict[int, float] = {}
        for edit in (edit for of_source in edits for edit in of_source.edits):
            if isinstance(edit, Push):
                delta += edit.value * torch.from_numpy(edit.vector).to(self._device)
            elif edit.mode == "add":
                delta += edit.value * self._direction(edit.feature_index)
            else:
                pins[edit.feature_index] = edit.value
        return AtToken(delta, pins)

    def change(self, at_tokens: Sequence[AtToken | None]) -> Change | None:
        """What a pass changes.

        Args:
            at_tokens: Of each token that it reads; None where it is not edited.
        """
        edited = [place for place, at in enumerate(at_tokens) if at is not None]
        if not edited:
            return None
        of = [at for at in at_tokens if at is not None]
        vectors = {id(at): at for at in of}
        places = {key: place for place, key in enumerate(vectors)}
        rows = None if len(edited) == len(at_tokens) else torch.tensor(edited, device=self._device)
        deltas = torch.stack([at.delta for at in vectors.values()])
        which = torch.tensor([places[id(at)] for at in of], device=self._device)
        features = tuple(sorted({feature for at in vectors.values() for feature in at.pins}))
        if not features:
            return Change(rows, deltas, which)
        values = [[at.pins.get(feature, torch.nan) for feature in features] for at in vectors.values()]
        return Change(
            rows,
            deltas,
            which,
            pinned=self._reader.some(features),
            towards=torch.stack([self._direction(feature) for feature in features]),
            targets=torch.tensor(values, dtype=torch.float32, device=self._device)[which],
        )

    def edit(
        self,
        change: Change,
        hidden: Float[Tensor, "text position d_out"],
        of_coder: Float[Tensor, "text position d_in"],
    ) -> Float[Tensor, "text position d_out"]:
        """What goes on instead of `hidden`.

        Args:
            change: What is changed.
            hidden: What the source's hook point passes on.
            of_coder: What its coder reads.
        """
        flat, read = hidden.reshape(-1, hidden.shape[-1]), of_coder.reshape(-1, of_coder.shape[-1])
        if change.rows is not None:
            read = read[change.rows]
        added = change.deltas[change.which]
        if change.pinned is not None:
            assert change.targets is not None
            assert change.towards is not None
            missing = (change.targets - change.pinned.activations(read)).masked_fill(change.targets.isnan(), 0.0)
            added = added + missing @ change.towards
        added = added * divisor(self.source.coder, read)
        if change.rows is None:
            return (flat.float() + added).to(hidden.dtype).view(hidden.shape)
        flat = flat.clone()
        flat[change.rows] = (flat[change.rows].float() + added).to(hidden.dtype)
        return flat.view(hidden.shape)

    def _direction(self, feature: int) -> Float32[Tensor, " d_out"]:
        made = self._directions.get(feature)
        if made is None:
            made = direction(self.source.coder, feature).to(self._device)
            if len(self._directions) >= _MOST_DIRECTIONS:
                self._directions.clear()
            self._directions[feature] = made
        return made


class Editors:
    """The sources of a subject, as they are edited.

    Args:
        live: The subject.
    """

    def __init__(self, live: LiveSubject) -> None:
        self._live = live
        self._made: dict[str, SourceEditor] = {}
        self._readers: dict[str, FeatureReader] = {}

    def reader(self, source_id: str) -> FeatureReader:
        """Reads features of one source.

        Raises:
            SubjectError: If there is none of this name.
        """
        if source_id not in self._readers:
            self._readers[source_id] = FeatureReader(self._live.source(source_id))
        return self._readers[source_id]

    def of(self, source_id: str) -> SourceEditor:
        """Edits one source.

        Raises:
            SubjectError: If there is none of this name, or its features can't be edited.
        """
        if source_id not in self._made:
            self._made[source_id] = SourceEditor(self._live.source(source_id), self.reader(source_id))
        return self._made[source_id]

    def compile(self, edits: Iterable[SourceEdits]) -> Compiled:
        """What is done at a token where some edits hold."""
        by_source: dict[str, list[SourceEdits]] = {}
        for of_source in edits:
            if of_source.edits:
                by_source.setdefault(of_source.source_id, []).append(of_source)
        return {source_id: self.of(source_id).at_token(of) for source_id, of in by_source.items()}

    def changes(self, at_tokens: Sequence[Compiled]) -> list[tuple[SourceEditor, Change]]:
        """What a pass over some tokens changes, in the order that the subject has its sources in."""
        wanted = {source_id for at in at_tokens for source_id in at}
        made: list[tuple[SourceEditor, Change]] = []
        for source in self._live.sources.sources:
            if source.source_id in wanted:
                editor = self.of(source.source_id)
                change = editor.change([at.get(source.source_id) for at in at_tokens])
                assert change is not None
                made.append((editor, change))
        return made

    def disturbs(self, edited: Iterable[str], read: Iterable[str]) -> bool:
        """Whether edits of some sources change what others' coders read at the same token."""
        return any(
            _is_before(self.of(writer).hook, self._live.source(reader).hook) for writer in edited for reader in read
        )


def _is_before(written: HookPoint, read: HookPoint) -> bool:
    """Whether what is changed at one point may be seen at another; of one point, what is read is read first."""
    if written.module is read.module and written.side == read.side:
        return False
    return hook_place(written.name) <= hook_place(read.name)
