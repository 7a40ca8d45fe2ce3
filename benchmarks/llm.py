"""What the LLM layer costs and withstands, on the loopback server: throughput, faults, kills, a provider that is down.

    python -m benchmarks.llm all                  # about half an hour, most of it faults
    python -m benchmarks.llm throughput --rounds 3
    python -m benchmarks.llm faults killed providers --quick     # to see that it runs

The server (`llm_server`) and each client (`llm_worker`, `llm_robust`) have a process of their own.

- throughput: calls a second and the client's CPU a call at 200 in flight and 100 ms latency, beside the same server's
  rate with a bare client (its capacity on this machine, the cores shared with the client) and with the SDKs alone.
- faults: 2 % each of 429 with Retry-After, 500, dropped connections, stalls, cut bodies, invalid JSON and refusals.
- killed: the client is killed by SIGKILL ten times at seeded moments, and its answers are compared with those of an
  undisturbed run.
- providers: two models at two servers in one process, one of which is down for a minute.

Run on a machine that does nothing else. The result stands in `llm.md`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, get_args

from benchmarks.llm_robust import report_faults, report_killed, report_providers
from benchmarks.llm_server import ServerProcess, ServerSetting
from benchmarks.llm_worker import SYSTEMS
from tests.loopback.server import Provider

_IN_FLIGHT = 200
_LATENCY_S = 0.1
_PARTS = ("throughput", "faults", "killed", "providers")


def main() -> None:
    """Run the parts that are asked for, print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="+", choices=[*_PARTS, "all"])
    parser.add_argument("--rounds", type=int, default=3, help="of throughput")
    parser.add_argument("--quick", action="store_true", help="few calls; figures mean nothing")
    given = parser.parse_args()
    os.environ.update(OPENAI_API_KEY="sk-loopback", ANTHROPIC_API_KEY="sk-loopback")
    print(machine(), flush=True)
    chosen = _PARTS if "all" in given.part else given.part
    with tempfile.TemporaryDirectory() as folder:
        for part in chosen:
            print(f"\n## {part}\n", flush=True)
            for line in _run(part, Path(folder), given.rounds, is_quick=given.quick):
                print(line, flush=True)


def machine() -> str:
    """The machine, the packages, and how busy it is."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("openai", "anthropic", "httpx2"))
    return (
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}), Python {platform.python_version()}, "
        f"{packages}; load before: {os.getloadavg()[0]:.1f}"
    )


def _run(part: str, folder: Path, n_rounds: int, *, is_quick: bool) -> Iterable[str]:
    match part:
        case "throughput":
            n_calls, n_rounds = (400, 1) if is_quick else (10_000, n_rounds)
            return [line for provider in get_args(Provider) for line in throughput(provider, n_calls, n_rounds, folder)]
        case "faults":
            return report_faults(200 if is_quick else 5000, folder, is_quick=is_quick)
        case "killed":
            return report_killed(300 if is_quick else 3000, 3 if is_quick else 10, folder)
        case _:
            return report_providers(5.0 if is_quick else 60.0, folder)


def throughput(provider: Provider, n_calls: int, n_rounds: int, folder: Path) -> list[str]:
    """All systems in turn, as many times as asked for: rates, CPU, and ratios within a round."""
    results: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    for round_index in range(n_rounds):
        for system in SYSTEMS:
            journal = folder / f"{provider}-{system}-{round_index}.sqlite"
            results[system].append(_measure(system, provider, n_calls, journal))
    best = _IN_FLIGHT / _LATENCY_S
    rows = [
        f"{provider}, {n_calls:,} calls, {_IN_FLIGHT} in flight, {_LATENCY_S * 1e3:.0f} ms latency (at most {best:,.0f}"
        f" calls/s), {n_rounds} rounds: median, range\n",
        "| system | calls/s | of the bare client's | of the SDK's own call | client's CPU a call, ms | server's, ms |",
        "|---|---|---|---|---|---|",
    ]
    for system in SYSTEMS:
        cells = [
            _spread([r["calls_per_s"] for r in results[system]], "{:,.0f}"),
            _spread(_ratios(results, system, "sockets"), "{:.2f}"),
            _spread(_ratios(results, system, "sdk"), "{:.2f}"),
            _spread([r["cpu_ms_per_call"] for r in results[system]], "{:.2f}"),
            _spread([r["server_ms_per_call"] for r in results[system]], "{:.2f}"),
        ]
        rows.append(f"| {system} | " + " | ".join(cells) + " |")
    ours = median(r["calls_per_s"] for r in results["ours"])
    rows.append(f"\nours, of {best:,.0f} calls/s: {ours / best:.2f}\n")
    return rows


def _measure(system: str, provider: Provider, n_calls: int, journal: Path) -> dict[str, float]:
    with ServerProcess(ServerSetting(_LATENCY_S)) as server:
        before = server.counts().cpu_s
        arguments = [system, provider, server.base_url(provider), "--calls", str(n_calls)]
        arguments += ["--in-flight", str(_IN_FLIGHT), "--journal", str(journal)]
        command = [sys.executable, "-m", "benchmarks.llm_worker", *arguments]
        result: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        counts = server.counts()
    assert counts.n_received == n_calls, f"{counts.n_received} calls came of {n_calls}"
    return {**result, "server_ms_per_call": 1e3 * (counts.cpu_s - before) / n_calls}


def _ratios(results: dict[str, list[dict[str, float]]], system: str, base: str) -> list[float]:
    rounds = zip(results[system], results[base], strict=True)
    return [one["calls_per_s"] / other["calls_per_s"] for one, other in rounds]


def _spread(values: list[float], form: str) -> str:
    text = form.format(median(values))
    return text if len(values) == 1 else f"{text} ({form.format(min(values))}-{form.format(max(values))})"


if __name__ == "__main__":
    main()
