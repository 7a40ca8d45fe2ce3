"""The sparse coder under study, through SAELens: a folder in its format, or a release and an id in it.

Weights, architecture and input normalisation are SAELens' own, so activations are what they were in training. SAELens
brings TransformerLens along and takes seconds to import, so it is imported when a coder is loaded, not before.
"""

import difflib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from autointerp.assets import asset_folder
from autointerp.errors import SubjectError

if TYPE_CHECKING:
    from autointerp.config import CoderConfig

# Architectures whose activations may be below zero; of those, firings are the activations above zero.
_SIGNED = frozenset({"abstopk", "matching_pursuit"})


@dataclass(frozen=True, slots=True)
class Coder:
    """A loaded coder.

    Attributes:
        sae: SAELens' module.
        origin: Its folder, or `release/sae_id`.
        architecture: SAELens' name of the architecture, for example `topk`.
        hook_name: The hook point it reads.
        d_in: Width that it reads.
        n_features: Features it has.
        prepends_bos: Whether it was trained on text that begins with the BOS token; None where it does not say.
        centers_writing_weights: Whether it was trained on TransformerLens' model with centred writing weights.
        device: Where the weights lie.
    """

    sae: Any
    origin: str
    architecture: str
    hook_name: str
    d_in: int
    n_features: int
    prepends_bos: bool | None
    centers_writing_weights: bool
    device: torch.device

    @property
    def is_signed(self) -> bool:
        """Whether activations may be below zero."""
        return self.architecture in _SIGNED

    @property
    def decoder(self) -> Float[Tensor, "feature d_out"]:
        """Each feature's direction in the output."""
        weights: Tensor = self.sae.W_dec
        return weights.detach()

    def encode(self, activations: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch feature"]:
        """Feature activations of activations at the hook point, in the coder's dtype."""
        with torch.inference_mode():
            features: Tensor = self.sae.encode(activations)
        return features


def load_coder(config: "CoderConfig", device: torch.device) -> Coder:
    """Load a coder.

    Args:
        config: Where it is; a relative path that begins with `data/` names one that comes with the program.
        device: Where it shall lie.

    Raises:
        SubjectError: If there is no such folder, release or id, if what is there is no coder, or if neither the coder
            nor `config.hook` names a hook point.
    """
    sae, origin = _from_folder(config, device) if config.path is not None else _from_release(config, device)
    metadata = sae.cfg.metadata
    hook_name = config.hook or metadata.hook_name
    if not hook_name:
        raise SubjectError(
            f"the coder {origin} does not say which hook point it reads",
            "set coder.hook, for example to blocks.3.hook_resid_post",
        )
    kwargs = metadata.model_from_pretrained_kwargs or {}
    return Coder(
        sae=sae.eval().requires_grad_(False),
        origin=origin,
        architecture=str(sae.cfg.architecture()),
        hook_name=str(hook_name),
        d_in=int(sae.cfg.d_in),
        n_features=int(sae.cfg.d_sae),
        prepends_bos=metadata.prepend_bos,
        centers_writing_weights=bool(kwargs.get("center_writing_weights", False)),
        device=device,
    )


def coder_folder(path: str) -> Path:
    """The folder of `coder.path`: as it stands, or in the program's own `data/`."""
    folder = Path(path).expanduser()
    if not folder.is_dir() and folder.parts[:1] == ("data",):
        return asset_folder("data").joinpath(*folder.parts[1:])
    return folder


def _from_folder(config: "CoderConfig", device: torch.device) -> tuple[Any, str]:
    assert config.path is not None
    folder = coder_folder(config.path)
    if not folder.is_dir():
        raise SubjectError(f"there is no coder folder {config.path}", "check coder.path")
    with warnings.catch_warnings():
        # It warns that the model should be loaded with certain arguments; `subject.hooks` does what they ask.
        warnings.simplefilter("ignore")
        from sae_lens import SAE

        try:
            return SAE.load_from_disk(folder, device=str(device), dtype=config.dtype), config.path
        except Exception as error:  # whatever a folder that holds something else makes SAELens raise
            raise SubjectError(
                f"the folder {config.path} holds no coder that SAELens can load ({_first_line(error)})",
                "give a folder that SAELens' save_inference_model or save_model wrote",
            ) from error


def _from_release(config: "CoderConfig", device: torch.device) -> tuple[Any, str]:
    assert config.release is not None
    assert config.sae_id is not None
    origin = f"{config.release}/{config.sae_id}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import SAE
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

        releases = get_pretrained_saes_directory()
        known = releases.get(config.release)
        if known is None and "/" not in config.release:
            raise SubjectError(f"SAELens knows no release {config.release!r}", _closest(config.release, list(releases)))
        if known is not None and config.sae_id not in known.saes_map:
            raise SubjectError(
                f"the release {config.release} has no coder {config.sae_id!r}",
                _closest(config.sae_id, list(known.saes_map)),
            )
        try:
            return SAE.from_pretrained(config.release, config.sae_id, device=str(device), dtype=config.dtype), origin
        except Exception as error:  # SAELens has a loader for each publisher, with errors of its own
            raise SubjectError(
                f"the coder {origin} can't be had from the Hugging Face hub ({_first_line(error)})",
                "check the connection, or download it and set coder.path",
            ) from error


def _closest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or sorted(names)[:5]
    return f"did you mean {', '.join(close)}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(".: ")[:200]
