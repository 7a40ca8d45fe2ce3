"""AutoConditional: features and thresholds that tell when a text is about something, at a stated rate of false alarms.

1. **Candidates** are the features whose labels a search finds for the specification and, where examples of both kinds
   are given, those that tell the first half of them apart (`contrast`).
2. **Texts of its own**: blocks of different documents of the run's corpus. Thresholds are chosen on the first half
   (`thresholds`), the receipt is about the other half, which had no part in it.
3. **What a feature has to show**: above its threshold it fires in examples of the first half more often than false
   alarms would, or, where there are none, in more of the texts that are made with the specification's words than of the
   same texts without them. Its label alone is not believed. Examples are tried against the allowed rate, by the
   binomial distribution, with 1 in 20 divided among the candidates.
4. At most `MOST` are kept: in turn the one that adds most texts to those that are hit. The allowed texts are shared
   among them, so that several are kept only where they hit more than fewer with lower thresholds.
5. Where nothing is left, or, of examples, the other half is not hit more often than false alarms are, **no feature
   tells it**: there is a receipt, and no condition.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64

from autointerp.errors import SearchError
from autointerp.identity import hash_key, in_keyed_order
from autointerp.library.conditions import AnyOf, Threshold
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.steer.conditional_receipt import (
    AutoCondition,
    ConditionalReceipt,
    DroppedFeature,
    KeptFeature,
)
from autointerp.library.steer.thresholds import (
    Share,
    chance_of_as_many,
    holding,
    largest_of_texts,
    share_of_texts,
    threshold_for,
)
from autointerp.records.on_texts import OnTexts
from autointerp.store.known import check_count, shown
from autointerp.text_table import percent

if TYPE_CHECKING:
    from autointerp.live.read import Readable

MOST = 3
N_CANDIDATES = 10
LEVEL = 0.05
# Examples of a kind: with fewer, no half of them could tell anything.
_LEAST_EXAMPLES = 8
# Texts that are about a specification as plainly as words can say; none repeats what a label says but the words.
_MADE = (
    "{}",
    "This text is about {}.",
    "Let me tell you something about {}.",
    "Question: what do you know about {}?",
)
_NOTHING_SAID = "something"


@dataclass(frozen=True, slots=True)
class Readings:
    """How texts are read for a choice.

    Attributes:
        own: Activations of some features on so many texts of the corpus.
        of: Activations of some features on texts that are given.
    """

    own: Callable[[Sequence[int], int], OnTexts]
    of: Callable[[Sequence["Readable"], Sequence[int]], OnTexts]


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts that are about a specification, and others.

    Attributes:
        positive: About it; the first half are chosen by, the others reported on.
        negative: Not about it; may be none.
    """

    positive: tuple[tuple["Readable", ...], tuple["Readable", ...]]
    negative: tuple[tuple["Readable", ...], tuple["Readable", ...]]


def split_examples(positives: "Sequence[Readable]", negatives: "Sequence[Readable]", seed: int) -> Examples | None:
    """Examples in halves, by a keyed hash; None where none are given.

    Raises:
        SearchError: If they are too few, or only negative.
    """
    if not positives and not negatives:
        return None
    for name, some in (("positive", positives), ("negative", negatives)):
        if not isinstance(some, Sequence):
            raise SearchError(f"{shown(some)} can't be {name} examples", "give texts in a list")
        if isinstance(some, str) or ((some or name == "positive") and len(some) < _LEAST_EXAMPLES):
            raise SearchError(
                f"{len(some)} {name} examples are too few to choose by one half and report on the other",
                f"give at least {_LEAST_EXAMPLES} texts in a list, or none",
            )
    first, second = (_halves(tuple(some), seed) for some in (positives, negatives))
    return Examples(first, second)


def choose_condition(
    specification: str,
    candidates: Sequence[Feature],
    readings: Readings,
    examples: Examples | None,
    largest_known: Callable[[Sequence[int]], Float32[np.ndarray, " feature"]],
    *,
    allowed: float,
    n_texts: int,
) -> AutoCondition:
    """Choose a condition, and measure it on texts that had no part in the choice.

    Args:
        specification: What it is to tell.
        candidates: Features of one source.
        readings: Read texts.
        examples: Texts that are about it, if there are any.
        largest_known: The largest activations of features in the corpus.
        allowed: Rate of false alarms, of texts.
        n_texts: Texts of the corpus; thresholds are chosen on half of them.
    """
    if not candidates:
        return _nothing(specification, allowed, (), "no label is about it, and no examples tell otherwise")
    indices = [feature.index for feature in candidates]
    source_id = candidates[0].source_id
    own = readings.own(indices, n_texts)
    middle = own.n_texts // 2
    chosen_on, held_out = own.only(0, middle), own.only(middle, own.n_texts)
    n_allowed = math.floor(allowed * middle)
    if n_allowed < 1:
        raise SearchError(
            f"of {middle} texts that thresholds are chosen on, {percent(allowed)} is not one",
            f"allow more false alarms, or ask for n_texts={math.ceil(2 / allowed)}",
        )
    about = [made.format(specification) for made in _MADE] if examples is None else examples.positive[0]
    bare = [made.format(_NOTHING_SAID) for made in _MADE] if examples is None else ()
    seen = largest_of_texts(readings.of([*about, *bare], indices))
    seen, without = seen[: len(about)], seen[len(about) :]
    most = largest_known(indices)
    quiet = largest_of_texts(chosen_on)
    rate = allowed if examples is not None else None
    kept, dropped = _choose(candidates, (seen, without), quiet, most, n_allowed, rate)
    if not kept:
        why = f"none of {len(candidates)} candidates fires above its threshold where it should"
        return _nothing(specification, allowed, dropped, why)
    parts = tuple(Threshold(((source_id, indices[place]),), ">", threshold) for place, threshold in kept.items())
    condition = parts[0] if len(parts) == 1 else AnyOf(parts)
    alarms, hits, negatives = share_of_texts(condition, held_out, source_id), None, None
    why_none = None
    if examples is not None:
        hits = share_of_texts(condition, readings.of(examples.positive[1], indices), source_id)
        if examples.negative[1]:
            negatives = share_of_texts(condition, readings.of(examples.negative[1], indices), source_id)
        if hits.interval[0] <= max(of.interval[1] for of in (alarms, negatives) if of is not None):
            why_none = "it holds in held-out examples no more often, beyond chance, than in other texts"
    receipt = ConditionalReceipt(
        specification=specification,
        allowed=allowed,
        kept=tuple(
            KeptFeature(
                feature=candidates[place].id,
                label=candidates[place].label,
                threshold=threshold,
                of_max_activation=threshold / float(most[place]),
                hits=Share(int((seen[:, place] > threshold).sum()), len(seen)),
            )
            for place, threshold in kept.items()
        ),
        dropped=dropped,
        false_alarms=alarms,
        false_alarm_tokens=float(holding(condition, held_out, source_id).mean()),
        n_tokens=len(held_out.text),
        hits=hits,
        alarms_on_negatives=negatives,
        why_none=why_none,
    )
    return AutoCondition(None if why_none else condition, receipt)


def _choose(
    candidates: Sequence[Feature],
    shown_texts: tuple[Float32[np.ndarray, "text feature"], Float32[np.ndarray, "text feature"]],
    quiet: Float32[np.ndarray, "text feature"],
    most: Float32[np.ndarray, " feature"],
    n_allowed: int,
    rate: float | None,
) -> tuple[dict[int, float], tuple[DroppedFeature, ...]]:
    """Places of the features that are kept, with their thresholds, and why the others are not.

    Args:
        candidates: The features.
        shown_texts: Their largest activations in the texts that should be hit, and in the same made without the words.
        quiet: Those in the texts that thresholds are chosen on.
        most: Those in the corpus.
        n_allowed: False alarms of these texts.
        rate: That hits have to be more frequent than by chance; None where one hit is enough.
    """
    tries = [
        _try(candidates, shown_texts, quiet, most, n_allowed // size, size, rate)
        for size in range(1, min(MOST, n_allowed) + 1)
    ]
    # Features that share the allowed texts have higher thresholds, which has to pay: ties go to fewer.
    kept, why, _ = max(tries, key=lambda found: found[2])
    dropped = tuple(DroppedFeature(candidates[place].id, candidates[place].label, why[place]) for place in sorted(why))
    return kept, dropped


def _try(
    candidates: Sequence[Feature],
    shown_texts: tuple[Float32[np.ndarray, "text feature"], Float32[np.ndarray, "text feature"]],
    quiet: Float32[np.ndarray, "text feature"],
    most: Float32[np.ndarray, " feature"],
    n_allowed: int,
    size: int,
    rate: float | None,
) -> tuple[dict[int, float], dict[int, str], int]:
    """As `_choose`, at most `size` features with `n_allowed` texts each; and the texts that they hit."""
    seen, without = shown_texts
    thresholds = [threshold_for(quiet[:, place], n_allowed) for place in range(len(candidates))]
    why: dict[int, str] = {}
    able: list[int] = []
    for place, threshold in enumerate(thresholds):
        hits = Share(int((seen[:, place] > threshold).sum()), len(seen))
        if threshold >= most[place]:
            why[place] = "its threshold would be above its largest activation in the corpus"
        elif not hits.n_yes:
            why[place] = f"in none of {hits.n} texts that are about it, it fires above its threshold"
        elif (without[:, place] > threshold).sum() >= hits.n_yes:
            why[place] = "it fires above its threshold as often where the specification's words are not"
        elif rate is not None and (chance := chance_of_as_many(hits, rate)) > LEVEL / len(candidates):
            why[place] = f"hits {hits.n_yes} of {hits.n} examples, which false alarms may do (p = {chance:.2g})"
        else:
            able.append(place)
    kept: dict[int, float] = {}
    hit = np.zeros(len(seen), dtype=np.bool_)
    while len(kept) < size and able:
        added = {place: int(((seen[:, place] > thresholds[place]) & ~hit).sum()) for place in able}
        best = max(able, key=lambda place: (added[place], -place))
        if not added[best]:
            break
        kept[best] = thresholds[best]
        hit |= seen[:, best] > thresholds[best]
        able.remove(best)
    why |= dict.fromkeys(able, "those that are kept hit all that it hits, or more")
    return kept, why, int(hit.sum())


def _nothing(specification: str, allowed: float, dropped: tuple[DroppedFeature, ...], why: str) -> AutoCondition:
    receipt = ConditionalReceipt(specification, allowed, (), dropped, None, None, 0, None, None, why)
    return AutoCondition(None, receipt)


def _halves(texts: "tuple[Readable, ...]", seed: int) -> "tuple[tuple[Readable, ...], tuple[Readable, ...]]":
    order: Int64[np.ndarray, " text"] = in_keyed_order(hash_key(seed, "conditional halves"), np.arange(len(texts)))
    middle = len(texts) // 2
    return tuple(texts[i] for i in order[:middle]), tuple(texts[i] for i in order[middle:])


def check_asked(specification: str, allowed: float, n_texts: int) -> None:
    """See that a condition can be asked for.

    Raises:
        SearchError: If the specification is empty, or a number makes no sense.
    """
    if not isinstance(specification, str) or not specification.strip():
        raise SearchError("the specification is empty", "say what is to be told")
    if isinstance(allowed, bool) or not isinstance(allowed, int | float) or not 0 < allowed < 1:
        raise SearchError(f"false_alarms is {shown(allowed)}", "give a share of texts between 0 and 1, such as 0.01")
    check_count("n_texts", n_texts)


def candidates_of(found: FeatureGroup, by_contrast: FeatureGroup, source_id: str) -> list[Feature]:
    """The features of one source, those of the search first."""
    return [feature for feature in found | by_contrast if feature.source_id == source_id]
