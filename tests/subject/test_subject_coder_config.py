"""What a coder's config says is carried out, told, or an error; its widths are those of its weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autointerp.config import CoderConfig
from autointerp.errors import SubjectError
from autointerp.subject.coder import Coder, load_coder

CPU = torch.device("cpu")
D_IN, WIDTH = 16, 64
HOOK = "blocks.1.hook_resid_post"
Save = Callable[..., Path]


def load(folder: Path, **settings: str) -> Coder:
    return load_coder(CoderConfig.model_validate({"path": str(folder)} | settings), CPU)


def refusal(folder: Path, **settings: str) -> str:
    with pytest.raises(SubjectError) as caught:
        load(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def inputs() -> torch.Tensor:
    return torch.randn(9, D_IN, generator=torch.Generator().manual_seed(3))


def change_config(folder: Path, **changes: Any) -> Path:
    """Write other values into a saved config; None takes a key out."""
    file = folder / "cfg.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


def change_metadata(folder: Path, **changes: Any) -> Path:
    return change_config(folder, metadata=json.loads((folder / "cfg.json").read_text())["metadata"] | changes)


def change_weights(folder: Path, **changes: torch.Tensor | None) -> Path:
    file = folder / "sae_weights.safetensors"
    weights = load_file(file) | changes
    save_file({name: tensor.contiguous() for name, tensor in weights.items() if tensor is not None}, file)
    return folder


@pytest.fixture
def old_coder(tmp_path: Path, make_coder: Callable[..., Any]) -> Callable[..., Path]:
    """Makes a coder with a config from before SAELens 6."""

    def save(**settings: Any) -> Path:
        folder = tmp_path / "old"
        folder.mkdir(exist_ok=True)
        save_file(make_coder("standard").state_dict(), folder / "sae_weights.safetensors")
        config = {"d_in": D_IN, "d_sae": WIDTH, "dtype": "torch.float32", "hook_name": HOOK, "hook_layer": 1}
        (folder / "cfg.json").write_text(json.dumps(config | settings))
        return folder

    return save


@pytest.mark.parametrize("key", ["activation_fn", "activation_fn_str"])
@pytest.mark.parametrize("name", ["tanh-relu", "topk-", "TopK", "gelu", 7])
def test_an_activation_function_that_is_not_carried_out_is_an_error_that_names_it(
    key: str, name: object, old_coder: Save
) -> None:
    assert f"has the activation function {name!r}, which SAELens no longer carries out" in refusal(
        old_coder(**{key: name})
    )


def test_an_old_config_with_relu_or_none_named_is_relu(old_coder: Save) -> None:
    expected = load(old_coder(activation_fn_str="relu")).encode(inputs())
    assert torch.equal(load(old_coder()).encode(inputs()), expected)
    assert (expected > 0).sum() > 0


def test_an_old_config_with_topk_runs_with_its_k(old_coder: Save) -> None:
    coder = load(old_coder(activation_fn_str="topk", activation_fn_kwargs={"k": 3}))
    assert coder.architecture == "topk"
    assert ((coder.encode(inputs()) > 0).sum(dim=1) <= 3).all()
    before = load(old_coder()).encode(inputs())
    torch.testing.assert_close(coder.encode(inputs()).amax(dim=1), before.amax(dim=1))


@pytest.mark.parametrize("arguments", [{}, {"k": None}, {"signed": False}, None])
def test_topk_without_its_k_is_an_error(arguments: dict[str, Any] | None, old_coder: Save) -> None:
    assert "does not say with which k" in refusal(old_coder(activation_fn_str="topk", activation_fn_kwargs=arguments))


def test_topk_that_keeps_signs_is_an_error(old_coder: Save) -> None:
    line = refusal(old_coder(activation_fn_str="topk", activation_fn_kwargs={"k": 3, "signed": True}))
    assert "signed = True, which SAELens does not carry out" in line


@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
@pytest.mark.parametrize("k", [0, -1, WIDTH + 1, 3.0, "3", True])
def test_a_k_that_can_not_be_is_an_error(architecture: str, k: object, saved_coder: Save) -> None:
    folder = change_config(saved_coder(architecture, k=4), k=k)
    assert f"is wrong: k is {k!r}" in refusal(folder)


def test_a_coder_that_does_not_say_its_k_gets_none_by_default(saved_coder: Save) -> None:
    assert "is wrong: it does not say k" in refusal(change_config(saved_coder("topk"), k=None))


def test_a_k_of_the_whole_width_keeps_all_that_is_above_zero(saved_coder: Save) -> None:
    features = load(change_config(saved_coder("topk"), k=WIDTH)).encode(inputs())
    assert torch.equal(features, load(saved_coder("standard")).encode(inputs()))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"apply_b_dec_to_input": "false"}, "apply_b_dec_to_input is 'false'"),
        ({"apply_b_dec_to_input": 1}, "apply_b_dec_to_input is 1"),
        ({"normalize_activations": "rms"}, "normalize_activations must be none"),
        ({"reshape_activations": "hook_q"}, "reshape_activations is 'hook_q'"),
        ({"reshape_activations": "hook_z"}, "should only be called for hook_z SAEs"),
        ({"architecture": "no-such"}, "of the architecture no-such, which is not known here"),
        ({"architecture": "temporal"}, "makes features of what came before a token"),
        ({"activation_fn": "tanh-relu"}, "activation function 'tanh-relu'"),
        ({"activation_fn": "relu", "activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu'"),
        (
            {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}},
            "topk does not go with the architecture jumprelu",
        ),
        ({"rescale_acts_by_decoder_norm": True}, "does not go with the architecture jumprelu"),
        ({"metadata": 5}, "metadata is 5, no JSON object"),
        ({"metadata": ["hook_name"]}, "metadata is ['hook_name'], no JSON object"),
        ({"activation_fn_kwargs": [4]}, "activation_fn_kwargs is [4], no JSON object"),
    ],
)
def test_a_value_that_is_not_carried_out_is_an_error_that_names_it(
    changes: dict[str, Any], reason: str, saved_coder: Save
) -> None:
    assert reason in refusal(change_config(saved_coder("jumprelu"), **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hook_name": 5}, "hook_name is 5"),
        ({"hook_name": ["a"]}, "hook_name is ['a']"),
        ({"prepend_bos": "false"}, "prepend_bos is 'false'"),
        ({"model_from_pretrained_kwargs": "fold_ln"}, "model_from_pretrained_kwargs is 'fold_ln'"),
        ({"model_from_pretrained_kwargs": {"fold_ln": "no"}}, "model_from_pretrained_kwargs.fold_ln is 'no'"),
        ({"hook_head_index": 0}, "was trained on one head of attention alone (hook_head_index = 0)"),
        ({"hook_head_index": 5}, "was trained on one head of attention alone (hook_head_index = 5)"),
        ({"hook_head_index_out": 3}, "was trained on one head of attention alone (hook_head_index = 3)"),
        ({"hook_layer": 2}, "says two layers: hook_name = 'blocks.1.hook_resid_post' and hook_layer = 2"),
    ],
)
def test_metadata_that_is_not_carried_out_is_an_error_that_names_it(
    changes: dict[str, Any], reason: str, saved_coder: Save
) -> None:
    assert reason in refusal(change_metadata(saved_coder("jumprelu"), **changes))


@pytest.mark.parametrize("key", ["hook_head_index", "hook_point_head_index"])
def test_one_head_of_attention_is_an_error_in_an_old_config_too(key: str, old_coder: Save) -> None:
    assert "one head of attention alone (hook_head_index = 2)" in refusal(old_coder(**{key: 2}))


def test_an_old_config_that_says_two_layers_wants_a_hook(old_coder: Save) -> None:
    folder = old_coder(hook_layer=0)
    assert "says two layers" in refusal(folder)
    assert load(folder, hook="blocks.0.hook_resid_post").hook_name == "blocks.0.hook_resid_post"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seqpos_slice": [5, None]}, "on the positions 5: of each block alone"),
        ({"seqpos_slice": [None]}, None),
        ({"model_from_pretrained_kwargs": {"checkpoint_index": 3}}, "loaded with checkpoint_index = 3"),
        ({"model_from_pretrained_kwargs": {"center_unembed": True, "n_devices": 2, "first_n_layers": None}}, None),
    ],
)
def test_what_is_not_done_here_but_changes_no_formula_is_told(
    changes: dict[str, Any], told: str | None, saved_coder: Save, caplog: pytest.LogCaptureFixture
) -> None:
    load(change_metadata(saved_coder(), **changes))
    assert [told in line for line in caplog.messages] == [True] if told is not None else caplog.messages == []


@pytest.mark.parametrize("changes", [{"d_sae": 3}, {"d_in": 99}, {"d_sae": None, "d_in": None}])
@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated", "matching_pursuit"])
def test_widths_are_those_of_the_weights_whatever_the_config_says(
    architecture: str, changes: dict[str, Any], saved_coder: Save, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load(saved_coder(architecture))
    coder = load(change_config(saved_coder(architecture), **changes))
    assert (coder.d_in, coder.d_out, coder.n_features) == (D_IN, D_IN, WIDTH)
    assert torch.equal(coder.encode(inputs()), expected.encode(inputs()))
    assert len(caplog.messages) == sum(value is not None for value in changes.values())


def test_a_transcoders_three_widths_are_those_of_the_weights(saved_coder: Save) -> None:
    settings = {"d_out": 12, "apply_b_dec_to_input": False}
    coder = load(change_config(saved_coder("transcoder", **settings), d_in=1, d_out=2, d_sae=3))
    assert (coder.d_in, coder.d_out, coder.n_features) == (D_IN, 12, WIDTH)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("W_dec", torch.ones(D_IN, WIDTH), "W_dec is 16 x 64, not 64 x 16"),
        ("W_enc", torch.ones(WIDTH, D_IN), "W_dec is 64 x 16, not 16 x 64"),
        ("W_dec", torch.ones(WIDTH), "has a W_dec of the shape 64, not one of width by features"),
        ("W_enc", torch.ones(D_IN, 0), "has a W_enc of the shape 16 x 0"),
        ("W_dec", None, "has no W_dec"),
        ("W_enc", None, "W_enc is missing"),
        ("threshold", None, "threshold is missing"),
        ("threshold", torch.ones(WIDTH - 1), "threshold is 63, not 64"),
        ("threshold", torch.tensor(1.0), "threshold is a single number, not 64"),
        ("b_enc", torch.ones(WIDTH + 1), "b_enc is 65, not 64"),
        ("b_mag", torch.ones(WIDTH), "b_mag has no place in it"),
        ("b_enc", torch.full((WIDTH,), torch.nan), "weights that are not finite (b_enc)"),
        ("W_enc", torch.full((D_IN, WIDTH), torch.inf), "weights that are not finite (W_enc)"),
        ("threshold", torch.full((WIDTH,), torch.nan), "weights that are not finite (threshold)"),
    ],
)
def test_weights_that_do_not_go_together_are_an_error_that_names_them(
    name: str, value: torch.Tensor | None, reason: str, saved_coder: Save
) -> None:
    assert reason in refusal(change_weights(saved_coder("jumprelu"), **{name: value}))


def test_weights_that_another_architecture_has_are_not_passed_over(saved_coder: Save) -> None:
    folder = change_config(saved_coder("jumprelu"), architecture="standard")
    assert "threshold has no place in it" in refusal(folder)


def test_weights_that_half_precision_can_not_hold_say_so(saved_coder: Save) -> None:
    folder = change_weights(saved_coder(), b_enc=torch.full((WIDTH,), 1e6))
    assert "set coder.dtype to float32" in refusal(folder, dtype="float16")
    assert load(folder).n_features == WIDTH


def test_a_scale_that_brings_weights_out_of_half_precision_is_told(saved_coder: Save) -> None:
    folder = change_config(saved_coder("standard"), normalize_activations="expected_average_only_in")
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 1e9}')
    assert "set coder.dtype to float32" in refusal(folder, dtype="float16")
    assert load(folder).n_features == WIDTH


def test_factors_of_finetuning_scale_the_directions_and_not_the_features(saved_coder: Save) -> None:
    plain = load(saved_coder())
    factors = torch.linspace(0.5, 2, WIDTH)
    folder = change_weights(saved_coder(), scaling_factor=factors)
    coder = load(change_config(folder, finetuning_scaling_factor=True))
    assert torch.equal(coder.encode(inputs()), plain.encode(inputs()))
    torch.testing.assert_close(coder.decoder, factors[:, None] * plain.decoder)


@pytest.mark.parametrize(("d_in", "width"), [(1, 1), (1, 5), (7, 1)])
def test_the_narrowest_coders_run(d_in: int, width: int, saved_coder: Save) -> None:
    coder = load(saved_coder("standard", d_in=d_in, d_sae=width))
    assert coder.encode(torch.ones(2, d_in)).shape == (2, width)


def test_a_folder_with_spaces_and_letters_of_any_script_or_a_link_to_it_is_read(
    saved_coder: Save, tmp_path: Path
) -> None:
    folder = saved_coder().rename(tmp_path / "kodierer ä 特徴")
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert load(folder).n_features == load(tmp_path / "link").n_features == WIDTH


def test_a_file_that_is_missing_a_folder_or_a_link_to_nowhere_is_told_with_what_is_wanted(saved_coder: Save) -> None:
    folder = saved_coder()
    weights = folder / "sae_weights.safetensors"
    weights.unlink()
    assert "saelens (cfg.json and sae_weights.safetensors)" in refusal(folder)
    weights.symlink_to(folder / "nowhere")
    assert "saelens (cfg.json and sae_weights.safetensors)" in refusal(folder)
    weights.unlink()
    weights.mkdir()
    assert "saelens (cfg.json and sae_weights.safetensors)" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"x" * 10_000])
def test_weights_that_are_no_safetensors_are_told_by_their_file(content: bytes, saved_coder: Save) -> None:
    folder = saved_coder()
    (folder / "sae_weights.safetensors").write_bytes(content)
    assert "sae_weights.safetensors is cut short or damaged" in refusal(folder)
