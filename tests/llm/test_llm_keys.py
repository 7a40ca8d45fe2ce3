"""Keys come from the environment and go to the server, and nowhere else."""

import logging
import pickle
import traceback

import pytest

from autointerp.config import ModelConfig
from autointerp.errors import KeyRefusedError, NoKeyError
from autointerp.llm import CallFailure, Journal, Reply, connect
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


def test_a_key_put_in_place_of_a_variable_is_not_shown(journal: Journal) -> None:
    with pytest.raises(NoKeyError, match="not the name of an environment variable") as raised:
        connect(ModelConfig(model="m", api_key_env=KEY), journal)
    assert KEY not in str(raised.value)


def test_the_usual_variable_is_sent(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Always(GOOD)) as server:
        asker.ask_one(server, provider=provider)
        assert server.calls[0].key == KEY


def test_a_compatible_server_needs_no_key(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with LoopbackServer(Always(GOOD)) as server:
        assert isinstance(asker.ask_one(server), Reply)
        assert server.calls[0].key == "no-key"


@pytest.mark.parametrize(
    "fault",
    [
        Http(500, f"you sent {KEY}"),
        Http(400, f"you sent {KEY}"),
        Raw(f"<html>{KEY}</html>"),
        Say(f"your key is {KEY}", stop="refusal"),
        Say(f"your key is {KEY}"),
    ],
    ids=["500", "400", "html", "refusal", "answer"],
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
