"""Contexts as pages show them: in bands of activation, named by how many texts they stand for and by value."""

from collections.abc import Sequence
from dataclasses import dataclass

from autointerp.contexts.render import shown_activations
from autointerp.records import SCORER_KINDS, Context

_FIFTHS = ("weakest", "second weakest", "middle", "second strongest", "strongest")
_N_BANDS = len(_FIFTHS)
SILENT_KINDS = {
    "silent_token": "has a token that the feature often fires on",
    "silent_similar": "resembles contexts in which it fires",
    "silent_neighbor": "a feature close to it fires here",
    "silent_window": "stands beside text in which it fires",
    "silent_peak": "cut around a token as firing contexts are",
    "silent_random": "drawn at random",
}
"""Why a context in which a feature is silent was looked at, most telling first."""


@dataclass(frozen=True, slots=True)
class ShownContext:
    """A window of a document, with the feature's activation at each token.

    Attributes:
        id: UUID.
        kind: How it was chosen.
        split: What it may be used for; None where no stage took it.
        document: Its document.
        start: Position of the first token in its block.
        tokens: Joined without a separator they are its text.
        activations: Of each token, in the coder's own units.
        max_activation: The largest.
        peak: Offset of that.
    """

    id: str
    kind: str
    split: str | None
    document: str
    start: int
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    max_activation: float
    peak: int


@dataclass(frozen=True, slots=True)
class Band:
    """Contexts of about the same activation.

    Attributes:
        name: In words.
        low: The least peak activation among them.
        high: The largest.
        n: How many there are, of which `contexts` shows some.
        contexts: Strongest first.
    """

    name: str
    low: float
    high: float
    n: int
    contexts: tuple[ShownContext, ...]


@dataclass(frozen=True, slots=True)
class SilentGroup:
    """Contexts in which a feature is silent, though there was reason to look at them.

    Attributes:
        kind: How they were chosen.
        why: The same in words.
        n: How many there are.
        contexts: Some.
    """

    kind: str
    why: str
    n: int
    contexts: tuple[ShownContext, ...]


def shown_context(context: Context) -> ShownContext:
    """A context as pages show it."""
    return ShownContext(
        id=context.context_id,
        kind=context.kind,
        split=context.split,
        document=context.document_id,
        start=context.start,
        tokens=context.tokens,
        activations=shown_activations(context),
        max_activation=context.max_activation,
        peak=context.peak,
    )


def active_bands(contexts: Sequence[Context], largest: float, by: str, n_each: int) -> tuple[Band, ...]:
    """Contexts in which a feature fires, the strongest band first; bands without any are left out.

    Args:
        contexts: Of one feature.
        largest: Its largest activation in the corpus.
        by: `count`: fifths of the documents in which it fires, by their peaks; `value`: fifths of the largest.
        n_each: Contexts shown of each band; of the strongest twice as many.
    """
    active = sorted((c for c in contexts if c.is_active), key=lambda c: (-c.max_activation, c.context_id))
    taken: dict[int, list[Context]] = {}
    for context in active:
        taken.setdefault(_band(context, largest, by), []).append(context)
    return tuple(
        Band(
            name=_name(band, by),
            low=found[-1].max_activation,
            high=found[0].max_activation,
            n=len(found),
            contexts=tuple(map(shown_context, found[: 2 * n_each] if band == _N_BANDS - 1 else _spread(found, n_each))),
        )
        for band, found in sorted(taken.items(), reverse=True)
    )


def silent_groups(contexts: Sequence[Context], n_each: int) -> tuple[SilentGroup, ...]:
    """Contexts in which a feature is silent, by why they were looked at; not those that scorers drew at random."""
    silent = [c for c in contexts if not c.is_active and c.kind not in SCORER_KINDS]
    found = []
    for kind, why in SILENT_KINDS.items():
        some = [context for context in silent if context.kind == kind]
        if some:
            found.append(SilentGroup(kind, why, len(some), tuple(map(shown_context, some[:n_each]))))
    return tuple(found)


def _band(context: Context, largest: float, by: str) -> int:
    if by == "count" and context.quantile is not None:
        return min(_N_BANDS - 1, context.quantile * _N_BANDS // 10)
    share = context.max_activation / largest if largest > 0 else 0.0
    return min(_N_BANDS - 1, int(share * _N_BANDS))


def _name(band: int, by: str) -> str:
    if by == "value":
        return f"{100 * band // _N_BANDS} to {100 * (band + 1) // _N_BANDS} % of its largest activation"
    return f"{_FIFTHS[band]} fifth of the texts it fires in"


def _spread(found: Sequence[Context], n: int) -> Sequence[Context]:
    """So many, evenly spread over all."""
    if len(found) <= n:
        return found
    return [found[place * len(found) // n] for place in range(n)]
