"""From activations at a hook point to a coder's firings, never holding a dense matrix of rows and features.

For coders of the form `f(x @ W_enc + b_enc)` that SAELens calls standard, JumpReLU and top-k, transcoders included:

1. Rows are cut into pieces and features into ranges, and the product of one with the other goes into a buffer that is
   used again and again. It is the one step whose cost is that of the model: 2 * d_in operations a feature.
2. Standard and JumpReLU: a mask of what is above the threshold. Masks are searched eight entries at a time.
3. Top-k: the maxima of groups of 64 neighboring features. The k largest entries of a row lie in the k groups with the
   largest maxima: an entry outside of them is below k others. So a row is read once, and k * 64 entries are looked at
   closely, where `torch.topk` moves all of them and a dense result has to be made and searched again. Then the k best
   of all ranges are taken. Ties go to the lower feature.

The result is that of SAELens' `encode`, but for the rounding of sums, and for which of several equal entries are among
the k largest, which `torch.topk` leaves open.

Every other coder goes through `encode` itself, some rows at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from autointerp.records import RowFirings
from autointerp.subject.coder import Coder
from autointerp.subject.products import product_dtype

_RELU = frozenset({"standard", "transcoder", "skip_transcoder"})
_JUMP = frozenset({"jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder"})

# Of the buffer. On a CPU many rows, so that packing the weights for a product is paid for, and few features, so that
# what is written is still near when it is read; a GPU is kept busy by as much at once as its memory can spare.
_ROWS = {"cpu": 512, "cuda": 8192, "mps": 512}
_FEATURES = {"cpu": 32_768, "cuda": 131_072, "mps": 32_768}
_GROUP = 64
# Dense activations of one step for all other coders.
_DENSE_BYTES = 32 * 2**20

# Row, feature and activation of some entries.
_Entries = tuple[Int64[Tensor, " entry"], Int64[Tensor, " entry"], Float[Tensor, " entry"]]


def firing_encoder(coder: Coder) -> Callable[[Float[Tensor, "row d_in"]], Iterator[RowFirings]]:
    """The fastest exact way to a coder's firings; made once, it may be called from several threads."""
    if coder.architecture in _RELU:
        return _direct(coder, threshold=None, k=None).encode
    if coder.architecture in _JUMP:
        return _direct(coder, threshold=coder.sae.threshold.detach().clamp(min=0), k=None).encode
    if coder.architecture == "topk":
        return _direct(coder, threshold=None, k=min(int(coder.sae.cfg.k), coder.n_features)).encode
    return _DenseEncoder(coder).encode


@dataclass(frozen=True, slots=True)
class _DenseEncoder:
    coder: Coder

    def encode(self, activations: Float[Tensor, "row d_in"]) -> Iterator[RowFirings]:
        """As `Encodes.encode_firings`."""
        n_rows = max(16, _DENSE_BYTES // (4 * self.coder.n_features))
        for start in range(0, len(activations), n_rows):
            dense = self.coder.encode(activations[start : start + n_rows])
            # An entry that is not a number is no more <= 0 than it is 0, and so is kept, to be told of.
            mask = ~(dense <= 0) if self.coder.is_signed else dense != 0
            row, feature = _find(mask)
            yield _to_firings(row + start, feature, dense[row, feature])


def _direct(coder: Coder, threshold: Float[Tensor, " feature"] | None, k: int | None) -> "_DirectEncoder":
    sae = coder.sae
    dtype = product_dtype(sae.W_enc.dtype, sae.W_enc.device)
    scale = sae.W_dec.detach().norm(dim=-1) if k is not None and sae.cfg.rescale_acts_by_decoder_norm else None
    # Whole groups only: features that are filled in never fire.
    n_missing = -coder.n_features % _GROUP
    return _DirectEncoder(
        prepare=sae.process_sae_in,
        weights=_pad(sae.W_enc.detach().to(dtype), n_missing, 0.0),
        bias=_pad(sae.b_enc.detach(), n_missing, -torch.inf),
        scale=None if scale is None else _pad(scale, n_missing, 1.0),
        threshold=None if threshold is None else _pad(threshold, n_missing, 0.0),
        k=k,
    )


def _pad(values: Float[Tensor, "... feature"], n_missing: int, fill: float) -> Float[Tensor, "... padded_feature"]:
    return torch.nn.functional.pad(values, (0, n_missing), value=fill) if n_missing else values


@dataclass(frozen=True, slots=True)
class _DirectEncoder:
    """An encoder of the form `f(x @ weights + bias)`.

    Attributes:
        prepare: What is done to activations first: dtype, normalisation, the decoder's bias taken off.
        weights: In the dtype that products are computed in.
        bias: In the coder's dtype, as all that follows.
        scale: Factor of each feature after the bias; None for 1.
        threshold: What each feature must pass, at least 0; None for 0.
        k: Entries kept of each row; None for all that pass.
    """

    prepare: Callable[[Tensor], Tensor]
    weights: Float[Tensor, "d_in feature"]
    bias: Float[Tensor, " feature"]
    scale: Float[Tensor, " feature"] | None
    threshold: Float[Tensor, " feature"] | None
    k: int | None

    def encode(self, activations: Float[Tensor, "row d_in"]) -> Iterator[RowFirings]:
        """As `Encodes.encode_firings`."""
        n_features, kind = len(self.bias), activations.device.type
        # No row is what a batch has whose tokens are all special.
        n_rows, n_columns = min(_ROWS[kind], max(1, len(activations))), min(_FEATURES[kind], n_features)
        buffer = torch.empty(n_rows * n_columns, dtype=self.weights.dtype, device=activations.device)
        ranges = [slice(first, min(first + n_columns, n_features)) for first in range(0, n_features, n_columns)]
        for start in range(0, len(activations), n_rows):
            with torch.inference_mode():
                rows = self.prepare(activations[start : start + n_rows]).to(self.weights.dtype)
                pre = ((features, self._pre_activations(rows, features, buffer)) for features in ranges)
                row, feature, activation = self._above_threshold(pre) if self.k is None else self._largest(pre, self.k)
            yield _to_firings(row + start, feature, activation)

    def _pre_activations(
        self, rows: Float[Tensor, "row d_in"], features: slice, buffer: Float[Tensor, " buffer"]
    ) -> Float[Tensor, "row range"]:
        n_columns = features.stop - features.start
        product = buffer[: len(rows) * n_columns].view(len(rows), n_columns)
        torch.mm(rows, self.weights[:, features], out=product)
        pre = product.to(self.bias.dtype)
        pre += self.bias[features]
        if self.scale is not None:
            pre *= self.scale[features]
        return pre

    def _above_threshold(self, pre: Iterable[tuple[slice, Tensor]]) -> _Entries:
        found: list[_Entries] = []
        for features, values in pre:
            threshold = 0.0 if self.threshold is None else self.threshold[features]
            # Said so, an entry that is not a number passes, to be told of.
            row, column = _find((values <= threshold).logical_not_())
            found.append((row, column + features.start, values[row, column]))
        row, feature, activation = (torch.cat(parts) for parts in zip(*found, strict=True))
        # Features of one row come in ranges; within a range, and so in all, they ascend.
        order = row.argsort(stable=True)
        return row[order], feature[order], activation[order]

    def _largest(self, pre: Iterable[tuple[slice, Tensor]], k: int) -> _Entries:
        found: list[tuple[Tensor, Tensor]] = []
        for features, values in pre:
            column, activation = _largest_in_range(values, min(k, values.shape[1]))
            found.append((column + features.start, activation))
        feature, activation = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        is_kept = ~(activation <= 0)
        if len(found) > 1:
            is_kept &= _mark_largest(activation, k)
        row, place = _find(is_kept)
        return row, feature[row, place], activation[row, place]


def _largest_in_range(
    values: Float[Tensor, "row column"], k: int
) -> tuple[Int64[Tensor, "row k"], Float[Tensor, "row k"]]:
    """Columns, ascending, and values of the k largest entries of each row; ties to the lower column."""
    n_rows, n_groups = len(values), values.shape[1] // _GROUP
    if n_groups < 2 * k:
        columns = torch.arange(values.shape[1], device=values.device).expand(n_rows, -1)
    else:
        groups = values.view(n_rows, n_groups, _GROUP)
        _, best = _find(_mark_largest(groups.amax(dim=2), k))
        best = best.view(n_rows, k, 1)
        values = groups.gather(1, best.expand(-1, -1, _GROUP)).flatten(1)
        columns = (best * _GROUP + torch.arange(_GROUP, device=values.device)).flatten(1)
    _, place = _find(_mark_largest(values, k))
    place = place.view(n_rows, k)
    return columns.gather(1, place), values.gather(1, place)


def _mark_largest(values: Float[Tensor, "row column"], k: int) -> Bool[Tensor, "row column"]:
    """True at exactly k entries of each row, the largest, ties to the lower column; not a number counts as infinite."""
    values = values.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    smallest = values.topk(k, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    marked = values >= smallest
    n_too_many = marked.sum(dim=1) - k
    if n_too_many.any():
        row = n_too_many.nonzero().squeeze(1)
        ties = values[row] == smallest[row]
        n_ties_kept = ties.sum(dim=1) - n_too_many[row]
        marked[row] &= ~ties | (ties.cumsum(dim=1) <= n_ties_kept[:, None])
    return marked


def _find(mask: Bool[Tensor, "row column"]) -> tuple[Int64[Tensor, " entry"], Int64[Tensor, " entry"]]:
    """Rows and columns of the true entries of a mask, in the order of rows, then columns."""
    n_columns = mask.shape[1]
    if mask.device.type != "cpu":
        flat = mask.view(-1).nonzero().squeeze(1)
    elif mask.numel() % 8:
        flat = torch.from_numpy(np.flatnonzero(mask.numpy()))
    else:
        # Few entries are true, so most of the mask is passed over eight entries at a time.
        bits = mask.numpy().reshape(-1)
        eights = np.flatnonzero(bits.view(np.uint64))
        which, bit = np.nonzero(bits.reshape(-1, 8)[eights])
        flat = torch.from_numpy(eights[which] * 8 + bit)
    row = flat // n_columns
    return row, flat - row * n_columns


def _to_firings(row: Int64[Tensor, " entry"], feature: Int64[Tensor, " entry"], activation: Tensor) -> RowFirings:
    return RowFirings(row.cpu().numpy(), feature.cpu().numpy(), activation.float().cpu().numpy())
