"""Chats with the planted model, which says the last word again: plain, and as variants."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp import Variant
from autointerp.errors import AutointerpError, StoreError, SubjectError, TimeLimitError, TooLongError, VariantError
from autointerp.library.chat.completions import ChatStream
from autointerp.library.chat.replies import ChatCompletion
from autointerp.library.client import Client

SOURCE = "planted@0-res-12"
MESSAGES = [{"role": "user", "content": "the river"}]
Ask = Callable[..., ChatCompletion]


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="module")
def ask(client: Client) -> Ask:
    def create(model: Any = None, messages: Any = MESSAGES, **settings: Any) -> ChatCompletion:
        reply = client.chat.completions.create(
            messages, model, **{"max_completion_tokens": 4, "temperature": 0, **settings}
        )
        assert isinstance(reply, ChatCompletion)
        return reply

    return create


@pytest.fixture
def piano(client: Client) -> Variant:
    return client.variant().set(7, 4.0, unit="max")


def test_a_reply_has_openai_s_shape(ask: Ask) -> None:
    reply = ask()
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.content == reply.choices[0].message["content"] == str(reply)
    assert (reply.choices[0].finish_reason, reply.model) == ("length", SOURCE)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (6, 4, 10)
    assert (reply.edited.n_prompt, reply.edited.n_generated, reply.edited.n_features) == (0, 0, 0)
    assert reply.as_plain()["choices"][0]["message"] == {"role": "assistant", "content": str(reply)}


def test_a_variant_changes_what_is_said_and_tells_how_many_tokens_it_edited(ask: Ask, piano: Variant) -> None:
    plain, steered = ask(), ask(piano)
    assert "piano" not in str(plain)
    assert str(steered) == " piano" * 4
    assert (steered.edited.n_prompt, steered.edited.n_generated, steered.edited.n_features) == (6, 3, 1)


def test_an_empty_variant_changes_nothing(ask: Ask, client: Client) -> None:
    empty = ask(client.variant())
    assert (str(empty), empty.edited.n_prompt) == (str(ask()), 0)


def test_units_are_turned_into_the_coder_s_own(ask: Ask, client: Client, piano: Variant) -> None:
    largest = float(client.run.activation_histograms([7]).max_activation[0])
    same = client.variant().set(7, 4.0 * largest, unit="activation")
    assert str(ask(same)) == str(ask(piano))
    with pytest.raises(VariantError, match=f"{SOURCE}:3 fires nowhere in the corpus"):
        ask(client.variant().set(3, 1.0, unit="max"))


def test_a_stream_says_what_the_whole_answer_does(client: Client, ask: Ask, piano: Variant) -> None:
    pieces = list(client.chat.completions.create(MESSAGES, piano, stream=True, max_completion_tokens=4, temperature=0))
    whole = ask(piano)
    assert "".join(piece.choices[0].delta.content for piece in pieces) == str(whole)
    assert [piece.choices[0].gf_token_index for piece in pieces[:-1]] == [0, 1, 2, 3]
    assert [piece.choices[0].finish_reason for piece in pieces] == [None] * 4 + ["length"]
    assert (pieces[-1].usage, pieces[-1].edited) == (whole.usage, whole.edited)
    assert {piece.id for piece in pieces} == {pieces[0].id}
    assert pieces[0].object == "chat.completion.chunk"


def test_a_stream_that_is_closed_gives_nothing_more(client: Client) -> None:
    with client.chat.completions.create(MESSAGES, stream=True, max_completion_tokens=30) as stream:
        next(stream)
    assert list(stream) == []


def test_a_model_is_named_by_its_source_or_alone(ask: Ask, client: Client) -> None:
    assert str(ask("planted")) == str(ask(SOURCE)) == str(ask(Variant("planted"))) == str(ask())
    by_name = ask(Variant("planted").set(7, 4.0, unit="max"))
    assert str(by_name) == " piano" * 4
    with pytest.raises(StoreError, match="there is no model 'gpt2' here: models are planted, planted@0-res-12"):
        ask("gpt2")
    with pytest.raises(StoreError, match="there is no model 'gpt2@5-res' here"):
        ask(Variant("gpt2@5-res").set(3, 1))


def test_a_system_prompt_stands_first_where_there_is_none(ask: Ask) -> None:
    assert ask(system_prompt="the piano").usage.prompt_tokens == 10
    said = [{"role": "system", "content": "the"}, *MESSAGES]
    assert ask(messages=said, system_prompt="the piano").usage.prompt_tokens == ask(messages=said).usage.prompt_tokens


@pytest.mark.parametrize("broken", ["{{ raise_exception('no system') if message['role'] == 'system' }}", ""])
def test_a_template_that_takes_no_system_message_gets_it_in_the_user_s_words(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    own = autointerp.open(client.run.name)
    own.chat.template = str(tmp_path / "template.jinja")
    (tmp_path / "template.jinja").write_text(
        "{% for message in messages %}" + broken + "{% if message['role'] != 'system' %}"
        "{{ message['content'] }} {% endif %}{% endfor %}"
    )
    with caplog.at_level(logging.WARNING):
        replies = [
            own.chat.completions.create(MESSAGES, system_prompt="the ship", max_completion_tokens=1) for _ in range(2)
        ]
    assert [reply.notes for reply in replies] == [replies[0].notes] * 2
    assert "takes no system message" in replies[0].notes[0]
    assert sum("takes no system message" in record.message for record in caplog.records) == 1
    assert replies[0].usage.prompt_tokens > 4


def test_a_model_without_a_template_is_told_what_to_give(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    own = autointerp.open(client.run.name)
    live = own.run.live.of_source(own.sources()[0])
    monkeypatch.setattr(live.sources.subject.tokenizer, "chat_template", None)
    with pytest.raises(SubjectError, match=r"has no chat template: .* or name a file by client\.chat\.template"):
        own.chat.completions.create(MESSAGES)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"messages": []}, "the conversation is empty"),
        ({"messages": "hello"}, "'hello' is no conversation"),
        ({"messages": [{"content": "hello"}]}, "the conversation has no role in message 1"),
        ({"messages": [{"role": "user", "content": 3}]}, "the conversation has no text in message 1"),
        ({"messages": [7]}, "the conversation is list of int"),
        ({"temperature": -0.1}, "temperature can't be -0.1: give a number from 0 to 2"),
        ({"temperature": float("nan")}, "temperature can't be nan"),
        ({"top_p": 0}, "top_p can't be 0: give a number above 0 to 1"),
        ({"seed": 1.5}, "1.5 is no seed"),
        ({"stop": [""]}, "[''] can't be stop texts"),
        ({"max_completion_tokens": 0}, "max_completion_tokens can't be 0"),
        ({"system_prompt": 3}, "3 is no system prompt"),
        ({"timeout": 0}, "timeout can't be 0"),
        ({"timeout": "5"}, "timeout can't be '5'"),
        ({"stop": 5}, "5 can't be stop texts"),
        ({"temperature": 10**400}, "temperature can't be 1"),
    ],
)
def test_what_makes_no_sense_is_one_line(ask: Ask, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(AutointerpError) as error:
        ask(**settings)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_half_a_surrogate_pair_is_no_word_and_a_number_no_template(client: Client) -> None:
    with pytest.raises(AutointerpError, match="give texts that are one token each"):
        client.chat.logits(MESSAGES, filter_vocabulary=["\ud800"])
    with pytest.raises(AutointerpError, match="no single token"):
        client.features.attribute("we saw a ship", "last", instead_of="\ud800")
    number: Any = 5
    with pytest.raises(AutointerpError, match="5 is no file of a chat template"):
        client.chat.template = number
    assert client.chat.template is None


def test_a_prompt_longer_than_the_window_is_refused(ask: Ask) -> None:
    with pytest.raises(TooLongError, match="shorten it"):
        ask(messages=[{"role": "user", "content": "river " * 80}])


def ended(answer: Any) -> None:
    for _ in answer if isinstance(answer, ChatStream) else ():
        pass


def test_an_answer_that_takes_too_long_is_ended(client: Client) -> None:
    for stream in (False, True):
        with pytest.raises(TimeLimitError, match="the answer took longer than 0"):
            ended(client.chat.completions.create(MESSAGES, max_completion_tokens=50, timeout=1e-4, stream=stream))
