"""The roofline of `collect`: what each step must compute and move, and what this machine can do.

    python -m benchmarks.collect_machine [--setting topk-32k-fp32] [--device cpu]

Operations and bytes are counted from shapes, a token. Peaks are measured: the best of a few products for arithmetic,
copying 256 MiB for memory. A step's least time is the larger of its operations over the one and its bytes over the
other; steps add up, because each needs the result of the one before.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.collect_setting import CPU_SETTINGS, DTYPES, SETTINGS, Setting

# Width, hidden width of the MLP.
_SHAPES = {"pythia-70m": (512, 2048), "gpt2-small": (768, 3072), "tiny-neox": (64, 256), "tiny-gpt2": (64, 256)}
_COPIED_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Step:
    """What a step costs a token.

    Attributes:
        name: The step.
        n_operations: Multiplications and additions in products; 0 for a step that only moves data.
        n_bytes: Read and written, each pass over an array counted.
        is_floor: Whether the floor does it too.
    """

    name: str
    n_operations: float
    n_bytes: float
    is_floor: bool


@dataclass(frozen=True, slots=True)
class Peaks:
    """What the machine reaches.

    Attributes:
        operations: In products of the setting's dtype, a second.
        encode_operations: The same in a product of `encode`'s shape, `x @ W_enc`.
        bandwidth: Bytes a second, reads and writes of a copy added.
    """

    operations: float
    encode_operations: float
    bandwidth: float


def count_steps(setting: Setting, l0: float | None = None, kept_bytes: float = 0.0) -> list[Step]:
    """Steps of a pass, in order.

    Args:
        setting: Shapes and dtype.
        l0: Firings a token; by default those of top-k.
        kept_bytes: Written a token.
    """
    d_model, d_mlp = _SHAPES[setting.model]
    size = DTYPES[setting.dtype].itemsize
    n_layers, width, length = setting.layer + 1, setting.n_features, setting.block_length
    n_rows = setting.batch_size * length
    piece_rows = min(n_rows, setting.piece_rows)
    weights = n_layers * (4 * d_model**2 + 2 * d_model * d_mlp)
    row = width * size
    firings = l0 if l0 is not None else float(setting.k)
    steps = [
        Step("embedding", 0, 2 * d_model * size, True),
        # Each layer reads and writes its stream about ten times: norms, residual sums, heads, activation function.
        Step(
            f"{n_layers} layers: products",
            2 * weights,
            weights * size / n_rows + n_layers * (10 * d_model + 2 * d_mlp) * size,
            True,
        ),
        Step(f"{n_layers} layers: attention over {length} tokens", n_layers * 4 * d_model * length, 0, True),
        Step("encode: product", 2 * d_model * width, d_model * width * size / piece_rows + row, True),
        Step("encode: bias", 0, 2 * row, True),
    ]
    if setting.architecture == "topk":
        steps.append(Step("encode: top-k, one reading", 0, row, True))
        steps.append(Step("encode: dense result, zeros", 0, row, True))
    else:
        steps.append(
            Step("encode: activation function", 0, (2 if setting.architecture == "standard" else 4) * row, True)
        )
    # With (feature, cell, activation) as 16 bytes, radix sorting by 16-bit digits: 4 passes, each read and written,
    # then about 6 reductions over the sorted runs.
    steps.append(Step("find firings in the dense result", 0, row + 2 * width, False))
    steps.append(Step(f"sort and reduce {firings:.0f} firings", 0, firings * 16 * (2 * 4 + 6), False))
    if kept_bytes:
        steps.append(Step("write", 0, kept_bytes, False))
    return steps


def floor_operations(setting: Setting) -> float:
    """Operations a token of forward pass and encode."""
    return sum(step.n_operations for step in count_steps(setting) if step.is_floor)


def measure_peaks(setting: Setting, device: str) -> Peaks:
    """Measure with PyTorch's own threads."""
    dtype = DTYPES[setting.dtype]
    d_model, _ = _SHAPES[setting.model]
    n = 1024 if device == "cpu" else 8192
    # Slow products (bfloat16 without instructions for it) are measured on less.
    rows = 256 if device == "cpu" else 8192
    square = torch.randn(n, n, device=device).to(dtype)
    x = torch.randn(rows, d_model, device=device).to(dtype)
    weights = torch.randn(min(setting.n_features, 2**15), d_model, device=device).to(dtype)
    encoder = weights.T.contiguous()
    from_rows = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device=device)
    to_rows = torch.empty_like(from_rows)
    encode = 2 * rows * encoder.numel()
    in_encode = encode / _seconds(lambda: x @ encoder, device)
    # A product with transposed weights, as in a linear layer, may have a faster kernel.
    in_linear = encode / _seconds(lambda: x @ weights.T, device)
    in_square = 2 * n**3 / _seconds(lambda: square @ square.T, device)
    bandwidth = 2 * _COPIED_BYTES / _seconds(lambda: to_rows.copy_(from_rows), device)
    return Peaks(max(in_encode, in_linear, in_square), in_encode, bandwidth)


def _seconds(work: Callable[[], object], device: str) -> float:
    """Shortest of three times, after a first that is not counted."""
    best = float("inf")
    for attempt in range(4):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if attempt:
            best = min(best, time.perf_counter() - started)
    return best


def roofline_rows(setting: Setting, peaks: Peaks, l0: float | None = None) -> list[str]:
    """A table of the steps, their least times, and the sums with and without what only `collect` does."""
    rows = ["| step | operations a token | bytes a token | least time, µs |", "|---|---|---|---|"]
    total = floor = 0.0
    for step in count_steps(setting, l0):
        least = max(step.n_operations / peaks.operations, step.n_bytes / peaks.bandwidth) * 1e6
        total += least
        floor += least if step.is_floor else 0.0
        rows.append(f"| {step.name} | {_short(step.n_operations)} | {_short(step.n_bytes)} | {least:.1f} |")
    rows.append(f"| floor: {1e6 / floor:,.0f} tokens/s | {_short(floor_operations(setting))} | | {floor:.1f} |")
    rows.append(f"| collect: {1e6 / total:,.0f} tokens/s, {floor / total:.2f} of the floor | | | {total:.1f} |")
    return rows


def _short(number: float) -> str:
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number:.0f}" if number else ""


def main() -> None:
    """Print peaks and roofline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=list(SETTINGS), action="append")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    names = arguments.setting or [setting.name for setting in CPU_SETTINGS]
    for setting in (SETTINGS[name] for name in names):
        peaks = measure_peaks(setting, arguments.device)
        print(
            f"\n{setting.name} on {arguments.device}, {torch.get_num_threads()} threads, {setting.dtype}: products "
            f"{peaks.operations / 1e9:,.1f} GFLOP/s, x @ W_enc {peaks.encode_operations / 1e9:,.1f} GFLOP/s, "
            f"copying {peaks.bandwidth / 1e9:.1f} GB/s\n"
        )
        print("\n".join(roofline_rows(setting, peaks)))


if __name__ == "__main__":
    main()
