"""The peer of `benchmarks.collect`: Delphi's LatentCache with save, and its example construction, timed.

    PEER_PYTHON -m benchmarks.collect_peer FOLDER OUT

To be run by a Python that has `eai-delphi`; from the checkout's root:

    python3 -m venv DELPHI
    DELPHI/bin/pip install torch==2.13.0
    DELPHI/bin/pip install -c constraints.txt transformers safetensors datasets jaxtyping orjson tqdm
    DELPHI/bin/pip install -c constraints.txt fire simple-parsing blobfile bitsandbytes asyncer anyio
    DELPHI/bin/pip install --no-deps eai-delphi

Its language-model client (vllm) and its vector index (faiss, sentence-transformers) take no part in what is measured;
empty modules stand in for the latter two, which are imported but not called. Its defaults are kept: batches of 32, 5
splits, contexts of 32 tokens, 200 examples at least, 50 random negatives. What it calls is the formula of the coder
with a dense result, as it asks for. The model is run to its end, as it does.
"""

import argparse
import contextlib
import json
import logging
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from benchmarks.collect_setting import PlainCoder, Setting, load_model
from benchmarks.collect_worker import peak_bytes, start_measuring

# Features whose examples are constructed: a uniform sample, because all of them would take longer than the cache.
_N_CONSTRUCTED = 512


def main() -> None:
    """Measure the cache, then construction, and write OUT/result.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    setting = Setting.load(arguments.folder)
    _stand_in_for_unused_modules()
    # A warning for each feature with too few examples; saying nothing is faster.
    logging.getLogger("delphi").setLevel(logging.ERROR)
    from delphi.config import CacheConfig
    from delphi.latents import LatentCache

    coder = PlainCoder(arguments.folder, setting)
    model = load_model(arguments.folder, setting, "cpu")
    blocks = np.load(arguments.folder / "tokens.npy")[: setting.n_peer_tokens // setting.block_length]
    tokens = torch.from_numpy(blocks).long()
    hook = f"layers.{setting.layer}"
    config = CacheConfig(
        batch_size=setting.batch_size, cache_ctx_len=setting.block_length, n_tokens=setting.n_peer_tokens
    )
    raw = arguments.out / "latents"
    with torch.inference_mode():
        coder.encode(model(tokens[:1]).last_hidden_state)
    loaded = start_measuring("cpu")

    started = time.perf_counter()
    cache = LatentCache(model, {hook: coder.encode}, batch_size=setting.batch_size)
    cache.run(setting.n_peer_tokens, tokens)
    cache_seconds = time.perf_counter() - started
    cache.save_splits(n_splits=config.n_splits, save_dir=raw)
    cache.save_config(save_dir=raw, cfg=config, model_name=setting.model)
    seconds = time.perf_counter() - started
    peak = peak_bytes("cpu")
    del cache

    n_alive, n_constructed, construct_seconds = _construct(raw, hook, arguments.folder / "model")
    result = {
        "role": "peer",
        "n_tokens": tokens.numel(),
        "seconds": seconds,
        "cache_seconds": cache_seconds,
        "construct_seconds_per_feature": construct_seconds / n_constructed,
        "n_alive": n_alive,
        "loaded_bytes": loaded,
        "peak_bytes": peak,
        "kept_bytes": sum(file.stat().st_size for file in raw.rglob("*") if file.is_file()),
    }
    (arguments.out / "result.json").write_text(json.dumps(result))


def _construct(raw: Path, hook: str, model: Path) -> tuple[int, int, float]:
    """Features that fire at all, features sampled of them, and seconds that their examples took."""
    from delphi.config import ConstructorConfig, SamplerConfig
    from delphi.latents import LatentDataset
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer

    alive = np.concatenate(
        [
            np.unique(load_file(file)["locations"][:, 2].astype(np.int64) + int(file.stem.split("_")[0]))
            for file in (raw / hook).glob("*.safetensors")
        ]
    )
    sample = np.sort(np.random.default_rng(0).permutation(alive)[:_N_CONSTRUCTED])
    tokenizer = AutoTokenizer.from_pretrained(model)
    dataset = LatentDataset(
        raw, SamplerConfig(), ConstructorConfig(), tokenizer, [hook], {hook: torch.from_numpy(sample)}
    )
    started = time.perf_counter()
    # Its synchronous iterator ends by an exception of its asynchronous one, which Python turns into a RuntimeError.
    with contextlib.suppress(RuntimeError):
        for _ in dataset:
            pass
    return len(alive), len(sample), time.perf_counter() - started


def _stand_in_for_unused_modules() -> None:
    for name in ("faiss", "sentence_transformers"):
        module = ModuleType(name)
        vars(module)["SentenceTransformer"] = object
        sys.modules[name] = module


if __name__ == "__main__":
    main()
