"""Every architecture of SAELens, saved by SAELens: as SAELens encodes it, and by formulas of our own."""

import itertools
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from autointerp.config import CoderConfig
from autointerp.errors import SubjectError
from autointerp.subject.coder import Coder, load_coder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sae_lens
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY
    from sae_lens.training.activation_scaler import ActivationScaler, ActivationWhitening

CPU = torch.device("cpu")
D_IN, D_OUT, K = 16, 12, 4
HOOK = "blocks.1.hook_resid_post"
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
ARCHITECTURES = ("standard", "gated", "topk", "abstopk", "jumprelu", "matching_pursuit", *TRANSCODERS)


def load(folder: Path, **settings: str) -> Coder:
    return load_coder(CoderConfig.model_validate({"path": str(folder)} | settings), CPU)


def inputs(*shape: int) -> Tensor:
    # Off centre and of changing length, so that each normalisation makes a difference.
    draw = torch.Generator().manual_seed(3)
    return (1 + torch.randn(*shape, generator=draw)) * torch.rand(*shape[:-1], 1, generator=draw)


def settings_of(architecture: str) -> dict[str, Any]:
    if architecture in TRANSCODERS:
        return {"d_out": D_OUT, "apply_b_dec_to_input": False}
    return {"k": K} if architecture in ("topk", "abstopk") else {}


def by_hand(sae: Any, x: Tensor) -> Tensor:
    """A coder's features from its weights and config, one formula per architecture."""
    weights: dict[str, Tensor] = dict(sae.named_parameters())
    config, name = sae.cfg, sae.cfg.architecture()
    if config.normalize_activations == "constant_norm_rescale":
        x = x * (D_IN / x.pow(2).sum(-1, keepdim=True)).sqrt()
    if config.normalize_activations == "layer_norm":
        x = x - x.sum(-1, keepdim=True) / D_IN
        x = x / ((x.pow(2).sum(-1, keepdim=True) / (D_IN - 1)).sqrt() + 1e-5)
    if config.apply_b_dec_to_input:
        x = x - weights["b_dec"]
    if name == "matching_pursuit":
        return torch.stack([_pursue(row, weights["W_dec"], config.residual_threshold) for row in x])
    shared = x @ weights["W_enc"]
    if name == "gated":
        size = (weights["r_mag"].exp() * shared + weights["b_mag"]).clamp(min=0)
        return torch.where(shared + weights["b_gate"] > 0, size, 0.0)
    before = shared + weights["b_enc"]
    if getattr(config, "rescale_acts_by_decoder_norm", False):
        before = before * weights["W_dec"].pow(2).sum(-1).sqrt()
    if name in ("topk", "abstopk"):
        rank = before.abs() if name == "abstopk" else before
        kept = torch.where(rank >= rank.sort(-1, descending=True).values[..., K - 1 : K], before, 0.0)
        return kept if name == "abstopk" else kept.clamp(min=0)
    if "threshold" in weights:
        before = torch.where(before > weights["threshold"], before, 0.0)
    return before.clamp(min=0)


def _pursue(rest: Tensor, directions: Tensor, threshold: float) -> Tensor:
    """Greedily take off the direction that explains most of the rest, until little is left or nothing new is found."""
    features = torch.zeros(len(directions))
    found: set[int] = set()
    for _ in range(len(rest)):
        best = int((directions @ rest).argmax())
        size = (directions[best] @ rest).clamp(min=0)
        features[best] += size
        rest = rest - size * directions[best]
        if best in found or size == 0 or rest.norm() < threshold:
            break
        found.add(best)
    return features


def variants() -> list[tuple[str, dict[str, Any]]]:
    cases = []
    for name, normalisation, subtracts, rescales in itertools.product(
        ARCHITECTURES, ("none", "constant_norm_rescale", "layer_norm"), (True, False), (True, False)
    ):
        if (name in TRANSCODERS and subtracts) or (name not in ("topk", "abstopk") and rescales):
            continue
        settings = settings_of(name) | {"normalize_activations": normalisation, "apply_b_dec_to_input": subtracts}
        cases.append((name, settings | ({"rescale_acts_by_decoder_norm": True} if rescales else {})))
    return cases


@pytest.mark.parametrize(("architecture", "settings"), variants())
def test_a_coder_encodes_as_saelens_does_and_as_its_formula_says(
    architecture: str, settings: dict[str, Any], make_coder: Callable[..., Any], tmp_path: Path
) -> None:
    original = make_coder(architecture, metadata={"hook_name": HOOK}, **settings)
    if architecture == "matching_pursuit":
        original.W_dec.data /= original.W_dec.data.norm(dim=-1, keepdim=True)  # as it is trained
    original.save_model(tmp_path)
    coder = load(tmp_path)
    x = inputs(33, D_IN)
    features = coder.encode(x)
    assert torch.equal(features, original.encode(x))
    torch.testing.assert_close(features, by_hand(original, x), rtol=1e-4, atol=1e-5)
    assert 0 < int((features != 0).sum()) < features.numel()
    assert bool((features < 0).any()) == coder.is_signed
    assert torch.equal(coder.encode(x.reshape(3, 11, D_IN)).flatten(0, 1), features)


def test_every_architecture_of_saelens_is_tried_here_or_refused() -> None:
    assert set(SAE_CLASS_REGISTRY) == {*ARCHITECTURES, "temporal"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("running", ["float32", "bfloat16", "float16"])
def test_a_coder_of_any_precision_takes_activations_of_any_other(
    architecture: str, stored: str, running: str, make_coder: Callable[..., Any], tmp_path: Path
) -> None:
    make_coder(architecture, dtype=stored, metadata={"hook_name": HOOK}, **settings_of(architecture)).save_model(
        tmp_path
    )
    coder = load(tmp_path, dtype=running)
    dtype = getattr(torch, running)
    assert {weights.dtype for weights in coder.sae.parameters()} == {dtype}
    rows = inputs(4, D_IN).to(torch.float16)
    for given in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        features = coder.encode(rows.to(given))
        assert features.dtype == dtype
        assert torch.equal(features, coder.sae.encode(rows.to(given).to(dtype)))


@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_a_transcoder_says_where_it_reads_and_where_its_directions_lie(
    architecture: str, make_coder: Callable[..., Any], tmp_path: Path
) -> None:
    metadata = {"hook_name": "blocks.1.ln2.hook_normalized", "hook_name_out": "blocks.1.hook_mlp_out"}
    original = make_coder(architecture, metadata=metadata, **settings_of(architecture))
    original.save_model(tmp_path)
    coder = load(tmp_path)
    assert (coder.hook_name, coder.hook_name_out) == (metadata["hook_name"], metadata["hook_name_out"])
    assert (coder.d_in, coder.d_out, coder.is_transcoder) == (D_IN, D_OUT, True)
    # One feature alone moves the output along its row of the decoder.
    one = torch.zeros(1, 64)
    one[0, 7] = 2.0
    moved = original.decode(one) - original.decode(torch.zeros(1, 64))
    torch.testing.assert_close(moved[0], 2 * coder.decoder[7])


def test_a_coder_that_writes_where_it_reads_names_no_second_point(saved_coder: Callable[..., Path]) -> None:
    coder = load(saved_coder("standard"))
    assert (coder.hook_name_out, coder.d_out, coder.is_transcoder) == (None, D_IN, False)


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated"])
def test_a_coder_of_hook_z_reads_heads_side_by_side(
    architecture: str, make_coder: Callable[..., Any], tmp_path: Path
) -> None:
    original = make_coder(
        architecture,
        metadata={"hook_name": "blocks.1.attn.hook_z"},
        reshape_activations="hook_z",
        **settings_of(architecture),
    )
    original.save_model(tmp_path)
    heads = inputs(3, 5, 2, D_IN // 2)
    coder = load(tmp_path)
    assert torch.equal(coder.encode(heads.flatten(-2)), original.encode(heads))
    assert torch.equal(coder.encode(heads.flatten(-2).flatten(0, 1)), original.encode(heads).flatten(0, 1))


@pytest.mark.parametrize("normalisation", ["constant_norm_rescale", "layer_norm"])
def test_threads_that_share_a_coder_do_not_normalise_by_each_others_norms(
    normalisation: str, saved_coder: Callable[..., Path]
) -> None:
    coder = load(saved_coder(normalize_activations=normalisation))
    read = [inputs(400 + n, coder.d_in) * (1 + n) for n in range(8)]
    alone = [coder.encode(x) for x in read]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(coder.encode, read * 40))
    for number, features in enumerate(together):
        assert torch.equal(features, alone[number % 8])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_coder_with_directions_that_are_not_finite_is_an_error(
    value: float, saved_coder: Callable[..., Path]
) -> None:
    folder = saved_coder()
    weights = load_file(folder / "sae_weights.safetensors")
    weights["W_dec"].view(-1)[1] = value
    save_file(weights, folder / "sae_weights.safetensors")
    with pytest.raises(SubjectError, match=r"weights that are not finite \(W_dec\)"):
        load(folder)


def test_what_it_says_of_its_model_is_kept_as_it_stands(saved_coder: Callable[..., Path]) -> None:
    kwargs = {"fold_ln": False, "center_writing_weights": True}
    coder = load(saved_coder(metadata={"model_from_pretrained_kwargs": kwargs}))
    assert coder.model_kwargs == kwargs


def test_a_coder_that_says_nothing_of_its_model_has_no_arguments(saved_coder: Callable[..., Path]) -> None:
    coder = load(saved_coder())
    assert coder.model_kwargs == {}


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_coders_trained_over_whole_batches_run_with_the_threshold_that_they_learnt(
    architecture: str, tmp_path: Path
) -> None:
    sae_class, config_class = SAE_TRAINING_CLASS_REGISTRY[architecture]
    widths: dict[str, Any] = {"matryoshka_widths": [8, 64]} if architecture.startswith("matryoshka") else {}
    trained: Any = sae_class(config_class(d_in=D_IN, d_sae=64, k=K, **widths))
    torch.nn.init.normal_(trained.b_enc, generator=torch.Generator().manual_seed(2))
    trained.topk_threshold.fill_(0.6)
    trained.cfg.metadata.hook_name = HOOK
    trained.save_inference_model(tmp_path / "inference")
    coder = load(tmp_path / "inference")
    x = inputs(33, D_IN)
    # Norms are folded on saving, so that all decoder rows have length 1 and the threshold holds for all alike.
    before = (x - trained.b_dec) @ trained.W_enc + trained.b_enc
    before = before * trained.W_dec.norm(dim=-1)
    torch.testing.assert_close(coder.encode(x), torch.where(before > 0.6, before, 0.0), rtol=1e-4, atol=1e-5)
    assert coder.architecture == "jumprelu"

    trained.save_model(tmp_path / "checkpoint")
    with pytest.raises(SubjectError, match=f"architecture {architecture}, which is for training only"):
        load(tmp_path / "checkpoint")


def test_a_coder_that_needs_the_whole_sequence_is_refused_with_those_that_work(tmp_path: Path) -> None:
    config = sae_lens.TemporalSAEConfig(
        d_in=D_IN, d_sae=64, n_heads=2, bottleneck_factor=4, kval_topk=K, normalize_activations="none"
    )
    sae_lens.TemporalSAE(config).save_model(tmp_path)
    with pytest.raises(SubjectError, match="temporal, which makes features of what came before") as caught:
        load(tmp_path)
    assert caught.value.remedy == "use one of " + ", ".join(
        ["standard", "gated", "topk", "jumprelu", "abstopk", "matching_pursuit", *TRANSCODERS]
    )


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated", "matching_pursuit"])
def test_the_scale_of_a_checkpoint_is_folded_in_if_its_training_left_it(
    architecture: str, saved_coder: Callable[..., Path]
) -> None:
    plain = load(saved_coder(architecture))
    folder = saved_coder(architecture, normalize_activations="expected_average_only_in")
    with pytest.raises(SubjectError, match="normalised by expected_average_only_in, and its files don't say by how"):
        load(folder)
    ActivationScaler(scaling_factor=0.25).save(str(folder / "activation_scaler.json"))
    x = inputs(33, D_IN)
    expected = plain.encode(0.25 * x)
    if architecture == "matching_pursuit":  # its features are in the units of what it reads
        expected = expected / 0.25
    torch.testing.assert_close(load(folder).encode(x), expected, rtol=1e-4, atol=1e-5)


def test_the_whitening_of_a_checkpoint_is_folded_in_if_its_training_left_it(saved_coder: Callable[..., Path]) -> None:
    plain = load(saved_coder("standard"))
    folder = saved_coder("standard", normalize_activations="covariance_whitening")
    with pytest.raises(SubjectError, match="normalised by covariance_whitening"):
        load(folder)
    draw = torch.Generator().manual_seed(4)
    matrix = torch.eye(D_IN) + 0.2 * torch.randn(D_IN, D_IN, generator=draw)
    mean = torch.randn(D_IN, generator=draw)
    whitening = ActivationWhitening(mean=mean, matrix=matrix, inverse_matrix=torch.linalg.inv(matrix))
    ActivationScaler(whitening=whitening).save(str(folder / "activation_scaler.json"))
    x = inputs(33, D_IN)
    torch.testing.assert_close(load(folder).encode(x), plain.encode((x - mean) @ matrix), rtol=1e-3, atol=1e-4)


def test_a_coder_from_before_saelens_6_is_read(tmp_path: Path, make_coder: Callable[..., Any]) -> None:
    original = make_coder("standard")
    save_file(original.state_dict(), tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(
        f'{{"d_in": {D_IN}, "d_sae": 64, "dtype": "torch.float32", "device": "cuda", "hook_point": "{HOOK}",'
        ' "activation_fn_str": "relu", "normalize_activations": "layer_norm", "prepend_bos": false,'
        ' "finetuning_scaling_factor": false}',
        encoding="utf-8",
    )
    coder = load(tmp_path)
    original.cfg.normalize_activations = "layer_norm"
    x = inputs(33, D_IN)
    torch.testing.assert_close(coder.encode(x), by_hand(original, x), rtol=1e-4, atol=1e-5)
    assert (coder.hook_name, coder.prepends_bos) == (HOOK, False)
