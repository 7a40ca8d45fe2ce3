"""Asking a loopback server through the whole layer, with waits that are recorded instead of slept."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from autointerp.config import ModelConfig
from autointerp.llm import CallFailure, Journal, Reply, Request, connect
from autointerp.llm.protocol import AnswerModel
from tests.loopback.server import LoopbackServer, Provider

KEY = "sk-test-0123456789abcdef"


class Label(AnswerModel):
    """The answer that these tests ask for."""

    label: str


Outcome = Reply[Label] | CallFailure


def label_request(user: str = "what is it?", **settings: Any) -> Request[Label]:
    return Request(system="Name it.", user=user, answer=Label, **{"max_output_tokens": 100, **settings})


@dataclass
class Waits:
    """Stands in for `asyncio.sleep`: takes no time, and remembers."""

    seconds: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@dataclass
class Asker:
    """Asks requests of a server in an event loop of its own, with a journal that lasts between calls."""

    journal: Journal
    waits: Waits = field(default_factory=Waits)

    def config(self, server: LoopbackServer, provider: Provider = "openai", **settings: Any) -> ModelConfig:
        base = {"provider": provider, "model": "m", "base_url": server.base_url(provider), "timeout_s": 10.0}
        return ModelConfig(**{**base, "api_key_env": f"{provider.upper()}_API_KEY", **settings})

    def ask(
        self,
        server: LoopbackServer,
        *requests: Request[Label],
        provider: Provider = "openai",
        retry_failures: bool = False,
        **settings: Any,
    ) -> list[Outcome]:
        async def run() -> list[Outcome]:
            config = self.config(server, provider, **settings)
            async with connect(config, self.journal, retry_failures=retry_failures, sleep=self.waits) as model:
                return list(await asyncio.gather(*(model.ask(r) for r in requests or (label_request(),))))

        return asyncio.run(run())

    def ask_one(self, server: LoopbackServer, **settings: Any) -> Outcome:
        return self.ask(server, **settings)[0]
