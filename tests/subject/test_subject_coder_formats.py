"""Coders in other libraries' files, read from a folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from autointerp.config import CoderConfig
from autointerp.errors import SubjectError
from autointerp.subject.coder import Coder, load_coder
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
    write_sparsify,
    write_tensors,
)

CPU = torch.device("cpu")
W = random_weights()


def load(path: Path, **settings: str) -> Coder:
    return load_coder(CoderConfig.model_validate({"path": str(path)} | settings), CPU)


def inputs() -> Tensor:
    return torch.randn(5, 7, D_IN, generator=torch.Generator().manual_seed(9))


def assert_encodes(coder: Coder, features: Features) -> None:
    expected = features(inputs())
    assert 0 < int((expected > 0).sum()) < expected.numel()
    torch.testing.assert_close(coder.encode(inputs()), expected, rtol=1e-4, atol=1e-5)
    assert (coder.d_in, coder.d_out, coder.n_features) == (D_IN, D_IN, N_FEATURES)
    torch.testing.assert_close(coder.decoder, W.w_dec)


@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (write_sparsify, {"hook": "blocks.1.hook_resid_post"}),
        (lambda folder, w: write_dictionary(folder, w, "AutoEncoderTopK"), {"hook": "blocks.1.hook_resid_post"}),
        (write_gemma_scope, {"hook": "blocks.1.hook_resid_post"}),
        (lambda folder, w: write_gemma_scope_2(folder, w, hook="model.layers.17.output"), {}),
    ],
)
def test_weights_that_half_precision_can_not_hold_say_so_in_each_format(
    write: Callable[[Path, Weights], object], settings: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path, replace(W, w_enc=1e6 * W.w_enc))
    with pytest.raises(SubjectError, match=r"not finite \(W_enc\).* set coder\.dtype to float32"):
        load(tmp_path, dtype="float16", **settings)
    assert torch.isfinite(load(tmp_path, **settings).encode(inputs())).all()


@pytest.mark.parametrize(
    ("repository", "reads", "writes"),
    [
        ("gemma-scope-2b-pt-res", "blocks.20.hook_resid_post", None),
        ("gemma-scope-9b-it-mlp", "blocks.20.hook_mlp_out", None),
        ("gemma-scope-2b-pt-att", "blocks.20.attn.hook_z", None),
        ("gemma-scope-2b-pt-transcoders", "blocks.20.ln2.hook_normalized", "blocks.20.hook_mlp_out"),
    ],
)
def test_gemma_scope_files_say_by_their_path_where_they_read(
    repository: str, reads: str, writes: str | None, tmp_path: Path
) -> None:
    folder = tmp_path / repository / "layer_20" / "width_16k" / "average_l0_71"
    features = write_gemma_scope(folder, W)
    coder = load(folder)
    assert_encodes(coder, features)
    assert (coder.hook_name, coder.hook_name_out, coder.is_transcoder) == (reads, writes, writes is not None)


def test_gemma_scope_files_outside_their_repository_need_a_hook(tmp_path: Path) -> None:
    folder = tmp_path / "researcher-attic"  # holds `res` and `att`, which mean nothing here
    features = write_gemma_scope(folder, W)
    with pytest.raises(SubjectError, match=r"does not say which hook point it reads: set coder\.hook"):
        load(folder)
    coder = load(folder, hook="blocks.4.hook_mlp_out")
    assert_encodes(coder, features)
    assert coder.hook_name == "blocks.4.hook_mlp_out"


def test_gemma_scope_on_embeddings_reads_them_as_the_model_scales_them(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-scope-2b-pt-res" / "embedding" / "width_4k" / "average_l0_111"
    features = write_gemma_scope(folder, W)
    coder = load(folder)
    assert coder.hook_name == "hook_embed"
    torch.testing.assert_close(coder.encode(4 * inputs()), features(inputs()), rtol=1e-4, atol=1e-5)  # 4 = sqrt(16)


def test_a_path_may_name_the_weights_file(tmp_path: Path) -> None:
    features = write_gemma_scope(tmp_path, W)
    assert_encodes(load(tmp_path / "params.npz", hook="blocks.4.hook_resid_post"), features)
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    with pytest.raises(SubjectError, match=r"notes\.txt is a file that no format of coders has"):
        load(tmp_path / "notes.txt", hook="blocks.4.hook_resid_post")


@pytest.mark.parametrize(
    ("point", "reads", "writes"),
    [
        ("model.layers.17.output", "blocks.17.hook_resid_post", None),
        ("model.layers.17.self_attn.o_proj.input", "blocks.17.attn.hook_z", None),
        ("model.layers.17.post_feedforward_layernorm.output", "blocks.17.hook_mlp_out", None),
        ("model.layers.17.pre_feedforward_layernorm.output", "blocks.17.mlp.hook_in", "blocks.17.hook_mlp_out"),
    ],
)
def test_gemma_scope_2_files_say_in_their_config_where_they_read(
    point: str, reads: str, writes: str | None, tmp_path: Path
) -> None:
    features = write_gemma_scope_2(tmp_path, W, hook=point)
    coder = load(tmp_path)
    assert_encodes(coder, features)
    assert (coder.hook_name, coder.hook_name_out) == (reads, writes)


def test_gemma_scope_2_files_without_a_config_say_by_their_path_where_they_read(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-scope-2-1b-pt" / "resid_post_all" / "layer_3_width_16k_l0_big"
    features = write_gemma_scope_2(folder, W, hook=None)
    coder = load(folder)
    assert_encodes(coder, features)
    assert coder.hook_name == "blocks.3.hook_resid_post"
    alone = tmp_path / "alone"
    write_gemma_scope_2(alone, W, hook=None)
    with pytest.raises(SubjectError, match=r"set coder\.hook"):
        load(alone)
    assert_encodes(load(alone, hook="blocks.3.hook_resid_post"), features)


def test_an_affine_skip_connection_leaves_the_features_alone(tmp_path: Path) -> None:
    point = "model.layers.17.pre_feedforward_layernorm.output"
    features = write_gemma_scope_2(tmp_path, W, hook=point, affine=True)
    coder = load(tmp_path)
    assert coder.architecture == "jumprelu_skip_transcoder"
    assert_encodes(coder, features)


@pytest.mark.parametrize("normalises", [True, False])
@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("layers.5", "blocks.5.hook_resid_post"),
        ("h.11", "blocks.11.hook_resid_post"),
        ("layers.5.mlp", "blocks.5.mlp.hook_out"),
        ("model.layers.5.self_attn", "blocks.5.attn.hook_out"),
    ],
)
def test_sparsify_coders_are_named_after_the_module_they_read(
    name: str, reads: str, normalises: bool, tmp_path: Path
) -> None:
    features = write_sparsify(tmp_path / name, W, normalize_decoder=normalises)
    coder = load(tmp_path / name)
    assert_encodes(coder, features)
    assert (coder.hook_name, coder.hook_name_out, coder.prepends_bos) == (reads, None, None)


def test_sparsify_transcoders_read_their_modules_input_and_keep_b_dec_out_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "layers.5.mlp"
    features = write_sparsify(folder, W, transcode=True)
    coder = load(folder)
    assert_encodes(coder, features)
    assert (coder.hook_name, coder.hook_name_out) == ("blocks.5.mlp.hook_in", "blocks.5.mlp.hook_out")
    assert coder.is_transcoder


def test_sparsify_folders_of_another_name_need_a_hook(tmp_path: Path) -> None:
    features = write_sparsify(tmp_path / "best", W)
    with pytest.raises(SubjectError, match=r"set coder\.hook"):
        load(tmp_path / "best")
    assert_encodes(load(tmp_path / "best", hook="blocks.5.hook_mlp_out"), features)


@pytest.mark.parametrize("settings", [{"activation": "groupmax"}, {"gram_lookup": True}, {"signed": True}])
def test_sparsify_coders_that_saelens_would_encode_otherwise_are_refused(
    settings: dict[str, object], tmp_path: Path
) -> None:
    write_sparsify(tmp_path / "layers.5", W, **settings)
    with pytest.raises(SubjectError, match=f"was trained with {next(iter(settings))} ="):
        load(tmp_path / "layers.5")


@pytest.mark.parametrize(
    ("dict_class", "architecture"),
    [
        ("AutoEncoder", "standard"),
        ("AutoEncoderTopK", "topk"),
        ("GatedAutoEncoder", "gated"),
        ("JumpReluAutoEncoder", "jumprelu"),
        ("BatchTopKSAE", "jumprelu"),
        ("MatryoshkaBatchTopKSAE", "jumprelu"),
    ],
)
def test_each_class_of_dictionary_learning_encodes_as_there(dict_class: str, architecture: str, tmp_path: Path) -> None:
    features = write_dictionary(tmp_path, W, dict_class, buffer={"ctx_len": 128, "io": "out"})
    coder = load(tmp_path)
    assert_encodes(coder, features)
    assert (coder.architecture, coder.hook_name) == (architecture, "blocks.1.hook_resid_post")


@pytest.mark.parametrize(
    ("submodule", "io", "reads"),
    [
        (None, "out", "blocks.1.hook_resid_post"),
        ("resid_post_layer_1", "in", "blocks.1.hook_resid_pre"),
        ("mlp_out_layer_1", "out", "blocks.1.mlp.hook_out"),
        ("attn_out_layer_1", "out", "blocks.1.attn.hook_out"),
    ],
)
def test_dictionary_learning_says_which_module_it_was_trained_on(
    submodule: str | None, io: str, reads: str, tmp_path: Path
) -> None:
    write_dictionary(tmp_path, W, "AutoEncoder", buffer={"ctx_len": 128, "io": io}, submodule_name=submodule)
    assert load(tmp_path).hook_name == reads


@pytest.mark.parametrize(
    ("trainer", "io"),
    [({"layer": None}, "out"), ({"submodule_name": "cross_attention_1"}, "out"), ({}, "in_and_out"),
     ({"submodule_name": "mlp_out_layer_1"}, "in")],
)  # fmt: skip
def test_dictionary_learning_without_a_point_that_we_know_needs_a_hook(
    trainer: dict[str, object], io: str, tmp_path: Path
) -> None:
    features = write_dictionary(tmp_path, W, "AutoEncoder", buffer={"ctx_len": 128, "io": io}, **trainer)
    with pytest.raises(SubjectError, match=r"set coder\.hook"):
        load(tmp_path)
    assert_encodes(load(tmp_path, hook="blocks.5.hook_mlp_out"), features)


def test_a_dictionary_trained_without_a_buffer_is_read(tmp_path: Path) -> None:
    features = write_dictionary(tmp_path, W, "AutoEncoder")
    assert_encodes(load(tmp_path), features)


def test_a_class_of_dictionary_learning_that_saelens_would_mistake_is_refused(tmp_path: Path) -> None:
    write_dictionary(tmp_path, W, "CrossCoder")
    with pytest.raises(SubjectError, match=r"no loader for dictionary_learning's CrossCoder .* use one of AutoEncoder"):
        load(tmp_path)


def test_a_folder_without_a_coder_is_an_error_that_names_the_formats_and_their_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SubjectError) as caught:
        load(tmp_path)
    assert caught.value.remedy == (
        "give a folder with the files of one format: saelens (cfg.json and sae_weights.safetensors), "
        "gemma_scope (params.npz), gemma_scope_2 (params.safetensors), sparsify (cfg.json and sae.safetensors), "
        "dictionary_learning (config.json and ae.pt)"
    )
    assert "\n" not in str(caught.value)


def test_a_format_that_the_files_are_not_of_is_an_error(tmp_path: Path) -> None:
    write_gemma_scope(tmp_path, W)
    with pytest.raises(SubjectError, match="in the format sparsify"):
        load(tmp_path, format="sparsify")


def test_a_folder_with_several_coders_asks_which(tmp_path: Path) -> None:
    features = write_gemma_scope(tmp_path, W)
    write_tensors(tmp_path / "sae_weights.safetensors", W_enc=W.w_enc)
    write_json(tmp_path / "cfg.json", {})
    with pytest.raises(SubjectError, match=r"set coder\.format to one of saelens, gemma_scope"):
        load(tmp_path)
    assert_encodes(load(tmp_path, format="gemma_scope", hook="blocks.1.hook_mlp_out"), features)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_latents": 0},  # sparsify's default: from d_in and expansion_factor
        {"num_latents": 0, "expansion_factor": 5},
        {"num_latents": None, "expansion_factor": N_FEATURES // D_IN},
        {"num_latents": N_FEATURES + 1},
        {"d_in": D_IN + 1},
    ],
)
def test_sparsify_widths_are_those_of_the_weights_whatever_the_config_says(
    settings: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features = write_sparsify(tmp_path / "layers.5", W, **settings)
    assert_encodes(load(tmp_path / "layers.5"), features)
    is_contradicted = list(settings.values()) in ([N_FEATURES + 1], [D_IN + 1])
    assert ("the weights are followed" in caplog.text) == is_contradicted


def test_configs_that_say_nothing_of_widths_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    features = write_sparsify(tmp_path / "layers.5", W)
    write_json(tmp_path / "layers.5" / "cfg.json", {"k": K})
    assert_encodes(load(tmp_path / "layers.5"), features)
    features = write_dictionary(tmp_path / "dictionary", W, "AutoEncoder")
    write_json(tmp_path / "dictionary" / "config.json", {"trainer": {"dict_class": "AutoEncoder", "layer": 1}})
    assert_encodes(load(tmp_path / "dictionary"), features)
    assert "followed" not in caplog.text


@pytest.mark.parametrize("sizes", [{"dict_size": 3}, {"activation_dim": 3}])
def test_dictionary_learning_widths_are_those_of_the_weights(sizes: dict[str, Any], tmp_path: Path) -> None:
    features = write_dictionary(tmp_path, W, "GatedAutoEncoder", **sizes)
    assert_encodes(load(tmp_path), features)


def test_dictionary_learning_keeps_its_k_beside_the_weights(tmp_path: Path) -> None:
    features = write_dictionary(tmp_path, W, "AutoEncoderTopK", k=None)
    assert_encodes(load(tmp_path), features)
    write_dictionary(tmp_path, W, "AutoEncoderTopK", k=K + 1)
    with pytest.raises(SubjectError, match="trained with k = 4, and the config beside it says k = 5"):
        load(tmp_path)


@pytest.mark.parametrize("dict_class", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_dictionary_whose_threshold_was_not_learnt_yet_is_refused(dict_class: str, tmp_path: Path) -> None:
    write_dictionary(tmp_path, W, dict_class)
    stored = torch.load(tmp_path / "ae.pt")
    torch.save(stored | {"threshold": torch.tensor(-1.0)}, tmp_path / "ae.pt")
    with pytest.raises(SubjectError, match="was saved before its threshold was learnt"):
        load(tmp_path)


class _Harm:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


def test_a_pickle_of_more_than_tensors_is_not_opened(tmp_path: Path) -> None:
    write_dictionary(tmp_path, W, "AutoEncoder")
    torch.save({"encoder.weight": _Harm(tmp_path / "harmed")}, tmp_path / "ae.pt")
    with pytest.raises(SubjectError, match=r"ae\.pt is damaged, or a pickle of more than tensors"):
        load(tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_arrays_that_are_pickled_objects_are_not_opened(tmp_path: Path) -> None:
    write_gemma_scope(tmp_path, W)
    arrays = dict(np.load(tmp_path / "params.npz"))
    np.savez(tmp_path / "params.npz", allow_pickle=True, **(arrays | {"b_enc": np.array([_Harm(tmp_path / "harmed")])}))
    with pytest.raises(SubjectError, match="holds no coder that SAELens can load"):
        load(tmp_path, hook="blocks.4.hook_resid_post")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"cfg\.json is no JSON"),
        (b"[]", r"cfg\.json holds no JSON object"),
        (b'{"k": ' + b"[" * 9999, r"cfg\.json is no JSON \(nested more than"),
        (b"\xff\xfe\x00", r"cfg\.json is no JSON"),
    ],
)
def test_a_config_that_is_no_json_object_is_told_by_its_file(content: bytes, reason: str, tmp_path: Path) -> None:
    write_sparsify(tmp_path / "layers.5", W)
    (tmp_path / "layers.5" / "cfg.json").write_bytes(content)
    with pytest.raises(SubjectError, match=reason) as caught:
        load(tmp_path / "layers.5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    write_sparsify(tmp_path / "layers.5", W)
    stored = load_file(tmp_path / "layers.5" / "sae.safetensors")
    write_tensors(
        tmp_path / "layers.5" / "sae.safetensors", **(stored | {"encoder.weight": stored["encoder.weight"].to(dtype)})
    )
    with pytest.raises(SubjectError, match=r"holds encoder\.weight as \w+, which is quantised"):
        load(tmp_path / "layers.5")
