"""What the unmodified client of OpenAI gets from a run that is served."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from autointerp.identity import stable_uuid
from autointerp.library.chat.completions import ChatStream
from autointerp.library.client import Client
from autointerp.serve.openai_asked import PASSED_OVER, REFUSED, Completion
from autointerp.serve.serving import Serving
from tests.docs.pages import ROOT, read_page
from tests.docs.world import SERVED_AT, in_small
from tests.serve.asking import SOURCE, ask, told

RIVER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "the river"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[OpenAI]:
    with OpenAI(api_key="unused", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def ours(serving: Serving) -> Client:
    return serving.client


@pytest.fixture(scope="module")
def piano(ours: Client) -> dict[str, Any]:
    return ours.variant().set(7, 4.0, unit="max").controller


def test_an_answer_is_what_the_library_answers(client: OpenAI, ours: Client) -> None:
    reply = client.chat.completions.create(model="planted", messages=RIVER, max_tokens=5, temperature=0.7, seed=3)
    expected = ours.chat.completions.create(RIVER, max_completion_tokens=5, temperature=0.7, top_p=1, seed=3)
    assert reply.choices[0].message.content == str(expected)
    assert reply.choices[0].message.role == "assistant"
    assert (reply.choices[0].finish_reason, reply.model) == ("length", SOURCE)
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (6, 5, 11)


def test_a_controller_steers_and_the_answer_tells_what_was_edited(client: OpenAI, piano: dict[str, Any]) -> None:
    settings: Any = {"model": SOURCE, "messages": RIVER, "max_tokens": 4, "temperature": 0}
    plain = client.chat.completions.create(**settings)
    steered = client.chat.completions.create(**settings, extra_body={"controller": piano})
    assert "piano" not in str(plain.choices[0].message.content)
    assert steered.choices[0].message.content == " piano" * 4
    edited: Any = steered.to_dict()["edited"]
    assert (edited["n_prompt"], edited["n_generated"], edited["n_features"]) == (6, 3, 1)
    empty = client.chat.completions.create(**settings, extra_body={"controller": {"interventions": [], "scopes": []}})
    assert empty.choices[0].message.content == plain.choices[0].message.content


def test_a_stream_says_what_the_whole_answer_says_and_ends_with_usage(client: OpenAI, piano: dict[str, Any]) -> None:
    settings: Any = {"model": "planted", "messages": RIVER, "max_completion_tokens": 4, "temperature": 0}
    whole = client.chat.completions.create(**settings, extra_body={"controller": piano})
    pieces = list(
        client.chat.completions.create(
            **settings, stream=True, stream_options={"include_usage": True}, extra_body={"controller": piano}
        )
    )
    *said, last = pieces
    assert "".join(piece.choices[0].delta.content for piece in said) == whole.choices[0].message.content
    assert len(said) > 2
    assert [piece.choices[0].delta.role for piece in said] == ["assistant", *[None] * (len(said) - 1)]
    assert [piece.choices[0].finish_reason for piece in said] == [*[None] * (len(said) - 1), "length"]
    assert (last.choices, last.usage) == ([], whole.usage)
    assert len({piece.id for piece in pieces}) == 1
    with pytest.raises(openai.BadRequestError, match="nothing is streamed"):
        client.chat.completions.create(**settings, stream_options={"include_usage": True})
    without = list(client.chat.completions.create(**settings, stream=True))
    assert all(piece.choices and piece.usage is None for piece in without)


def test_a_stop_text_and_a_system_prompt_of_a_developer_do_what_they_say(client: OpenAI, piano: dict[str, Any]) -> None:
    reply = client.chat.completions.create(
        model="planted", messages=RIVER, stop=" piano", temperature=0, extra_body={"controller": piano}
    )
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("", "stop")
    messages: list[ChatCompletionMessageParam] = [{"role": "developer", "content": "of a ship"}, *RIVER]
    reply = client.chat.completions.create(model="planted", messages=messages, max_tokens=1)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 11


def test_a_condition_that_aborts_ends_the_answer_and_is_told(client: OpenAI, ours: Client) -> None:
    variant = ours.variant().set(7, 4.0, unit="max").abort_when(ours.features.get(7) > 0.1, name="piano")
    settings: Any = {"model": "planted", "messages": RIVER, "extra_body": {"controller": variant.controller}}
    reply = client.chat.completions.create(**settings)
    assert reply.choices[0].finish_reason == "content_filter"
    (event,) = reply.to_dict()["events"]
    assert (event["name"], event["aborted"]) == ("piano", True)
    pieces = list(client.chat.completions.create(**settings, stream=True))
    assert pieces[-1].choices[0].finish_reason == "content_filter"


def test_models_are_listed_by_all_their_names(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["planted", "smollm2-135m-instruct", SOURCE]
    assert client.models.retrieve(SOURCE).id == SOURCE
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-5' here"):
        client.models.retrieve("gpt-5")
    with pytest.raises(openai.NotFoundError, match="models are planted"):
        client.chat.completions.create(model="gpt-5", messages=RIVER)


def test_several_answers_are_those_of_seeds_that_follow_and_their_usage_counts_the_prompt_once(client: OpenAI) -> None:
    settings: Any = {"model": "planted", "messages": RIVER, "max_tokens": 4, "temperature": 2}
    each = [client.chat.completions.create(**settings, seed=seed) for seed in (3, 4, 5)]
    several = client.chat.completions.create(**settings, seed=3, n=3)
    said = [reply.choices[0].message.content for reply in each]
    assert [choice.message.content for choice in several.choices] == said
    assert len(set(said)) > 1
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.usage is not None
    assert (several.usage.prompt_tokens, several.usage.completion_tokens, several.usage.total_tokens) == (6, 12, 18)
    edited: Any = several.choices[1].to_dict()["edited"]
    assert edited["n_prompt"] == 0
    pieces = list(
        client.chat.completions.create(**settings, seed=3, n=3, stream=True, stream_options={"include_usage": True})
    )
    *streamed, last = pieces
    for number in range(3):
        own = [piece.choices[0] for piece in streamed if piece.choices[0].index == number]
        assert "".join(str(choice.delta.content) for choice in own) == said[number]
        assert [choice.delta.role for choice in own] == ["assistant", *[None] * (len(own) - 1)]
        assert [choice.finish_reason for choice in own] == [*[None] * (len(own) - 1), "length"]
    assert (last.choices, last.usage) == ([], several.usage)
    assert len({piece.id for piece in pieces}) == 1


def test_log_probabilities_are_those_that_the_library_tells_whole_and_streamed(client: OpenAI, ours: Client) -> None:
    settings: Any = {"model": "planted", "messages": RIVER, "max_tokens": 5, "seed": 3, "logprobs": True}
    whole = client.chat.completions.create(**settings, top_logprobs=2).choices[0]
    assert whole.logprobs is not None
    content = whole.logprobs.content
    assert content is not None
    assert "".join(of.token for of in content) == whole.message.content
    assert b"".join(bytes(of.bytes or ()) for of in content).decode() == whole.message.content
    expected = ours.chat.logits(RIVER, top_k=2)
    first = {of.token: of.logprob for of in content[0].top_logprobs}
    assert first == {text: pytest.approx(math.log(value), abs=1e-4) for text, value in expected.probabilities.items()}
    assert all(of.logprob <= of.top_logprobs[0].logprob <= 0 for of in content)
    streamed = client.chat.completions.create(**settings, top_logprobs=2, stream=True)
    pieces = [piece.choices[0].logprobs for piece in streamed]
    together = [of for piece in pieces if piece is not None for of in piece.content or ()]
    assert [of.token for of in together] == [of.token for of in content]
    assert [of.logprob for of in together] == pytest.approx([of.logprob for of in content], abs=1e-4)
    alone = client.chat.completions.create(**settings).choices[0].logprobs
    assert alone is not None
    assert [of.top_logprobs for of in alone.content or ()] == [[]] * 5


def test_a_bias_and_penalties_move_logits_and_leave_what_is_told_of_them(client: OpenAI, piano: dict[str, Any]) -> None:
    settings: Any = {"model": "planted", "messages": RIVER, "max_tokens": 6, "temperature": 0, "logprobs": True}
    steered = client.chat.completions.create(**settings, top_logprobs=20, extra_body={"controller": piano})
    assert steered.choices[0].message.content == " piano" * 6
    told = steered.choices[0].logprobs
    assert told is not None
    assert told.content is not None
    settings["extra_body"] = {"controller": piano}
    most = client.chat.completions.create(**settings, presence_penalty=2, frequency_penalty=2).choices[0]
    least = client.chat.completions.create(**settings, presence_penalty=-2, frequency_penalty=-2).choices[0]
    assert least.message.content == " piano" * 6
    leads = [of.top_logprobs[0].logprob - of.top_logprobs[1].logprob for of in told.content]
    n = next(n for n, lead in enumerate(leads) if n and 2 * n + 2 > lead)  # said n times, it is taken 2 n + 2 off
    assert most.logprobs is not None
    assert most.logprobs.content is not None
    assert [of.token == " piano" for of in most.logprobs.content][: n + 1] == [*[True] * n, False]
    bias = client.chat.completions.create(**settings, logit_bias={"5": 100}).choices[0]
    assert bias.message.content != steered.choices[0].message.content
    assert bias.logprobs is not None
    assert bias.logprobs.content is not None
    assert bias.logprobs.content[0].logprob < told.content[0].logprob
    assert len({of.token for of in bias.logprobs.content}) == 1


def test_an_assistant_that_said_nothing_or_refused_stays_in_the_conversation(client: OpenAI) -> None:
    def n_prompt(said: dict[str, Any]) -> int:
        talk: Any = [*RIVER, said, *RIVER]
        reply = client.chat.completions.create(model="planted", messages=talk, max_tokens=1)
        assert reply.usage is not None
        return reply.usage.prompt_tokens

    nothing = n_prompt({"role": "assistant", "content": ""})
    assert n_prompt({"role": "assistant", "content": None}) == n_prompt({"role": "assistant"}) == nothing
    refused = n_prompt({"role": "assistant", "content": None, "refusal": "the ship"})
    assert refused == n_prompt({"role": "assistant", "content": "the ship", "tool_calls": []}) > nothing


def test_every_setting_of_the_client_is_done_passed_over_or_refused_by_name() -> None:
    known = Completion.model_fields.keys() | PASSED_OVER | REFUSED.keys()
    assert CompletionCreateParamsBase.__annotations__.keys() - known == set()
    assert not PASSED_OVER & REFUSED.keys()


def test_what_fails_amid_a_stream_and_is_no_error_of_ours_is_told_by_an_event(
    client: OpenAI, ours: Client, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def next_piece(stream: ChatStream) -> Any:
        piece = plain(stream)
        if piece.choices[0].gf_token_index == 2:
            raise ZeroDivisionError("of the server's own, at /its/own/place")
        return piece

    plain = ChatStream.__next__
    monkeypatch.setattr(ChatStream, "__next__", next_piece)
    settings: Any = {"model": "planted", "messages": RIVER, "max_tokens": 4, "seed": 1}
    pieces = iter(client.chat.completions.create(**settings, stream=True))
    assert next(pieces).choices[0].delta.role == "assistant"
    assert next(pieces).choices[0].delta.content
    with pytest.raises(openai.APIError, match="the server can't answer this: its log says why"):
        next(pieces)
    assert "/its/own/place" in caplog.text
    with pytest.raises(openai.InternalServerError, match="its log says why"):
        client.chat.completions.create(**settings)


def feature(index: int, **besides: Any) -> dict[str, Any]:
    return {"uuid": stable_uuid(f"{SOURCE}:{index}"), "label": "", "index_in_sae": index, **besides}


def nudge(index: int = 7, **changes: Any) -> dict[str, Any]:
    return {"mode": "nudge", "features": {"features": [feature(index)]}, "value": 1.0, "unit": "max", **changes}


def scope(n_deep: int = 1) -> dict[str, Any]:
    held = {"left_hand": {"features": [feature(1)]}, "right_hand": 0.1, "operator": ">"}
    inner = [scope(n_deep - 1)] if n_deep > 1 else []
    return {"conditionals": {"conditionals": [held]}, "controller": {"interventions": [], "scopes": inner}}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"messages": []}, 400, "messages: "),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": None}]}, 400, "conversation is empty"),
        ({"messages": [*RIVER, {"role": "tool", "content": "4", "tool_call_id": "a"}]}, 400, "tools are not offered"),
        ({"messages": [*RIVER, {"role": "assistant", "tool_calls": [{"id": "a"}]}]}, 400, "tools are not offered"),
        ({"messages": [*RIVER, {"role": "assistant", "audio": {"id": "a"}}]}, 400, "aloud"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, 400, "there is no role 'wizard' in a chat"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "image_url"),
        ({"messages": RIVER * 10_000}, 400, "at most 1000 items"),
        ({"messages": [{"role": "user", "content": "river " * 100}]}, 400, "tokens"),
        ({"temperature": 3}, 400, "temperature can't be 3"),
        ({"temperature": "hot"}, 400, "temperature: "),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_completion_tokens"),
        ({"stop": [""]}, 400, "stop texts"),
        ({"stop": ["a"] * 17}, 400, "stop texts"),
        ({"n": 0}, 400, "n can't be 0"),
        ({"n": 17}, 400, "ask for 1 to 16 answers"),
        ({"n": "2"}, 400, "n: "),
        ({"tool_choice": "required"}, 400, "tool_choice 'required' is not offered"),
        ({"reasoning_effort": "high"}, 400, "reasoning_effort"),
        ({"web_search_options": {}}, 400, "web_search_options"),
        ({"controler": {"interventions": [nudge()]}}, 400, "there is no setting 'controler'"),
        ({"top_logprobs": 3}, 400, "top_logprobs are asked for without logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs can't be 21"),
        ({"logit_bias": {"a": 1}}, 400, "'a' is no token"),
        ({"logit_bias": {"99999": 1}}, 400, "the logit of the token 99999"),
        ({"logit_bias": {"1": 101}}, 400, "logit_bias can't be 101"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"top_k": 5}, 400, "top_k 5 is not offered"),
        ({"presence_penalty": 2.5}, 400, "presence_penalty can't be 2.5"),
        ({"repetition_penalty": 1.5}, 400, "repetition_penalty 1.5 is not offered"),
        ({"controller": 5}, 400, "controller: "),
        ({"controller": {"interventions": [nudge(mode="mul")]}}, 400, "multiplying"),
        ({"controller": {"interventions": [nudge(value=1e9)]}}, 400, "absurd"),
        ({"controller": {"interventions": [nudge(), nudge(mode="pin")]}}, 400, "in two modes or units"),
        ({"controller": {"interventions": [nudge(features={"features": []})]}}, 400, "features.features"),
        ({"controller": {"interventions": [nudge(features={"features": [feature(99)]})]}}, 404, "no feature here"),
        ({"controller": {"interventions": [nudge(3)]}}, 400, "fires nowhere in the corpus"),
        ({"controller": {"interventions": [nudge()], "edit_scope": {"kind": "role"}}}, 400, "role"),
        ({"controller": {"scopes": [{}]}}, 400, "conditionals: Field required"),
        ({"controller": {"scopes": [scope()] * 65}}, 400, "there are more than 64 scopes"),
        ({"controller": {"scopes": [scope(33)]}}, 400, "scopes are nested more than 32 deep"),
        ({"controller": {"intervention": [nudge()]}}, 400, "controller.intervention: Extra inputs"),
        ({"controller": {"interventions": [nudge(units="max")]}}, 400, "interventions.0.units: Extra inputs"),
        ({"controller": {"interventions": [nudge()], "min_nudge_entropy": 0.5}}, 400, "min_nudge_entropy: "),
        ({"controller": {"interventions": [nudge()], "edit_scope": {"kind": "role", "role": "usr"}}}, 400, "'usr'"),
        ({"controller": {"interventions": [nudge()], "edit_scope": {"position": 3}}}, 400, "a position is given"),
    ],
)
def test_what_makes_no_sense_or_is_not_offered_is_told_in_one_line(
    address: str, body: dict[str, Any], status: int, message: str
) -> None:
    for stream in (False, True):
        assert message in told(ask(address, CHAT, {"messages": RIVER, "stream": stream, **body}), status)


def test_the_client_does_all_that_the_page_shows(
    address: str, planted_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = [block.text for block in read_page(ROOT / "docs/serve.md").blocks if "import openai" in block.text]
    (program,) = blocks
    with contextlib.chdir(planted_runs):
        exec(in_small(program).replace(SERVED_AT, address), {})
    plain, steered = capsys.readouterr().out.splitlines()
    assert plain.endswith(" length")
    assert steered.count(" piano") > 5 > plain.count(" piano")
