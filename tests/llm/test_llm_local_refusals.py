"""What is said where a language model in this process can't be asked, or not as it stands."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from safetensors.torch import load_file, save_file

from autointerp.config import ExplainConfig, LlmConfig, ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.explain.registry import load_explainer
from autointerp.llm import CallFailure, Journal, Reply, Request, connect
from autointerp.llm.connect import check_access
from autointerp.llm.dry_run.planned_model import Planner
from autointerp.llm.prices import find_prices
from autointerp.llm.providers.local import generation, loading, worker
from autointerp.llm.window import ask_in_window
from tests.llm.local_asking import SYSTEM, Choice, ask, choice, local
from tests.llm.tiny_chat import WINDOW, save_tiny_chat


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def refusal(config: ModelConfig, journal: Path) -> str:
    with pytest.raises(LanguageModelError) as told:
        ask(config, journal, choice("Is it?"))
    return str(told.value)


def test_a_model_too_large_for_memory_is_refused_before_it_is_loaded(tmp_path: Path, journal: Path) -> None:
    model = save_tiny_chat(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config |= {"hidden_size": 65536, "num_hidden_layers": 200, "intermediate_size": 262144, "num_attention_heads": 512}
    config |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128000}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    said = refusal(local(model, dtype="bfloat16"), journal)
    assert f"the model {model} needs " in said
    assert " GB of memory in bfloat16, and cpu has " in said
    assert said.endswith("use a smaller model, or another device")


FULL = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", FULL, ids=["cuda", "cpu"])
@pytest.mark.parametrize("n_read_before", [0, 3], ids=["alone", "in the trial of batches"])
def test_a_model_that_leaves_no_room_for_questions_is_told_and_not_taken_for_one_without_batches(
    tmp_path: Path, journal: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, n_read_before: int
) -> None:
    read, n_read = generation.Generator._read, 0

    def full(*of: Any) -> Any:
        nonlocal n_read
        n_read += 1
        if n_read > n_read_before:
            raise error
        return read(*of)

    monkeypatch.setattr(generation.Generator, "_read", full)
    model = local(save_tiny_chat(tmp_path / "model"))
    said = refusal(model, journal)
    assert "cpu has room for the model" in said
    assert "and none for a question to it: use a smaller model" in said


def test_models_that_nobody_asks_make_room(tiny_chat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_models", {})
    ask(local(tiny_chat, context_window=300), tmp_path / "one.sqlite", choice("Is it?"))
    (idle,) = worker._models.values()
    free = iter([1, 10**12, 10**12, 10**12])
    monkeypatch.setattr("autointerp.devices.free_memory", lambda device: next(free))
    other = save_tiny_chat(tmp_path / "other")
    assert isinstance(ask(local(other), tmp_path / "two.sqlite", choice("Is it?"))[0], Reply)
    assert idle._loaded is None


def test_a_model_that_had_no_room_is_loaded_once_there_is_some(
    tiny_chat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_models", {})
    with monkeypatch.context() as full:
        full.setattr("autointerp.devices.free_memory", lambda device: 1)
        assert "cpu has 0.0 GB left" in refusal(local(tiny_chat), tmp_path / "one.sqlite")
    assert isinstance(ask(local(tiny_chat), tmp_path / "two.sqlite", choice("Is it?"))[0], Reply)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/nowhere/a-model", "there is no folder /nowhere/a-model: check model"),
        ("packaged:no-such", "there is no packaged model 'no-such': set model to packaged:smollm2-135m-instruct"),
    ],
)
def test_a_model_that_is_not_there_is_told_before_it_is_asked(model: str, said: str) -> None:
    with pytest.raises(LanguageModelError, match=said):
        check_access(local(model))


def test_a_folder_without_a_model_is_told(tmp_path: Path, journal: Path) -> None:
    assert f"the folder {tmp_path} holds no model that transformers can load" in refusal(local(str(tmp_path)), journal)


def test_an_encoder_is_told_to_be_none(tmp_path: Path, journal: Path) -> None:
    model = save_tiny_chat(tmp_path / "model", family="bert", num_key_value_heads=None)
    said = refusal(local(model), journal)
    assert "reads a text from both sides" in said
    assert said.endswith("set model to a causal language model")


def test_a_device_that_is_not_there_is_told(tiny_chat: str, journal: Path) -> None:
    assert refusal(local(tiny_chat, device="cuda:7"), journal) == (
        "this machine has no device 'cuda:7': set device to auto or cpu"
    )


def test_what_is_not_installed_is_told(tiny_chat: str, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refusal(local(tiny_chat), journal) == (
        "the package `llguidance` is not installed: pip install 'autointerp[local]'"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"provider": "local", "model": "m", "base_url": "http://h/v1"}, "base_url is of servers"),
        ({"provider": "local", "model": "m", "batch": True}, "batch is of servers"),
        ({"provider": "local", "model": "m", "usd_per_million_input": 1.0}, "usd_per_million_input is of servers"),
        ({"provider": "local"}, 'provider = "local" needs a model'),
        ({"provider": "openai", "device": "cuda"}, "device is of models in this process"),
    ],
)
def test_keys_of_the_other_kind_of_model_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=said):
        ModelConfig(**settings)


def test_a_question_longer_than_the_window_is_too_long(tiny_chat: str, journal: Path) -> None:
    (outcome,) = ask(local(tiny_chat), journal, choice("x" * WINDOW))
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == "TooLong"
    assert f"the context length is {WINDOW} tokens, and there are " in outcome.message


def test_the_answer_gets_the_room_that_a_long_question_leaves(tiny_chat: str, journal: Path) -> None:
    async def run() -> Reply[Choice] | CallFailure:
        config = local(tiny_chat)
        with Journal(journal) as paid:
            async with connect(config, paid) as model:
                asked = choice("x" * 200, max_output_tokens=400)
                return await ask_in_window(model, asked, config, least_output=50)

    assert isinstance(asyncio.run(run()), Reply)


def test_a_batch_that_the_device_has_no_room_for_is_asked_in_halves(
    tiny_chat: str, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = generation.Generator.write

    def of_little_room(self: Any, questions: Any, is_unwanted: Any) -> Any:
        sizes.append(len(questions))
        if len(questions) > 1 or len(questions[0].tokens) > 300:
            raise torch.OutOfMemoryError
        return write(self, questions, is_unwanted)

    monkeypatch.setattr(generation.Generator, "write", of_little_room)
    outcomes = ask(local(tiny_chat), journal, choice("a"), choice("b"), choice("c"), choice("x" * 250))
    assert [type(outcome) for outcome in outcomes] == [Reply, Reply, Reply, CallFailure]
    assert isinstance(outcomes[3], CallFailure)
    assert (outcomes[3].error_type, outcomes[3].message[:26]) == ("TooLong", "cpu has no room for a ques")
    assert max(sizes) > 1


def test_an_error_of_the_model_ends_the_run_and_leaves_nobody_waiting(
    tiny_chat: str, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a kernel failed")

    monkeypatch.setattr(generation.Generator, "write", fail)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        ask(local(tiny_chat), journal, choice("a"), choice("b"))


def test_other_weights_under_the_same_name_are_another_model(tmp_path: Path) -> None:
    model = save_tiny_chat(tmp_path / "model")
    explainer = load_explainer("examples")
    config = ExplainConfig(explainer="examples", model=local(model))
    before = explainer.settings_fingerprint(config), loading.model_identity(local(model))
    assert explainer.settings_fingerprint(config) == before[0]
    weights = load_file(tmp_path / "model" / "model.safetensors")
    save_file({name: w + 1 for name, w in weights.items()}, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    assert explainer.settings_fingerprint(config) != before[0]
    assert loading.model_identity(local(model)) != before[1]
    assert loading.model_identity(ModelConfig()) == (), "what servers' models wrote stays theirs"


def test_a_dry_run_counts_by_the_models_own_tokenizer_and_costs_nothing(tiny_chat: str, tmp_path: Path) -> None:
    config = local(tiny_chat)
    planner = Planner(LlmConfig(max_cost_usd=1.0), tmp_path / "journal.sqlite")

    async def plan() -> tuple[int, float | None]:
        planned = planner.connect(config)
        await planned.model.ask(Request(SYSTEM, "Is it?", Choice, 40))
        await planned.model.close()
        return planned.model.usage.input_tokens, planned.model.usage.cost_usd

    try:
        planned = asyncio.run(plan())
    finally:
        planner.close()
    (asked,) = ask(config, tmp_path / "other.sqlite", Request(SYSTEM, "Is it?", Choice, 40))
    assert planned == (asked.usage.input_tokens, 0.0)
    assert find_prices(config, LlmConfig()).are_known


def test_another_chat_template_is_another_model(tmp_path: Path) -> None:
    model = save_tiny_chat(tmp_path / "model")
    before = loading.model_identity(local(model))
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(template.read_text() + " ", encoding="utf-8")
    assert loading.model_identity(local(model)) != before


def test_weights_that_are_no_numbers_are_told(tmp_path: Path, journal: Path) -> None:
    model = save_tiny_chat(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    save_file(
        {name: w * torch.nan if "down_proj" in name else w for name, w in weights.items()}, file, {"format": "pt"}
    )
    assert "has weights that are not finite (model.layers.0.mlp.down_proj.weight)" in refusal(local(model), journal)


def test_logits_that_are_no_numbers_are_told(tiny_chat: str, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = generation.Generator._read

    def overflowing(*args: Any) -> Any:
        logits, mask = read(*args)
        return logits * torch.inf, mask

    monkeypatch.setattr(worker, "_models", {})
    monkeypatch.setattr(generation.Generator, "_read", overflowing)
    assert f"{tiny_chat} gives logits that are no numbers: set dtype" in refusal(local(tiny_chat), journal)


def test_a_tokenizer_of_whole_words_is_told(tmp_path: Path, journal: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model = save_tiny_chat(tmp_path / "model")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "fox": 1, "hen": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(model)
    assert f"no answer can be held to a schema with the tokenizer of {model}" in refusal(local(model), journal)


@pytest.mark.parametrize(
    "text", ["", " \n", "a \ud800 b", "\x00", "⟦slot 0⟧ <|im_end|> ⟦slot 7⟧", "{{ 7 * 7 }}{% raw %}"]
)
def test_odd_texts_are_asked_like_any_other(tiny_chat: str, journal: Path, text: str) -> None:
    assert isinstance(ask(local(tiny_chat), journal, choice(text))[0], Reply)
