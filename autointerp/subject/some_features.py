"""What a coder gives a few of its features, without encoding the others where the architecture allows.

A feature of a coder that SAELens calls standard, JumpReLU or gated, transcoders included, depends on no other: its
column of the encoder is enough. Which features of the other architectures fire depends on all, so the whole coder is
asked. Results are those of `Source.encode_firings`, up to the rounding of sums.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from autointerp.subject.products import product_dtype
from autointerp.subject.source import Source

_RELU = frozenset({"standard", "transcoder", "skip_transcoder"})
_JUMP = frozenset({"jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder"})
_ALONE = _RELU | _JUMP | {"gated"}


class SomeFeatures:
    """Some features of a source, to be read again and again.

    Args:
        source: The source.
        features: In any order, each once.
    """

    def __init__(self, source: Source, features: Sequence[int]) -> None:
        self._source = source
        self._features = list(features)
        sae = source.coder.sae
        self._is_alone = source.coder.architecture in _ALONE
        if not self._is_alone:
            return
        columns = torch.tensor(self._features, dtype=torch.long, device=sae.W_enc.device)
        weights = sae.W_enc.detach()[:, columns]
        self._dtype = product_dtype(weights.dtype, weights.device)
        self._gate: tuple[Tensor, Tensor] | None = None
        self._threshold: Tensor | float = 0.0
        if source.coder.architecture == "gated":
            self._gate = weights.to(self._dtype), sae.b_gate.detach()[columns]
            weights, bias = weights * sae.r_mag.detach()[columns].exp(), sae.b_mag
        else:
            bias = sae.b_enc
            if source.coder.architecture in _JUMP:
                self._threshold = sae.threshold.detach()[columns].clamp(min=0)
        self._weights, self._bias = weights.to(self._dtype), bias.detach()[columns]

    def activations(self, rows: Float[Tensor, "row d_in"]) -> Float32[Tensor, "row feature"]:
        """The features' activations, in the coder's own units; not finite where numbers overflow.

        Args:
            rows: What the coder reads, on the subject's device, of any float dtype.
        """
        rows = rows.to(self._source.subject.dtype)
        if not self._is_alone:
            return self._of_all(rows)
        with torch.inference_mode():
            given = self._source.coder.sae.process_sae_in(rows).to(self._dtype)
            pre = (given @ self._weights).to(self._bias.dtype) + self._bias
            # Said so, an entry that is not a number stays, to be told of.
            fires = (pre <= self._threshold).logical_not_()
            if self._gate is not None:
                weights, bias = self._gate
                fires &= ((given @ weights).to(bias.dtype) + bias <= 0).logical_not_()
            return torch.where(fires, pre, 0.0).float()

    def _of_all(self, rows: Float[Tensor, "row d_in"]) -> Float32[Tensor, "row feature"]:
        found = np.zeros((len(rows), len(self._features)), dtype=np.float32)
        for firings in self._source.encode_firings(rows):
            for place, feature in enumerate(self._features):
                ours = firings.feature == feature
                found[firings.row[ours], place] = firings.activation[ours]
        return torch.from_numpy(found).to(rows.device)
