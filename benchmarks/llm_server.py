"""The loopback server in a process of its own, for `benchmarks.llm`.

    python -m benchmarks.llm_server SETTING [--port PORT]

SETTING is JSON, a `ServerSetting`. The first line printed is its port; then each line on the standard input is answered
by one line of JSON, `Counts`.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Self

from tests.loopback.server import Call, CutBody, Drop, Http, LoopbackServer, Outcome, Provider, Say, Stall

FAULTS = ("429", "500", "dropped", "stalled", "cut body", "invalid JSON", "refused")


@dataclass(frozen=True, slots=True)
class ServerSetting:
    """What the server does.

    Attributes:
        latency_s: Of each answer.
        fault_share: Of each of `FAULTS`.
        stall_s: How long a stalled call stalls.
        retry_after_s: What a 429 asks for.
        is_down: Whether every call is answered by a 503.
    """

    latency_s: float = 0.1
    fault_share: float = 0.0
    stall_s: float = 30.0
    retry_after_s: float = 1.0
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server has seen.

    Attributes:
        n_received: Calls that came.
        n_in_flight: Of these not yet answered.
        most_in_flight: At once, since the last look.
        n_answered: Calls that were given words, each of which is paid for.
        n_answered_twice: Questions that were given words again, in the same turn.
        faults: Of each kind, how many.
        cpu_s: Of the server's process.
    """

    n_received: int
    n_in_flight: int
    most_in_flight: int
    n_answered: int
    n_answered_twice: int
    faults: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0


class FaultyOracle:
    """Answers each question with a label that only the question decides; faults are drawn by question and attempt."""

    def __init__(self, setting: ServerSetting) -> None:
        self._setting = setting
        self._attempts: Counter[tuple[str, int]] = Counter()
        self.answered: Counter[tuple[str, int]] = Counter()
        self.faults: Counter[str] = Counter()

    def reply(self, call: Call) -> Outcome:
        """What happens to a call."""
        if self._setting.is_down:
            return Http(503, "down for maintenance")
        question = call.user, len(call.turns)
        self._attempts[question] += 1
        fault = self._fault(*question, self._attempts[question]) if self._setting.fault_share else None
        if fault is not None:
            self.faults[fault] += 1
        if fault in (None, "invalid JSON", "refused"):
            self.answered[question] += 1
        match fault:
            case "429":
                return Http(429, kind="rate_limit_error", headers={"Retry-After": f"{self._setting.retry_after_s:g}"})
            case "500":
                return Http(500)
            case "dropped":
                return Drop()
            case "stalled":
                return Stall(self._setting.stall_s)
            case "cut body":
                return CutBody()
            case "invalid JSON":
                return Say('{"label": "a label with no end')
            case "refused":
                return Say("I can't help with that.", stop="refusal")
        return Say(json.dumps({"label": f"label {_hash(call.user):016x}"}))

    def _fault(self, user: str, n_turns: int, attempt: int) -> str | None:
        place = _hash(f"{attempt} {n_turns} {user}") / 2**64 / self._setting.fault_share
        return FAULTS[int(place)] if place < len(FAULTS) else None


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class ServerProcess:
    """The server in a process of its own; a context manager."""

    def __init__(self, setting: ServerSetting, port: int = 0) -> None:
        self._command = [sys.executable, "-m", "benchmarks.llm_server", json.dumps(asdict(setting))]
        self.port = port

    def base_url(self, provider: Provider) -> str:
        """`base_url` for a provider."""
        return f"http://127.0.0.1:{self.port}" + ("/v1" if provider == "openai" else "")

    def counts(self) -> Counts:
        """What it has seen so far."""
        assert self._process.stdin is not None, "it is open"
        assert self._process.stdout is not None, "it is open"
        self._process.stdin.write("counts\n")
        self._process.stdin.flush()
        return Counts(**json.loads(self._process.stdout.readline()))

    def start(self) -> None:
        """Start it, at the same port as before if it was stopped."""
        command = [*self._command, "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None, "it is open"
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        """Stop it: nobody listens at its port any more, and what is in flight is dropped."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", type=lambda text: ServerSetting(**json.loads(text)))
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    oracle = FaultyOracle(arguments.setting)
    with LoopbackServer(oracle, latency_s=arguments.setting.latency_s, port=arguments.port) as server:
        print(server.base_url("anthropic").rpartition(":")[2], flush=True)
        for _ in sys.stdin:
            counts = Counts(
                n_received=len(server.calls),
                n_in_flight=server.n_in_flight,
                most_in_flight=server.most_in_flight,
                n_answered=oracle.answered.total(),
                n_answered_twice=sum(n > 1 for n in oracle.answered.copy().values()),
                faults=dict(oracle.faults),
                cpu_s=time.process_time(),
            )
            server.most_in_flight = counts.n_in_flight
            print(json.dumps(asdict(counts)), flush=True)


if __name__ == "__main__":
    main()
