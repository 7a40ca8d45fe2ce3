"""A measure of the next token, its gradient where a coder writes, and its value with something taken out there."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from autointerp.live.edits import listen, writing_hook
from autointerp.live.next_token import OutputHead
from autointerp.live.subject import LiveSubject
from autointerp.records.attribution import Measure
from autointerp.subject.hooks import HookPoint
from autointerp.subject.limits import readable_tokens
from autointerp.subject.logits import FinalNorm, read_final_norm
from autointerp.subject.source import Source


@dataclass(frozen=True, slots=True)
class NextToken:
    """What is measured of the next token's logits.

    Attributes:
        head: Gives them.
        token_id: The token.
        instead_of: The token that it is held against, of `difference`.
        measure: As of `TokenAttribution`.
    """

    head: OutputHead
    token_id: int
    instead_of: int | None
    measure: Measure

    def values(self, normed: Float[Tensor, "text d_model"]) -> Float[Tensor, " text"]:
        """The measure, of what comes out of the final norm."""
        logits = self.head.logits(normed)
        of_token = logits[:, self.token_id]
        match self.measure:
            case "log_prob":
                return of_token - logits.logsumexp(dim=-1)
            case "logit":
                return of_token - logits.mean(dim=-1)
            case "difference":
                assert self.instead_of is not None
                return of_token - logits[:, self.instead_of]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one forward pass shows.

    Attributes:
        of_coder: What the coder reads.
        written: What is there where it writes, in its own terms.
        before_norm: What the final norm reads at the last position.
        normed: What it gives there.
    """

    of_coder: Float[Tensor, "text position d_in"]
    written: Float[Tensor, "text position d_out"]
    before_norm: Float[Tensor, "text d_model"]
    normed: Float[Tensor, "text d_model"]


@dataclass(frozen=True, slots=True)
class Gradient:
    """One text, read with the gradient of a measure.

    Attributes:
        value: Of the measure.
        log_prob: Of the token, in nats.
        of_coder: What the coder reads at each position.
        written: What is there where it writes.
        where_written: The measure's gradient there.
        at_head: Its gradient where the final norm's output goes into the head, at the last position.
        normed: That output.
        norm_divisor: What the final norm divided by.
    """

    value: float
    log_prob: float
    of_coder: Float[Tensor, "position d_in"]
    written: Float[Tensor, "position d_out"]
    where_written: Float[Tensor, "position d_out"]
    at_head: Float[Tensor, " d_model"]
    normed: Float[Tensor, " d_model"]
    norm_divisor: float


class Reader:
    """Reads one text again and again, changed where a source writes.

    Attributes:
        write: Where it writes.
        norm: The norm before the head.

    Args:
        live: The subject, held by the caller.
        source: Of it.
        asked: What is measured.
        token_ids: What the model reads, special tokens included.

    Raises:
        SubjectError: If the coder does not write what the model passes on.
    """

    def __init__(self, live: LiveSubject, source: Source, asked: NextToken, token_ids: Sequence[int]) -> None:
        self.write = writing_hook(source)
        self.norm: FinalNorm = read_final_norm(source.subject)
        self._live, self._source, self._asked = live, source, asked
        self._ids = torch.tensor([list(token_ids)], dtype=torch.int64)

    def gradient(self) -> Gradient:
        """Read it as it is, and take the measure back to where the coder writes."""
        of_leaf, of_head, seen = self._gradients(1, lambda hidden: hidden)
        normed = seen.normed.detach().float()
        return Gradient(
            value=float(self._asked.values(normed)),
            log_prob=float(self._asked.head.log_probs(normed)[0, self._asked.token_id]),
            of_coder=seen.of_coder.detach()[0],
            written=seen.written.detach()[0].float(),
            where_written=of_leaf[0],
            at_head=of_head[0],
            normed=normed[0],
            norm_divisor=float(self.norm.divisor(seen.before_norm.detach())),
        )

    def mean_gradient(
        self, taken_out: Float[Tensor, "position d_out"], n_steps: int
    ) -> Float[Tensor, "position d_out"]:
        """The measure's gradient where the coder writes, on the mean of the way from something taken out to as it is.

        The mean is that of Gauss and Legendre's rule, which needs few steps where the measure is smooth.

        Args:
            taken_out: What is taken out where the way begins.
            n_steps: Places of the way at which it is taken.
        """
        nodes, weights = (torch.from_numpy(of).float() for of in np.polynomial.legendre.leggauss(n_steps))
        n_at_once = max(1, self._live.n_tokens_at_once // self._ids.shape[1])
        total = torch.zeros_like(taken_out)
        for start in range(0, n_steps, n_at_once):
            of = slice(start, start + n_at_once)
            left = ((1 - nodes[of]) / 2).to(taken_out.device)[:, None, None]

            def nearer(hidden: Tensor, left: Tensor = left) -> Tensor:
                return hidden.float() - left * taken_out

            gradients, _, _ = self._gradients(len(left), nearer)
            total += (gradients * (weights[of] / 2).to(taken_out.device)[:, None, None]).sum(dim=0)
        return total

    def values_without(
        self, n: int, taken_out: Callable[[range], Float[Tensor, "text position d_out"]]
    ) -> Float64[Tensor, " text"]:
        """The measure, with something taken out of the stream where the coder writes.

        Args:
            n: How often it is read.
            taken_out: What is taken out in some of these readings.
        """
        n_at_once = max(1, self._live.n_tokens_at_once // self._ids.shape[1])
        found = []
        for start in range(0, n, n_at_once):
            some = range(start, min(start + n_at_once, n))
            out = taken_out(some)

            def change(hidden: Tensor, out: Tensor = out) -> Tensor:
                return (hidden.float() - out).to(hidden.dtype)

            with torch.inference_mode():
                found.append(self._asked.values(self._read(len(some), change).normed).double().cpu())
        return torch.cat(found)

    def _gradients(
        self, n_texts: int, change: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, "text position d_out"], Float[Tensor, "text d_model"], _Seen]:
        """The measure's gradient where the coder writes, and behind the final norm, of a text that is read changed."""
        leaf: list[Tensor] = []

        def hold(hidden: Tensor) -> Tensor:
            # What is below needs no gradient: it is only that of the layers above.
            leaf.append(change(hidden.detach()).to(hidden.dtype).detach().requires_grad_())
            return leaf[0]

        with torch.enable_grad():
            seen = self._read(n_texts, hold)
            at_head = seen.normed.detach().float().requires_grad_()
            (of_head,) = torch.autograd.grad(self._asked.values(at_head).sum(), at_head)
            (of_leaf,) = torch.autograd.grad(seen.normed, leaf[0], of_head.to(seen.normed.dtype))
        return of_leaf.float(), of_head, seen

    def _read(self, n_texts: int, change: Callable[[Tensor], Tensor]) -> _Seen:
        subject, read, write = self._source.subject, self._source.hook, self.write
        seen: dict[str, Tensor] = {}

        def of(hook: HookPoint, raw: Tensor) -> Tensor:
            return raw if hook.adjust is None else hook.adjust(raw)

        def keep(hidden: Tensor) -> Tensor:
            seen["of_coder"] = of(read, hidden)
            return hidden

        def put(hidden: Tensor) -> Tensor:
            if write is read:
                keep(hidden)
            changed = change(hidden)
            seen["written"] = of(write, changed)
            return changed

        def end(hidden: Tensor) -> Tensor:
            seen["before_norm"] = hidden[:, -1]
            return hidden

        last = HookPoint("the final norm", 0, "res", self.norm.module, "input")
        thread = threading.get_ident()  # another may run the same modules at once
        handles = [listen(last, end, thread), listen(write, put, thread)]
        if write is not read:
            handles.insert(0, listen(read, keep, thread))
        ids = self._ids.expand(n_texts, -1)
        mask = torch.ones_like(ids)
        try:
            hidden: Tensor = subject.model(
                input_ids=readable_tokens(subject, ids, mask).to(subject.device),
                attention_mask=mask.to(subject.device),
                use_cache=False,
            ).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        return _Seen(seen["of_coder"], seen["written"], seen["before_norm"], hidden[:, -1])
