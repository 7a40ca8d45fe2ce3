"""A model's folder with files that are missing, damaged or at odds with each other: one line each, or told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autointerp.config import SubjectConfig
from autointerp.errors import SubjectError
from autointerp.subject.model import Subject, load_subject

Save = Callable[..., Path]
LAYER = "h.1.mlp.c_fc.weight"


def load(folder: Path) -> Subject:
    return load_subject(SubjectConfig(model=str(folder), device="cpu"))


def refusal(folder: Path) -> str:
    with pytest.raises(SubjectError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_config(folder: Path, **changes: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def change_weights(folder: Path, **changes: torch.Tensor | None) -> Path:
    file = folder / "model.safetensors"
    weights = load_file(file) | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(kept, file, metadata={"format": "pt"})
    return folder


def test_weights_that_are_missing_are_not_drawn_at_random(saved_model: Save) -> None:
    line = refusal(change_weights(saved_model(), **{LAYER: None}))
    assert f"not those that its config asks for: {LAYER} is missing" in line


def test_a_revision_of_a_folder_is_refused_instead_of_passed_over(saved_model: Save) -> None:
    with pytest.raises(SubjectError, match=r"subject.revision = 'v2' is one of the hub.*remove subject.revision"):
        load_subject(SubjectConfig(model=str(saved_model()), revision="v2", device="cpu"))


def test_a_config_of_more_layers_than_the_weights_have_is_an_error(saved_model: Save) -> None:
    line = refusal(change_config(saved_model(), n_layer=4))
    assert "h.3.attn.c_attn.bias is missing" in line
    assert "and 9 more" in line


@pytest.mark.parametrize(("changes", "name"), [({"vocab_size": 40}, "wte"), ({"n_positions": 32}, "wpe")])
def test_sizes_that_are_not_those_of_the_weights_are_an_error_that_names_both(
    changes: dict[str, int], name: str, saved_model: Save
) -> None:
    (size,) = changes.values()
    line = refusal(change_config(saved_model(), **changes))
    assert f"{name}.weight is ({50 if name == 'wte' else 64}, 16) in the files, and ({size}, 16) by the config" in line


def test_weights_of_layers_that_the_config_has_no_place_for_are_told(
    saved_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    load(change_config(saved_model(), n_layer=2))
    (line,) = caplog.messages
    assert "has no place for 11 of its weights, such as h.2." in line


def test_a_head_that_is_not_read_and_a_pooler_that_is_missing_are_no_matter(
    saved_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    load(change_weights(saved_model(), lm_head__weight=torch.ones(50, 16)))
    load(change_weights(saved_model("bert"), pooler__dense__weight=None, pooler__dense__bias=None))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "no-such"}, "does not recognize this architecture"),
        ({"dtype": "float99"}, "float99"),
        ({"activation_function": "no-such"}, "KeyError: 'no-such'"),
        ({"n_embd": "16"}, "n_embd"),
        ({"n_embd": 0}, "holds no model that transformers can load"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "holds no model that transformers can load"),
    ],
)
def test_a_config_that_can_not_be_carried_out_is_one_line(
    changes: dict[str, Any], reason: str, saved_model: Save
) -> None:
    assert reason in refusal(change_config(saved_model(), **changes))


@pytest.mark.parametrize("content", ["", "[]", "[" * 9999, "\x00\x01"])
def test_a_config_that_is_no_json_object_is_one_line(content: str, saved_model: Save) -> None:
    folder = saved_model()
    (folder / "config.json").write_text(content)
    assert "that transformers can" in refusal(folder)


@pytest.mark.parametrize("n_bytes", [0, 5, 300, -50])
def test_weights_that_are_cut_short_are_one_line(n_bytes: int, saved_model: Save) -> None:
    folder = saved_model()
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:n_bytes])
    assert "holds no model that transformers can load" in refusal(folder)


class _Harm:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


def test_a_pickle_of_more_than_tensors_is_not_opened(saved_model: Save, tmp_path: Path) -> None:
    folder = saved_model()
    (folder / "model.safetensors").unlink()
    torch.save({LAYER: _Harm(tmp_path / "harmed")}, folder / "pytorch_model.bin")
    assert "holds no model that transformers can load" in refusal(folder)
    assert not (tmp_path / "harmed").exists()


def test_code_that_comes_with_a_model_is_not_run_and_nobody_is_asked(
    saved_model: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_model()
    (folder / "modeling_own.py").write_text(f"open({str(tmp_path / 'harmed')!r}, 'w')")
    change_config(folder, model_type="own", auto_map={"AutoConfig": "modeling_own.C", "AutoModel": "modeling_own.M"})
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked on the terminal"))
    assert "that transformers can" in refusal(folder)
    assert not (tmp_path / "harmed").exists()
