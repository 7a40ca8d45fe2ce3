"""Edits of features in a running model: only the difference that an edit makes is added to the stream.

1. A feature's *direction* is what one unit of its activation adds where the coder writes: its row of the decoder, over
   its length where the coder's activations are counted in units of that.
2. `add` adds `value` times the direction; `pin` first asks the coder what the activation is, and adds what is missing
   to `value`; of several pins of one feature the last counts. So what the coder leaves unexplained, its error, stays in
   the stream as it is.
3. A coder that normalises what it reads writes in proportion: the difference is scaled by what the token's activation
   was divided by.

Tokens that are not edited keep their activations bit for bit.
"""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.records.live import Edit, Push
from autointerp.subject.coder import Coder
from autointerp.subject.hooks import HookPoint, resolve_hook, weight_processing
from autointerp.subject.some_features import SomeFeatures
from autointerp.subject.source import Source


def writing_hook(source: Source) -> HookPoint:
    """Where the coder writes, and so where its features are edited.

    Raises:
        SubjectError: If the coder does not say where it writes, or what it writes is normalised before it is read.
    """
    coder = source.coder
    if coder.is_transcoder and coder.hook_name_out is None:
        raise SubjectError(
            f"the coder {coder.origin} does not say at which hook point it writes", "its features can't be edited"
        )
    hook = source.hook
    if coder.hook_name_out not in (None, coder.hook_name):
        assert coder.hook_name_out is not None
        hook = resolve_hook(source.subject, coder.hook_name_out, weight_processing(coder.model_kwargs))
    if not hook.is_writable:
        raise SubjectError(
            f"what the coder {coder.origin} writes at {hook.name} is not what the model passes on",
            "its features can't be edited",
        )
    return hook


def direction(coder: Coder, feature_index: int) -> Float[Tensor, " d_out"]:
    """What one unit of a feature's activation adds where the coder writes, before it undoes its normalisation."""
    return directions(coder, torch.tensor([feature_index]))[0]


def directions(coder: Coder, features: Int64[Tensor, " row"]) -> Float[Tensor, "row d_out"]:
    """As `direction`, of several features."""
    rows = coder.decoder[features.to(coder.device)].float()
    has_unit = getattr(coder.sae.cfg, "rescale_acts_by_decoder_norm", False)
    return nn.functional.normalize(rows, dim=1) if has_unit else rows


@contextmanager
def edited(
    source: Source, edits: Sequence[Sequence[Edit | Push]], where: Bool[Tensor, "text position"]
) -> Iterator[None]:
    """Have this thread's forward passes over a batch of texts edited, while the `with` block lasts.

    Args:
        source: Whose features are edited.
        edits: Of each text; none leaves it as it is.
        where: Positions that are edited.

    Raises:
        SubjectError: If the source's features can't be edited (`writing_hook`).
    """
    write = writing_hook(source)
    thread = threading.get_ident()  # another thread may run the same modules at once
    read: dict[str, Tensor] = {}

    def value_of(hook: HookPoint, raw: Tensor) -> Tensor:
        return raw if hook.adjust is None else hook.adjust(raw)

    def keep(hidden: Tensor) -> Tensor:
        read["hidden"] = value_of(source.hook, hidden)
        return hidden

    def change(hidden: Tensor) -> Tensor:
        of_coder = value_of(source.hook, hidden) if write is source.hook else read.get("hidden")
        if of_coder is None:
            raise SubjectError(
                f"the coder {source.coder.origin} reads {source.hook.name} after it writes {write.name}",
                "its features can't be edited",
            )
        return _edit(source, edits, where.to(hidden.device), hidden, of_coder)

    handles = [listen(write, change, thread)]
    if write is not source.hook:
        handles.insert(0, listen(source.hook, keep, thread))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _edit(
    source: Source,
    edits: Sequence[Sequence[Edit | Push]],
    where: Bool[Tensor, "text position"],
    hidden: Float[Tensor, "text position d_out"],
    of_coder: Float[Tensor, "text position d_in"],
) -> Float[Tensor, "text position d_out"]:
    coder = source.coder
    difference = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
    pins = [
        {edit.feature_index: edit.value for edit in of_text if isinstance(edit, Edit) and edit.mode == "pin"}
        for of_text in edits
    ]
    pinned = sorted({feature for of_text in pins for feature in of_text})
    now: Mapping[int, Tensor] = {}
    if pinned:
        found = SomeFeatures(source, pinned).activations(of_coder.flatten(0, 1)).view(*of_coder.shape[:2], -1)
        now = {feature: found[..., place] for place, feature in enumerate(pinned)}
    for text, of_text in enumerate(edits):
        for edit in of_text:
            if isinstance(edit, Push):
                difference[text] += edit.value * torch.from_numpy(edit.vector).to(hidden.device)
            elif edit.mode == "add":
                difference[text] += edit.value * direction(coder, edit.feature_index).to(hidden.device)
        for feature, value in pins[text].items():
            difference[text] += (value - now[feature][text])[:, None] * direction(coder, feature).to(hidden.device)
    difference *= divisor(coder, of_coder)
    is_edited = where & torch.tensor([bool(of_text) for of_text in edits], device=where.device)[:, None]
    return torch.where(is_edited[..., None], (hidden.float() + difference).to(hidden.dtype), hidden)


def divisor(coder: Coder, of_coder: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch one"] | float:
    """What the coder divides each token's activation by before it encodes, and multiplies what it writes by.

    See `subject.coder`. A transcoder, which writes in another space, multiplies by nothing.
    """
    if coder.architecture.endswith("transcoder"):
        return 1.0
    match coder.sae.cfg.normalize_activations:
        case "constant_norm_rescale":
            norm: Tensor = of_coder.float().norm(dim=-1, keepdim=True)
            return norm / math.sqrt(coder.d_in)
        case "layer_norm":
            return of_coder.float().std(dim=-1, keepdim=True) + 1e-5
        case _:
            return 1.0


def written_by_none(coder: Coder, of_coder: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
    """What the coder writes at each token where no feature fires."""
    bias: Tensor = coder.sae.b_dec.detach().float() * divisor(coder, of_coder)
    if coder.sae.cfg.normalize_activations == "layer_norm" and not coder.architecture.endswith("transcoder"):
        bias = bias + of_coder.float().mean(dim=-1, keepdim=True)
    return bias


def listen(hook: HookPoint, change: Any, thread: int) -> Any:
    """Put `change` between what a hook point's module gets, or gives, and what goes on; in one thread."""

    def on_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != thread:
            return None
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    def on_output(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if threading.get_ident() != thread:
            return None
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    if hook.side == "input":
        return hook.module.register_forward_pre_hook(on_input, with_kwargs=True)
    return hook.module.register_forward_hook(on_output)
