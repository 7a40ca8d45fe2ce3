"""How far three ways to attribute a token tell what taking a firing out does.

    python -m benchmarks.attribution RUN [--texts 8] [--tokens 32] [--firings 48] [--steps 1 2 4 8 16]
    python -m benchmarks.attribution --planted

RUN is a finished run of a causal model; it is only read. `--planted` plants the tests' model, whose features are known.

1. Texts are blocks of the corpus, drawn by a keyed hash, each cut to some tokens; what is measured is the
   log-probability of the token that comes next.
2. Of each text some firings are taken out one by one: the half with the largest of any of the three attributions, the
   other half drawn by a hash from all others, so that the choice favours no way.
3. By text and over all texts: Pearson's and Spearman's correlation of each attribution with by how much the measure
   falls, and the slope of the least squares line through 0, which is 1 where sizes are right.
4. The completeness gap of integrated gradients by the number of steps, over by how much the measure falls without any
   feature: what few steps miss.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from autointerp.identity import hash_key, in_keyed_order
from autointerp.live.attribution import _firings, attribute
from autointerp.live.gradient import NextToken, Reader
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.attribution import AskedToken
from autointerp.run.session import open_session

WAYS = ("gradient", "integrated", "direct")


@dataclass(frozen=True)
class OfText:
    """Attributions of the firings that were taken out of one text, and what that did."""

    attributed: dict[str, np.ndarray]
    removed: np.ndarray
    fall: float
    gaps: dict[int, float]


def measured(live: LiveSubject, source_id: str, text: str, n_firings: int, steps: Sequence[int]) -> OfText | None:
    """Attribute a text's last token, and take firings out; None where nothing fires before it."""
    found = {n: attribute(live, source_id, text, AskedToken(index=-1, n_steps=n)) for n in steps}
    most = found[max(steps)]
    if not len(most.gradient):
        return None
    attributed = {way: np.nan_to_num(getattr(most, way)) for way in WAYS}
    largest = np.argsort(-np.max([np.abs(of) for of in attributed.values()], axis=0), kind="stable")
    tried = largest[: n_firings // 2]
    others = in_keyed_order(hash_key(0, text), np.setdiff1d(np.arange(len(largest)), tried))
    tried = np.concatenate([tried, others[: n_firings - len(tried)]]).astype(int)
    source = live.source(source_id)
    of = NextToken(find_head(live.sources.subject), most.token_ids[-1], None, "log_prob")
    framed, _, counted = live.framed([list(most.token_ids[:-1])], open_ended=True)
    with live.lock:
        reader = Reader(live, source, of, framed[0].tolist())
        seen = reader.gradient()
        firings = _firings(source, seen, torch.from_numpy(counted[0]))
        left = reader.values_without(
            len(tried), lambda some: firings.written([torch.tensor([tried[i]]) for i in some], seen.where_written)
        ).numpy()
    return OfText(
        {way: of[tried] for way, of in attributed.items()},
        seen.value - left,
        most.value - most.value_removed,
        {n: float(one.completeness_gap or 0.0) for n, one in found.items()},
    )


def told(texts: Sequence[OfText]) -> None:
    """Print correlations and gaps."""
    removed = np.concatenate([of.removed for of in texts])
    print(
        f"{len(texts)} texts, {len(removed)} firings taken out, which changes {np.abs(removed).mean():.3f} nats each\n"
    )
    print("| | Pearson, all | Spearman, all | Pearson, median of texts | Spearman, median of texts | slope |")
    print("|---|---|---|---|---|---|")
    for way in WAYS:
        by = np.concatenate([of.attributed[way] for of in texts])
        each = [(_pearson(of.attributed[way], of.removed), _spearman(of.attributed[way], of.removed)) for of in texts]
        pearson, spearman = np.nanmedian(each, axis=0)
        slope = float(by @ removed / (by @ by)) if by.any() else np.nan
        print(
            f"| {way} | {_pearson(by, removed):.3f} | {_spearman(by, removed):.3f} | {pearson:.3f} | {spearman:.3f} |"
            f" {slope:.2f} |"
        )
    print("\n| steps | gap over the fall without any feature: median of texts | largest |\n|---|---|---|")
    for n in texts[0].gaps:
        gaps = np.abs([of.gaps[n] / of.fall for of in texts])
        print(f"| {n} | {np.median(gaps):.1%} | {gaps.max():.1%} |")
    falls = np.array([of.fall for of in texts])
    print(f"\nwithout any feature the log-probability falls by {np.median(falls):.2f} nats (median)")


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if len(one) > 2 and np.ptp(one) > 0 else np.nan


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one, other).statistic) if len(one) > 2 and np.ptp(one) > 0 else np.nan


def texts_of(run: Path, n: int, n_tokens: int) -> tuple[LiveSubject, str, list[str]]:
    """A run's subject, its source, and the beginnings of some blocks of its corpus."""
    session = open_session(run)
    live, blocks = session.live_subject, session.blocks
    order = in_keyed_order(hash_key(0, "attribution"), np.arange(blocks.n_blocks))[: 4 * n]
    read = blocks.read(order)
    found = [
        "".join(session.pieces.pieces(row[first : first + n_tokens + 1]))
        for row, first, end in zip(read.token_ids.tolist(), read.span_start, read.span_end, strict=True)
        if end - first > n_tokens
    ]
    return live, live.sources.sources[0].source_id, found[:n]


def planted(folder: Path, n: int) -> tuple[LiveSubject, str, list[str]]:
    """The tests' planted model, and texts of its words."""
    from tests.live.test_live_next_token import live_of
    from tests.run.planted import COLOURS, FEATURES, plant

    made = plant(folder)
    words = [*(word for feature in FEATURES for word in feature), *COLOURS, "the", "and", "was", "by", "now"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, 17)) for _ in range(n)]
    return live_of(made.model, made.coder), "m@s", texts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--firings", type=int, default=48)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = tempfile.TemporaryDirectory()
    live, source_id, texts = (
        planted(Path(folder.name), args.texts) if args.planted else texts_of(args.run, args.texts, args.tokens)
    )
    print(
        f"{'the planted model' if args.planted else source_id}, {args.threads} thread, load {os.getloadavg()[0]:.1f}\n"
    )
    began = time.process_time()
    found = [measured(live, source_id, text, args.firings, args.steps) for text in texts]
    told([of for of in found if of is not None])
    print(f"{time.process_time() - began:.0f} s of the processor")


if __name__ == "__main__":
    main()
