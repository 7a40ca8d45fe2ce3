"""The sparse coder under study, through SAELens: a local folder, or a release and an id in it.

Weights, architecture and encoding are SAELens' own, so activations are what they were in training; `coder_formats`
reads the files of other libraries, `coder_build` holds what they say against their weights. SAELens brings
TransformerLens along and takes seconds to import, so it is imported when a coder is loaded, not before.

What is done to an activation before it is encoded, by `normalize_activations` in SAELens' config:

    none                        nothing
    constant_norm_rescale       each is scaled to the norm sqrt(d_in), by SAELens' `encode`
    layer_norm                  of each the mean is taken off and the rest divided by its standard deviation, likewise
    expected_average_only_in    all are multiplied by sqrt(d_in) over the mean norm in training, not by `encode`
    covariance_whitening        all are whitened by mean and covariance in training, not by `encode`

SAELens folds the last two into the weights when training ends, and the first of these two also when it loads a release
that it knows the factor of; the config then says `none`. A checkpoint from amid training still says them: they are
folded here if SAELens' `activation_scaler.json` lies beside the weights, and are an error if not, since nothing else
says by how much.
"""

import difflib
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from autointerp.assets import asset_folder
from autointerp.devices import is_out_of_memory
from autointerp.errors import SubjectError, in_one_line
from autointerp.hub import load_from_hub
from autointerp.subject.checkpoint import check_finite
from autointerp.subject.coder_build import (
    ARCHITECTURES,
    CoderMetadata,
    build_sae,
    check_architecture,
    check_layer,
)
from autointerp.subject.coder_formats.formats import FORMATS, load_files, recognise_format
from autointerp.subject.hooks import is_hook_name, trained_hook_name

if TYPE_CHECKING:
    from autointerp.config import CoderConfig

logger = logging.getLogger(__name__)

_FOLDED_AFTER_TRAINING = frozenset({"expected_average_only_in", "covariance_whitening"})
_SCALER_FILE = "activation_scaler.json"
_FILE_NAMES = frozenset(name for form in FORMATS.values() for name in form.files)


@dataclass(frozen=True, slots=True)
class Coder:
    """A loaded coder.

    Attributes:
        sae: SAELens' module.
        origin: Its folder, or `release/sae_id`.
        architecture: SAELens' name of the architecture, for example `topk`.
        hook_name: The hook point it reads.
        hook_name_out: The hook point that a transcoder writes; None for a coder that writes where it reads, and for a
            transcoder that does not say.
        d_in: Width that it reads.
        d_out: Width that it writes.
        n_features: Features it has.
        prepends_bos: Whether it was trained on text that begins with the BOS token; None where it does not say.
        model_name: What it calls its model, for example `gpt2-small`; None where it does not say.
        model_kwargs: What it says of how TransformerLens loaded its model, for example `{"fold_ln": False}`.
        device: Where the weights lie.
    """

    sae: Any
    origin: str
    architecture: str
    hook_name: str
    hook_name_out: str | None
    d_in: int
    d_out: int
    n_features: int
    prepends_bos: bool | None
    model_name: str | None
    model_kwargs: Mapping[str, Any]
    device: torch.device

    @property
    def is_signed(self) -> bool:
        """Whether activations may be below zero."""
        return ARCHITECTURES[self.architecture]

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes at another point than it reads, so that `decoder` lies in another space than its input."""
        return self.architecture.endswith("transcoder") or self.hook_name_out is not None

    @property
    def decoder(self) -> Float[Tensor, "feature d_out"]:
        """Each feature's direction in the output."""
        weights: Tensor = self.sae.W_dec
        return weights.detach()

    def encode(self, activations: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch feature"]:
        """Feature activations of activations at the hook point.

        Input normalisation is included. Of `hook_z`, heads come side by side, as `d_in` counts them.

        Args:
            activations: On the coder's device, in any floating dtype.

        Returns:
            In the coder's dtype.
        """
        with torch.inference_mode():
            features: Tensor = self.sae.encode(activations)
        return features


def load_coder(config: "CoderConfig", device: torch.device) -> Coder:
    """Load a coder.

    Args:
        config: Where it is; a relative path that begins with `data/` names one that comes with the program.
        device: One of this machine, where it shall lie.

    Raises:
        SubjectError: If there is no such folder, release or id, if what is there can't be read, is no coder,
            one whose features are not a function of one token's activation, one whose config says something that is
            not carried out, or one whose input normalisation can't be known, if it does not fit into memory, or if
            neither the coder nor `config.hook` names a hook point.
    """
    sae, said, origin = _from_folder(config, device) if config.path is not None else _from_release(config, device)
    if not (config.hook or said.hook_name):
        raise SubjectError(
            f"the coder {origin} does not say which hook point it reads",
            "set coder.hook, for example to blocks.3.hook_resid_post",
        )
    trained_hook = trained_hook_name(said.hook_name or "", said.hf_hook_name)
    if not config.hook:
        check_layer(said, origin)
    elif config.hook != trained_hook and is_hook_name(trained_hook):
        logger.warning(
            "the coder %s says that it reads %s; coder.hook = %s is followed", origin, trained_hook, config.hook
        )
    # Hook points are read with the heads of hook_z side by side already.
    sae.turn_off_forward_pass_hook_z_reshaping()
    _normalise_without_memory(sae)
    return Coder(
        sae=sae.eval().requires_grad_(False),
        origin=origin,
        architecture=str(sae.cfg.architecture()),
        hook_name=config.hook or trained_hook,
        hook_name_out=said.hook_name_out or None,
        d_in=int(sae.cfg.d_in),
        d_out=int(sae.W_dec.shape[1]),
        n_features=int(sae.cfg.d_sae),
        prepends_bos=said.prepend_bos,
        model_name=said.model_name or None,
        model_kwargs=dict(said.model_from_pretrained_kwargs or {}),
        device=device,
    )


def _normalise_without_memory(sae: Any) -> None:
    """Replace SAELens' input normalisations by the same formulas.

    SAELens' own leave what they divided by in the module, for decoding, and read it from there, so threads that share a
    coder would read each other's.
    """
    match sae.cfg.normalize_activations:
        case "constant_norm_rescale":
            norm = sae.cfg.d_in**0.5
            sae.run_time_activation_norm_fn_in = lambda x: x * (norm / x.norm(dim=-1, keepdim=True))
        case "layer_norm":
            sae.run_time_activation_norm_fn_in = _layer_norm


def _layer_norm(x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
    x = x - x.mean(dim=-1, keepdim=True)
    return x / (x.std(dim=-1, keepdim=True) + 1e-5)


def coder_folder(path: str) -> Path:
    """The folder of `coder.path`, which may name the weights file in it: as it stands, or in the program's `data/`."""
    place = Path(path).expanduser()
    if not place.exists() and place.parts[:1] == ("data",):
        place = asset_folder("data").joinpath(*place.parts[1:])
    return place.parent if place.is_file() and place.name in _FILE_NAMES else place


def _from_folder(config: "CoderConfig", device: torch.device) -> tuple[Any, CoderMetadata, str]:
    assert config.path is not None
    with _told_in_one_line(
        config.path,
        device,
        problem=f"the folder {config.path} holds no coder that SAELens can load",
        remedy="give a whole coder folder, as the library that trained it wrote it",
    ):
        folder = coder_folder(config.path)
        if not folder.is_dir():
            if folder.is_file():
                raise SubjectError(
                    f"coder.path = {config.path} is a file that no format of coders has",
                    f"give the coder's folder, or its weights file ({', '.join(sorted(_FILE_NAMES))})",
                )
            raise SubjectError(f"there is no coder folder {config.path}", "check coder.path")
        sae, said = _load_folder(folder, recognise_format(folder, config.format), config, config.path, device)
    return sae, said, config.path


def _from_release(config: "CoderConfig", device: torch.device) -> tuple[Any, CoderMetadata, str]:
    assert config.release is not None
    assert config.sae_id is not None
    origin = f"{config.release}/{config.sae_id}"
    with _told_in_one_line(
        origin,
        device,
        problem=f"what lies at {origin} on the Hugging Face hub is no coder that SAELens can load",
        remedy="check coder.release and coder.sae_id, or download it and set coder.path",
    ):
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

        releases = get_pretrained_saes_directory()
        known = releases.get(config.release)
        if known is None and "/" not in config.release:
            raise SubjectError(f"SAELens knows no release {config.release!r}", _closest(config.release, list(releases)))
        if known is None:
            format_name = "saelens" if config.format == "auto" else config.format
            sae, said = _by_name(
                lambda: _load_folder(_download(config, format_name), format_name, config, origin, device), origin
            )
            return sae, said, origin
        if config.sae_id not in known.saes_map:
            raise SubjectError(
                f"the release {config.release} has no coder {config.sae_id!r}",
                _closest(config.sae_id, list(known.saes_map)),
            )
        if config.format != "auto":
            raise SubjectError(
                f"coder.format = {config.format!r} does not go with the release {config.release}",
                "leave coder.format away: SAELens knows the format of its releases",
            )
        if known.conversion_func == "temporal":
            check_architecture("temporal", origin)
        sae, said = _by_name(lambda: _load_release(config, origin, device), origin)
    return sae, said, origin


def _by_name(load: Callable[[], tuple[Any, CoderMetadata]], origin: str) -> tuple[Any, CoderMetadata]:
    remedy = "check coder.release and coder.sae_id, or download it and set coder.path"
    return load_from_hub(load, f"the coder {origin}", remedy, SubjectError)


@contextmanager
def _told_in_one_line(origin: str, device: torch.device, *, problem: str, remedy: str) -> Iterator[None]:
    """Turn what SAELens and its loaders raise, each with errors of its own, into a SubjectError."""
    with warnings.catch_warnings():
        # SAELens warns that the model should be loaded with certain arguments; `subject.hooks` does what they ask.
        warnings.simplefilter("ignore")
        try:
            yield
        except SubjectError:
            raise
        except PermissionError as error:
            place = error.filename or origin
            raise SubjectError(f"{place} can't be read ({error.strerror})", "check its permissions") from error
        except Exception as error:
            _check_memory(error, origin, device)
            raise SubjectError(f"{problem} ({in_one_line(error, with_kind=True)})", remedy) from error


def _load_folder(
    folder: Path, format_name: str, config: "CoderConfig", origin: str, device: torch.device
) -> tuple[Any, CoderMetadata]:
    sae, said = build_sae(load_files(format_name, folder, str(device), config.dtype), origin, device)
    if sae.cfg.normalize_activations in _FOLDED_AFTER_TRAINING:
        from sae_lens.training.activation_scaler import ActivationScaler

        scaler = ActivationScaler()
        if (file := folder / _SCALER_FILE).is_file():
            scaler.load(file)
        _fold_normalisation(sae, scaler.scaling_factor, scaler.whitening, origin)
    return _cast(sae, config.dtype, origin), said


def _load_release(config: "CoderConfig", origin: str, device: torch.device) -> tuple[Any, CoderMetadata]:
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from sae_lens.loading import pretrained_saes_directory as directory

    assert config.release is not None
    assert config.sae_id is not None
    load = loaders.NAMED_PRETRAINED_SAE_LOADERS[loaders.get_conversion_loader_name(config.release)]
    repository, folder = directory.get_repo_id_and_folder_name(config.release, config.sae_id)
    overrides = directory.get_config_overrides(config.release, config.sae_id)
    settings, weights, _ = load(
        repository, folder, str(device), False, {**overrides, "device": str(device), "dtype": config.dtype}
    )
    sae, said = build_sae((settings, weights), origin, device)
    if sae.cfg.normalize_activations in _FOLDED_AFTER_TRAINING:
        _fold_normalisation(sae, directory.get_norm_scaling_factor(config.release, config.sae_id), None, origin)
    return _cast(sae, config.dtype, origin), said


def _cast(sae: Any, dtype: str, origin: str) -> Any:
    """The module in the dtype that it will run in, which must hold its weights."""
    sae = sae.to(dtype=getattr(torch, dtype))
    check_finite(sae, f"the coder {origin}", "coder.dtype", getattr(torch, dtype))
    return sae


def _download(config: "CoderConfig", format_name: str) -> Path:
    """Fetch the files of a format from a repository's folder, and give the folder in the hub's cache."""
    from huggingface_hub import hf_hub_download

    assert config.release is not None
    files = [hf_hub_download(config.release, f"{config.sae_id}/{name}") for name in FORMATS[format_name].files]
    return Path(files[0]).parent


def _check_memory(error: Exception, origin: str, device: torch.device) -> None:
    if is_out_of_memory(error):
        raise SubjectError(
            f"the coder {origin} does not fit into the memory of {device}",
            "use a smaller coder.dtype or another subject.device",
        ) from error


def _fold_normalisation(sae: Any, factor: object, whitening: Any, origin: str) -> None:
    """Fold a normalisation that SAELens leaves to the end of training into the weights, in place.

    Args:
        sae: The module, whose config names the normalisation.
        factor: What activations were multiplied by in training; None where that is not known.
        whitening: SAELens' `ActivationWhitening` of the training; None where there is none.
        origin: The coder, for messages.
    """
    kind = sae.cfg.normalize_activations
    if kind == "expected_average_only_in" and isinstance(factor, int | float) and 0 < factor < math.inf:
        sae.fold_activation_norm_scaling_factor(factor)
    elif kind == "covariance_whitening" and whitening is not None:
        sae.fold_activation_whitening(whitening.mean, whitening.matrix, whitening.inverse_matrix)
    else:
        raise SubjectError(
            f"the coder {origin} was trained on activations normalised by {kind}, and its files don't say by how much",
            f"save it when training has ended, or put SAELens' {_SCALER_FILE} of the training beside its weights",
        )


def _closest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or sorted(names)[:5]
    return f"did you mean {', '.join(close)}"
