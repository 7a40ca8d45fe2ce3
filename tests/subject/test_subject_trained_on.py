"""What a coder says that it was trained on, where it is put on something else: told, and no error where sizes fit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.errors import SubjectError, WidthMismatchError
from autointerp.subject.coder import load_coder
from autointerp.subject.source import load_sources

Save = Callable[..., Path]
CPU = torch.device("cpu")


@pytest.fixture
def put_on(saved_model: Save, saved_coder: Save, tmp_path: Path) -> Callable[[str, str], None]:
    """Puts a coder that names one model on a folder of another name."""

    def load(of_coder: str, of_subject: str) -> None:
        folder = tmp_path / of_subject
        folder.parent.mkdir(parents=True, exist_ok=True)
        saved_model("gpt2").rename(folder)
        coder = saved_coder(metadata={"model_name": of_coder})
        load_sources(SubjectConfig(model=str(folder), device="cpu"), [CoderConfig(path=str(coder))])

    return load


@pytest.mark.parametrize(
    ("of_coder", "of_subject"),
    [
        ("gpt2-small", "openai-community/gpt2"),
        ("openai-community/gpt2", "GPT2"),
        ("gpt2", "gpt2-small"),
        ("/data/models/gpt2", "here/gpt2"),
        ("C:\\models\\gpt2", "gpt2"),
        ("Qwen/Qwen3_0.6B", "qwen3-0.6b"),
        ("my-model", "hub/models--owner--my-model/snapshots/0a1b2c"),
        ("", "gpt2"),
    ],
)
def test_one_model_by_two_names_is_one(
    of_coder: str, of_subject: str, put_on: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    put_on(of_coder, of_subject)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("of_coder", "of_subject"),
    [
        ("pythia-70m-deduped", "gpt2"),
        ("gpt2-medium", "gpt2"),
        ("google/gemma-2-2b", "google/gemma-2-2b-it"),
        ("gpt2-small", "checkpoint-500"),
    ],
)
def test_another_model_is_told_in_one_line(
    of_coder: str, of_subject: str, put_on: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    put_on(of_coder, of_subject)
    (line,) = caplog.messages
    assert f"was trained on {of_coder}, and reads {Path(of_subject).name} here; if that is the same model, set" in line


def test_another_model_is_told_once_for_several_coders_and_before_widths_that_do_not_fit(
    saved_model: Save, saved_coder: Save, caplog: pytest.LogCaptureFixture
) -> None:
    coder = CoderConfig(path=str(saved_coder(metadata={"model_name": "pythia-70m"})))
    subject = SubjectConfig(model=str(saved_model("gpt2")), device="cpu")
    load_sources(subject, [coder, coder.model_copy(update={"name": "again"})])
    assert len(caplog.messages) == 1
    wide = CoderConfig(path=str(saved_coder(d_in=24, metadata={"model_name": "gpt2-medium"})))
    with pytest.raises(WidthMismatchError):
        load_sources(subject, [wide])
    assert "was trained on gpt2-medium" in caplog.messages[1]


def test_a_subject_is_also_what_the_pipeline_calls_it(
    saved_model: Save, saved_coder: Save, caplog: pytest.LogCaptureFixture
) -> None:
    coder = CoderConfig(path=str(saved_coder(metadata={"model_name": "my-finetune"})))
    subject = SubjectConfig(model=str(saved_model("gpt2")), name="my-finetune", device="cpu")
    load_sources(subject, [coder])
    assert caplog.messages == []


def test_a_hook_in_the_pipeline_that_is_not_the_coders_own_is_told(
    saved_coder: Save, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(saved_coder())
    load_coder(CoderConfig(path=path, hook="blocks.1.hook_resid_post"), CPU)
    assert caplog.messages == []
    coder = load_coder(CoderConfig(path=path, hook="blocks.2.hook_mlp_out"), CPU)
    assert coder.hook_name == "blocks.2.hook_mlp_out"
    (line,) = caplog.messages
    assert line.endswith("says that it reads blocks.1.hook_resid_post; coder.hook = blocks.2.hook_mlp_out is followed")


def test_a_hook_that_stands_for_another_librarys_name_is_not_told(
    saved_coder: Save, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(saved_coder(hook_name="model.layers.1"))
    load_coder(CoderConfig(path=path, hook="blocks.1.hook_resid_post"), CPU)
    assert caplog.messages == []


def test_a_folder_of_coders_lists_them(saved_coder: Save) -> None:
    folder = saved_coder()
    folder.rename(folder.parent / "layer_1")
    with pytest.raises(SubjectError, match=r"holds no coder itself, but folders with coders: layer_1: set coder\.path"):
        load_coder(CoderConfig(path=str(folder.parent)), CPU)


def test_metadata_that_say_nothing_want_a_hook(saved_coder: Save) -> None:
    _write_config(folder := saved_coder(), metadata=None)
    with pytest.raises(SubjectError, match="does not say which hook point it reads"):
        load_coder(CoderConfig(path=str(folder)), CPU)


def _write_config(folder: Path, **values: object) -> None:
    file = folder / "cfg.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
