"""Which features, at which tokens, push one token: direct effect, gradient times activation, integrated gradients.

1. The model reads the text up to the token asked about, at once. The *measure* is the token's log-probability, its
   logit less the vocabulary's mean, or its logit less another token's.
2. The measure's gradient is taken back through the head, and through all layers above the point where the coder writes,
   in one backward pass. The stream there is a leaf of its own, so what the coder leaves unexplained stays in it.
3. *Gradient times activation* of a firing is that gradient, at its token, along what the feature writes there. It is of
   first order: norms, attention and MLPs above are taken as straight as they are at this text.
4. *Integrated gradients* (Sundararajan, Taly and Yan, 1703.01365; of features as Marks et al., 2403.19647) take the
   gradient on the mean of the straight way from the stream without any feature to the stream as it is, along what the
   feature writes. They add up to what all features together do, but for what few steps miss, which is told.
5. The *direct effect* is what the feature writes to the residual stream of the token that predicts, taken by the final
   norm with its scale as it is, and by the head. At earlier tokens it is nought: what is written there gets to the
   token only through attention, which gradient times activation has and this has not.
6. What remains is told by gradient and directly: the coder's bias, its error, tokens on which no feature is read.
   Whether first order holds is told by reading the text again, with all features taken out at once, or one firing.
"""

import operator
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from autointerp.devices import is_out_of_memory
from autointerp.errors import ActivationRangeError, SubjectError
from autointerp.live.edits import directions, divisor, written_by_none
from autointerp.live.gradient import Gradient, NextToken, Reader
from autointerp.live.next_token import OutputHead, find_head
from autointerp.live.read import Readable, ReadText, read_any
from autointerp.live.subject import LiveSubject
from autointerp.records.attribution import AskedToken, Measure, Shares, TokenAttribution
from autointerp.subject.limits import window_of
from autointerp.subject.logits import NoLogits, find_projection, writes_as_it_is
from autointerp.subject.source import Source
from autointerp.valid_text import valid_text

# Firings whose directions are held at once.
_AT_ONCE = 4096


def attribute(live: LiveSubject, source_id: str, text: Readable, asked: AskedToken) -> TokenAttribution:
    """Find what pushes one token of a text.

    Args:
        live: The subject.
        source_id: The source whose features are asked about.
        text: A text or a conversation.
        asked: Which token, and how it is measured.

    Raises:
        SubjectError: If the subject has no language-model head, the coder does not write what the model passes on,
            there is no such token, nothing that counts before it, or more than the model reads at once.
        ActivationRangeError: If numbers overflow.
    """
    source, head = live.source(source_id), find_head(live.sources.subject)
    read = read_any(live, text, "the text")
    index = _place(live, read, asked.index)
    with live.lock:
        instead_of = None if asked.instead_of is None else _token_id(live, head, asked.instead_of)
        measure: Measure = asked.measure if instead_of is None else "difference"
        of = NextToken(head, read.token_ids[index], instead_of, measure)
        try:
            return _attribute(live, source, read, index, of, asked)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise SubjectError(
                f"the gradient over {index:,} tokens at once does not fit into memory", "run it on a larger device"
            ) from error


def _attribute(
    live: LiveSubject, source: Source, read: ReadText, index: int, of: NextToken, asked: AskedToken
) -> TokenAttribution:
    token_ids = read.token_ids[: index + 1]
    framed, _, counted = live.framed([token_ids[:-1]], open_ended=True)
    reader = Reader(live, source, of, framed[0].tolist())
    seen = reader.gradient()
    firings = _firings(source, seen, torch.from_numpy(counted[0]))
    gradient = firings.along(seen.where_written)
    of_gradient = _shares(firings, seen, gradient, seen.where_written)
    direct, of_direct, why_no_direct = np.full(gradient.shape, np.nan), None, _why_no_direct(source, reader)
    if why_no_direct is None:
        towards = torch.zeros_like(seen.where_written)
        towards[-1] = _direct_gradient(source, reader, seen)
        direct = firings.along(towards)
        of_direct = _shares(firings, seen, direct, towards, float(seen.at_head @ seen.normed))
    value_removed, removed = _remove(firings, reader, seen.value, gradient, asked.n_removed)
    integrated = np.full(gradient.shape, np.nan)
    if asked.n_steps:
        (taken_out,) = firings.written([torch.arange(len(gradient))], seen.where_written)
        integrated = firings.along(reader.mean_gradient(taken_out, asked.n_steps))
    found = TokenAttribution(
        source_id=source.source_id,
        token_ids=tuple(token_ids),
        tokens=tuple(live.pieces.pieces(token_ids)),
        roles=None if read.roles is None else read.roles[: index + 1],
        instead_of=of.instead_of,
        instead_of_text=None if of.instead_of is None else live.pieces.pieces([of.instead_of])[0],
        measure=of.measure,
        value=seen.value,
        value_removed=value_removed,
        log_prob=seen.log_prob,
        token=(firings.position - len(live.special.before)).numpy().astype(np.int32),
        feature=firings.feature.numpy().astype(np.int32),
        activation=firings.activation.numpy().astype(np.float64),
        direct=direct,
        gradient=gradient,
        integrated=integrated,
        removed=removed,
        of_direct=of_direct,
        of_gradient=of_gradient,
        n_steps=asked.n_steps,
        why_no_direct=why_no_direct,
    )
    if not (np.isfinite(found.activation).all() and np.isfinite([*gradient, found.value, found.value_removed]).all()):
        raise ActivationRangeError(
            f"activations of {source.source_id}, or their gradients, are not finite", 'set subject.dtype = "float32"'
        )
    return found


@dataclass(frozen=True, slots=True)
class _Firings:
    """Where features fire, and what each writes there: `scale` times its direction.

    Attributes:
        source: Of the features.
        counted: Where features are read.
        position: Of each firing.
        feature: Likewise.
        activation: Likewise, in the coder's own units.
        scale: The activation, times what the coder multiplies by as it writes.
    """

    source: Source
    counted: Tensor
    position: Int64[Tensor, " firing"]
    feature: Int64[Tensor, " firing"]
    activation: Float[Tensor, " firing"]
    scale: Float[Tensor, " firing"]

    def along(self, towards: Float[Tensor, "position d_out"]) -> Float64[np.ndarray, " firing"]:
        """What each writes, along a direction of its position."""
        found = [
            self.scale[part].double() * self._dots(part, towards).double().cpu()
            for part in _parts(torch.arange(len(self.feature)))
        ]
        return torch.cat(found).numpy() if found else np.zeros(0)

    def written(self, sets: list[Int64[Tensor, " firing"]], like: Tensor) -> Float[Tensor, "text position d_out"]:
        """What the firings of each set write together."""
        found = torch.zeros((len(sets), *like.shape), dtype=torch.float32, device=like.device)
        for number, chosen in enumerate(sets):
            for part in _parts(chosen):
                rows = directions(self.source.coder, self.feature[part])
                rows = rows * self.scale[part].to(rows)[:, None]
                found[number].index_add_(0, self.position[part].to(like.device), rows)
        return found

    def _dots(self, part: Int64[Tensor, " some"], towards: Float[Tensor, "position d_out"]) -> Float[Tensor, " some"]:
        rows = directions(self.source.coder, self.feature[part]).to(towards.device)
        dots: Tensor = (rows * towards[self.position[part].to(towards.device)]).sum(dim=1)
        return dots


def _parts(chosen: Int64[Tensor, " firing"]) -> list[Int64[Tensor, " some"]]:
    return [chosen[start : start + _AT_ONCE] for start in range(0, len(chosen), _AT_ONCE)]


def _firings(source: Source, seen: Gradient, counted: Tensor) -> _Firings:
    """Where the coder's features fire at positions that count."""
    at = counted.nonzero()[:, 0]
    rows = seen.of_coder[at.to(seen.of_coder.device)].to(source.subject.dtype)
    found = list(source.encode_firings(rows))
    row, feature, activation = (
        torch.from_numpy(np.concatenate([getattr(part, name) for part in found] or [np.zeros(0, dtype)]).astype(dtype))
        for name, dtype in (("row", np.int64), ("feature", np.int64), ("activation", np.float32))
    )
    by = divisor(source.coder, seen.of_coder)
    position = at[row]
    scale = activation * (by if isinstance(by, float) else by[:, 0].cpu()[position])
    return _Firings(source, counted, position, feature, activation, scale)


def _shares(
    firings: _Firings,
    seen: Gradient,
    of_firings: Float64[np.ndarray, " firing"],
    towards: Float[Tensor, "position d_out"],
    whole: float | None = None,
) -> Shares:
    """What of the measure comes from where, along directions of the positions."""
    counted = firings.counted.to(towards.device)
    there = (seen.written * towards).sum(dim=1).double()
    bias = (written_by_none(firings.source.coder, seen.of_coder) * towards).sum(dim=1).double()
    of_features, of_bias = float(of_firings.sum()), float(bias[counted].sum())
    return Shares(
        features=of_features,
        bias=of_bias,
        error=float(there[counted].sum()) - of_features - of_bias,
        special=float(there[~counted].sum()),
        rest=None if whole is None else whole - float(there.sum()),
    )


def _why_no_direct(source: Source, reader: Reader) -> str | None:
    projection = find_projection(source.subject, reader.write.name)
    if isinstance(projection, NoLogits):
        return projection.reason
    if not writes_as_it_is(source.subject, reader.write.name):
        return f"what is written at {reader.write.name} is normalised before it is added to the stream"
    return None


def _direct_gradient(source: Source, reader: Reader, seen: Gradient) -> Float[Tensor, " d_out"]:
    """The measure's gradient where the coder writes at the last position, along the residual stream alone."""
    projection = find_projection(source.subject, reader.write.name)
    assert not isinstance(projection, NoLogits)
    norm = reader.norm
    towards = seen.at_head * norm.scale
    if norm.subtracts_mean:
        towards = towards - towards.mean()
    towards = towards / seen.norm_divisor
    return towards if projection.weights is None else projection.weights @ towards


def _remove(
    firings: _Firings, reader: Reader, value: float, gradient: Float64[np.ndarray, " firing"], n_removed: int
) -> tuple[float, Float64[np.ndarray, " firing"]]:
    """The measure without any feature, and by how much it falls without each of the firings that count most."""
    most = np.argsort(-np.abs(gradient), kind="stable")[:n_removed]
    sets = [torch.arange(len(gradient)), *(torch.tensor([i]) for i in most.tolist())]
    n_positions = len(firings.counted)
    device, d_out = firings.source.subject.device, firings.source.coder.d_out
    like = torch.empty((n_positions, d_out), device=device)
    left = reader.values_without(len(sets), lambda some: firings.written([sets[i] for i in some], like)).numpy()
    removed = np.full(len(gradient), np.nan)
    removed[most] = value - left[1:]
    return float(left[0]), removed


def _place(live: LiveSubject, read: ReadText, index: SupportsIndex | str) -> int:
    """The place of the token asked about.

    Raises:
        SubjectError: If there is none, or nothing tells of it.
    """
    token_ids, uncounted, before = read.token_ids, live.special.uncounted, live.special.before
    n = len(token_ids)
    counted = [place for place, token_id in enumerate(token_ids) if token_id not in uncounted]
    if not n:
        raise SubjectError(f"the text has no token for {live.sources.subject.name}", "give it another")
    if index == "last":
        said = [place for place in counted if read.roles is None or read.roles[place] is not None]
        if not said:
            raise SubjectError("the text has special tokens only", "say which one is asked about: index = 3")
        place = said[-1]
    else:
        place = _read_index(index, n)
    if place + len(before) == 0:
        raise SubjectError("nothing stands before the text's first token to predict it", "ask about a later one")
    if not counted or counted[0] >= place:
        raise SubjectError(
            f"before the token at {place} stands none on which a feature is read: special tokens don't count",
            "ask about a later one",
        )
    window = window_of(live.sources.subject)
    if window is not None and len(before) + place > window:
        raise SubjectError(
            f"the token at {place:,} stands behind more than the {window:,} tokens that the model reads at once",
            "cut the text's beginning",
        )
    return place


def _read_index(index: SupportsIndex | str, n: int) -> int:
    try:
        place = operator.index(index) if not isinstance(index, str | bool) else None
    except TypeError:
        place = None
    if place is None or not -n <= place < n:
        raise SubjectError(
            f"the text has {n:,} tokens, and none at {index!r}",
            f'give a place from 0 to {n - 1}, one from the end such as -1, or "last"',
        )
    return place % n


def _token_id(live: LiveSubject, head: OutputHead, token: str | int) -> int:
    """A token by its text or its id.

    Raises:
        SubjectError: If it is none.
    """
    subject = live.sources.subject
    n = min(len(head.weights), live.pieces.n_tokens)
    if isinstance(token, str):
        token_ids: list[int] = subject.tokenizer(valid_text(token), add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        if len(token_ids) != 1:
            parts = ", ".join(repr(part) for part in live.pieces.pieces(token_ids)) or "none"
            raise SubjectError(
                f"{token!r} is no single token of {subject.name}, but {len(token_ids)}: {parts}",
                "name one, with the space before it where it has one, or give its id",
            )
        return token_ids[0]
    if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < n:
        raise SubjectError(f"{token!r} is no token of {subject.name}", f"give its text, or its id, from 0 to {n - 1:,}")
    return token
