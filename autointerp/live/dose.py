"""The dose of a feature: how much of it moves what comes next by one nat.

For each feature is sought the edit, made at every token, under which KL(edited || plain) of the next token's
distribution is one nat at the 95th percentile over tokens. Sizes are lengths of what is added over the stream's own
(median) length where it is added, on a log scale; the percentile, too, is compared by its log.

1. *Few tokens*: from .3 of the stream's length on, each step goes along the line through the two sizes closest to the
   aim, or along a slope of 2 (a small edit's divergence goes by its square) where there is one only. A size below and
   one above, once found, keep all steps between them, and every third step halves what is left; until they are found,
   the third step and those after it are ever longer ones.
2. *All tokens*: the same from what was found there, with the slope that was found, to the tolerance.
3. Beyond 20 lengths of the stream nothing is sought: then a feature has no dose.

All features that are sought take their steps together, so that each step is one batch.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from autointerp.identity import fingerprint
from autointerp.live.divergence import DivergenceMeter, MeteredTexts
from autointerp.live.edits import direction, divisor, writing_hook
from autointerp.live.subject import LiveSubject
from autointerp.records.dose import DoseTexts
from autointerp.records.live import Edit
from autointerp.subject.forward import read_hooks

_SLOPE = 2.0
# A percentile that is 0, or no number, as its log.
_FAR = 40.0
_EACH_HALVES = 3
# Steps before there is a size on either side that go by the slope alone; later ones are longer each time.
_N_TRUSTED = 2
# Of the tolerance: sizes closer to each other than that are one.
_FINEST = 8
_LONGEST_STEP = math.log(16)


@dataclass(frozen=True, slots=True)
class DoseMethod:
    """How doses are found; what is found by another is found anew.

    Attributes:
        version: Of what no other number here says.
        nats: Of the divergence at a dose of 1.
        percentile: Over tokens, that has so many nats.
        n_tokens: Tokens on which a dose is found, about: more are of the last text.
        n_few: Tokens for the first steps.
        longest_text: Tokens of a text, at most: many short ones differ more than few long ones.
        tolerance: Of the percentile, as a share of `nats`.
        tolerance_few: The same of the first steps.
        start: Size of the first edit, in lengths of the stream.
        most: Of the largest.
        least: Of the smallest.
        n_steps: At most, on few and on all tokens.
        texts: On which: the run's `corpus`, or `mixed`, half of the tokens of it and half of prompts of a chat.
    """

    version: int = 1
    nats: float = 1.0
    percentile: float = 95.0
    n_tokens: int = 6144
    n_few: int = 512
    longest_text: int = 128
    tolerance: float = 0.02
    tolerance_few: float = 0.1
    start: float = 0.3
    most: float = 20.0
    least: float = 1e-4
    n_steps: int = 16
    texts: DoseTexts = "corpus"

    @property
    def fingerprint(self) -> str:
        """Of all that is said here."""
        said = asdict(self)
        if self.texts == "corpus":  # all that there was, where stores know doses from before
            del said["texts"]
        return fingerprint("dose", said)


USUAL_METHOD = DoseMethod()


@dataclass(frozen=True, slots=True)
class FoundDose:
    """What was found for one feature.

    Attributes:
        unit: Activation to be added; None where there is no dose.
        divergence: The percentile there, or at the last size that was tried, in nats; NaN where none could be.
        size: Length of what is added over the stream's.
        n_trials: Of all steps, how many were on few and on all tokens.
        why: Where there is no dose, why not.
    """

    unit: float | None
    divergence: float
    size: float
    n_trials: tuple[int, int]
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A size that is to be tried, on few tokens or on all."""

    size: float
    on_all: bool


Search = Generator[Trial, float, tuple[float | None, float, str | None]]
"""Yields trials, is sent the percentile of each in nats, and returns size, percentile and why there is none."""


class DoseSeeker:
    """Finds the doses of one source's features on texts that are read once.

    Attributes:
        meter: What measures.
        method: How doses are found.

    Args:
        live: The subject.
        source_id: The source.
        texts: On which doses are found.
        method: How.

    Raises:
        SubjectError: If the subject has no language-model head, or the source's features can't be edited.
    """

    def __init__(
        self, live: LiveSubject, source_id: str, texts: MeteredTexts, method: DoseMethod = USUAL_METHOD
    ) -> None:
        self.meter = DivergenceMeter(live, source_id, texts)
        self.method = method
        self._source = live.source(source_id)
        self._stream, self._written = self._lengths(live, texts)

    def find(self, feature_indices: Sequence[int], *, roughly: bool = False) -> list[FoundDose]:
        """The doses of some features, in their order.

        Args:
            feature_indices: The features.
            roughly: Be content with few tokens, where a dose is found on them: a tenth of the time.

        Raises:
            SubjectError: If the run of the subject fails.
        """
        per_unit = [self._length(index) / self._stream for index in feature_indices]
        found: list[FoundDose | None] = [_impossible(length) for length in per_unit]
        searches = {place: search(self.method, roughly=roughly) for place, given in enumerate(found) if given is None}
        n_trials = {place: [0, 0] for place in searches}
        pending = {place: next(of) for place, of in searches.items()}
        while pending:
            on_all = all(trial.on_all for trial in pending.values())
            now = {place: trial for place, trial in pending.items() if trial.on_all == on_all}
            edits = [
                (Edit(feature_indices[place], "add", trial.size / per_unit[place]),) for place, trial in now.items()
            ]
            for place, kl in zip(now, self.meter.measure(edits, None if on_all else self.method.n_few), strict=True):
                n_trials[place][on_all] += 1
                try:
                    pending[place] = searches[place].send(percentile(kl, self.method.percentile))
                except StopIteration as ended:
                    size, divergence, why = ended.value
                    last, of_trials = pending.pop(place).size, (n_trials[place][0], n_trials[place][1])
                    if size is None:
                        found[place] = FoundDose(None, divergence, last, of_trials, why)
                    else:
                        found[place] = FoundDose(size / per_unit[place], divergence, size, of_trials)
        return [dose for dose in found if dose is not None]

    def size(self, feature_index: int, activation: float) -> float:
        """Length of what so much activation adds to the stream, over the stream's."""
        return self._length(feature_index) * abs(activation) / self._stream

    def _length(self, feature_index: int) -> float:
        """Of what one unit of activation adds, at the median token."""
        return float(direction(self._source.coder, feature_index).norm()) * self._written

    def _lengths(self, live: LiveSubject, texts: MeteredTexts) -> tuple[float, float]:
        """Of the stream where the source writes, and what its directions are scaled by there: medians over tokens."""
        stream, written = list[Any](), list[Any]()
        counted = torch.from_numpy(texts.counted)
        n_texts = max(1, live.n_tokens_at_once // texts.token_ids.shape[1])
        for start in range(0, len(counted), n_texts):
            some = slice(start, start + n_texts)
            ids, mask = (torch.from_numpy(a[some].astype(np.int64)) for a in (texts.token_ids, texts.mask))
            with live.lock:
                read, write = read_hooks(
                    live.sources.subject, [self._source.hook, writing_hook(self._source)], ids, mask
                )
            at = counted[some].to(read.device)
            stream.append(write[at].float().norm(dim=-1))
            written.append(torch.as_tensor(divisor(self._source.coder, read[at])).flatten())
        return float(torch.cat(stream).median()), float(torch.cat(written).median())


def percentile(divergences: np.ndarray, wanted: float) -> float:
    """A percentile of the divergences over tokens; NaN where one is no number."""
    return float(np.percentile(divergences, wanted)) if np.isfinite(divergences).all() else math.nan


def search(method: DoseMethod, *, roughly: bool = False) -> Search:
    """Seek the size at which the percentile is `nats`; see the module.

    Args:
        method: How.
        roughly: End with what few tokens say.
    """
    size, slope = method.start, _SLOPE
    found: tuple[float | None, float, str | None] = (None, math.nan, None)
    for on_all in (False, True):
        tolerance = method.tolerance if on_all else method.tolerance_few
        found, slope = yield from _approach(method, size, slope, tolerance, on_all=on_all)
        if found[0] is None:
            if on_all or not math.isfinite(found[1]):
                return found
            found, slope = yield from _approach(method, method.most, _SLOPE, method.tolerance, on_all=True)
            return found
        if roughly:
            return found
        size = found[0]
    return found


def _approach(
    method: DoseMethod, size: float, slope: float, tolerance: float, *, on_all: bool
) -> Generator[Trial, float, tuple[tuple[float | None, float, str | None], float]]:
    """One of the two stages; gives what it found, and the slope there."""
    least, most = math.log(method.least), math.log(method.most)
    at, nats = math.log(size), math.nan
    tried: list[tuple[float, float]] = []
    for step in range(1, method.n_steps + 1):
        nats = yield Trial(math.exp(at), on_all)
        off = _log_ratio(nats, method.nats)
        tried.append((at, off))
        if abs(nats / method.nats - 1) <= tolerance:
            break
        low = max((x for x, y in tried if y < 0), default=-math.inf)
        high = min((x for x, y in tried if y > 0 and x > low), default=math.inf)
        if low >= most:
            return (None, nats, f"{method.most:g} times the stream's length move it by less"), slope
        if high <= least:
            why = (
                "it moves it by more however little is added" if math.isfinite(nats) else "the model's numbers overflow"
            )
            return (None, nats, why), slope
        if high - low < tolerance / _FINEST:
            break
        slope = _slope(tried, slope)
        if math.isfinite(high - low):
            at -= off / slope
            if step % _EACH_HALVES == 0 or not low < at < high:
                at = (low + high) / 2
        else:
            longer = math.log(2) * max(0, step - _N_TRUSTED)
            at -= math.copysign(min(_LONGEST_STEP, max(longer, abs(off / slope))), off)
            at = max(least, min(most, at))
    closest = min(reversed(tried), key=lambda one: abs(one[1]))
    return (math.exp(closest[0]), method.nats * math.exp(closest[1]), None), _slope(tried, slope)


def _log_ratio(nats: float, aim: float) -> float:
    if not math.isfinite(nats):
        return _FAR
    return max(-_FAR, math.log(nats / aim)) if nats > 0 else -_FAR


def _slope(tried: Sequence[tuple[float, float]], usual: float) -> float:
    """Of the line through the two sizes closest to the aim; the usual one where they say nothing."""
    if len(tried) < 2:
        return usual
    (x1, y1), (x2, y2) = sorted(tried, key=lambda one: abs(one[1]))[:2]
    if max(abs(y1), abs(y2)) >= _FAR or x1 == x2 or (y1 - y2) / (x1 - x2) <= 0:
        return usual
    return (y1 - y2) / (x1 - x2)


def _impossible(length: float) -> FoundDose | None:
    """What is found of a feature by its direction alone: that it has none."""
    if not math.isfinite(length):
        return FoundDose(None, math.nan, math.nan, (0, 0), "its direction holds a number that is not finite")
    if length == 0:
        return FoundDose(None, 0.0, 0.0, (0, 0), "its direction has no length: adding it changes nothing")
    return None
