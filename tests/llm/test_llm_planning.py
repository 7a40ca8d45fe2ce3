"""Models that are planned and not asked: what they count, and that they leave the journal alone."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from autointerp.config import LlmConfig, ModelConfig
from autointerp.errors import LanguageModelError, RunError
from autointerp.llm import Journal, Reply
from autointerp.llm.dry_run.planned_model import PlannedModel, Planner
from autointerp.llm.protocol import RawAnswer, Request
from autointerp.llm.providers.openai import read_completion
from tests.llm.asking import Asker, Label, label_request
from tests.loopback.server import Always, LoopbackServer, Say

FIXED = "Name it. " * 100
PRICES = """
[openai."old"]
input = 1.0
cached_input = 0.1
output = 10.0
min_cached_tokens = 200

[openai."new"]
input = 1.0
cached_input = 0.1
cache_write = 2.0
output = 10.0
min_cached_tokens = 200

[anthropic."c"]
input = 1.0
cached_input = 0.1
cache_write = 2.0
output = 10.0
min_cached_tokens = 200
"""


def request(number: int, system: str = FIXED) -> Request[Label]:
    return Request(system, f"{number:04d}" * 100, Label, 100)


def planned(config: ModelConfig, folder: Path, requests: Sequence[Request[Label]]) -> PlannedModel:
    """The model after it was given the requests, one after another."""
    (folder / "prices.toml").write_text(PRICES, encoding="utf-8")
    planner = Planner(LlmConfig(prices=str(folder / "prices.toml")), folder / "journal.sqlite")

    async def ask() -> PlannedModel:
        model = planner.connect(config)
        for one in requests:
            assert isinstance(await model.model.ask(one), Reply)
        await model.model.close()
        return model

    try:
        return asyncio.run(ask())
    finally:
        planner.close()


def test_a_fixed_part_is_read_from_the_cache_from_its_second_call_on(tmp_path: Path) -> None:
    model = planned(ModelConfig(model="old"), tmp_path, [request(n) for n in range(3)])
    usage = model.model.usage
    n_fixed, n_own = len(FIXED) // 4, 100
    assert (usage.n_calls, usage.input_tokens, usage.cached_input_tokens) == (3, 3 * (n_fixed + n_own), 2 * n_fixed)
    assert usage.cost_usd == pytest.approx(
        ((n_fixed + 3 * n_own) * 1.0 + 2 * n_fixed * 0.1 + usage.output_tokens * 10.0) / 1e6
    )


def test_a_fixed_part_that_is_too_short_is_not(tmp_path: Path) -> None:
    model = planned(ModelConfig(model="old"), tmp_path, [request(n, FIXED[:790]) for n in range(3)])
    assert model.model.usage.cached_input_tokens == 0


@pytest.mark.parametrize(("provider", "name", "n_written"), [("anthropic", "c", 225), ("openai", "new", 225 + 3 * 100)])
def test_what_is_written_to_the_cache_is_paid_for(tmp_path: Path, provider: str, name: str, n_written: int) -> None:
    """Anthropic writes the part that is marked; OpenAI, where it asks for writing, whatever is not there yet."""
    config = ModelConfig.model_validate({"provider": provider, "model": name})
    usage = planned(config, tmp_path, [request(n) for n in range(3)]).model.usage
    n_fresh = usage.input_tokens - usage.cached_input_tokens - n_written
    paid = n_fresh * 1.0 + usage.cached_input_tokens * 0.1 + n_written * 2.0 + usage.output_tokens * 10.0
    assert usage.cost_usd == pytest.approx(paid / 1e6)


def test_what_openai_says_it_wrote_to_its_cache_is_read() -> None:
    usage = {"prompt_tokens": 1300, "completion_tokens": 9}
    details = {"prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1200}}
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    answer = read_completion(200, json.dumps({"choices": [choice], "usage": {**usage, **details}}))
    assert isinstance(answer, RawAnswer)
    assert (answer.input_tokens, answer.cached_input_tokens, answer.cache_write_tokens) == (1300, 100, 1200)


def test_what_is_asked_twice_is_counted_once(tmp_path: Path) -> None:
    assert planned(ModelConfig(model="old"), tmp_path, [request(1), request(1)]).model.usage.n_calls == 1


def test_answers_of_the_journal_cost_nothing_and_are_given_as_they_are(tmp_path: Path) -> None:
    with LoopbackServer(Always(Say('{"label": "months"}'))) as server, Journal(tmp_path / "journal.sqlite") as journal:
        asker = Asker(journal)
        config = asker.config(server)
        asker.ask(server, label_request("paid"))
    before = (tmp_path / "journal.sqlite").read_bytes()
    model = planned(config, tmp_path, [label_request("paid"), label_request("not paid")])
    assert model.model.usage.n_calls == 1
    assert model.counted == "estimated from 1 answered calls of this model"
    assert (tmp_path / "journal.sqlite").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["journal.sqlite", "prices.toml"]


def test_a_refusal_is_counted_as_a_call_since_the_run_asks_again(tmp_path: Path) -> None:
    with LoopbackServer(Always(Say("no", stop="refusal"))) as server, Journal(tmp_path / "journal.sqlite") as journal:
        asker = Asker(journal)
        config = asker.config(server)
        asker.ask(server, label_request("refused"))
    assert planned(config, tmp_path, [label_request("refused")]).model.usage.n_calls == 1


def test_a_journal_of_an_older_version_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    with LoopbackServer(Always(Say('{"label": "months"}'))) as server, Journal(tmp_path / "journal.sqlite") as journal:
        asker = Asker(journal)
        config = asker.config(server)
        asker.ask(server, label_request("paid"))
    columns = "key, text, stop, model, input_tokens, cached_input_tokens, output_tokens, created_at"
    with sqlite3.connect(tmp_path / "journal.sqlite") as old:
        old.execute(f"CREATE TABLE kept AS SELECT {columns} FROM answers")
        for name in [row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]:
            if name != "kept":
                old.execute(f"DROP TABLE {name}")
        old.execute(
            "CREATE TABLE answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, stop TEXT NOT NULL, model TEXT NOT NULL,"
            " input_tokens INTEGER NOT NULL, cached_input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,"
            " created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
        )
        old.execute(f"INSERT INTO answers ({columns}) SELECT {columns} FROM kept")
        old.execute("DROP TABLE kept")
        old.execute("PRAGMA user_version = 0")
    old.close()
    before = (tmp_path / "journal.sqlite").read_bytes()
    model = planned(config, tmp_path, [label_request("paid"), label_request("not paid")])
    assert model.model.usage.n_calls == 1
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match=r"the journal .* can't be used"):
        Planner(LlmConfig(), tmp_path / "journal.sqlite")


def test_an_address_that_is_none_is_told(tmp_path: Path) -> None:
    planner = Planner(LlmConfig(), tmp_path / "journal.sqlite")
    with pytest.raises(LanguageModelError, match="is not the address of a server"):
        planner.connect(ModelConfig(base_url="localhost"))
    planner.close()
