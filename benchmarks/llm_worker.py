"""One client of a server, in a process of its own, for `benchmarks.llm`: asks questions, and prints what it measured.

    python -m benchmarks.llm_worker SYSTEM PROVIDER BASE_URL --calls 10000 --in-flight 200 --journal FILE

Systems: `sockets`, requests encoded once and written to bare connections, their answers' bodies not read; `sdk`, the
SDK's own call of its API, its answer parsed; `sdk-post`, the SDK's post of a JSON body, its answer not parsed; `ours`,
the whole layer. The first three keep nothing and mend nothing.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autointerp.config import ModelConfig
from autointerp.llm import Journal, Reply, Request, connect
from autointerp.llm.protocol import AnswerModel
from autointerp.llm.providers.anthropic import message_body
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.openai import completion_body

SYSTEMS = ("sockets", "sdk-post", "sdk", "ours")
_KEY = "sk-loopback"
_SYSTEM_PROMPT = "You name what a feature of a language model fires on. " * 20
_CONTEXT = 'The <<month>> of "May" follows April, and 31 days later June begins; so it was in 1789 as well.\n'
Ask = Callable[[int], Awaitable[None]]


class Label(AnswerModel):
    """What is asked for."""

    label: str


def question(index: int) -> Request[Label]:
    """A question of about 1,300 tokens; its label is decided by the server from the index."""
    user = f"feature {index}\n" + _CONTEXT * 40
    return Request(system=_SYSTEM_PROMPT, user=user, answer=Label, max_output_tokens=200)


def model_config(provider: str, base_url: str, in_flight: int, **settings: Any) -> ModelConfig:
    """The model behind a loopback server."""
    return ModelConfig(
        **{"provider": provider, "model": "m", "base_url": base_url, "concurrency": in_flight, **settings}
    )


def body(config: ModelConfig, index: int) -> dict[str, Any]:
    """The JSON of a question, as our layer sends it."""
    build = completion_body if config.provider == "openai" else message_body
    return build(question(index), None, config, Manner())


@asynccontextmanager
async def over_sockets(config: ModelConfig) -> AsyncIterator[Ask]:
    """Ask over bare connections, as many as calls are in flight."""
    address = urlsplit(str(config.base_url))
    path = "/v1/chat/completions" if config.provider == "openai" else "/v1/messages"
    text = json.dumps(body(config, 0)).replace("feature 0", "feature {:07}")
    before, after = (part.encode() for part in text.split("{:07}"))
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {_KEY}\r\nX-Api-Key: {_KEY}\r\n"
    start = f"{head}Content-Length: {len(before) + 7 + len(after)}\r\n\r\n".encode() + before
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(index: int) -> None:
        reader, writer = (
            free.pop() if free else await asyncio.open_connection(address.hostname, address.port, limit=2**20)
        )
        writer.write(start + b"%07d" % index + after)
        said = await reader.readuntil(b"\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200"), said
        await reader.readexactly(int(said.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
        free.append((reader, writer))

    yield ask
    for _, writer in free:
        writer.close()


@asynccontextmanager
async def over_sdk(config: ModelConfig, *, parsed: bool) -> AsyncIterator[Ask]:
    """Ask through the SDK, with as many connections kept as calls are in flight."""
    import httpx2

    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=config.concurrency)
    http = httpx2.AsyncClient(limits=limits, timeout=60)
    if config.provider == "openai":
        import openai

        client = openai.AsyncOpenAI(api_key=_KEY, base_url=config.base_url, max_retries=0, http_client=http)

        async def ask(index: int) -> None:
            if parsed:
                answer = await client.chat.completions.create(**body(config, index))
                assert answer.choices[0].message.content is not None, answer
            else:
                await client.post("/chat/completions", body=body(config, index), cast_to=httpx2.Response)
    else:
        import anthropic

        other = anthropic.AsyncAnthropic(api_key=_KEY, base_url=config.base_url, max_retries=0, http_client=http)

        async def ask(index: int) -> None:
            if parsed:
                message = await other.messages.create(**body(config, index))
                assert message.content, message
            else:
                await other.post("/v1/messages", body=body(config, index), cast_to=httpx2.Response)

    yield ask
    await http.aclose()


@asynccontextmanager
async def over_ours(config: ModelConfig, path: Path) -> AsyncIterator[Ask]:
    """Ask through the whole layer, each answer on disk before it counts."""
    with Journal(path) as journal:
        async with connect(config, journal) as model:

            async def ask(index: int) -> None:
                outcome = await model.ask(question(index))
                assert isinstance(outcome, Reply), outcome

            yield ask


async def measure(system: str, config: ModelConfig, n_calls: int, journal: Path) -> dict[str, float]:
    """Ask so many questions; seconds, calls a second and the process's CPU a call."""
    match system:
        case "sockets":
            connected = over_sockets(config)
        case "sdk" | "sdk-post":
            connected = over_sdk(config, parsed=system == "sdk")
        case _:
            connected = over_ours(config, journal)
    async with connected as ask:
        indices = iter(range(n_calls))

        async def ask_on() -> None:
            for index in indices:
                await ask(index)

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(ask_on() for _ in range(config.concurrency)))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {"seconds": seconds, "calls_per_s": n_calls / seconds, "cpu_ms_per_call": 1e3 * cpu_s / n_calls}


def main() -> None:
    """Measure one system, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("provider", choices=("openai", "anthropic"))
    parser.add_argument("base_url")
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--profile", type=Path, help="write a cProfile there")
    given = parser.parse_args()
    config = model_config(given.provider, given.base_url, given.in_flight)
    if given.profile:
        import cProfile

        profile = cProfile.Profile()
        profile.runcall(asyncio.run, measure(given.system, config, given.calls, given.journal))
        profile.dump_stats(given.profile)
        return
    print(json.dumps(asyncio.run(measure(given.system, config, given.calls, given.journal))))


if __name__ == "__main__":
    main()
