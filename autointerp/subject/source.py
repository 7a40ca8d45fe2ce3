"""A source: one coder at one hook point of one model; and several of one model, which share its forward passes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autointerp.errors import SubjectError, WidthMismatchError
from autointerp.identity import source_id
from autointerp.records import RowFirings
from autointerp.subject.coder import Coder, load_coder
from autointerp.subject.encode import firing_encoder
from autointerp.subject.forward import read_hooks
from autointerp.subject.hooks import HookPoint, parse_hook_name, resolve_hook, weight_processing
from autointerp.subject.model import Subject, load_subject
from autointerp.subject.trained_on import tell_of_other_model

if TYPE_CHECKING:
    from autointerp.config import CoderConfig, SubjectConfig


@dataclass(frozen=True, slots=True)
class Source:
    """A subject and a coder that fit together.

    Attributes:
        source_id: `model@source`, for example `all-minilm-l6-v2@3-res-2k`.
        subject: The model.
        coder: The coder.
        hook: Where the coder reads the model.
        encoder: The coder's, from activations to firings.
    """

    source_id: str
    subject: Subject
    coder: Coder
    hook: HookPoint
    encoder: Callable[[Float[Tensor, "row d_in"]], Iterator[RowFirings]]

    @property
    def n_features(self) -> int:
        """Features of the coder."""
        return self.coder.n_features

    @property
    def is_signed(self) -> bool:
        """Whether activations may be below zero."""
        return self.coder.is_signed

    def encode_firings(self, activations: Float[Tensor, "row d_in"]) -> Iterator[RowFirings]:
        """Where the coder's activations are not zero, and what they are there.

        Args:
            activations: What the coder reads, from `Sources.read_counted`.

        Yields:
            Entries by (row, feature), in consecutive pieces of bounded size.
        """
        return self.encoder(activations)


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of one subject, which share its forward passes.

    Attributes:
        subject: The model.
        sources: At least one, no two of one name.
    """

    subject: Subject
    sources: tuple[Source, ...]

    def read_counted(
        self,
        token_ids: Int[Tensor, "block position"],
        attention_mask: Int[Tensor, "block position"],
        counted: Bool[Tensor, "block position"],
    ) -> list[Float[Tensor, "row d_in"]]:
        """Run the model once, up to the last hook point needed.

        Args:
            token_ids: Tokens of a batch of blocks.
            attention_mask: 1 for tokens, 0 for padding.
            counted: Positions that are wanted.

        Returns:
            For each source what it reads at the counted positions, rows by (block, position).
        """
        hidden = read_hooks(self.subject, [source.hook for source in self.sources], token_ids, attention_mask)
        at = counted.to(self.subject.device)
        return [activations[at].to(self.subject.dtype) for activations in hidden]


def load_sources(subject_config: "SubjectConfig", coder_configs: "Sequence[CoderConfig]") -> Sources:
    """Load a model and its coders, and see that they fit, on one token.

    Raises:
        SubjectError: If one can't be loaded, a hook point can't be mapped, or two sources have one name.
        WidthMismatchError: If a coder reads another width than its hook point has.
    """
    subject = load_subject(subject_config)
    sources: list[Source] = []
    told: set[str | None] = set()
    for config in coder_configs:
        coder = load_coder(config, subject.device)
        if coder.model_name not in told:
            told.add(coder.model_name)
            tell_of_other_model(subject, coder)
        source = join_source(subject, coder, config.name)
        if source.source_id in {other.source_id for other in sources}:
            raise SubjectError(
                f"two coders make sources of the name {source.source_id}", "give each [[coder]] a `name` of its own"
            )
        sources.append(source)
    return Sources(subject, tuple(sources))


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
    hook = resolve_hook(subject, coder.hook_name, weight_processing(coder.model_kwargs))
    one_token = torch.zeros((1, 1), dtype=torch.long)
    width = read_hooks(subject, [hook], one_token, torch.ones_like(one_token))[0].shape[-1]
    if width != coder.d_in:
        of = f" of {coder.model_name}" if coder.model_name else ""
        raise WidthMismatchError(
            f"the coder {coder.origin} reads activations{of} of width {coder.d_in}, but {hook.name} of {subject.name} "
            f"has width {width}",
            "use the model and the hook point that the coder was trained on",
        )
    return Source(
        source_id=source_id(subject.name, name or default_name(coder)),
        subject=subject,
        coder=coder,
        hook=hook,
        encoder=firing_encoder(coder),
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
