"""What embedding a run's pool costs: batches one after another on all threads, and side by side with a thread each.

    python -m benchmarks.pool RUN [--rounds 3]

RUN is a run of the demo whose contexts are made; it is only read. The two ways take turns, so that both meet the same
load. CPU is that of the process. The floor is what the products of the model's layers take at the rate of one large
product on one thread, a core each: whatever is left of a batch's steps comes on top.
"""

import argparse
import time

import numpy as np
import torch

from autointerp import open_run
from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder

_N_LAYERS, _WIDTH, _MLP = 6, 384, 1536  # all-MiniLM-L6-v2
_SIDE = 1536


def operations(n_tokens: int) -> float:
    """Multiplications and additions in the products with weights."""
    return 2.0 * n_tokens * _N_LAYERS * (4 * _WIDTH**2 + 2 * _WIDTH * _MLP)


def peak() -> float:
    """Operations a second of one thread: the best of a few products."""
    torch.set_num_threads(1)
    left, right = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        left @ right
        best = max(best, 2.0 * _SIDE**3 / (time.perf_counter() - began))
    return best


def texts_of(run: str) -> list[str]:
    """Texts like those of a pool: the run's silent contexts, each once, repeated up to as many as a pool has."""
    reader = open_run(run).reader
    features = [feature.feature_index for feature in reader.features()][:400]
    texts = {c.text for of in reader.feature_contexts(features) for c in of.contexts if not c.is_active}
    return [f"{text} {number // len(texts)}" for number, text in enumerate(sorted(texts) * 3)][:2048]


def main() -> None:
    """Print a line for each way and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    n_threads = torch.get_num_threads()
    texts = texts_of(arguments.run)
    embedder = Embedder(EmbedderConfig(device="cpu"))
    n_tokens = sum(map(len, embedder._model.token_ids(texts)))
    a_second = peak()
    floor_s = operations(n_tokens) / a_second
    print(f"{len(texts)} texts, {n_tokens:,} tokens, {operations(n_tokens):.3g} operations; {n_threads} threads")
    print(f"one thread makes {a_second:.3g} a second: floor {floor_s:.1f} s of CPU")
    found = []
    for number in range(arguments.rounds):
        for side_by_side in (False, True):
            torch.set_num_threads(n_threads)
            began, cpu = time.perf_counter(), time.process_time()
            vectors = dict(
                pair
                for batch, rows in embedder._forward(texts, side_by_side=side_by_side)
                for pair in zip(batch, rows, strict=True)
            )
            found.append(np.stack([vectors[text] for text in texts]))
            way = "side by side" if side_by_side else "all threads"
            wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
            print(f"round {number + 1}, {way:<12}: wall {wall_s:5.1f} s, CPU {cpu_s:5.1f} s", flush=True)
    print(f"largest difference of a number between the two: {np.abs(found[0] - found[1]).max():.1e}")


if __name__ == "__main__":
    main()
