"""One timed pass in a process of its own: the floor, or `autointerp.collect`. Started by `benchmarks.collect`.

    python -m benchmarks.collect_worker ROLE FOLDER OUT [--device cpu] [--no-sae-lens] [--profile]

ROLE is one of

    floor-whole     forward pass and `encode` of a whole batch at once, PyTorch's own threads
    floor-pieces    the same, encoding 512 rows at a time (128 of a million features), which keeps memory small
    floor-threads   the same pieces, batches dealt to one Python thread a core, each computing on one thread
    ours            everything that `collect` does: statistics, samples, pool, written shards

FOLDER holds the inputs of `collect_setting.make_inputs`; what was measured goes to OUT/result.json, what `collect` kept
to OUT/parts. Loading is not timed; the first block (on a GPU the first batch) is done once before the clock starts.
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from benchmarks.collect_setting import DTYPES, PlainCoder, Setting, load_model, read_last, stop_after

Item = TypeVar("Item")
FLOORS = ("floor-whole", "floor-pieces", "floor-threads")
Tokens = Int32[np.ndarray, "block position"]
Pass = Callable[[Tokens, Path], "Measured"]
# What a shard of the default pipeline holds at most; a smaller corpus is cut so that each thread has one.
_BLOCKS_PER_SHARD = 1024
# As the executor has it: while one shard's firings are sorted, others keep the GPU busy.
_SHARDS_AT_ONCE_ON_A_GPU = 6


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pass took.

    Attributes:
        role: What was run.
        n_tokens: Tokens of the pass.
        seconds: Of the pass, written files included.
        merge_seconds: Reading the written parts, putting them together and writing the whole; 0 for the floor.
        loaded_bytes: Resident memory before the clock started, model and coder included.
        peak_bytes: Largest resident memory of the process (of the GPU, where one is used).
        kept_bytes: Size of the file that stays.
    """

    role: str
    n_tokens: int
    seconds: float
    merge_seconds: float
    loaded_bytes: int
    peak_bytes: int
    kept_bytes: int


def main() -> None:
    """Measure one pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=[*FLOORS, "ours"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-sae-lens", action="store_true", help="a plain torch coder with the same formulas")
    parser.add_argument("--profile", action="store_true", help="also write which kernels take the time")
    arguments = parser.parse_args()
    setting = Setting.load(arguments.folder)
    tokens: Tokens = np.load(arguments.folder / "tokens.npy")
    if arguments.role == "ours":
        run = load_ours(arguments.folder, setting, arguments.device, plain=arguments.no_sae_lens)
    else:
        run = load_floor(arguments.role, arguments.folder, setting, arguments.device, plain=arguments.no_sae_lens)
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = run(tokens, arguments.out)
    if arguments.profile:
        # As many tokens as show the mix of kernels; recording makes a pass slower, so it is one of its own.
        with profiler() as record:
            profiled = run(tokens[: 2 * setting.batch_size], arguments.out / "profile")
        kernels = kernel_seconds(record, arguments.device)
        (arguments.out / "profile.json").write_text(json.dumps({"seconds": profiled.seconds, "kernels": kernels}))
    (arguments.out / "result.json").write_text(json.dumps(asdict(measured)))


def load_floor(role: str, folder: Path, setting: Setting, device: str, *, plain: bool) -> Pass:
    """Forward passes up to the layer and `encode`, nothing kept."""
    model = load_model(folder, setting, device)
    stop_after(model, setting.layer)
    sae = PlainCoder(folder, setting).to(device) if plain else load_sae(folder, setting, device)
    size = setting.batch_size
    n_rows = size * setting.block_length
    if role != "floor-whole":
        n_rows = min(n_rows, setting.piece_rows)
    n_threads = len(os.sched_getaffinity(0)) if role == "floor-threads" else 1
    if role == "floor-threads":
        torch.set_num_threads(1)

    def encode_batch(batch: Tensor) -> None:
        with torch.inference_mode():
            hidden = read_last(model, batch.to(device, torch.long)).flatten(0, 1)
            for start in range(0, len(hidden), n_rows):
                sae.encode(hidden[start : start + n_rows])

    def run(tokens: Tokens, out: Path) -> Measured:
        encode_batch(torch.from_numpy(tokens[: n_warming(setting, device)]))
        batches = [torch.from_numpy(tokens[i : i + size]) for i in range(0, len(tokens), size)]
        loaded = start_measuring(device)
        started = now(device)
        deal(n_threads, encode_batch, batches)
        seconds = now(device) - started
        return Measured(role, tokens.size, seconds, 0.0, loaded, peak_bytes(device), 0)

    return run


def load_sae(folder: Path, setting: Setting, device: str) -> Any:
    """The coder as SAELens loads it."""
    from sae_lens import SAE

    return SAE.load_from_disk(folder / "coder", device=device, dtype=setting.dtype).eval().requires_grad_(False)


def load_ours(folder: Path, setting: Setting, device: str, *, plain: bool) -> Pass:
    """All of `collect`, as `autointerp.run.workers.executor` does it in one process: the one place that calls it."""
    from autointerp.collect.merge import ShardPart, merge
    from autointerp.collect.settings import CollectSettings
    from autointerp.collect.shards import load_part, save_part
    from autointerp.collect.stream import collect_shard

    sources = plain_sources(folder, setting, device) if plain else saved_sources(folder, setting, device)
    n_threads = len(os.sched_getaffinity(0)) if device == "cpu" else _SHARDS_AT_ONCE_ON_A_GPU

    def run(tokens: Tokens, out: Path) -> Measured:
        # The pipeline's defaults; written out because the config needs pydantic, which a GPU machine may lack.
        settings = CollectSettings(
            seed=0,
            source_id=sources.sources[0].source_id,
            pool_of=sources.sources[0].source_id,
            n_top=40,
            n_fired=100,
            n_pool_blocks=2048,
            n_token_candidates=256,
            n_top_tokens=30,
            n_corpus_blocks=len(tokens),
            context_length=32,
            peak_fraction=0.75,
            batch_size=setting.batch_size,
            histogram_low=-8,
            histogram_high=8,
        )
        folder = out / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        n_blocks = min(_BLOCKS_PER_SHARD, -(-len(tokens) // n_threads))

        def do_shard(shard_index: int) -> None:
            (collected,) = collect_shard(sources, cut_shard(tokens, shard_index, n_blocks), [settings])
            save_part(folder / f"{shard_index}.safetensors", ShardPart(shard_index, collected), "")

        collect_shard(sources, cut_shard(tokens, 0, n_warming(setting, device)), [settings])
        loaded = start_measuring(device)
        started = now(device)
        deal(n_threads, do_shard, range(-(-len(tokens) // n_blocks)))
        seconds = now(device) - started
        parts = sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem))
        started = now(device)
        whole = out / "collected.safetensors"
        save_part(whole, ShardPart(0, merge((load_part(path) for path in parts), settings)), "")
        merge_seconds = now(device) - started
        for path in parts:
            path.unlink()
        kept = whole.stat().st_size
        return Measured("ours", tokens.size, seconds, merge_seconds, loaded, peak_bytes(device), kept)

    return run


def saved_sources(folder: Path, setting: Setting, device: str) -> Any:
    """Model and coder as a pipeline loads them."""
    from autointerp.config import CoderConfig, SubjectConfig
    from autointerp.subject.source import load_sources

    subject = SubjectConfig(model=str(folder / "model"), name=setting.model, dtype=setting.dtype, device=device)
    return load_sources(subject, [CoderConfig(path=str(folder / "coder"), dtype=setting.dtype)])


def plain_sources(folder: Path, setting: Setting, device: str) -> Any:
    """The same without SAELens and pydantic."""
    from autointerp.subject.coder import Coder
    from autointerp.subject.model import Subject
    from autointerp.subject.source import Sources, join_source

    where = torch.device(device)
    model = load_model(folder, setting, device)
    sae = PlainCoder(folder, setting).to(device)
    subject = Subject(
        name=setting.model,
        model=model,
        tokenizer=None,
        device=where,
        dtype=DTYPES[setting.dtype],
        family=str(model.config.model_type),
    )
    coder = Coder(
        sae=sae,
        origin="seeded",
        architecture=setting.architecture,
        hook_name=setting.hook_name,
        hook_name_out=None,
        d_in=sae.W_enc.shape[0],
        d_out=sae.W_dec.shape[1],
        n_features=setting.n_features,
        model_name=None,
        prepends_bos=None,
        model_kwargs={},
        device=where,
    )
    return Sources(subject, (join_source(subject, coder, setting.name),))


def cut_shard(tokens: Tokens, shard_index: int, n_blocks: int) -> Any:
    """Some blocks as a shard in which every token counts; each block is its own document."""
    from autointerp.records import BlockShard

    rows = tokens[shard_index * n_blocks : (shard_index + 1) * n_blocks]
    return BlockShard(
        shard_index=shard_index,
        first_block=shard_index * n_blocks,
        token_ids=rows,
        n_tokens=np.full(len(rows), rows.shape[1], np.int32),
        counted=np.ones(rows.shape, bool),
        document_index=np.arange(len(rows), dtype=np.int32),
        document_ids=tuple(str(shard_index * n_blocks + row) for row in range(len(rows))),
    )


def deal(n_threads: int, work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Do all items, in this thread or in several that compute on one core each."""
    if n_threads == 1:
        for item in items:
            work(item)
        return
    # PyTorch's number of threads belongs to the thread that sets it.
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(work, items))


def n_warming(setting: Setting, device: str) -> int:
    """Blocks done before the clock starts; a GPU chooses its kernels and takes its memory at a batch's full size."""
    return setting.batch_size if device.startswith("cuda") else 1


def now(device: str) -> float:
    """Seconds on a clock that only goes forward, after everything queued on a GPU is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def start_measuring(device: str) -> int:
    """Bytes resident now; a GPU's peak counts from here."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return _status_bytes("VmRSS")


def peak_bytes(device: str) -> int:
    """Largest memory so far: of the process as the kernel accounts it, or what PyTorch allocated on the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int:
    # Not ru_maxrss, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def profiler() -> Any:
    """PyTorch's profiler over CPU and, where there is one, GPU."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    return profile(activities=activities)


def kernel_seconds(record: Any, device: str) -> list[tuple[str, int, float]]:
    """Name, calls and own seconds of each kernel (of each operator on a CPU), longest first."""
    on_gpu = device.startswith("cuda")
    rows = []
    for event in record.key_averages():
        if on_gpu and str(event.device_type).endswith("CPU"):
            continue
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        rows.append((str(event.key), int(event.count), own * 1e-6))
    return sorted(rows, key=lambda row: -row[2])


if __name__ == "__main__":
    main()
