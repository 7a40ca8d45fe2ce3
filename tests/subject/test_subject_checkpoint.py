"""Checkpoints that transformers would make a model of, and not the one that was saved."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from autointerp.config import SubjectConfig
from autointerp.errors import SubjectError
from autointerp.subject.model import Subject, load_subject

Edit = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def load(folder: Path, dtype: str = "float32") -> Subject:
    return load_subject(SubjectConfig.model_validate({"model": str(folder), "device": "cpu", "dtype": dtype}))


def edit_weights(folder: Path, edit: Edit) -> None:
    save_file(edit(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


def edit_config(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def without(part: str) -> Edit:
    return lambda weights: {name: tensor for name, tensor in weights.items() if part not in name}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("h.2.", r"lacks 12 of the 40 weights .* \(h\.2\.attn\.c_attn\.bias, h\.2\.attn\.c_attn\.weight, .*, …\)"),
        ("h.1.mlp.c_fc.bias", r"lacks 1 of the 40 weights .* \(h\.1\.mlp\.c_fc\.bias\)"),
        ("wte", r"lacks 1 of the 40 weights .* \(wte\.weight\)"),
    ],
)
def test_weights_that_are_missing_are_not_drawn_at_random(
    part: str, said: str, saved_model: Callable[..., Path]
) -> None:
    edit_weights(folder := saved_model(), without(part))
    with pytest.raises(SubjectError, match=said):
        load(folder)


def test_weights_of_another_model_are_told_as_missing(saved_model: Callable[..., Path]) -> None:
    edit_weights(folder := saved_model(), lambda weights: {f"model.{name}.q": w for name, w in weights.items()})
    with pytest.raises(SubjectError, match=r"lacks 40 of the 40 weights that its config asks for, as a .* type gpt2"):
        load(folder)


def test_a_part_that_no_hook_point_reads_may_be_missing(saved_model: Callable[..., Path]) -> None:
    edit_weights(folder := saved_model("bert"), without("pooler"))
    assert load(folder).family == "bert"


def test_shapes_that_the_config_says_otherwise_are_named(saved_model: Callable[..., Path]) -> None:
    edit_config(folder := saved_model(), vocab_size=60)
    with pytest.raises(SubjectError, match=r"not of the shapes that its config says: wte\.weight is 50 x 16, not 60"):
        load(folder)


def test_layers_that_the_config_leaves_out_are_told(
    saved_model: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved_model()
    load(folder)
    assert not caplog.records
    edit_config(folder, n_layer=2)
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert "has layers that its config leaves out: 2; they are not run" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value: float, saved_model: Callable[..., Path]) -> None:
    def spoil(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        weights["h.1.mlp.c_fc.weight"][3, 2] = value
        return weights

    edit_weights(folder := saved_model(), spoil)
    with pytest.raises(SubjectError, match=r"weights that are not finite \(h\.1\.mlp\.c_fc\.weight\)"):
        load(folder)


def test_weights_that_half_precision_can_not_hold_say_what_to_set(saved_model: Callable[..., Path]) -> None:
    edit_weights(folder := saved_model(), lambda weights: {name: 1e6 * tensor for name, tensor in weights.items()})
    with pytest.raises(SubjectError, match=r"not finite .* or set subject\.dtype to float32"):
        load(folder, "float16")
    assert torch.isfinite(load(folder).model.get_parameter("wte.weight")).all()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda content: content[:-100], id="cut short"),
        pytest.param(lambda content: content[:100], id="cut in its header"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"version https://git-lfs.github.com/spec/v1\n", id="a pointer"),
    ],
)
def test_a_damaged_weights_file_is_one_line(spoil: Callable[[bytes], bytes], saved_model: Callable[..., Path]) -> None:
    file = (folder := saved_model()) / "model.safetensors"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(SubjectError, match=r"holds no model that transformers can load \(.+\): download it once more"):
        load(folder)


def test_a_link_of_the_hubs_cache_to_weights_that_are_gone_is_named(saved_model: Callable[..., Path]) -> None:
    file = (folder := saved_model()) / "model.safetensors"
    file.unlink()
    file.symlink_to(folder / "blobs")
    with pytest.raises(
        SubjectError, match=r"model\.safetensors can't be read: check .* where it leads if it is a link"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"config\.json is no JSON"),
        (b"\xff\xfe", r"config\.json is no JSON"),
        (b"[1]", r"config\.json holds no JSON object"),
        (b"null", r"config\.json holds no JSON object"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", r"config\.json is no JSON \(nested more than"),
        (b"{}", r"holds no model that transformers can load \(Unrecognized model"),
        (b'{"model_type": "unheard-of"}', r"holds no model that transformers can load \(.*unheard-of"),
        (b'{"model_type": ["gpt2"]}', "holds no model that transformers can load"),
        (b'{"model_type": "gpt2", "n_embd": "16"}', r"can load \(Validation error for field 'n_embd': .*expected int"),
    ],
)
def test_a_config_that_says_no_model_is_one_line(content: bytes, said: str, saved_model: Callable[..., Path]) -> None:
    ((folder := saved_model()) / "config.json").write_bytes(content)
    with pytest.raises(SubjectError, match=said) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[]", b"{", b""])
def test_a_tokenizer_file_that_is_none_is_one_line(content: bytes, saved_model: Callable[..., Path]) -> None:
    ((folder := saved_model()) / "tokenizer.json").write_bytes(content)
    with pytest.raises(SubjectError, match="comes without a tokenizer that transformers can read"):
        load(folder)


def test_a_model_that_brings_its_own_program_is_refused_without_a_question(
    saved_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(question: str = "") -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    own = {"AutoModel": "own.Own", "AutoConfig": "own.OwnConfig"}
    edit_config(folder := saved_model(), model_type="own", auto_map=own)
    (folder / "own.py").write_text("raise AssertionError('it ran')")
    with pytest.raises(SubjectError, match="contains custom code"):
        load(folder)
    assert not asked
