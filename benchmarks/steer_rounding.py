"""How far logits differ by the way in which they are computed, and what tolerance tells a choice that may change.

    python -m benchmarks.steer rounding [--small] [--dtype bfloat16] [--chats 8] [--tokens 24]

The requests of `steer generation exact` are answered all at once. Each choice's logits, as the batch gave them, are
then set beside those that are computed alone, from the beginning and without a cache, of the same tokens under the same
edits, by which the choice is made where it is too close to call.

1. Of each place: by how much the likelier tokens' log-probabilities differ (those of at least 1 in 1,000), as a share
   of the largest logit.
2. For some tolerances, in multiples of the largest logit: how many choices would be computed anew, and how many would
   have been another token without anyone seeing it, greedy, and drawn at temperature .6 of the .9 likeliest.
3. The same of logits with a cache, one text by itself.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autointerp.live.generation.choose import Choice, choose
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import GenerationLimits, GenerationRequest
from autointerp.live.generation.row import Row
from benchmarks.steer_generation import CHAT, live_subject, varied

_TOLERANCES = (0.0, 1e-5, 4e-5, 1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)
_LIKELY = 1e-3
_DRAWN = ((0.0, 1.0), (0.6, 0.9))


@dataclass(frozen=True)
class Pair:
    """Logits of one place, as they came and as they are alone."""

    came: torch.Tensor
    alone: torch.Tensor


def pairs(generator: Generator, requests: Sequence[GenerationRequest], *, at_once: bool) -> list[Pair]:
    """Have requests answered, and compute anew all that was chosen by."""
    batch, found = generator._batch, list[Pair]()
    chosen = batch._choose

    def record(rows: Sequence[Row], logits: torch.Tensor, *, is_exact: bool = False) -> Any:
        if not is_exact:
            for row, of in zip(rows, logits, strict=True):
                compiled = [row.compiled(position) for position in range(row.n_read)]
                read = batch._reader.read([row.tokens[: row.n_read]], batch._editors.changes(compiled), {})
                found.append(Pair(of.clone(), read.logits[0]))
        return chosen(rows, logits, is_exact=is_exact)

    vars(batch)["_choose"] = record
    if at_once:
        for stream in [generator.submit(request) for request in requests]:
            stream.result()
    else:
        for request in requests:
            generator.submit(request).result()
    del vars(batch)["_choose"]
    return found


def told(name: str, found: Sequence[Pair]) -> None:
    """Print how far logits are apart, and what tolerances do."""
    apart, alike = [], 0
    for pair in found:
        one, other = pair.came.log_softmax(dim=-1), pair.alone.log_softmax(dim=-1)
        alike += int(torch.equal(pair.came, pair.alone))
        likely = other.exp() >= _LIKELY
        apart.append(float((one - other).abs()[likely].max() / pair.alone.abs().max()))
    shares = np.percentile(apart, [50, 90, 99, 100])
    print(f"{name}: {len(found)} choices, {alike} of them by the same bits; largest logits about", end=" ")
    print(f"{np.median([float(pair.alone.abs().max()) for pair in found]):.0f}")
    print("log-probabilities of likelier tokens differ by, of the largest logit:", end=" ")
    print(f"median {shares[0]:.1e}, 90 % {shares[1]:.1e}, 99 % {shares[2]:.1e}, most {shares[3]:.1e}\n")
    head = " | ".join(f"{'greedy' if not t else f'drawn at {t:g}'}: anew | another, unseen" for t, _ in _DRAWN)
    print(f"| tolerance | {head} |\n|---|{'---|---|' * len(_DRAWN)}")
    for tolerance in _TOLERANCES:
        cells = []
        for temperature, top_p in _DRAWN:
            n_anew = n_wrong = 0
            for seed, pair in enumerate(found):
                size = float(pair.came.abs().max())
                came, alone = (
                    choose(logits[None], [Choice(temperature, top_p, seed, 0, of)])[0]
                    for logits, of in ((pair.came, tolerance * size), (pair.alone, 0.0))
                )
                assert alone is not None
                n_anew += came is None
                n_wrong += came is not None and came.token_id != alone.token_id
            cells.append(f"{n_anew / len(found):.1%} | {n_wrong}")
        print(f"| {tolerance:g} | {' | '.join(cells)} |")
    print()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--chats", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        live = live_subject(Path(folder), small=args.small, dtype=args.dtype)
        model: Any = live.sources.subject.model
        print(f"{'a small random model' if args.small else CHAT}, {args.dtype}, computed in {model.dtype}", end=", ")
        print(f"{args.threads} threads, load {os.getloadavg()[0]:.1f}\n")
        requests = [request for request in varied(live, args.chats, args.tokens) if not request.rules]
        generator = Generator(live, GenerationLimits(n_at_once=max(16, args.chats)))
        told("in a batch with a cache, and alone without", pairs(generator, requests, at_once=True))
        told("by itself with a cache, and without", pairs(generator, requests[:4], at_once=False))


if __name__ == "__main__":
    main()
