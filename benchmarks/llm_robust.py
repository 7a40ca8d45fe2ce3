"""Faults, kills and a provider that is down: the parts of `benchmarks.llm` that count instead of measuring speed.

As a program it is the client that is killed: python -m benchmarks.llm_robust PROVIDER BASE_URL N_CALLS JOURNAL ANSWERS
asks all questions and writes the labels, one a line.
"""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast, get_args

from autointerp.llm import CallFailure, Journal, Reply, connect
from benchmarks.llm_server import FAULTS, ServerProcess, ServerSetting
from benchmarks.llm_worker import Label, model_config, question
from tests.loopback.server import Provider

_SHARE = 0.02
_IN_FLIGHT_KILLED = 32
_IN_FLIGHT_PROVIDERS = 8
_SEED = 4


def report_faults(n_calls: int, folder: Path, *, is_quick: bool) -> Iterator[str]:
    """2 % of each fault: every question has one outcome, every paid answer is on disk, none was paid twice."""
    yield (
        f"{n_calls:,} questions, 64 in flight, {_SHARE:.0%} each of {', '.join(FAULTS)}; Retry-After 1 s, stalls of"
        " 30 s, then the connection is closed\n"
    )
    yield (
        "| provider | timeout, s | seconds | calls | labels | refused | unreadable | other failures | without outcome"
        " | paid | on disk | paid twice |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for provider in cast("Sequence[Provider]", get_args(Provider)):
        for timeout_s in (2.0,) if is_quick else (2.0, 60.0):
            yield _faults_row(provider, n_calls, timeout_s, folder / f"faults-{provider}-{timeout_s:g}.sqlite")


def _faults_row(provider: Provider, n_calls: int, timeout_s: float, path: Path) -> str:
    with ServerProcess(ServerSetting(latency_s=0.1, fault_share=_SHARE)) as server, Journal(path) as journal:

        async def ask_all() -> list[Reply[Label] | CallFailure]:
            config = model_config(provider, server.base_url(provider), 64, timeout_s=timeout_s)
            async with connect(config, journal) as model:
                return await asyncio.gather(*(model.ask(question(i)) for i in range(n_calls)))

        began = time.perf_counter()
        outcomes = asyncio.run(ask_all())
        seconds = time.perf_counter() - began
        counts = server.counts()
        n_on_disk = len(journal)
    kinds = Counter(outcome.error_type if isinstance(outcome, CallFailure) else "label" for outcome in outcomes)
    n_failures = _n_failures(path)
    assert n_failures == n_calls - kinds["label"], f"{n_failures} failures are on disk of {n_calls - kinds['label']}"
    n_other = kinds.total() - kinds["label"] - kinds["Refusal"] - kinds["ParseFailure"]
    cells = (
        provider, f"{timeout_s:g}", f"{seconds:.0f}", f"{counts.n_received:,}", f"{kinds['label']:,}",
        kinds["Refusal"], kinds["ParseFailure"], n_other, n_calls - len(outcomes),
        f"{counts.n_answered:,}", f"{n_on_disk:,}", counts.n_answered_twice,
    )  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _n_failures(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT count(*) FROM failures").fetchone()[0])
    finally:
        database.close()


def report_killed(n_calls: int, n_kills: int, folder: Path) -> list[str]:
    """Killed again and again: the same answers, and what was lost was in flight."""
    provider: Provider = "openai"
    whole, cut = folder / "whole.txt", folder / "cut.txt"
    with ServerProcess(ServerSetting()) as server:
        _client(provider, server, n_calls, folder / "whole.sqlite", whole).wait()
        n_undisturbed = server.counts().n_answered
    moments = sorted(random.Random(_SEED).sample(range(1, n_calls), n_kills))
    rows = [
        f"{n_calls:,} questions, {_IN_FLIGHT_KILLED} in flight at most, killed {n_kills} times; seed {_SEED}\n",
        "| kill | calls come | in flight, the server says | most at once before | answers on disk | lost so far |",
        "|---|---|---|---|---|---|",
    ]
    n_most = 0
    with ServerProcess(ServerSetting()) as server:
        for number, moment in enumerate(moments, 1):
            process = _client(provider, server, n_calls, folder / "cut.sqlite", cut)
            most = 0
            while (counts := server.counts()).n_received < moment:
                most = max(most, counts.most_in_flight)
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            last = server.counts()  # some came between the look and the kill
            most = max(most, counts.most_in_flight, last.most_in_flight)
            n_most += most
            time.sleep(0.3)  # what is in flight is answered to nobody
            received = server.counts().n_received
            with Journal(folder / "cut.sqlite") as journal:
                n_on_disk = len(journal)
            rows.append(
                f"| {number} | {received} | {counts.n_in_flight} | {most} | {n_on_disk} | {received - n_on_disk} |"
            )
        assert _client(provider, server, n_calls, folder / "cut.sqlite", cut).wait() == 0, "the last run failed"
        n_paid = server.counts().n_received
    same = whole.read_bytes() == cut.read_bytes()
    rows.append(
        f"\nUndisturbed: {n_undisturbed:,} calls. Killed: {n_paid:,}, {n_paid - n_undisturbed} more; in flight at the"
        f" kills together at most {n_most}. Answers equal: {'yes' if same else 'NO'}."
    )
    return rows


def _client(
    provider: Provider, server: ServerProcess, n_calls: int, journal: Path, answers: Path
) -> subprocess.Popen[bytes]:
    arguments = [provider, server.base_url(provider), str(n_calls), str(journal), str(answers)]
    return subprocess.Popen([sys.executable, "-m", "benchmarks.llm_robust", *arguments])


async def ask_and_write(provider: str, base_url: str, n_calls: int, journal_path: Path, answers: Path) -> None:
    """Ask all questions and write their labels."""
    with Journal(journal_path) as journal:
        async with connect(model_config(provider, base_url, _IN_FLIGHT_KILLED), journal) as model:
            outcomes = await asyncio.gather(*(model.ask(question(i)) for i in range(n_calls)))
    labels = [outcome.answer.label if isinstance(outcome, Reply) else outcome.message for outcome in outcomes]
    answers.write_text("\n".join(labels) + "\n")


@dataclass(frozen=True, slots=True)
class _Phase:
    name: str
    first_s: float
    last_s: float


def report_providers(down_s: float, folder: Path) -> list[str]:
    """One provider is down for a while: the other's work goes on, and none of its own is lost."""
    rows = [
        f"two servers, {_IN_FLIGHT_PROVIDERS} in flight at each, the second down for {down_s:.0f} s\n",
        "| down is | answers/s before, first, second | while down | after | the second's questions | failed"
        " | answered after the return | last answer, s after the return |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for how in ("connection refused", "503"):
        rows.append(asyncio.run(_one_down(how, down_s, folder / f"providers-{how.replace(' ', '-')}.sqlite")))
    return rows


async def _one_down(how: str, down_s: float, path: Path) -> str:
    before_s = down_s / 3
    n_questions = int(1.2 * before_s * _IN_FLIGHT_PROVIDERS / 0.1) + 200
    up, down = ServerSetting(), ServerSetting(is_down=True)
    steady, other, refusing = ServerProcess(up), ServerProcess(up), ServerProcess(down)
    moments: dict[str, list[float]] = {"steady": [], "other": []}
    with steady, other, Journal(path) as journal:
        in_flight = _IN_FLIGHT_PROVIDERS
        first = model_config("anthropic", steady.base_url("anthropic"), in_flight)
        second = model_config("openai", other.base_url("openai"), in_flight)
        async with connect(first, journal) as first_model, connect(second, journal) as second_model:
            began = time.perf_counter()

            async def ask_on() -> None:
                for index in indices:
                    assert isinstance(await first_model.ask(question(index)), Reply), "the steady server failed"
                    moments["steady"].append(time.perf_counter() - began)

            async def ask_other(index: int) -> bool:
                outcome = await second_model.ask(question(index))
                moments["other"].append(time.perf_counter() - began)
                return isinstance(outcome, Reply)

            indices = iter(count())
            steadily = [asyncio.create_task(ask_on()) for _ in range(in_flight)]
            asked = asyncio.gather(*(ask_other(i) for i in range(n_questions)))
            await asyncio.sleep(before_s)
            await asyncio.to_thread(other.stop)
            if how == "503":
                refusing.port = other.port
                await asyncio.to_thread(refusing.start)
            stopped = time.perf_counter() - began
            await asyncio.sleep(down_s)
            if how == "503":
                await asyncio.to_thread(refusing.stop)
            await asyncio.to_thread(other.start)
            returned = time.perf_counter() - began
            succeeded = await asked
            await asyncio.sleep(before_s)
            ended = time.perf_counter() - began
            for task in steadily:
                task.cancel()
            await asyncio.gather(*steadily, return_exceptions=True)
    phases = (_Phase("before", 1.0, stopped), _Phase("down", stopped, returned), _Phase("after", returned, ended))
    rates = [_rate(moments["steady"], phase) for phase in phases]
    n_after = sum(moment > returned for moment in moments["other"])
    return (
        f"| {how} | {rates[0]:.0f}, {_rate(moments['other'], phases[0]):.0f} | {rates[1]:.0f} | {rates[2]:.0f}"
        f" | {n_questions:,} | {n_questions - sum(succeeded)} | {n_after} | {max(moments['other']) - returned:.1f} |"
    )


def _rate(moments: Sequence[float], phase: _Phase) -> float:
    return sum(phase.first_s <= m < phase.last_s for m in moments) / (phase.last_s - phase.first_s)


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(ask_and_write(given[0], given[1], int(given[2]), Path(given[3]), Path(given[4])))
