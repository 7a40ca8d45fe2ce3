"""A forward pass that reads hook points, and stops at the last one needed."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from autointerp.subject.hooks import HookPoint
from autointerp.subject.limits import readable_tokens
from autointerp.subject.model import Subject


class _LastHookReached(Exception):
    """Ends a forward pass from inside."""


def read_hooks(
    subject: Subject,
    hooks: Sequence[HookPoint],
    token_ids: Int[Tensor, "block position"],
    attention_mask: Int[Tensor, "block position"],
) -> list[Float[Tensor, "block position d_hook"]]:
    """Run the model up to the last of `hooks`, and no further.

    Safe to call from several threads on one subject.

    Args:
        subject: The model.
        hooks: From `resolve_hook`, in any order.
        token_ids: Tokens, on any device.
        attention_mask: 1 for tokens, 0 for padding.

    Returns:
        Activations at each hook, in the order of `hooks`, on the subject's device and in its dtype.

    Raises:
        SubjectError: If the model has no embedding for a token, or for the last position.
    """
    token_ids = readable_tokens(subject, token_ids, attention_mask)
    read: dict[int, Tensor] = {}
    try:
        with torch.inference_mode(), _listening(hooks, read):
            subject.model(
                input_ids=token_ids.to(subject.device, torch.long),
                attention_mask=attention_mask.to(subject.device, torch.long),
                use_cache=False,
            )
    except _LastHookReached:
        pass
    return [read[_key(hook)] if hook.adjust is None else hook.adjust(read[_key(hook)]) for hook in hooks]


def _key(hook: HookPoint) -> int:
    return 2 * id(hook.module) + (hook.side == "output")


@contextmanager
def _listening(hooks: Sequence[HookPoint], read: dict[int, Tensor]) -> Iterator[None]:
    """Put what each hook sees into `read`, and end the forward pass when all have been seen."""
    n_wanted = len({_key(hook) for hook in hooks})
    # Another thread may run the same modules at once; what it sees is not ours.
    thread = threading.get_ident()

    def keep(hook: HookPoint, value: Any) -> None:
        if threading.get_ident() == thread:
            read[_key(hook)] = value[0] if isinstance(value, tuple) else value
            if len(read) == n_wanted:
                raise _LastHookReached

    def keep_input(hook: HookPoint, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(hook, args[0] if args else kwargs["hidden_states"])

    def keep_output(hook: HookPoint, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        keep(hook, output)

    handles = [
        hook.module.register_forward_pre_hook(partial(keep_input, hook), with_kwargs=True)
        if hook.side == "input"
        else hook.module.register_forward_hook(partial(keep_output, hook))
        for hook in hooks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
