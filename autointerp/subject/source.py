"""A source: one coder at one hook point of one model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autointerp.errors import WidthMismatchError
from autointerp.identity import source_id
from autointerp.subject.coder import Coder, load_coder
from autointerp.subject.hooks import HookPoint, parse_hook_name, read_hooks, resolve_hook
from autointerp.subject.model import Subject, load_subject

if TYPE_CHECKING:
    from autointerp.config import CoderConfig, SubjectConfig

# Activations of one encode step. Small enough to stay near the processor's caches and to bound memory at any width.
_ENCODE_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """A subject and a coder that fit together.

    Attributes:
        source_id: `model@source`, for example `all-minilm-l6-v2@3-res-2k`.
        subject: The model.
        coder: The coder.
        hook: Where the coder reads the model.
    """

    source_id: str
    subject: Subject
    coder: Coder
    hook: HookPoint

    @property
    def n_features(self) -> int:
        """Features of the coder."""
        return self.coder.n_features

    @property
    def is_signed(self) -> bool:
        """Whether activations may be below zero."""
        return self.coder.is_signed

    def encode_blocks(
        self, token_ids: Int[Tensor, "block position"], attention_mask: Int[Tensor, "block position"]
    ) -> Float[Tensor, "block position feature"]:
        """Activation of every feature at every position, padding and special tokens included."""
        hidden = read_hooks(self.subject, [self.hook], token_ids, attention_mask)[0]
        return self.coder.encode(hidden)

    def encode_counted(
        self,
        token_ids: Int[Tensor, "block position"],
        attention_mask: Int[Tensor, "block position"],
        counted: Bool[Tensor, "block position"],
    ) -> Iterator[Float[Tensor, "row feature"]]:
        """Activations at the counted positions only, in consecutive pieces of bounded size.

        Args:
            token_ids: Tokens of a batch of blocks.
            attention_mask: 1 for tokens, 0 for padding.
            counted: Positions to encode.

        Yields:
            Rows by (block, position), as many as fit into about 32 MiB; together, all counted positions.
        """
        hidden = read_hooks(self.subject, [self.hook], token_ids, attention_mask)[0]
        rows = hidden[counted.to(hidden.device)]
        n_rows = max(16, _ENCODE_BYTES // (4 * self.n_features))
        for start in range(0, len(rows), n_rows):
            yield self.coder.encode(rows[start : start + n_rows])


def load_source(subject_config: "SubjectConfig", coder_config: "CoderConfig") -> Source:
    """Load a model and a coder, and see that they fit, on one token.

    Raises:
        SubjectError: If either can't be loaded, or the hook point can't be mapped.
        WidthMismatchError: If the coder reads another width than the hook point has.
    """
    subject = load_subject(subject_config)
    return join_source(subject, load_coder(coder_config, subject.device), coder_config.name)


def join_source(subject: Subject, coder: Coder, name: str | None = None) -> Source:
    """Put a coder on a subject.

    Args:
        subject: The model.
        coder: The coder.
        name: The source's name; by default made of layer, kind of hook and width, for example `3-res-2k`.

    Raises:
        SubjectError: If the hook point can't be mapped.
        WidthMismatchError: If the coder reads another width than the hook point has.
    """
    hook = resolve_hook(subject, coder.hook_name, center_writing_weights=coder.centers_writing_weights)
    one_token = torch.zeros((1, 1), dtype=torch.long)
    width = read_hooks(subject, [hook], one_token, torch.ones_like(one_token))[0].shape[-1]
    if width != coder.d_in:
        raise WidthMismatchError(
            f"the coder {coder.origin} reads activations of width {coder.d_in}, but {hook.name} of {subject.name} "
            f"has width {width}",
            "use the model and the hook point that the coder was trained on",
        )
    return Source(
        source_id=source_id(subject.name, name or default_name(coder)), subject=subject, coder=coder, hook=hook
    )


def default_name(coder: Coder) -> str:
    """A source's name made of layer, kind of hook and width, for example `3-res-2k`."""
    layer, kind = parse_hook_name(coder.hook_name)
    return f"{layer}-{kind}-{short_width(coder.n_features)}"


def short_width(n_features: int) -> str:
    """A width as Neuronpedia writes it: 2048 is `2k`, 131072 `131k`, 1048576 `1m`."""
    if n_features >= 1_000_000:
        return f"{n_features // 1_000_000}m"
    return f"{n_features // 1_000}k" if n_features >= 1_000 else str(n_features)
