"""How far edits move what comes next: KL(edited || plain) of the next token, at each token of some texts.

1. The texts are read once, plainly. Kept are their last hidden states, and what goes into the first layer that an edit
   changes, with all else that the model hands to the layers from there on.
2. For an edit these layers alone run again, on texts and edits in one batch. That this gives what the whole model gives
   is tried on the plain texts first; where it does not (a family whose layers are not known, or a coder of the
   embedding), the whole model runs.
3. Logits are made of some hundred hidden states at a time, plain and edited ones anew for each: those of all tokens
   would take gigabytes.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from autointerp.live.edits import edited, writing_hook
from autointerp.live.next_token import OutputHead, find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, Push
from autointerp.subject.families import FAMILIES
from autointerp.subject.limits import readable_tokens
from autointerp.subject.logits import find_final_norm

# Hidden states whose logits are held at once.
_N_POSITIONS = 128
# Tokens that are read at once with one edit: few, so that several edits share the plain logits.
_N_TOKENS = 512
# Of the hidden states' mean size: above rounding in half precision, and far below what a wrong layer does.
_SAME = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class MeteredTexts:
    """Texts on which edits are measured.

    Attributes:
        token_ids: Exactly what the model reads, special tokens included, padded on the right.
        mask: Where there is a token.
        counted: Where the divergence is read; at least one.
    """

    token_ids: Int64[np.ndarray, "text position"]
    mask: Bool[np.ndarray, "text position"]
    counted: Bool[np.ndarray, "text position"]


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Of some texts that are run together: what they are, and what the plain pass left."""

    token_ids: Tensor
    mask: Tensor
    counted: Tensor
    entering: Tensor | None
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
    hidden: Tensor


class DivergenceMeter:
    """Measures edits of one source's features on texts that stay the same.

    Attributes:
        n_tokens: Tokens at which the divergence is read.
        replays: Whether only the layers above an edit run again.

    Args:
        live: The subject; held while a batch runs.
        source_id: Whose features are edited.
        texts: On which; read at once.

    Raises:
        SubjectError: If the subject has no language-model head, or the source's features can't be edited.
    """

    def __init__(self, live: LiveSubject, source_id: str, texts: MeteredTexts) -> None:
        self._live = live
        self._source = live.source(source_id)
        self._head = find_head(live.sources.subject)
        self._layers = self._changed_layers()
        self._norm = find_final_norm(live.sources.subject)
        self.n_tokens = int(texts.counted.sum())
        longest = int(texts.mask.sum(axis=1).max())
        n_texts = max(1, _N_TOKENS // longest)
        self._parts = [
            self._read(*(array[start : start + n_texts] for array in (texts.token_ids, texts.mask, texts.counted)))
            for start in range(0, len(texts.token_ids), n_texts)
        ]
        self.replays = bool(self._layers) and self._replays_truly()

    def measure(
        self, edits: Sequence[Sequence[Edit | Push]], n_tokens: int | None = None
    ) -> list[Float32[np.ndarray, " token"]]:
        """KL(edited || plain) at each counted token, in nats, of edits made at every token.

        Args:
            edits: Each is measured by itself.
            n_tokens: Only on the first texts that have so many tokens together; on all where None.

        Returns:
            For each edit, at the tokens of the texts in order; NaN where numbers overflow.
        """
        found: list[list[Float32[np.ndarray, " token"]]] = [[] for _ in edits]
        for part in self._first_parts(n_tokens):
            n_at_once = max(1, self._live.n_tokens_at_once // part.token_ids.numel())
            for start, end in pairwise([*range(0, len(edits), n_at_once), len(edits)]):
                with self._live.lock, torch.inference_mode():
                    hidden = self._run(part, edits[start:end])
                    for place, kl in enumerate(_divergences(self._head, hidden, part.hidden), start):
                        found[place].append(kl)
        return [np.concatenate(of_edit) for of_edit in found]

    def _first_parts(self, n_tokens: int | None) -> Iterator[_Kept]:
        n_given = 0
        for part in self._parts:
            if n_tokens is not None and n_given >= n_tokens:
                return
            n_given += len(part.hidden)
            yield part

    def _changed_layers(self) -> Sequence[nn.Module]:
        """From the first layer that an edit changes on; none where the whole model has to run."""
        subject, hooks = self._live.sources.subject, (self._source.hook, writing_hook(self._source))
        family = FAMILIES.get(subject.family)
        if family is None or any(hook.kind == "emb" for hook in hooks):
            return ()
        layers = subject.model.get_submodule(family.layers)
        assert isinstance(layers, nn.ModuleList)
        return list(layers)[min(hook.layer for hook in hooks) :]

    @torch.inference_mode()
    def _read(self, ids: np.ndarray, mask: np.ndarray, counted: np.ndarray) -> _Kept:
        subject, length = self._live.sources.subject, int(mask.sum(axis=1).max())
        token_ids, seen = (torch.from_numpy(np.ascontiguousarray(a[:, :length], np.int64)) for a in (ids, mask))
        token_ids = readable_tokens(subject, token_ids, seen).to(subject.device)
        seen = seen.to(subject.device)
        where = torch.from_numpy(np.ascontiguousarray(counted[:, :length])).to(subject.device)
        with self._live.lock, _calls_of(self._layers) as calls:
            hidden = self._whole(token_ids, seen)[where]
        entering = None
        if calls:
            args, kwargs = calls[0]
            entering = args[0] if args else kwargs["hidden_states"]
        behind = [(args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"}) for args, kwargs in calls]
        return _Kept(token_ids, seen, where, entering, behind, hidden)

    def _whole(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        hidden: Tensor = self._live.sources.subject.model(
            input_ids=token_ids, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return hidden

    def _run(
        self, part: _Kept, edits: Sequence[Sequence[Edit | Push]], *, replay: bool | None = None
    ) -> Float[Tensor, "edit token d_model"]:
        """Last hidden states at the counted tokens, under each edit."""
        n_edits, n_texts = len(edits), len(part.token_ids)
        rows = [of_edit for of_edit in edits for _ in range(n_texts)]
        where = part.mask.bool().repeat(n_edits, 1)
        with edited(self._source, rows, where):
            if self.replays if replay is None else replay:
                hidden = self._replay(part, n_edits)
            else:
                hidden = self._whole(part.token_ids.repeat(n_edits, 1), part.mask.repeat(n_edits, 1))
        return hidden[part.counted.repeat(n_edits, 1)].view(n_edits, -1, hidden.shape[-1])

    def _replay(self, part: _Kept, n_edits: int) -> Float[Tensor, "text position d_model"]:
        assert part.entering is not None
        assert self._norm is not None
        n_texts = len(part.token_ids)
        hidden = part.entering.repeat(n_edits, 1, 1)
        for layer, (args, kwargs) in zip(self._layers, part.calls, strict=True):
            given = layer(hidden, *_repeated(args, n_texts, n_edits), **_repeated(kwargs, n_texts, n_edits))
            hidden = given[0] if isinstance(given, tuple) else given
        normed: Tensor = self._norm(hidden)
        return normed

    @torch.inference_mode()
    def _replays_truly(self) -> bool:
        """Whether the layers by themselves, on a repeated batch, give what the whole model gave."""
        part = self._parts[0]
        if self._norm is None or len(part.calls) != len(self._layers):
            return False
        with self._live.lock:
            again = self._run(part, ((), ()), replay=True)
        size = float(part.hidden.float().abs().mean())
        return float((again.float() - part.hidden.float()).abs().mean()) <= _SAME * size


@contextmanager
def _calls_of(layers: Sequence[nn.Module]) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """What this thread's forward passes hand to some layers, in the order in which they run."""
    thread, calls = threading.get_ident(), list[tuple[tuple[Any, ...], dict[str, Any]]]()

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == thread:
            calls.append((args if not calls else (None, *args[1:]), kwargs))

    handles = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _repeated(value: Any, n_texts: int, n_times: int) -> Any:
    """What a layer is given, with all texts once for each edit; what is the same for every text stays as it is."""
    match value:
        case Tensor() if value.ndim > 1 and len(value) == n_texts > 1:
            return value.repeat(n_times, *[1] * (value.ndim - 1))
        case tuple():
            return tuple(_repeated(one, n_texts, n_times) for one in value)
        case dict():
            return {name: _repeated(one, n_texts, n_times) for name, one in value.items()}
        case _:
            return value


def _divergences(
    head: OutputHead, hidden: Float[Tensor, "edit token d_model"], plain: Float[Tensor, "token d_model"]
) -> list[Float32[np.ndarray, " token"]]:
    found: list[list[Tensor]] = [[] for _ in hidden]
    for start in range(0, len(plain), _N_POSITIONS):
        some = slice(start, start + _N_POSITIONS)
        before = head.log_probs(plain[some])
        for of_edit, states in zip(found, hidden, strict=True):
            after = head.log_probs(states[some])
            of_edit.append((after.exp() * after.sub_(before)).sum(dim=1).clamp_(min=0))
    return [torch.cat(of_edit).cpu().numpy() for of_edit in found]
