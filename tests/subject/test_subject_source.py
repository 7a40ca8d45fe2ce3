import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.devices import find_device
from autointerp.errors import SubjectError, WidthMismatchError
from autointerp.records import RowFirings
from autointerp.subject.coder import coder_folder, load_coder
from autointerp.subject.model import load_subject, load_tokenizer
from autointerp.subject.source import Source, Sources, load_sources, short_width

CPU = torch.device("cpu")
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "standard": {},
    "topk": {"k": 4},
    "jumprelu": {},
    "gated": {},
    "transcoder": {"d_out": 16, "apply_b_dec_to_input": False},
    "jumprelu_transcoder": {"d_out": 16, "apply_b_dec_to_input": False},
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers nothing, and is not asked again and again."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_the_embedded_model_is_loaded_ready_to_run() -> None:
    subject = load_subject(SubjectConfig())
    assert (subject.name, subject.family, subject.dtype) == ("all-minilm-l6-v2", "bert", torch.float32)
    assert not subject.model.training
    assert subject.tokenizer("a feature")["input_ids"][0] == subject.tokenizer.cls_token_id


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_coder_encodes_as_saelens_does(
    architecture: str, make_coder: Callable[..., Any], tmp_path: Path
) -> None:
    original = make_coder(architecture, metadata={"hook_name": "blocks.1.hook_mlp_out"}, **ARCHITECTURES[architecture])
    original.save_model(tmp_path)
    coder = load_coder(CoderConfig(path=str(tmp_path)), CPU)
    activations = torch.randn(5, 7, 16)
    assert torch.equal(coder.encode(activations), original.encode(activations))
    assert torch.equal(coder.decoder, original.W_dec)
    assert (coder.architecture, coder.hook_name, coder.d_in, coder.n_features, coder.is_signed) == (
        architecture, "blocks.1.hook_mlp_out", 16, 64, False,
    )  # fmt: skip


def test_a_coder_saved_in_half_precision_runs_in_the_precision_asked_for(saved_coder: Callable[..., Path]) -> None:
    folder = saved_coder(dtype="float16")
    coder = load_coder(CoderConfig(path=str(folder)), CPU)
    assert coder.encode(torch.randn(3, 16)).dtype == torch.float32
    half = load_coder(CoderConfig(path=str(folder), dtype="bfloat16"), CPU)
    assert half.encode(torch.randn(3, 16)).dtype == torch.bfloat16


def test_what_a_coder_says_of_its_training_is_kept(saved_coder: Callable[..., Path]) -> None:
    folder = saved_coder(
        metadata={"prepend_bos": True, "model_from_pretrained_kwargs": {"center_writing_weights": True}}
    )
    coder = load_coder(CoderConfig(path=str(folder)), CPU)
    assert coder.prepends_bos is True
    assert coder.model_kwargs == {"center_writing_weights": True}


def test_a_hook_in_the_pipeline_file_wins_over_the_coders_own(saved_coder: Callable[..., Path]) -> None:
    coder = load_coder(CoderConfig(path=str(saved_coder()), hook="blocks.2.hook_mlp_out"), CPU)
    assert coder.hook_name == "blocks.2.hook_mlp_out"


def test_data_names_a_folder_that_comes_with_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert coder_folder("data/some-coder").is_absolute()
    (tmp_path / "data" / "some-coder").mkdir(parents=True)
    assert coder_folder("data/some-coder") == Path("data/some-coder")


def test_a_source_encodes_what_the_model_computes(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    source = _load(saved_model("gpt2"), saved_coder("standard", "blocks.1.hook_resid_post"))
    tokens, mask = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.inference_mode():
        hidden = source.subject.model(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    expected = source.coder.sae.encode(hidden[2])
    (read,) = Sources(source.subject, (source,)).read_counted(tokens, mask, mask.bool())
    torch.testing.assert_close(read, hidden[2][mask.bool()])
    torch.testing.assert_close(dense(source.encode_firings(read), 7, 64), expected[mask.bool()])
    assert source.source_id == "gpt2@1-res-64"


def test_a_coder_trained_on_centred_weights_reads_centred_activations(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    folder = saved_coder("standard", metadata={"model_from_pretrained_kwargs": {"center_writing_weights": True}})
    source = _load(saved_model("gpt2"), folder)
    tokens = torch.tensor([[3, 1, 4, 1]])
    with torch.inference_mode():
        hidden = source.subject.model(input_ids=tokens, output_hidden_states=True).hidden_states[2]
    expected = source.coder.sae.encode(hidden - hidden.mean(-1, keepdim=True))
    mask = torch.ones_like(tokens)
    (read,) = Sources(source.subject, (source,)).read_counted(tokens, mask, mask.bool())
    torch.testing.assert_close(dense(source.encode_firings(read), 4, 64), expected[0])


def test_a_source_is_named_by_the_config_or_by_hook_and_width(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    model, coder = saved_model("gpt2"), saved_coder("topk", "blocks.2.hook_mlp_out")
    subject_config, coder_config = SubjectConfig(model=str(model), name="tiny"), CoderConfig(path=str(coder))
    named = coder_config.model_copy(update={"name": "mine"})
    sources = load_sources(subject_config, [coder_config, named]).sources
    assert [source.source_id for source in sources] == ["tiny@2-mlp-64", "tiny@mine"]


def test_two_sources_of_one_name_are_an_error(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    subject_config, coder_config = SubjectConfig(model=str(saved_model("gpt2"))), CoderConfig(path=str(saved_coder()))
    with pytest.raises(SubjectError, match=r"two coders make sources of the name gpt2@1-res-64: give each \[\[coder"):
        load_sources(subject_config, [coder_config, coder_config])


@pytest.mark.parametrize(
    ("width", "text"), [(64, "64"), (2048, "2k"), (24576, "24k"), (131072, "131k"), (1048576, "1m")]
)
def test_widths_are_written_as_neuronpedia_writes_them(width: int, text: str) -> None:
    assert short_width(width) == text


def test_a_coder_of_another_width_is_an_error_that_names_both(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    with pytest.raises(WidthMismatchError, match=r"width 24, but blocks\.1\.hook_resid_post of gpt2 has width 16"):
        _load(saved_model("gpt2"), saved_coder(d_in=24))


@pytest.mark.parametrize(
    ("trained_on", "is_told"),
    [
        ("gpt2-small", False),
        ("openai-community/gpt2", False),
        ("GPT2", False),
        (None, False),
        ("gpt2-medium", True),
        ("google/gemma-2-2b", True),
    ],
)
def test_a_coder_that_names_another_model_is_told_whatever_the_owners_name(
    trained_on: str | None,
    is_told: bool,
    saved_model: Callable[..., Path],
    saved_coder: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, coder = saved_model("gpt2"), saved_coder(metadata={"model_name": trained_on})
    _load(model, coder)
    assert [f"was trained on {trained_on}, and reads gpt2 here" in line for line in caplog.messages] == [True] * is_told
    caplog.clear()
    renamed = model.rename(model.with_name("mine"))
    load_sources(SubjectConfig(model=str(renamed), name="gemma-2-2b"), [CoderConfig(path=str(coder))])
    assert bool(caplog.messages) == (trained_on not in (None, "google/gemma-2-2b"))


def test_a_coder_of_another_width_names_the_model_that_it_was_trained_on(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    with pytest.raises(WidthMismatchError, match=r"reads activations of gemma-2-2b of width 24, but .* has width 16"):
        _load(saved_model("gpt2"), saved_coder(d_in=24, metadata={"model_name": "gemma-2-2b"}))


def test_what_may_not_be_read_is_an_error_that_says_so(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    model, coder = saved_model("gpt2"), saved_coder()
    _load(model, coder)  # all that is imported is, before rights are given up
    (coder / "cfg.json").chmod(0)
    model.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(SubjectError, match=r"can't be read \(Permission denied\): check its permissions"):
            load_coder(CoderConfig(path=str(coder)), CPU)
        with pytest.raises(SubjectError, match=r"Permission denied|can't be read|holds no model"):
            load_subject(SubjectConfig(model=str(model), device="cpu"))
    finally:
        os.seteuid(user)
        model.chmod(0o700)


def test_a_missing_model_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="there is no folder"):
        load_subject(SubjectConfig(model=str(tmp_path / "nowhere")))


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="holds no model"):
        load_subject(SubjectConfig(model=str(tmp_path)))


def test_a_model_without_a_tokenizer_is_an_error(saved_model: Callable[..., Path]) -> None:
    with pytest.raises(SubjectError, match="comes without a tokenizer"):
        load_tokenizer(SubjectConfig(model=str(saved_model("gpt2", with_tokenizer=False))))


@pytest.mark.usefixtures("no_network")
def test_a_hub_name_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(SubjectError, match=r"no-such-owner/no-such-model at revision v2 .* Hugging Face hub"):
        load_subject(SubjectConfig(model="no-such-owner/no-such-model", revision="v2"))


@pytest.mark.parametrize("device", ["cuda:97", "no-such-kind", "xpu"])
def test_a_device_that_is_not_there_is_an_error(device: str) -> None:
    with pytest.raises(SubjectError, match="device"):
        find_device(device)


def test_a_missing_coder_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="there is no coder folder"):
        load_coder(CoderConfig(path=str(tmp_path / "nowhere")), CPU)


@pytest.mark.parametrize("content", ["", "{}", '{"architecture": "unheard-of", "d_in": 4, "d_sae": 8}'])
def test_a_folder_that_holds_no_coder_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text(content)
    with pytest.raises(SubjectError, match="holds no coder that SAELens can load") as caught:
        load_coder(CoderConfig(path=str(tmp_path)), CPU)
    assert "\n" not in str(caught.value)


def test_a_cut_short_weights_file_is_an_error(saved_coder: Callable[..., Path]) -> None:
    folder = saved_coder()
    weights = folder / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(SubjectError, match=r"sae_weights\.safetensors is cut short or damaged"):
        load_coder(CoderConfig(path=str(folder)), CPU)


def test_a_coder_that_names_no_hook_is_an_error(saved_coder: Callable[..., Path]) -> None:
    with pytest.raises(SubjectError, match="does not say which hook point"):
        load_coder(CoderConfig(path=str(saved_coder(hook_name=None))), CPU)


def test_a_misspelt_release_or_id_is_an_error_with_close_matches() -> None:
    with pytest.raises(SubjectError, match="did you mean gpt2-small-res-jb"):
        load_coder(CoderConfig(release="gpt2-smal-res-jb", sae_id="blocks.8.hook_resid_pre"), CPU)
    with pytest.raises(SubjectError, match=r"did you mean .*blocks\.8\.hook_resid_pre"):
        load_coder(CoderConfig(release="gpt2-small-res-jb", sae_id="blocks.8.resid_pre"), CPU)


@pytest.mark.usefixtures("no_network")
def test_a_release_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(SubjectError, match="can't be had from the Hugging Face hub"):
        load_coder(CoderConfig(release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre"), CPU)


def _load(model: Path, coder: Path) -> Source:
    (source,) = load_sources(SubjectConfig(model=str(model)), [CoderConfig(path=str(coder))]).sources
    return source


def dense(pieces: Iterable[RowFirings], n_rows: int, n_features: int) -> torch.Tensor:
    """The activations that firings stand for."""
    activations = torch.zeros(n_rows, n_features)
    for found in pieces:
        activations[found.row, found.feature] = torch.from_numpy(found.activation)
    return activations
