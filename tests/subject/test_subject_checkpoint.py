"""What transformers does not see in a model's files, or takes for something else."""

from collections.abc import Callable
from pathlib import Path

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
        (b"", r"config\.json is no config that transformers can load \(Expecting value"),
        (b"\xff\xfe", r"config\.json is no config that transformers can load"),
        (b"[1]", r"config\.json is no config that transformers can load \(no JSON object\)"),
        (b"null", r"config\.json is no config that transformers can load \(no JSON object\)"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", r"config\.json .*\(nested more than"),
        (b"{}", r"holds no model that transformers can load \(Unrecognized model"),
        (b'{"model_type": "unheard-of"}', r"holds no model that transformers can load \(.*unheard-of"),
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
