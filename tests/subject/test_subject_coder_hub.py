"""Coders of releases, with files in each publisher's layout; of SAELens' loaders only the download is replaced."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor

from autointerp.config import CoderConfig
from autointerp.errors import SubjectError
from autointerp.subject.coder import Coder, load_coder
from autointerp.subject.coder_formats.files import tensor_shapes
from tests.subject.coder_layouts import (
    D_IN,
    N_FEATURES,
    Features,
    K,
    Weights,
    random_weights,
    write_dictionary,
    write_gemma_scope,
    write_gemma_scope_2,
    write_json,
    write_pickle,
    write_sparsify,
    write_tensors,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from sae_lens.loading.pretrained_saes_directory import PretrainedSAELookup, get_pretrained_saes_directory

CPU = torch.device("cpu")
W = random_weights()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the hub's files come from, by repository and file name."""
    folder = tmp_path / "hub"

    def download(repo_id: str, filename: str, subfolder: str = "", **_: object) -> str:
        path = folder / repo_id / subfolder / filename
        if not path.is_file():
            raise LocalEntryNotFoundError(f"no {filename} in {repo_id}")
        return str(path)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no connection is tried
    monkeypatch.setattr(loaders, "hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(
        loaders, "get_safetensors_tensor_shapes", lambda repo_id, filename: tensor_shapes(download(repo_id, filename))
    )
    return folder


@dataclass(frozen=True)
class Layout:
    """A publisher's layout: SAELens' name for it, a real repository and path, and how to write its files there."""

    conversion: str | None
    repository: str
    path: str
    write: Callable[[Path, str, Weights], Features]
    hook_name: str
    hook_name_out: str | None = None
    scale: float | None = None
    overrides: dict[str, Any] = field(default_factory=lambda: {"d_in": D_IN, "d_sae": N_FEATURES})


def _saelens(root: Path, path: str, w: Weights) -> Features:
    settings = {"d_in": D_IN, "d_sae": N_FEATURES, "dtype": "torch.float32", "hook_point": "blocks.8.hook_resid_pre"}
    write_json(root / path / "cfg.json", settings)
    write_tensors(root / path / "sae_weights.safetensors", W_enc=w.w_enc, b_enc=w.b_enc, W_dec=w.w_dec, b_dec=w.b_dec)
    return lambda x: w.relu(x, centred=True)


def _connor_rob(root: Path, path: str, w: Weights) -> Features:
    name = path.removesuffix(".pt")
    write_json(
        root / f"{name}_cfg.json", {"act_size": D_IN, "dict_size": N_FEATURES, "act_name": "blocks.0.attn.hook_z"}
    )
    write_pickle(root / path, {"W_enc": w.w_enc, "b_enc": w.b_enc, "W_dec": w.w_dec, "b_dec": w.b_dec})
    return lambda x: w.relu(x, centred=True)


def _gemma_scope(root: Path, path: str, w: Weights) -> Features:
    return write_gemma_scope(root / path, w)


def _gemma_scope_2(root: Path, path: str, w: Weights) -> Features:
    point = "pre_feedforward_layernorm.output" if "transcoder" in path else "output"
    return write_gemma_scope_2(root / path, w, hook=f"model.layers.17.{point}")


def _linear(w: Weights) -> dict[str, Tensor]:
    return {"encoder.weight": w.w_enc.T, "encoder.bias": w.b_enc, "decoder.weight": w.w_dec.T, "decoder.bias": w.b_dec}


def _llama_scope(root: Path, path: str, w: Weights) -> Features:
    write_json(
        root / path / "hyperparams.json",
        {"d_model": D_IN, "d_sae": N_FEATURES, "jump_relu_threshold": 0.5, "hook_point_in": "blocks.3.hook_resid_post",
         "dataset_average_activation_norm": {"in": 8.0}},
    )  # fmt: skip
    write_tensors(root / path / "checkpoints" / "final.safetensors", **_linear(w))
    # Read at half scale, sqrt(16) over 8; the threshold is scaled likewise by SAELens.
    return lambda x: w.jump(0.5 * x, threshold=0.25)


def _llama_scope_r1(root: Path, path: str, w: Weights) -> Features:
    write_json(
        root / path / "config.json",
        {"d_model": D_IN, "expansion_factor": N_FEATURES // D_IN, "hook_point_in": "blocks.3.hook_resid_post"},
    )
    write_tensors(root / path / "sae_weights.safetensors", log_jumprelu_threshold=w.threshold.log(), **_linear(w))
    return lambda x: w.jump(0.5 * x)


def _dictionary(root: Path, path: str, w: Weights) -> Features:
    return write_dictionary(root / path, w, "AutoEncoderTopK", buffer={"ctx_len": 128})


def _deepseek(root: Path, path: str, w: Weights) -> Features:
    write_pickle(root / path, _linear(w))
    return w.relu


def _qwen_scope(root: Path, path: str, w: Weights) -> Features:
    write_pickle(root / path, {"W_enc": w.w_enc.T, "W_dec": w.w_dec.T, "b_enc": w.b_enc, "b_dec": w.b_dec})
    return w.top


def _mwhanna(root: Path, path: str, w: Weights) -> Features:
    settings = {"d_model": D_IN, "d_feature": N_FEATURES, "batch_size": 64}
    write_json(root / "wandb-config.yaml", {key: {"value": value} for key, value in settings.items()})
    write_json(root / "config.yaml", {"model_name": "Qwen/Qwen3-4B"})
    write_tensors(root / path, W_enc=w.w_enc.T, b_enc=w.b_enc, W_dec=w.w_dec, b_dec=w.b_dec)
    return w.relu


def _mntss(root: Path, path: str, w: Weights) -> Features:
    settings = {"model_name": "google/gemma-2-2b", "feature_input_hook": "hook_resid_mid"}
    write_json(root / "config.yaml", settings | {"feature_output_hook": "hook_mlp_out"})
    write_tensors(
        root / f"W_enc_{path}.safetensors",
        **{f"W_enc_{path}": w.w_enc.T, f"b_enc_{path}": w.b_enc, f"b_dec_{path}": w.b_dec},
    )
    # It writes at three layers; SAELens adds them up.
    parts = torch.stack([0.5 * w.w_dec, 0.25 * w.w_dec, 0.25 * w.w_dec], dim=1)
    write_tensors(root / f"W_dec_{path}.safetensors", **{f"W_dec_{path}": parts})
    return w.relu


def _goodfire(root: Path, path: str, w: Weights) -> Features:
    names = {"encoder.": "encoder_linear.", "decoder.": "decoder_linear."}
    write_pickle(root / path, {names[key[:8]] + key[8:]: tensor for key, tensor in _linear(w).items()})
    return w.relu


LAYOUTS = [
    Layout(None, "jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre", _saelens, "blocks.8.hook_resid_pre"),
    Layout("connor_rob_hook_z", "ckkissane/attn-saes", "gpt2-small_L0_Hcat_z.pt", _connor_rob, "blocks.0.attn.hook_z"),
    Layout(
        "gemma_2", "google/gemma-scope-2b-pt-res", "layer_20/width_16k/average_l0_71", _gemma_scope,
        "blocks.20.hook_resid_post",
    ),
    Layout(
        "gemma_2", "google/gemma-scope-2b-pt-att", "layer_20/width_16k/average_l0_71", _gemma_scope,
        "blocks.20.attn.hook_z",
    ),
    Layout(
        "gemma_2_transcoder", "google/gemma-scope-2b-pt-transcoders", "layer_0/width_16k/average_l0_76", _gemma_scope,
        "blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out",
        overrides={"d_in": D_IN, "d_out": D_IN, "d_sae": N_FEATURES},
    ),
    Layout(
        "gemma_3", "google/gemma-scope-2-1b-pt", "resid_post/layer_17_width_16k_l0_big", _gemma_scope_2,
        "blocks.17.hook_resid_post",
    ),
    Layout(
        "gemma_3", "google/gemma-scope-2-1b-pt", "transcoder/layer_17_width_16k_l0_big", _gemma_scope_2,
        "blocks.17.mlp.hook_in", "blocks.17.hook_mlp_out",
    ),
    Layout(
        "llama_scope", "fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L3R-8x", _llama_scope,
        "blocks.3.hook_resid_post", scale=0.5,
    ),
    Layout(
        "llama_scope_r1_distill", "fnlp/Llama-Scope-R1-Distill", "800M-Slimpajama/L3R", _llama_scope_r1,
        "blocks.3.hook_resid_post", scale=0.5,
    ),
    Layout(
        "dictionary_learning_1", "canrager/saebench", "gemma-2-2b_topk/resid_post_layer_1/trainer_0", _dictionary,
        "blocks.1.hook_resid_post",
    ),
    Layout("deepseek_r1", "qresearch/DeepSeek-R1", "DeepSeek-SAE-l19.pt", _deepseek, "blocks.19.hook_resid_post"),
    Layout(
        "qwen_scope", "Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50", "layer7.sae.pt", _qwen_scope,
        "blocks.7.hook_resid_post",
        overrides={"d_in": D_IN, "d_sae": N_FEATURES, "activation_fn_kwargs": {"k": K}},
    ),
    Layout(
        "mwhanna_transcoder", "mwhanna/qwen3-4b-transcoders", "layer_7.safetensors", _mwhanna,
        "blocks.7.mlp.hook_in", "blocks.7.hook_mlp_out", overrides={},
    ),
    Layout(
        "mntss_clt_layer_transcoder", "mntss/clt-gemma-2-2b-2.5M", "7", _mntss,
        "blocks.7.hook_resid_mid", "blocks.7.hook_mlp_out", overrides={},
    ),
    Layout(
        "goodfire", "Goodfire/Llama-3.1-8B-Instruct-SAE-l19", "Llama-3.1-8B-Instruct-SAE-l19.pth", _goodfire,
        "blocks.19.hook_resid_post",
    ),
]  # fmt: skip


def load(release: str, sae_id: str, **settings: str) -> Coder:
    return load_coder(CoderConfig.model_validate({"release": release, "sae_id": sae_id} | settings), CPU)


def inputs() -> Tensor:
    return 2 * torch.randn(5, 7, D_IN, generator=torch.Generator().manual_seed(9))


def assert_encodes(coder: Coder, features: Features) -> None:
    expected = features(inputs())
    assert 0 < int((expected > 0).sum()) < expected.numel()
    torch.testing.assert_close(coder.encode(inputs()), expected, rtol=1e-4, atol=1e-5)


def list_release(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    """List a small coder as SAELens lists its releases."""
    listed = PretrainedSAELookup(
        release="small", repo_id=layout.repository, model="tiny", conversion_func=layout.conversion,
        saes_map={"one": layout.path}, expected_var_explained={}, expected_l0={}, neuronpedia_id={},
        norm_scaling_factor={} if layout.scale is None else {"one": layout.scale},
        config_overrides=layout.overrides,
    )  # fmt: skip
    monkeypatch.setitem(get_pretrained_saes_directory(), "small", listed)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.conversion}-{layout.hook_name}")
def test_a_release_in_each_layout_that_saelens_reads_encodes_by_its_formula(
    layout: Layout, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = layout.write(hub / layout.repository, layout.path, W)
    list_release(monkeypatch, layout)
    coder = load("small", "one")
    assert_encodes(coder, features)
    assert (coder.origin, coder.n_features) == ("small/one", N_FEATURES)
    assert (coder.hook_name, coder.hook_name_out) == (layout.hook_name, layout.hook_name_out)
    scale = layout.scale or 1.0
    torch.testing.assert_close(coder.decoder, W.w_dec / scale)
    # Another precision is that of the weights and of what comes out.
    assert load("small", "one", dtype="bfloat16").encode(inputs()).dtype == torch.bfloat16


def test_every_layout_in_saelens_list_of_releases_is_tried_here_or_refused() -> None:
    used = {release.conversion_func for release in get_pretrained_saes_directory().values()}
    assert used == {layout.conversion for layout in LAYOUTS} | {"temporal"}


def test_a_release_without_the_scale_that_it_was_trained_with_is_refused(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = next(layout for layout in LAYOUTS if layout.conversion == "llama_scope_r1_distill")
    layout.write(hub / layout.repository, layout.path, W)
    list_release(monkeypatch, Layout(layout.conversion, layout.repository, layout.path, layout.write, ""))
    with pytest.raises(SubjectError, match="small/one was trained on activations normalised by expected_average_only"):
        load("small", "one")


def test_a_release_that_needs_the_whole_sequence_is_refused_before_anything_is_fetched(hub: Path) -> None:
    assert not hub.exists()
    with pytest.raises(SubjectError, match="of the architecture temporal"):
        load("temporal-sae-gemma-2-2b", "blocks.12.hook_resid_post")


def test_a_repository_that_saelens_does_not_list_is_read_in_its_own_format(hub: Path) -> None:
    features = _saelens(hub / "someone/saes", "layer-8", W)
    assert_encodes(load("someone/saes", "layer-8"), features)


@pytest.mark.parametrize("settings", [{"format": "sparsify"}, {"format": "sparsify", "hook": "blocks.9.hook_mlp_out"}])
def test_a_repository_of_sparsify_is_read_where_the_format_says_so(settings: dict[str, str], hub: Path) -> None:
    features = write_sparsify(hub / "EleutherAI/sae-pythia-70m-32k" / "layers.3.mlp", W)
    coder = load("EleutherAI/sae-pythia-70m-32k", "layers.3.mlp", **settings)
    assert_encodes(coder, features)
    assert coder.hook_name == settings.get("hook", "blocks.3.mlp.hook_out")
    assert coder.origin == "EleutherAI/sae-pythia-70m-32k/layers.3.mlp"


def test_a_repository_of_dictionary_learning_is_read_where_the_format_says_so(hub: Path) -> None:
    features = write_dictionary(hub / "someone/dictionaries" / "resid" / "trainer_0", W, "GatedAutoEncoder")
    assert_encodes(load("someone/dictionaries", "resid/trainer_0", format="dictionary_learning"), features)


def test_a_format_that_goes_against_saelens_list_is_an_error() -> None:
    with pytest.raises(SubjectError, match=r"leave coder\.format away"):
        load("gpt2-small-res-jb", "blocks.8.hook_resid_pre", format="sparsify")


def test_a_release_whose_files_are_gone_is_an_error(hub: Path) -> None:
    assert not hub.exists()
    for settings in ({}, {"format": "sparsify"}):
        with pytest.raises(SubjectError, match="can't be had from the Hugging Face hub") as caught:
            load("someone/nothing", "layers.3", **settings)
        assert "\n" not in str(caught.value)


def test_the_arguments_of_the_model_that_saelens_lists_are_kept(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS[0]
    layout.write(hub / layout.repository, layout.path, W)
    kwargs = {"center_writing_weights": True}
    overrides = layout.overrides | {"model_from_pretrained_kwargs": kwargs}
    list_release(monkeypatch, Layout(None, layout.repository, layout.path, layout.write, "", overrides=overrides))
    coder = load("small", "one")
    assert coder.model_kwargs == kwargs


def test_a_coder_that_does_not_fit_into_memory_is_an_error_that_says_so(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sparsify(hub / "layers.3", W)
    errors = (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    )
    for error in errors:

        def full(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(torch.nn.Module, "load_state_dict", full)
        with pytest.raises(SubjectError, match="does not fit into the memory of cpu"):
            load_coder(CoderConfig(path=str(hub / "layers.3")), CPU)
