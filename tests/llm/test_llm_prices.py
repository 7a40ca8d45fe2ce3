"""Where prices come from, in which order, and what is wrong with a file of prices."""

import datetime
import tomllib
from pathlib import Path

import pytest

from autointerp.assets import asset_folder
from autointerp.config import LlmConfig, ModelConfig
from autointerp.errors import PipelineError
from autointerp.llm.prices import find_prices, min_cached_tokens

OURS = tomllib.loads((asset_folder("data") / "prices.toml").read_text(encoding="utf-8"))
OURS_BY_NAME = [(provider, name) for provider, models in OURS.items() for name in models]


@pytest.fixture(autouse=True)
def no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def model(name: str = "gpt-5-mini", **settings: object) -> ModelConfig:
    return ModelConfig.model_validate({"model": name, **settings})


def users(folder: Path, text: str) -> LlmConfig:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return LlmConfig(prices=str(folder / "mine.toml"))


@pytest.mark.parametrize(("provider", "name"), OURS_BY_NAME)
def test_each_of_our_prices_says_when_and_where_it_was_read(provider: str, name: str) -> None:
    entry = OURS[provider][name]
    prices = find_prices(model(name, provider=provider), LlmConfig())
    assert (prices.input, prices.output) == (entry["input"], entry["output"])
    assert prices.source == f"{entry['source']}, {entry['as_of']}"
    assert entry["source"].startswith("https://")
    assert datetime.date(2026, 1, 1) <= entry["as_of"]
    assert 0 < entry["cached_input"] < entry["input"] <= entry.get("cache_write", entry["input"]) < entry["output"]


@pytest.mark.parametrize(
    ("provider", "dated", "base"),
    [
        ("openai", "gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
    ],
)
def test_a_name_with_a_date_has_the_prices_of_its_model(provider: str, dated: str, base: str) -> None:
    of_dated, of_base = (find_prices(model(name, provider=provider), LlmConfig()) for name in (dated, base))
    assert of_dated == of_base
    assert of_dated.are_known


@pytest.mark.parametrize("name", ["gpt-5-minimal", "gpt-5", "gpt-5-mini-fast", "GPT-5-mini"])
def test_a_model_of_another_name_has_no_price(name: str) -> None:
    prices = find_prices(model(name), LlmConfig())
    assert (prices.input, prices.cached_input, prices.output) == (None, None, None)
    assert prices.source == "nowhere"
    assert not prices.are_known


def test_the_pipeline_file_goes_before_the_users_file_and_that_before_ours(tmp_path: Path) -> None:
    mine = users(tmp_path, '[openai."gpt-5-mini"]\ninput = 7\ncached_input = 1\noutput = 8\n')
    assert find_prices(model(), LlmConfig()).input == OURS["openai"]["gpt-5-mini"]["input"]
    of_users = find_prices(model(), mine)
    assert (of_users.input, of_users.cached_input, of_users.output) == (7, 1, 8)
    assert of_users.source == str(tmp_path / "mine.toml")
    agreed = find_prices(model(usd_per_million_input=3.0, usd_per_million_output=4.0), mine)
    assert (agreed.input, agreed.output, agreed.source) == (3, 4, "the pipeline file")
    assert find_prices(model("gpt-5-nano"), mine).source.startswith("https://"), (
        "what is not in it is looked up in ours"
    )


def test_a_lists_price_of_cached_input_does_not_go_with_another_price_of_input(tmp_path: Path) -> None:
    mine = users(tmp_path, '[openai."gpt-5-mini"]\ninput = 7\ncached_input = 1\noutput = 8\n')
    assert find_prices(model(usd_per_million_input=0.5), mine).cached_input is None
    assert find_prices(model(usd_per_million_output=0.5), mine).cached_input == 1
    assert find_prices(model(usd_per_million_cached_input=0.2), mine).cached_input == 0.2


def test_our_prices_are_those_of_the_provider_and_of_no_other_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_prices(model(base_url="https://api.openai.com/v1"), LlmConfig()).are_known
    elsewhere = model(base_url="http://127.0.0.1:8000/v1")
    assert not find_prices(elsewhere, LlmConfig()).are_known
    assert min_cached_tokens(elsewhere, LlmConfig()) is None
    mine = users(tmp_path, '[openai."gpt-5-mini"]\ninput = 0\noutput = 0\nmin_cached_tokens = 64\n')
    assert find_prices(elsewhere, mine).are_known
    assert min_cached_tokens(elsewhere, mine) == 64
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert not find_prices(model(), LlmConfig()).are_known


def test_a_batch_costs_half() -> None:
    at_once, in_batch = (find_prices(model(batch=batch), LlmConfig()).cost_usd(1e6, 0, 1e6) for batch in (False, True))
    assert at_once is not None
    assert in_batch == at_once / 2


def test_a_fixed_part_is_cached_from_a_length_on_that_the_models_provider_sets() -> None:
    assert min_cached_tokens(model(), LlmConfig()) == 1024
    assert min_cached_tokens(model("claude-haiku-5-5", provider="anthropic"), LlmConfig()) == 512
    unheard_of = min_cached_tokens(model("claude-unheard-of", provider="anthropic"), LlmConfig())
    assert unheard_of == max(entry["min_cached_tokens"] for entry in OURS["anthropic"].values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[openai."m"\n', "is not valid TOML"),
        ('[openai."m"]\ninput = 1\noutput = 2\noutputs = 3\n', "openai.m.outputs: there is no such key"),
        ('[mistral."m"]\ninput = 1\noutput = 2\n', "mistral: there is no such key"),
        ('[openai."m"]\ninput = -1\noutput = 2\n', r"openai.m.input: Input should be greater than or equal to 0"),
        ('[openai."m"]\ninput = "1"\noutput = 2\n', "openai.m.input: Input should be a valid number"),
        ('[openai."m"]\ninput = 1\n', "openai.m.output: Field required"),
        ('[openai."m"]\ninput = inf\noutput = 2\n', "openai.m.input: Input should be a finite number"),
        ("openai = 3\n", "openai: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_file_of_prices_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PipelineError, match=words) as caught:
        find_prices(model(), users(tmp_path, text))
    assert str(tmp_path / "mine.toml") in str(caught.value)
    assert "\n" not in caught.value.problem.replace(text, "")


def test_a_missing_file_of_prices_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(PipelineError, match=r"can't be read .*correct llm.prices"):
            find_prices(model(), LlmConfig(prices=str(path)))
