"""A server on 127.0.0.1 that speaks OpenAI's chat completions and Anthropic's messages, and can fail in their ways.

    with LoopbackServer(oracle) as server:
        config = ModelConfig(provider="openai", model="m", base_url=server.openai_url)

An oracle decides what happens to each call: it is given the parsed `Call` and returns `Say` (the model's words) or a
fault (`Http`, `Drop`, `CutBody`, `Stall`, `Raw`). It runs in the server's thread, one call at a time. The server adds
the envelope of the protocol: ids, stop reasons, usage with cached tokens (the fixed part is cached once it was seen).
It runs in a thread of its own, so that a pipeline in this process or in any other may use it.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, Protocol, Self

Provider = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed request.

    Attributes:
        index: Number of the call at this server, from 0.
        provider: Whose protocol it came in.
        model: The model asked for.
        system: The fixed part.
        turns: (role, text) of each further message; the last is the user's.
        schema: The wanted JSON schema; None if the call does not ask for a structured answer.
        max_output_tokens: As asked.
        temperature: As asked.
        key: The API key that came with it.
        body: The whole request.
    """

    index: int
    provider: Provider
    model: str
    system: str
    turns: tuple[tuple[str, str], ...]
    schema: dict[str, Any] | None
    max_output_tokens: int | None
    temperature: float | None
    key: str
    body: dict[str, Any]

    @property
    def user(self) -> str:
        """The first user message."""
        return self.turns[0][1]


@dataclass(frozen=True, slots=True)
class Say:
    """The model's words; tokens are counted as a quarter of the characters unless given as (input, cached, output).

    `logprobs` is what OpenAI's protocol has of each token, given where a call asks for it.
    """

    text: str
    stop: Literal["complete", "truncated", "refusal"] = "complete"
    tokens: tuple[int, int, int] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Http:
    """An error status with the provider's error body (`code` as OpenAI's, `kind` as Anthropic's)."""

    status: int
    message: str = "it failed"
    code: str | None = None
    kind: str = "api_error"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it stands, for example a proxy's HTML."""

    body: str
    status: int = 200
    content_type: str = "text/html"


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed without a word."""


@dataclass(frozen=True, slots=True)
class CutBody:
    """The connection is closed in the middle of the body."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What comes is no HTTP."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing comes for some seconds, then the connection is closed."""

    seconds: float = 30.0


Unspoken = Raw | Drop | CutBody | Garbage | Stall
Outcome = Say | Http | Unspoken


class Oracle(Protocol):
    """Decides what happens to a call."""

    def reply(self, call: Call) -> Outcome: ...


class Always:
    """An oracle that does the same to every call."""

    def __init__(self, outcome: Outcome | Callable[[Call], Outcome]) -> None:
        self._outcome = outcome

    def reply(self, call: Call) -> Outcome:
        return self._outcome(call) if callable(self._outcome) else self._outcome


class Script:
    """An oracle that does one thing after another, and then leaves the calls to another oracle."""

    def __init__(self, *outcomes: Outcome, then: Oracle) -> None:
        self._outcomes = list(outcomes)
        self._then = then

    def reply(self, call: Call) -> Outcome:
        return self._outcomes.pop(0) if self._outcomes else self._then.reply(call)


class LoopbackServer:
    """The server; a context manager.

    Attributes:
        calls: Every call so far, in order of arrival.
        heads: Their headers, names in lower case.
        most_in_flight: The largest number of calls that were in flight at once.
    """

    def __init__(self, oracle: Oracle, *, latency_s: float = 0.0, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.heads: list[dict[str, str]] = []
        self.most_in_flight = 0
        self._oracle = oracle
        self._latency_s = latency_s
        self._port = port
        self._in_flight = 0
        self._seen: set[tuple[str, str]] = set()
        self._ready = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="loopback", daemon=True)

    @property
    def n_in_flight(self) -> int:
        """Calls that have come and are not yet answered."""
        return self._in_flight

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`: the Anthropic SDK's base_url."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def anthropic_url(self) -> str:
        """`base_url` for provider anthropic."""
        return self.url

    @property
    def openai_url(self) -> str:
        """`base_url` for provider openai."""
        return f"{self.url}/v1"

    def base_url(self, provider: Provider) -> str:
        """`base_url` for a provider."""
        return self.openai_url if provider == "openai" else self.anthropic_url

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=2**24)
        self._port = server.sockets[0].getsockname()[1]
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request of a connection; False when the connection ends."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        other = self.other(method, path, headers, content)
        if other is not None:
            return await _act_without_call(other, writer)
        provider = _PATHS.get(path)
        if provider is None:
            return await _send(writer, 404, json.dumps({"error": {"message": f"no path {path}"}}))
        call = parse_call(len(self.calls), provider, headers, json.loads(content or b"{}"))
        self.calls.append(call)
        self.heads.append(headers)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self._latency_s)
            return await self._act(self._oracle.reply(call), call, writer)
        finally:
            self._in_flight -= 1

    def other(self, method: str, target: str, headers: dict[str, str], body: bytes) -> "Unspoken | None":
        """What a request to another endpoint comes to; None where there is no such endpoint."""
        return None

    async def _act(self, outcome: Outcome, call: Call, writer: asyncio.StreamWriter) -> bool:
        match outcome:
            case Say():
                return await _send(writer, 200, json.dumps(self._envelope(outcome, call)), headers=outcome.headers)
            case Http():
                return await _send(writer, outcome.status, error_body(outcome, call.provider), headers=outcome.headers)
            case _:
                return await _act_without_call(outcome, writer)

    def _envelope(self, say: Say, call: Call) -> dict[str, Any]:
        known = (call.model, call.system) in self._seen
        self._seen.add((call.model, call.system))
        fixed = len(call.system) // 4
        total = fixed + sum(len(text) for _, text in call.turns) // 4
        n_input, n_cached, n_output = say.tokens or (total, fixed if known else 0, len(say.text) // 4 + 1)
        build = _openai_envelope if call.provider == "openai" else _anthropic_envelope
        return build(replace(say, tokens=(n_input, n_cached, n_output)), call)


_PATHS: dict[str, Provider] = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}


def parse_call(index: int, provider: Provider, headers: dict[str, str], body: dict[str, Any]) -> Call:
    """Read the JSON of a call."""
    messages = [(m["role"], _text(m["content"])) for m in body["messages"]]
    if provider == "openai":
        system = "\n".join(text for role, text in messages if role == "system")
        wanted = body.get("response_format", {}).get("json_schema", {}).get("schema")
    else:
        system = _text(body.get("system", ""))
        wanted = body.get("output_config", {}).get("format", {}).get("schema")
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return Call(
        index=index,
        provider=provider,
        model=body["model"],
        system=system,
        turns=tuple((role, text) for role, text in messages if role != "system"),
        schema=wanted,
        max_output_tokens=body.get("max_tokens", body.get("max_completion_tokens")),
        temperature=body.get("temperature"),
        key=headers.get("x-api-key", bearer),
        body=body,
    )


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def _openai_envelope(say: Say, call: Call) -> dict[str, Any]:
    n_input, n_cached, n_output = say.tokens or (0, 0, 0)
    refused = say.stop == "refusal"
    message = {
        "role": "assistant",
        "content": None if refused else say.text,
        "refusal": say.text if refused else None,
    }
    choice = {"index": 0, "message": message, "finish_reason": "length" if say.stop == "truncated" else "stop"}
    if say.logprobs and call.body.get("logprobs"):
        choice["logprobs"] = {"content": list(say.logprobs)}
    return {
        "id": f"chatcmpl-{call.index}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": call.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": n_input,
            "completion_tokens": n_output,
            "total_tokens": n_input + n_output,
            "prompt_tokens_details": {"cached_tokens": n_cached},
        },
    }


def _anthropic_envelope(say: Say, call: Call) -> dict[str, Any]:
    n_input, n_cached, n_output = say.tokens or (0, 0, 0)
    return {
        "id": f"msg_{call.index}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [{"type": "text", "text": say.text}],
        "stop_reason": {"complete": "end_turn", "truncated": "max_tokens", "refusal": "refusal"}[say.stop],
        "stop_sequence": None,
        "usage": {
            "input_tokens": n_input - n_cached,
            "cache_read_input_tokens": n_cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": n_output,
        },
    }


def error_body(problem: Http, provider: Provider) -> str:
    """The provider's JSON of an error."""
    if provider == "openai":
        return json.dumps({"error": {"message": problem.message, "type": problem.kind, "code": problem.code}})
    return json.dumps({"type": "error", "error": {"type": problem.kind, "message": problem.message}})


async def _act_without_call(outcome: Unspoken, writer: asyncio.StreamWriter) -> bool:
    match outcome:
        case Raw():
            return await _send(writer, outcome.status, outcome.body, content_type=outcome.content_type)
        case Garbage():
            writer.write(b"HTP/9 what\r\n\r\n")
            await writer.drain()
            return False
        case CutBody():
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n")
            writer.write(b'{"id": "cut')
            await writer.drain()
            return False
        case Stall():
            await asyncio.sleep(outcome.seconds)
            return False
        case Drop():
            return False


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: str,
    *,
    headers: dict[str, str] | None = None,
    content_type: str = "application/json",
) -> bool:
    data = body.encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {content_type}", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    await writer.drain()
    return True
