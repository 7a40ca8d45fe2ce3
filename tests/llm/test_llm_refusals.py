"""What a server refuses of a call: too long in anybody's words, or a form that can do without what it refuses."""

import json
import logging

import pytest

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm import CallFailure, Reply
from autointerp.llm.providers.manner import Learned
from autointerp.llm.providers.problem import HttpProblem
from autointerp.llm.providers.refusals import is_too_long, words_of
from tests.llm.asking import Asker, label_request
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Provider, Raw, Say, Script

GOOD = Say('{"label": "months"}')
TOO_LONG = {
    "openai": (400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000"),
    "openai, input": (400, "Your input exceeds the context window of this model."),
    "openai, string": (400, "Invalid 'messages[1].content': string too long. Expected a string with maximum length 9."),
    "openai, a minute's tokens": (
        429,
        "Request too large for m on tokens per min (TPM): Limit 10000, Requested 15000.",
    ),
    "anthropic": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "anthropic, both": (400, "input length and `max_tokens` exceed context limit: 198100 + 4096 > 200000"),
    "anthropic, 413": (413, "Request exceeds the maximum size"),
    "sglang": (400, "The input (5200 tokens) is longer than the model's context length (4096 tokens)."),
    "sglang, allowed": (400, "Input length (5200 tokens) exceeds the maximum allowed length (4095 tokens)."),
    "vllm": (400, "The decoder prompt (length 5200) is longer than the maximum model length of 4096."),
    "tgi": (422, "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 `inputs` tokens and 512"),
    "tgi, inputs": (422, "`inputs` must have less than 1024 tokens. Given: 1500"),
    "llama.cpp": (500, "request (5200 tokens) exceeds the available context size (4096 tokens), try increasing it"),
    "llama-cpp-python": (400, "Requested tokens (5200) exceed context window of 4096"),
    "ollama": (400, "the input length exceeds the context length"),
    "lm studio": (400, "The number of tokens to keep from the initial prompt is greater than the context length."),
    "bedrock": (400, "ValidationException: Input is too long for requested model."),
    "bedrock, tokens": (400, "Too many input tokens. Max input tokens: 8192, request input token count: 9000"),
    "vertex": (400, "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576)."),
    "mistral": (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "cohere": (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4392."),
    "groq": (413, "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7000"),
    "tensorrt": (400, "prompt length (5200) exceeds maximum input length (4096)."),
    "xai": (400, "This model's maximum prompt length is 131072 but the request contains 150000 tokens."),
    "dashscope": (400, "Range of input length should be [1, 30720]"),
    "moonshot": (400, "Invalid request: Your request exceeded model token limit: 8192"),
    "zhipu": (400, "Prompt 超长"),
}
NOT_TOO_LONG = {
    "a minute's tokens": (429, "Rate limit reached on tokens per min (TPM): Limit 10000, Used 9000, Requested 2000."),
    "anthropic, a minute's": (429, "This would exceed your rate limit of 30,000 input tokens per minute. Please reduce"
                                   " the prompt length"),
    "bedrock, a day's": (400, "ThrottlingException: Too many tokens per day, please wait before trying again."),
    "quota": (429, "Quota exceeded for metric: input_token_count, limit: 250000"),
    "openai, answer": (400, "max_tokens is too large: 4096. This model supports at most 2048 completion tokens"),
    "anthropic, answer": (400, "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for m"),
    "groq, answer": (400, "`max_tokens` must be less than or equal to `8192`, which is less than the `context_window`"),
    "parameter": (400, "Unsupported parameter: 'max_tokens' is not supported with this model."),
    "schema": (400, "Invalid schema for response_format 'answer': In context=(), 'required' is required"),
    "queue": (503, "Request queue is too long"),
    "late": (500, "request failed: deadline exceeded: context deadline exceeded (Timeout exceeded)"),
    "slow": (504, "The request took too long"),
    "credit": (402, "You requested up to 4096 tokens, but can only afford 1000"),
    "images": (400, "At most 1 image(s) may be provided in one request."),
}  # fmt: skip


@pytest.mark.parametrize(("status", "message"), TOO_LONG.values(), ids=TOO_LONG.keys())
def test_too_long_is_told_by_its_kind(status: int, message: str) -> None:
    assert is_too_long(status, words_of(json.dumps({"error": {"message": message}})))
    assert is_too_long(status, words_of(json.dumps({"object": "error", "message": message, "code": status})))
    assert is_too_long(status, words_of(message))


@pytest.mark.parametrize(("status", "message"), NOT_TOO_LONG.values(), ids=NOT_TOO_LONG.keys())
def test_what_only_speaks_of_tokens_is_not_too_long(status: int, message: str) -> None:
    assert not is_too_long(status, words_of(json.dumps({"error": {"message": message}})))


def test_what_a_server_repeats_of_the_request_says_nothing() -> None:
    echo = {"detail": [{"loc": ["body", "n"], "msg": "wrong", "input": "the prompt is too long"}]}
    assert not is_too_long(422, words_of(json.dumps(echo)))


def test_a_code_is_enough() -> None:
    assert is_too_long(400, words_of('{"error": {"message": "no", "code": "context_length_exceeded"}}'))


BY_NAME = Raw('{"errors": {"max_tokens": ["Unknown field."]}}', status=400)
RENAMED = Http(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", code="unsupported_parameter")
EXTRA = {
    "type": "extra_forbidden",
    "loc": ["body", "max_tokens"],
    "msg": "Extra inputs are not permitted",
    "input": 100,
}
UNKNOWN = Raw(json.dumps({"detail": [EXTRA]}), status=422)


@pytest.mark.parametrize("refusal", [RENAMED, UNKNOWN, BY_NAME], ids=["openai", "fastapi", "django"])
def test_a_limit_that_is_refused_goes_by_its_other_name_from_then_on(
    asker: Asker, refusal: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    def modern(call: Call) -> Outcome:
        return refusal if "max_tokens" in call.body else GOOD

    with LoopbackServer(Always(modern)) as server:
        outcomes = asker.ask(server, *[label_request(f"feature {i}") for i in range(5)], concurrency=1)
        assert [isinstance(outcome, Reply) for outcome in outcomes] == [True] * 5
        assert [call.body.get("max_completion_tokens") for call in server.calls] == [None] + [100] * 5
    told = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 1
    assert told[0].startswith("m refuses `max_tokens` (HTTP 4")
    assert told[0].endswith("asked with `max_completion_tokens` from now on")


@pytest.mark.parametrize(
    ("base_url", "variable", "name"),
    [
        (None, "", "max_completion_tokens"),
        (None, "https://eu.api.openai.com/v1", "max_completion_tokens"),
        (None, "http://127.0.0.1:8000/v1", "max_tokens"),
        ("https://api.openai.com/v1", "http://127.0.0.1:8000/v1", "max_completion_tokens"),
        ("http://127.0.0.1:8000/v1", "", "max_tokens"),
    ],
)
def test_the_limit_has_the_name_that_the_server_knows_whoever_names_the_server(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None, variable: str, name: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", variable)
    assert Learned(ModelConfig(model="m", base_url=base_url)).manner.limits[0] == name


def test_a_server_that_knows_neither_name_is_asked_without_a_limit(asker: Asker) -> None:
    def strict(call: Call) -> Outcome:
        name = next((name for name in call.body if name.startswith("max_")), None)
        return Http(400, f"Unknown parameter: '{name}'") if name else GOOD

    with LoopbackServer(Always(strict)) as server:
        assert isinstance(asker.ask_one(server), Reply)
        assert len(server.calls) == 3


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens is too large: {n}. This model supports at most 50 completion tokens, whereas you provided {n}.",
        "max_tokens: {n} > 50, which is the maximum allowed number of output tokens for claude-3-haiku",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 50]",
        "`max_tokens` must be less than or equal to `50`, the maximum for this model",
        "Invalid 'max_tokens': integer above maximum value. Expected a value <= 50, but got {n} instead.",
        "it has a maxOutputTokens value of {n} but the supported range is from 1 (inclusive) to 51 (exclusive).",
    ],
    ids=["openai", "anthropic", "deepseek", "groq", "openai, later", "google"],
)
def test_a_limit_above_the_models_own_is_lowered_to_it(asker: Asker, provider: Provider, said: str) -> None:
    def small(call: Call) -> Outcome:
        n = call.max_output_tokens or 0
        return Http(400, said.format(n=n), kind="invalid_request_error") if n > 50 else GOOD

    with LoopbackServer(Always(small)) as server:
        requests = [label_request(f"feature {i}") for i in range(3)]
        outcomes = asker.ask(server, *requests, provider=provider, max_output_tokens=100, concurrency=1)
        assert all(isinstance(outcome, Reply) for outcome in outcomes)
        assert [call.max_output_tokens for call in server.calls] == [100, 50, 50, 50]


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("max_tokens is too large: 40000. This model supports at most 16,384 completion tokens.", 16384),
        ("max_tokens is too large: 40,000. This model supports at most 16'384 completion tokens.", 16384),
        ("max_tokens is too large: 40_000. This model supports at most 16\u202f384 completion tokens.", 16384),
        ("Error code: 400 - max_tokens must be at most 14000", 14000),
        ("HTTP 400: max_tokens must be at most 400", 400),
        ("400 Bad Request: max_tokens must be at most 64", 64),
        ("max_tokens: 40000 > 4001, which is the maximum allowed number of output tokens for m-2024-08-06", 4001),
        ("m-2024-08-06 supports at most 1000 completion tokens", 1000),
        ("a model of 128k tokens supports at most 1000 completion tokens", 1000),
        ("max_tokens must be in the range 1-8192", 8192),
        ("the valid range of max_tokens is [1,200]", 200),
        ("max_tokens must be less than or equal to 8192.", 8192),
        ("temperature is 0.700; max_tokens may be at most 512", 512),
    ],
)
def test_a_models_limit_is_read_as_it_is_written(said: str, most: int) -> None:
    for body in (said, json.dumps({"error": {"message": said, "code": 400, "status": "400"}})):
        learned = Learned(ModelConfig(model="m"))
        assert learned.learn(learned.manner, HttpProblem(400, body), 40_000)
        assert learned.manner.most_output_tokens == most


def test_a_status_is_no_limit() -> None:
    learned = Learned(ModelConfig(model="m"))
    body = json.dumps({"code": 422, "error": {"message": "Error code: 422: max_tokens is too large", "status": 422}})
    assert not learned.learn(learned.manner, HttpProblem(422, body), 40_000)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "System role not supported"),
        (500, "jinja2.exceptions.TemplateError: System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (400, "Only user and assistant roles are supported!"),
        (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        (400, "This model doesn't support system messages. Try again without including system messages."),
        (400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
    ],
)
def test_a_template_without_a_system_role_is_given_its_text_before_the_users(
    asker: Asker, provider: Provider, status: int, said: str
) -> None:
    def gemma(call: Call) -> Outcome:
        return Http(status, said) if call.system else Say("months") if len(call.turns) == 1 else GOOD

    with LoopbackServer(Always(gemma)) as server:
        assert isinstance(asker.ask_one(server, provider=provider), Reply)
        assert [len(call.turns) for call in server.calls] == [1, 1, 3]
        assert server.calls[1].turns == (("user", "Name it.\n\nwhat is it?"),)
        assert [role for role, _ in server.calls[2].turns] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field."),
        (400, "The specified schema produces a constraint that has too many states for serving."),
        (400, "Unsupported JSON schema fields: {'maxItems'}"),
        (400, "Grammar error: Unimplemented keys"),
        (404, "No endpoints found that can handle the requested parameters."),
        (422, "Guided decoding is not enabled"),
        (500, "failed to parse grammar"),
    ],
    ids=["google", "google, states", "cerebras", "vllm", "openrouter", "vllm, guided", "llama.cpp"],
)
def test_a_schema_that_is_refused_in_any_words_is_left_out(asker: Asker, status: int, said: str) -> None:
    def plain(call: Call) -> Outcome:
        return Http(status, said) if call.schema else GOOD

    with LoopbackServer(Always(plain)) as server:
        assert isinstance(asker.ask_one(server), Reply)
        assert len(server.calls) == 2


def test_a_server_that_knows_no_schema_is_asked_for_an_object_and_then_for_text(asker: Asker) -> None:
    def plain(call: Call) -> Outcome:
        kind = call.body.get("response_format", {}).get("type")
        return Http(400, f"response_format type {kind} is unavailable now") if kind else GOOD

    with LoopbackServer(Always(plain)) as server:
        assert isinstance(asker.ask_one(server), Reply)
        kinds = [call.body.get("response_format", {}).get("type") for call in server.calls]
        assert kinds == ["json_schema", "json_object", None]


def test_a_server_that_refuses_all_it_can_is_asked_in_the_form_that_is_left(asker: Asker) -> None:
    def bare(call: Call) -> Outcome:
        if "response_format" in call.body:
            return Http(422, "guided decoding is disabled")
        if "max_tokens" in call.body:
            return RENAMED
        return Http(500, "raise_exception: system role not supported") if call.system else GOOD

    with LoopbackServer(Always(bare)) as server:
        assert isinstance(asker.ask_one(server), Reply)
        assert isinstance(asker.ask_one(server, max_attempts=1), Reply)
        assert set(server.calls[-1].body) == {"model", "messages", "max_completion_tokens"}


def test_an_imitation_that_knows_no_cache_is_asked_without_its_mark(asker: Asker) -> None:
    def imitation(call: Call) -> Outcome:
        marked = "cache_control" in call.body["system"][0]
        return Http(400, "system.0.cache_control: Extra inputs are not permitted") if marked else GOOD

    with LoopbackServer(Always(imitation)) as server:
        assert isinstance(asker.ask_one(server, provider="anthropic"), Reply)
        assert [call.system for call in server.calls] == ["Name it.", "Name it."]


def test_calls_in_flight_learn_from_each_other(asker: Asker, caplog: pytest.LogCaptureFixture) -> None:
    def modern(call: Call) -> Outcome:
        return RENAMED if "max_tokens" in call.body else GOOD

    with LoopbackServer(Always(modern), latency_s=0.05) as server:
        outcomes = asker.ask(server, *[label_request(f"feature {i}") for i in range(40)])
        assert all(isinstance(outcome, Reply) for outcome in outcomes)
        assert sum("max_tokens" in call.body for call in server.calls) <= 10, "no more than were in flight at first"
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


PASSING = {
    "groq, no room": (498, "Over capacity, please try again later"),
    "tgi": (424, "Request failed during generation: Server error: CANCELLED"),
    "a gateway hung up": (499, "context canceled"),
    "lm studio, crash": (
        400,
        "The model has crashed without additional information. (Exit code: 18446744072635812000)",
    ),
    "lm studio, another model": (400, "Model unloaded."),
    "bedrock": (400, "Model is not ready for inference. Please wait and try your request again."),
    "vertex": (400, "litellm.BadRequestError: VertexAI: RESOURCE_EXHAUSTED: Resource has been exhausted"),
    "moonshot": (400, "The engine is currently overloaded, please try again later"),
    "groq, no json": (400, "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for details."),
}


@pytest.mark.parametrize(("status", "said"), PASSING.values(), ids=PASSING.keys())
def test_a_refusal_that_passes_by_its_own_words_is_asked_again(asker: Asker, status: int, said: str) -> None:
    with LoopbackServer(Script(Http(status, said), then=Always(GOOD))) as server:
        assert isinstance(asker.ask_one(server, max_attempts=2), Reply)
        assert len(server.calls) == 2


def test_a_refusal_that_repeats_the_prompt_is_not_taken_at_the_prompts_words(asker: Asker) -> None:
    prompt = "The label printer: please wait, it is not ready, try again later. " * 30
    with LoopbackServer(Always(Http(400, f"invalid value in: {prompt}"))) as server:
        outcome = asker.ask_one(server, max_attempts=2)
        assert isinstance(outcome, CallFailure)
        assert outcome.error_type == "BadRequest"
        assert len(server.calls) == 1


def test_an_answer_that_a_server_holds_back_is_read(asker: Asker) -> None:
    error = {"message": "no JSON", "code": "json_validate_failed", "failed_generation": 'Yes: {"label": "months"}.'}
    with LoopbackServer(Always(Raw(json.dumps({"error": error}), status=400))) as server:
        outcome = asker.ask_one(server)
        assert len(server.calls) == 1
    assert isinstance(outcome, Reply)
    assert outcome.usage.cost_usd is None


@pytest.mark.parametrize(
    "said",
    [
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "This model only support stream mode, please enable the stream parameter to access the model.",
        "enable thinking can not be support when `stream=False`.",
        "Streaming is required for this model",
    ],
)
def test_a_server_that_only_streams_is_asked_for_a_stream(asker: Asker, provider: Provider, said: str) -> None:
    def streaming(call: Call) -> Outcome:
        return GOOD if call.body.get("stream") else Http(400, said)

    with LoopbackServer(Always(streaming)) as server:
        outcomes = asker.ask(server, label_request("a"), label_request("b"), provider=provider, concurrency=1)
        assert [isinstance(outcome, Reply) for outcome in outcomes] == [True] * 2
        assert len(server.calls) == 3


def test_an_empty_answer_is_sent_back_as_a_turn_that_is_not_empty(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(Say(""), then=Always(GOOD))) as server:
        assert isinstance(asker.ask_one(server, provider=provider), Reply)
        assert [turn["content"] for turn in server.calls[1].body["messages"] if turn["role"] == "assistant"] == [
            "(nothing)"
        ]


def test_a_parameter_that_can_not_be_done_without_stops_the_run(asker: Asker) -> None:
    with LoopbackServer(Always(RENAMED)) as server:
        with pytest.raises(LanguageModelError, match="refuses a setting"):
            asker.ask_one(server)
        assert len(server.calls) == 3


def test_what_was_refused_is_asked_again_by_the_next_run(asker: Asker) -> None:
    with LoopbackServer(Always(Http(400, "prompt is too long"))) as server:
        assert isinstance(asker.ask_one(server), CallFailure)
        assert isinstance(asker.ask_one(server), CallFailure)
        assert len(server.calls) == 2
