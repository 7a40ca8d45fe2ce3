"""What collecting costs beside the model alone and beside Delphi: tokens/s, memory, disk, and whether both agree.

    python -m benchmarks.collect --setting topk-32k-fp32 --rounds 3 --peer DELPHI/bin/python
    python -m benchmarks.collect --all --peer DELPHI/bin/python
    python -m benchmarks.collect --quick --all                       # to see that it runs; figures mean nothing
    python -m benchmarks.collect --disk --setting topk-32k-fp32 --peer DELPHI/bin/python
    python -m benchmarks.collect --device cuda --no-sae-lens         # one GPU; torch, transformers, numpy, jaxtyping

1. Model, coder and tokens of a setting are made once, seeded (`collect_setting`).
2. In each round every system runs once, one after the other, each in a process of its own, so that its peak memory is
   its own: the floor in three ways of using the cores, `collect`, Delphi (`collect_peer` says how to install it).
3. The floor is the way with the highest median. Ratios are taken within a round; the table gives their median and
   range.
4. After the first round, what `collect` and Delphi kept is matched (`collect_compare`).

Run on a machine that does nothing else. The result stands in `collect.md`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from autointerp.collect.shards import load_part
from benchmarks.collect_compare import Comparison, bytes_by_part, compare
from benchmarks.collect_machine import floor_operations
from benchmarks.collect_setting import (
    CPU_SETTINGS,
    GPU_SETTINGS,
    SETTINGS,
    Setting,
    fit_to_machine,
    make_inputs,
    multiplies_bfloat16,
    with_tokens,
)
from benchmarks.collect_worker import FLOORS

Results = Mapping[str, Sequence[Mapping[str, Any]]]
_FULL_TOKENS = 10_000_000
_POOL_BLOCKS = 2048
_SAMPLES = {"top": 40, "fired": 100}
_TOP_TOKENS = 30


def main() -> None:
    """Measure, and print one table row a setting."""
    arguments = _parse_arguments()
    table = GPU_SETTINGS if arguments.device.startswith("cuda") else CPU_SETTINGS
    chosen = [SETTINGS[name] for name in arguments.setting] if arguments.setting else list(table)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    records = []
    for setting in chosen:
        setting = fit_to_machine(setting, arguments.device, is_quick=arguments.quick)
        if arguments.tokens is not None:
            setting = with_tokens(setting, arguments.tokens)
        if arguments.disk:
            print(disk_report(setting, arguments), flush=True)
            continue
        results, comparison = run_rounds(setting, arguments)
        records.append(
            {
                "setting": asdict(setting),
                "results": results,
                "comparison": None if comparison is None else asdict(comparison),
            }
        )
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(records, indent=1) + "\n")
        print("\n".join(report(setting, results, comparison, arguments)), flush=True)


def run_rounds(setting: Setting, arguments: argparse.Namespace) -> tuple[Results, Comparison | None]:
    """All systems in turn, as many times as asked for."""
    folder = arguments.folder / setting.name
    make_inputs(setting, folder)
    results: dict[str, list[Mapping[str, Any]]] = {}
    comparison = None
    for round_index in range(arguments.rounds):
        for role in roles(setting, arguments):
            result = run_role(role, folder, arguments, profile=arguments.profile and round_index == 0)
            results.setdefault(role, []).append(result)
            _tell(
                f"{setting.name} round {round_index + 1} {role}: {result['n_tokens'] / result['seconds']:,.0f} tokens/s"
            )
        if round_index == 0 and "peer" in results:
            peer = folder / "peer" / "latents" / f"layers.{setting.layer}"
            comparison = compare(setting, folder / "coder", folder / "ours" / "collected.safetensors", peer)
    shutil.rmtree(folder / "peer", ignore_errors=True)
    if not arguments.keep:
        shutil.rmtree(folder)
    return results, comparison


def roles(setting: Setting, arguments: argparse.Namespace) -> list[str]:
    """What is run in a round, in order."""
    floors = list(FLOORS)
    if arguments.device != "cpu":
        floors.remove("floor-threads")
    elif setting.n_features * setting.batch_size * setting.block_length > 2**29 or (
        setting.dtype == "bfloat16" and not multiplies_bfloat16()
    ):
        # Dense activations of a whole batch would take gigabytes; where products are slow, they are all that counts.
        floors.remove("floor-whole")
    has_peer = arguments.peer is not None and setting.n_peer_tokens > 0
    return [*floors, "ours", *(["peer"] if has_peer else [])]


def run_role(role: str, folder: Path, arguments: argparse.Namespace, *, profile: bool = False) -> dict[str, Any]:
    """Run one system in a process of its own, and read what it measured."""
    out = folder / role
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    if role == "peer":
        command = [str(arguments.peer), "-m", "benchmarks.collect_peer", str(folder), str(out)]
    else:
        command = [sys.executable, "-m", "benchmarks.collect_worker", role, str(folder), str(out)]
        command += ["--device", arguments.device]
        command += ["--no-sae-lens"] if arguments.no_sae_lens else []
        command += ["--profile"] if profile else []
    with (out / "log.txt").open("w") as log:
        status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {status}:\n{(out / 'log.txt').read_text()[-3000:]}")
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    if (out / "profile.json").exists():
        result["profile"] = json.loads((out / "profile.json").read_text())
    return result


def report(
    setting: Setting, results: Results, comparison: Comparison | None, arguments: argparse.Namespace
) -> list[str]:
    """What was measured of one setting."""
    speed = {role: [run["n_tokens"] / run["seconds"] for run in runs] for role, runs in results.items()}
    floor = max((role for role in speed if role.startswith("floor")), key=lambda role: median(speed[role]))
    ours = results["ours"]
    lines = [
        f"\n## {setting.name}",
        f"{setting.n_features} features, {setting.dtype}, {setting.n_tokens} tokens in blocks of "
        f"{setting.block_length}, batches of {setting.batch_size} blocks, {len(ours)} rounds, {arguments.device}",
        "",
        "| | tokens/s | peak memory, GB | of these before the pass |",
        "|---|---|---|---|",
    ]
    for role, runs in results.items():
        peak, loaded = max(run["peak_bytes"] for run in runs), max(run["loaded_bytes"] for run in runs)
        lines.append(f"| {role} | {_spread(speed[role], ',.0f')} | {peak / 1e9:.2f} | {loaded / 1e9:.2f} |")
    share = [a / b for a, b in zip(speed["ours"], speed[floor], strict=True)]
    lines.append(f"\nours / {floor}: {_spread(share, '.3f')}{_goal(setting.floor_goal, share)}")
    merge = median(run["merge_seconds"] for run in ours)
    lines.append(f"merging and writing the whole: {merge:.2f} s more here; in a run every four shards")
    lines.append(f"kept on disk: {ours[0]['kept_bytes'] / 1e6:.1f} MB for {setting.n_tokens} tokens")
    if "peer" in results:
        lines += _peer_lines(setting, results, speed, comparison)
    if arguments.device.startswith("cuda") or arguments.peak is not None:
        peak = arguments.peak or 989e12
        reached = floor_operations(setting) * median(speed[floor])
        lines.append(f"floor: {reached / 1e12:.3g} TFLOP/s, {reached / peak:.1%} of {peak / 1e12:.3g} TFLOP/s")
    for role in (floor, "ours"):
        if "profile" in results[role][0]:
            lines += _profile_lines(role, results[role][0]["profile"], arguments.device)
    return lines


def _peer_lines(
    setting: Setting, results: Results, speed: Mapping[str, Sequence[float]], comparison: Comparison | None
) -> list[str]:
    ratio = [a / b for a, b in zip(speed["ours"], speed["peer"], strict=True)]
    # Until examples can be read: Delphi's construction, for every feature that fires; ours, parts put together.
    whole = [
        (ours["n_tokens"] / (ours["seconds"] + ours["merge_seconds"]))
        / (peer["n_tokens"] / (peer["seconds"] + peer["n_alive"] * peer["construct_seconds_per_feature"]))
        for ours, peer in zip(results["ours"], results["peer"], strict=True)
    ]
    peer = results["peer"][0]
    lines = [
        f"ours / Delphi's cache with save: {_spread(ratio, '.2f')}{_goal(setting.peer_goal, ratio)}",
        f"with Delphi's example construction ({peer['construct_seconds_per_feature'] * 1e3:.1f} ms for each of "
        f"{peer['n_alive']} features that fire) and our merge: {_spread(whole, '.2f')}",
        f"Delphi on disk: {peer['kept_bytes'] / 1e6:.1f} MB for {peer['n_tokens']} tokens, "
        f"{peer['kept_bytes'] / peer['n_tokens'] * _FULL_TOKENS / 1e9:.2f} GB for 10M",
    ]
    if comparison is not None:
        c = comparison
        lines.append(
            f"equal: {c.n_matched:,} of {c.n_ours:,} firings (Delphi {c.n_peer:,}), largest relative difference "
            f"{c.max_difference:.1e}; of one side only {c.n_ties} ties, {c.n_errors} errors; windows: "
            f"{c.n_window_cells:,} cells, largest difference {c.max_window_difference:.1e}, "
            f"{c.n_window_unmatched} of one side only"
        )
    return lines


def _profile_lines(role: str, profile: Mapping[str, Any], device: str) -> list[str]:
    """Where the time of a profiled pass goes: the longest kernels, and on a GPU the time in which none runs."""
    seconds = profile["seconds"]
    kernels = profile["kernels"]
    lines = [
        f"\n{role}, two batches under the profiler, {seconds:.3f} s:",
        "",
        "| kernel | calls | share |",
        "|---|---|---|",
    ]
    lines += [f"| {name[:100]} | {calls} | {own / seconds:.1%} |" for name, calls, own in kernels[:14]]
    if device.startswith("cuda"):
        busy = sum(own for _, _, own in kernels)
        lines.append(
            f"| no kernel runs (launches, copies to the host, Python) | | {max(0.0, 1 - busy / seconds):.1%} |"
        )
    return lines


def disk_report(setting: Setting, arguments: argparse.Namespace) -> str:
    """Bytes that stay, at three sizes of corpus, by part, and what follows for 10M tokens."""
    folder = arguments.folder / f"{setting.name}-disk"
    sizes = [setting.n_tokens // 4, setting.n_tokens // 2, setting.n_tokens]
    parts = []
    for n_tokens in sizes:
        shutil.rmtree(folder, ignore_errors=True)
        make_inputs(with_tokens(setting, n_tokens), folder)
        run_role("ours", folder, arguments)
        parts.append(bytes_by_part(folder / "ours" / "collected.safetensors"))
    lines = [f"\n## {setting.name} on disk, MB", "", "| part | " + " | ".join(f"{n:,} tokens" for n in sizes)]
    lines[-1] += " | 10M tokens | law |"
    lines.append("|---|" + "---|" * (len(sizes) + 2))
    total = 0.0
    for part in parts[-1]:
        size, law = _at_full_size(part, [p.get(part, 0) for p in parts], sizes, setting, folder)
        total += size
        measured = " | ".join(f"{p.get(part, 0) / 1e6:.2f}" for p in parts)
        lines.append(f"| {part} | {measured} | {size / 1e6:.1f} | {law} |")
    measured = " | ".join(f"{sum(p.values()) / 1e6:.2f}" for p in parts)
    lines.append(f"| all | {measured} | {total / 1e6:.1f} | |")
    if arguments.peer is not None and setting.n_peer_tokens > 0:
        peer = run_role("peer", folder, arguments)
        per_token = peer["kept_bytes"] / peer["n_tokens"]
        lines.append(
            f"\nDelphi: {per_token:.0f} bytes a token at any size, {per_token * _FULL_TOKENS / 1e6:.0f} MB at 10M"
        )
        lines.append(f"ours / Delphi at 10M tokens: {total / (per_token * _FULL_TOKENS):.3f}")
    shutil.rmtree(folder)
    return "\n".join(lines)


def _at_full_size(
    part: str, measured: Sequence[int], sizes: Sequence[int], setting: Setting, folder: Path
) -> tuple[float, str]:
    """Bytes of a part at 10M tokens, and the law that says so."""
    if part in ("statistics", "header"):
        return float(measured[-1]), "the same at any size"
    if part == "pool":
        n_tokens = min(_FULL_TOKENS, _POOL_BLOCKS * setting.block_length)
        return measured[-1] / sizes[-1] * n_tokens, f"linear up to {_POOL_BLOCKS} blocks, then the same"
    collected = load_part(folder / "ours" / "collected.safetensors").collected
    if part in _SAMPLES:
        n_now, n_most = len(getattr(collected, part).feature), _SAMPLES[part]
    else:
        assert part == "token_counts", part
        n_now, n_most = len(collected.token_counts.feature), _TOP_TOKENS
    bytes_each = measured[-1] / max(n_now, 1)
    return bytes_each * n_most * setting.n_features, f"at most {n_most} a feature, {bytes_each:.1f} bytes each"


def _spread(values: Sequence[float], form: str) -> str:
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _goal(goal: float | None, values: Sequence[float]) -> str:
    if goal is None:
        return ""
    return f", goal {goal:g}: {'reached' if median(values) >= goal else 'not reached'}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", action="append", choices=list(SETTINGS), help="one or more; by default all")
    parser.add_argument("--all", action="store_true", help="all settings of the device, which is the default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="of a round, in place of the setting's own")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--peer", type=Path, help="Python of an environment that has Delphi; without, it isn't run")
    parser.add_argument("--no-sae-lens", action="store_true", help="a plain torch coder with the same formulas")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    parser.add_argument("--disk", action="store_true", help="bytes that stay at three sizes, in place of speed")
    parser.add_argument("--profile", action="store_true", help="also say which kernels take the time")
    parser.add_argument("--peak", type=float, help="operations a second that the chip is sold with; 989e12 on a GPU")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "autointerp-collect")
    parser.add_argument("--keep", action="store_true", help="keep inputs and results in --folder")
    parser.add_argument("--json", type=Path, help="where all that was measured is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
