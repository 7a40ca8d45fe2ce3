"""What is sent: structured answers, the cached prefix, settings; and servers that can't do structured answers."""

import sys

import pytest

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm import Reply, connect
from autointerp.llm.answers import answer_schema, parse_answer
from autointerp.llm.connect import connect_provider
from autointerp.llm.protocol import AnswerModel
from autointerp.llm.providers import address
from autointerp.score.judges.llm import Verdicts
from tests.llm.asking import KEY, Asker, label_request
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Provider, Say, Script

GOOD = Say('{"label": "months"}')
LABEL_SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}


def test_openai_is_asked_for_a_strict_structured_answer(asker: Asker) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        asker.ask(server, label_request(temperature=0.0))
        assert server.calls[0].body == {
            "model": "m",
            "messages": [{"role": "system", "content": "Name it."}, {"role": "user", "content": "what is it?"}],
            "max_tokens": 100,
            "temperature": 0.0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": LABEL_SCHEMA},
            },
        }


def test_openai_itself_is_given_the_limit_that_its_reasoning_models_know(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
        monkeypatch.setitem(address._OWN, "openai", server.openai_url)
        asker.ask(server, base_url=None)
        assert server.calls[0].body["max_completion_tokens"] == 100
        assert "max_tokens" not in server.calls[0].body
        assert "temperature" not in server.calls[0].body


def test_anthropic_is_asked_for_a_structured_answer_with_the_prefix_marked_for_its_cache(asker: Asker) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        asker.ask(server, label_request(temperature=0.5), provider="anthropic")
        assert server.calls[0].body == {
            "model": "m",
            "max_tokens": 100,
            "temperature": 0.5,
            "system": [{"type": "text", "text": "Name it.", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "what is it?"}],
            "output_config": {"format": {"type": "json_schema", "schema": LABEL_SCHEMA}},
        }


@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_server_without_structured_answers_is_asked_for_text_and_remembered(
    asker: Asker, provider: Provider, status: int
) -> None:
    field = {"openai": "response_format", "anthropic": "output_config"}[provider]

    def plain(call: Call) -> Outcome:
        refusal = Http(status, f"{field} is not supported")
        return refusal if call.schema else Say('```json\n{"label": "months"}\n```')

    with LoopbackServer(Always(plain)) as server:
        outcomes = asker.ask(
            server, *[label_request(f"feature {i}") for i in range(5)], provider=provider, concurrency=1
        )
        assert [o.answer.label for o in outcomes if isinstance(o, Reply)] == ["months"] * 5
        assert [call.schema is not None for call in server.calls] == [True] + [False] * 5


@pytest.mark.parametrize("url", ["localhost:8000/v1", "http://", "ftp://host/v1", "http://[::1/v1", "http://h:99999/"])
def test_a_base_url_that_is_no_address_is_said_before_anything_is_sent(asker: Asker, url: str) -> None:
    with pytest.raises(LanguageModelError, match="is not the address of a server"):
        connect(ModelConfig(model="m", base_url=url), asker.journal)


def test_an_sdk_that_is_not_installed_is_said_with_how_to_install_it(
    asker: Asker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, provider, None)
    with pytest.raises(LanguageModelError, match=rf"pip install 'autointerp\[{provider}\]'"):
        connect(ModelConfig(provider=provider, model="m"), asker.journal)


def test_the_repair_is_the_golden_one(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(Say("{}"), then=Always(GOOD))) as server:
        asker.ask_one(server, provider=provider)
        assert server.calls[1].turns == (
            ("user", "what is it?"),
            ("assistant", "{}"),
            (
                "user",
                "Your answer can't be used: the answer does not fit its schema (label: Field required). Answer again"
                " with one JSON object of this schema and nothing else:\n"
                '{"additionalProperties":false,"properties":{"label":{"type":"string"}},"required":["label"],'
                '"type":"object"}',
            ),
        )


def test_an_answer_with_half_a_surrogate_pair_in_it_is_an_answer(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Say('{"label": "keys \ud83d"}'))) as server:
        reply = asker.ask_one(server, provider=provider)
        assert isinstance(reply, Reply)
        assert reply.text == '{"label": "keys \ufffd"}'
        assert len(server.calls) == 1


def test_schemas_hold_only_what_both_providers_accept() -> None:
    pair = {"type": "array", "items": {"type": "integer"}}
    assert answer_schema(Verdicts) == {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": pair}},
        "required": ["answers"],
        "additionalProperties": False,
    }


def test_a_field_may_be_called_title() -> None:
    class Titled(AnswerModel):
        title: str

    assert answer_schema(Titled)["properties"] == {"title": {"type": "string"}}


def test_numbers_are_not_read_from_strings_and_nan_is_none() -> None:
    for pair in ('["1", 90]', "[1.5, 90]", "[true, 90]", "[1, 0.9]", "[1, NaN]", "[1, null]", '{"1": 90}'):
        assert isinstance(parse_answer(f'{{"answers": [{pair}]}}', Verdicts), str)


def test_the_provider_says_where_it_calls(asker: Asker) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        assert connect_provider(asker.config(server), KEY).base_url == f"{server.openai_url}/"


def test_the_fixed_part_is_counted_as_cached_from_the_second_call_on(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        outcomes = asker.ask(server, label_request("a"), label_request("b"), provider=provider, concurrency=1)
    assert [o.usage.cached_input_tokens for o in outcomes] == [0, len("Name it.") // 4]
