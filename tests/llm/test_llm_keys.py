"""Keys come from the environment and go to the server, and nowhere else."""

import json
import logging
import pickle
import traceback
from base64 import b64encode

import pytest

from autointerp.config import ModelConfig
from autointerp.errors import KeyRefusedError, LanguageModelError, NoKeyError
from autointerp.llm import CallFailure, Journal, Reply, connect
from autointerp.llm.providers.keys import blotted, read_key
from tests.llm.asking import KEY, Asker
from tests.loopback.server import Always, Http, LoopbackServer, Outcome, Provider, Raw, Say, Script

GOOD = Say('{"label": "months"}')


def test_no_key_stops_before_anything_is_sent(
    journal: Journal, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{provider.upper()}_API_KEY"
    monkeypatch.delenv(variable)
    with pytest.raises(NoKeyError, match=f"environment variable {variable} is not set"):
        connect(ModelConfig(provider=provider, model="m"), journal)
    monkeypatch.setenv(variable, "  ")
    with pytest.raises(NoKeyError):
        connect(ModelConfig(provider=provider, model="m"), journal)


def test_a_variable_that_the_config_names_is_the_only_one_read(
    asker: Asker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        with pytest.raises(NoKeyError, match="OTHER_KEY"):
            asker.ask_one(server, provider=provider, api_key_env="OTHER_KEY")
        monkeypatch.setenv("OTHER_KEY", "another")
        asker.ask_one(server, provider=provider, api_key_env="OTHER_KEY")
        assert [call.key for call in server.calls] == ["another"]


@pytest.mark.parametrize("key", [KEY, "gsk_0aB1cD2eF3gH4iJ5kL6mN7", "AIzaSy0123456789abcdefghijklmnop"])
def test_a_key_put_in_place_of_a_variable_is_refused_with_the_file_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="not the name of an environment variable") as raised:
        ModelConfig(model="m", api_key_env=key)
    assert key not in str(raised.value)


@pytest.mark.parametrize("name", ["KEY", "openrouter_api_key_2", "_K2", "MYCOMPANYSOPENAIKEY2026"])
def test_a_variable_may_have_any_name_that_is_one(name: str) -> None:
    assert ModelConfig(model="m", api_key_env=name).api_key_env == name


def test_a_server_that_the_file_names_gets_no_key_that_the_file_does_not_name(
    asker: Asker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", KEY)
    monkeypatch.setenv(
        f"{provider.upper()}_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}\nX-Api-Key: {KEY}\nX-G: {KEY}"
    )
    with LoopbackServer(Always(GOOD)) as server:
        assert isinstance(asker.ask_one(server, provider=provider, api_key_env=None), Reply)
        assert server.heads[0]["authorization"] == "Bearer no-key"
        assert KEY not in str(server.heads)


def test_a_server_that_wants_a_key_says_how_to_give_it_one(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(Http(401, "who are you?"))) as server, pytest.raises(KeyRefusedError) as raised:
        asker.ask_one(server, provider=provider, api_key_env=None)
    assert "none was sent: name the environment variable that holds this server's key by `api_key_env`" in str(
        raised.value
    )


def test_the_environments_server_gets_the_environments_key_and_the_run_says_so(
    asker: Asker, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", server.base_url(provider))
        asker.ask_one(server, provider=provider, base_url=None, api_key_env=None)
        assert server.calls[0].key == KEY
        told = f"{provider.upper()}_BASE_URL sends the calls of m to {server.base_url(provider)}, with the key of"
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [f"{told} {provider.upper()}_API_KEY"]


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.evil.org/v1", False),
        ("https://evilapi.openai.com.org/v1", False),
        ("https://notapi.openai.com/v1", False),
    ],
)
def test_the_providers_key_goes_to_the_providers_own_servers_only(url: str, is_own: bool) -> None:
    assert read_key(ModelConfig(model="m", base_url=url)) == (KEY if is_own else "no-key")


def test_a_redirection_is_not_followed_with_key_and_prompt(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(GOOD)) as other:
        path = "/v1/chat/completions" if provider == "openai" else "/v1/messages"
        away = Http(307, headers={"Location": f"{other.url}{path}?token=1"})
        with (
            LoopbackServer(Always(away)) as server,
            pytest.raises(LanguageModelError, match=f"sends its callers on to {other.url}{path}: .* `base_url`"),
        ):
            asker.ask_one(server, provider=provider)
        assert other.calls == []


@pytest.mark.parametrize("settings", [{}, {"batch": True}], ids=["calls", "batches"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "http://ada:pass-word@host:port"),
        ("HTTPS_PROXY", "ftp://ada:pass-word@host"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ],
)
def test_a_proxy_that_is_none_is_told_without_its_password(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, settings: dict[str, bool]
) -> None:
    monkeypatch.setenv(variable, value)
    with LoopbackServer(Always(GOOD)) as server:
        with pytest.raises(LanguageModelError, match="HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE") as raised:
            asker.ask_one(server, **settings)
        assert "pass-word" not in "".join(traceback.format_exception(raised.value))


LOGIN = "ada:pass-word/1"


@pytest.mark.parametrize(
    "url", [f"http://{LOGIN.replace('/', '%2F')}@host/v1", "http://host/v1?key=pass-word", "a:pass-word@h"]
)
def test_a_password_or_a_key_in_base_url_is_refused_with_the_file_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"environment") as raised:
        ModelConfig(model="m", base_url=url)
    assert "pass-word" not in str(raised.value)


def test_a_password_in_the_environments_address_is_used_and_kept_from_everybody_else(
    asker: Asker, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = f"Basic {b64encode(LOGIN.encode()).decode()}"
    with LoopbackServer(Script(Http(500, f"hello {LOGIN}, pass-word/1, {sent}"), then=Always(GOOD))) as server:
        address = server.base_url(provider).replace("//", f"//{LOGIN.replace('/', '%2F')}@")
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", address)
        asker.ask_one(server, provider=provider, base_url=None, api_key_env=None)
        assert [head["authorization"] for head in server.heads] == [sent, sent]
    assert "pass-word" not in caplog.text
    assert sent not in caplog.text


@pytest.mark.parametrize("key", ["key", "1", "EMPTY", "no"])
def test_an_answer_is_not_changed_where_it_holds_the_key(
    asker: Asker, provider: Provider, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)
    words = "no 1 key is EMPTY"
    with LoopbackServer(Always(Say(f'{{"label": "{words}"}}', tokens=(11, 0, 1)))) as server:
        outcome = asker.ask_one(server, provider=provider)
        assert server.calls[0].key == key
    assert isinstance(outcome, Reply)
    assert (outcome.answer.label, outcome.usage.input_tokens) == (words, 11)


@pytest.mark.parametrize(
    "fault",
    [
        Http(500, f"you sent {KEY}"),
        Http(400, f"you sent {KEY}"),
        Raw(f"<html>{KEY}</html>"),
        Raw(f'{{"error": {{"message": "you sent {KEY}", "code": 400}}}}'),
    ],
    ids=["500", "400", "html", "error with 200"],
)
def test_the_key_is_in_no_failure_log_or_journal(
    asker: Asker, provider: Provider, caplog: pytest.LogCaptureFixture, fault: Outcome
) -> None:
    caplog.set_level(logging.DEBUG)
    with LoopbackServer(Always(fault)) as server:
        outcome = asker.ask_one(server, provider=provider, max_attempts=2)
        assert server.calls[0].key == KEY
    assert isinstance(outcome, CallFailure)
    assert outcome.message
    assert KEY not in repr(outcome)
    assert caplog.text
    assert KEY not in caplog.text
    assert not [r for r in caplog.records if KEY in repr(r.__dict__)]
    asker.journal.close()
    files = list(asker.journal.path.parent.glob("journal.sqlite*"))
    assert files
    assert not [f for f in files if KEY.encode() in f.read_bytes()]


def test_a_key_is_known_in_what_json_makes_of_it(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk/test/0123456789")
    escaped = Raw(r'{"error": {"message": "you sent sk\/test\u002f0123456789"}}', status=401)
    with LoopbackServer(Always(escaped)) as server, pytest.raises(KeyRefusedError, match=r"you sent \[key\]"):
        asker.ask_one(server)


def test_the_key_is_in_no_error_and_no_traceback(asker: Asker, provider: Provider) -> None:
    with (
        LoopbackServer(Always(Http(401, f"Incorrect API key provided: {KEY}"))) as server,
        pytest.raises(KeyRefusedError, match=r"\[key\]") as raised,
    ):
        asker.ask_one(server, provider=provider)
    error = raised.value
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY.encode() not in pickle.dumps(error)
    assert error.__context__ is None
    assert KEY not in repr(error)


def test_the_key_is_in_no_representation(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(then=Always(GOOD))) as server:
        model = connect(asker.config(server, provider), asker.journal)
        assert KEY not in repr(model) + str(model) + repr(model.usage) + model.name


ODD_KEY = 'sk/"test"\\0123-é😀'
ODDLY = json.dumps(ODD_KEY)[1:-1]
WRITTEN = {
    "as it is": ODD_KEY,
    "as JSON": ODDLY,
    "with a slash escaped": ODDLY.replace("/", r"\/"),
    "by code": "".join(f"\\u{ord(c):04X}" for c in ODD_KEY[:-1]) + r"\ud83d\uDE00",
    "twice": json.dumps(ODDLY)[1:-1],
    "three times": json.dumps(json.dumps(ODDLY)[1:-1])[1:-1],
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_secret_is_blotted_however_it_is_written_and_the_rest_stays(written: str) -> None:
    for body in (
        'an odd quote " {{"error": "you sent {0}"}}',
        'data: {{"a": "\\n{0}"}}\n\ndata: {{"error": {{"message": "\\u0041 {0}", "code": 429}}}}\n\ndata: [DONE]\n\n',
        "<p>{0}</p>",
        '{{"error": "cut off behind {0}',
    ):
        assert blotted(body.format(written), (ODD_KEY,)) == body.format("[key]")


def test_of_events_that_escape_what_they_say_every_one_is_read(asker: Asker) -> None:
    refusal = json.dumps({"error": {"message": "the prompt is too long"}})
    events = Raw(f'data: {{"status": "in \\"queue\\""}}\n\ndata: {refusal}\n\n', status=400)
    with LoopbackServer(Always(events)) as server:
        outcome = asker.ask_one(server)
    assert isinstance(outcome, CallFailure)
    assert outcome.error_type == "TooLong"
