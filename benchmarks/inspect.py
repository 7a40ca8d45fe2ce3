"""What inspecting texts costs, how exact its percentiles are, and what surprise puts on top in place of raw activation.

    python -m benchmarks.inspect RUN [--rounds 3] [--neurons]

RUN is a finished run of the demo; it is only read. Texts are the paragraphs of this repository's documentation, which
are not in the demo's corpus.

1. *Speed*: tokens/s of `client.features.activations` (tokenizing, reading, a row a text) and of reading alone, beside
   the model up to the coder's layer and the coder, on batches of the same tokens that were made before. The ways take
   turns, so that all meet the same load.
2. *Percentiles*: of every activation of every feature in the run's pool, from a histogram of just these, beside the
   exact one.
3. *Ranking*: the five features that rank highest on each text, by raw activation and by surprise.

With `--neurons` the third is also done for a causal model, the packaged SmolLM2, whose features are the directions of
its own stream after layer 14, either sign for itself: a pass over the demo's kind of corpus gives their statistics.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

import autointerp
from autointerp import Pipeline, run_pipeline
from autointerp.library.client import Client
from autointerp.library.inspector import ContextInspector, RankBy
from autointerp.library.scales import Scales
from autointerp.live.read import read_any
from autointerp.live.subject import LiveSubject
from autointerp.records import Pool
from autointerp.records.live import ActivationHistograms, TextFirings
from autointerp.run.session import SourceSession, open_session
from autointerp.subject.source import Sources

_N_TOP = 5
_LAYER = 14


def paragraphs() -> list[str]:
    """Prose and code of the documentation."""
    text = "\n\n".join(file.read_text(encoding="utf-8") for file in sorted(Path("docs").glob("*.md")))
    return [part for part in re.split(r"\n\s*\n", text) if 100 < len(part) < 2000]


# --- speed ----------------------------------------------------------------------------------------------------------


def bare(live: LiveSubject, batches: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> int:
    """The model and the coder on batches; gives the number of firings."""
    source = live.sources.sources[0]
    n_firings = 0
    for token_ids, mask, counted in batches:
        (rows,) = Sources(source.subject, (source,)).read_counted(token_ids, mask, counted)
        n_firings += sum(len(part.row) for part in source.encode_firings(rows))
    return n_firings


def speed(client: Client, texts: Sequence[str], n_rounds: int) -> None:
    """Print a line for each way."""
    live = client.run.live.of_source(client.sources()[0])
    windows = [window for text in texts for window in read_any(live, text, "a text").windows]
    batches = [
        (token_ids, mask, torch.from_numpy(counted))
        for batch in live.batches(windows)
        for token_ids, mask, counted in [live.framed([windows[i] for i in batch])]
    ]
    n_tokens = sum(map(len, windows))
    ways: dict[str, Callable[[], int]] = {
        "model and coder alone": lambda: bare(live, batches),
        "firings": lambda: sum(len(of.activation) for of in client.run.firings(texts)),
        "activations": lambda: int(client.features.activations(texts).nnz),
        "activations, token by token": lambda: int(client.features.activations(texts, aggregate_by=None).nnz),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(n_rounds + 1):  # the first warms up
        for name, way in ways.items():
            began = time.perf_counter(), time.process_time()
            way()
            took[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    print(f"{len(texts)} texts, {n_tokens:,} tokens", flush=True)
    alone = median(cpu for _, cpu in took["model and coder alone"][1:])
    for name, rounds in took.items():
        wall, cpu = (median(of[clock] for of in rounds[1:]) for clock in (0, 1))
        print(f"{name:<30} {n_tokens / wall:7,.0f} tokens/s, {1e6 * cpu / n_tokens:5.0f} CPU µs a token", end=", ")
        print(f"{cpu / alone:.2f} times the model and coder alone")
    one = texts[0]
    asked = []
    for _ in range(n_rounds + 1):
        asked_at = time.perf_counter()
        repr(client.features.inspect(one))
        asked.append(time.perf_counter() - asked_at)
    print(f"one text of {len(one)} characters inspected and printed: {median(asked[1:]):.3f} s")


# --- percentiles ----------------------------------------------------------------------------------------------------


def percentiles(pool: Pool, edges: NDArray[np.float64]) -> None:
    """Print how far percentiles from histograms are from the exact ones."""
    order = np.lexsort((pool.activation, pool.feature))
    feature, activation = pool.feature[order], pool.activation[order].astype(np.float64)
    known, starts, n_active = np.unique(feature, return_index=True, return_counts=True)
    place = np.clip(np.searchsorted(edges, activation, side="right") - 1, 0, len(edges) - 2)
    counts = np.zeros((len(known), len(edges) - 1), dtype=np.int64)
    row = np.searchsorted(known, feature)
    np.add.at(counts, (row, place), 1)
    scales = Scales(
        ActivationHistograms(
            n_tokens=10**9,
            feature_index=known.astype(np.int64),
            n_active=n_active,
            max_activation=activation[starts + n_active - 1],
            counts=counts,
            edges=edges,
        )
    )
    rank = np.arange(len(feature)) - starts[row]
    first_of_equal = np.maximum.accumulate(np.where(np.diff(activation, prepend=-1.0) != 0, rank + starts[row], 0))
    exact = 100 * (np.maximum(first_of_equal, starts[row]) - starts[row]) / n_active[row]
    error = np.abs(scales.percentile(feature, activation) - exact)
    bound = scales.percentile_error(feature, activation)
    often = n_active[row] >= 100
    n_beyond = int((error > bound + 1e-6).sum())
    print(f"{len(feature):,} activations of {len(known):,} features, {n_beyond} beyond their bound")
    for name, of in (("all", np.ones_like(often)), ("features with 100 firings or more", often)):
        middle, high, worst = np.percentile(error[of], [50, 95, 100])
        print(f"{name:<34} error: median {middle:.2f}, 95 % below {high:.2f}, largest {worst:.2f}", end="; ")
        print(f"bound: median {np.median(bound[of]):.1f}")


# --- ranking --------------------------------------------------------------------------------------------------------


def inspected(client: Client, texts: Sequence[str]) -> Iterator[ContextInspector]:
    """Each text, looked at together, with statistics read once."""
    scales = Scales(client.run.activation_histograms())
    every = client.features.lookup(range(client.sources()[0].n_features))
    for firings in client.run.firings(texts):
        yield ContextInspector(firings, scales, every.pick, aggregate_by="max")


def _place(firings: TextFirings, token: int) -> str:
    if token == 0:
        return "first token"
    piece = firings.tokens[token]
    if "\n" in piece:
        return "line break"
    return "word or number" if any(character.isalnum() for character in piece) else "mark"


def ranking(client: Client, texts: Sequence[str]) -> None:
    """Print what ranks highest on texts."""
    looked = list(inspected(client, texts))
    for rank_by in get_args(RankBy):
        tops = [(of, top) for of in looked for top in of.top(_N_TOP, "max", rank_by)]
        picks = Counter(top.feature.index for _, top in tops)
        places = Counter(_place(of.firings, top.peak) for of, top in tops)
        n = len(tops)
        shares = ", ".join(f"{name} {100 * count / n:.0f} %" for name, count in places.most_common())
        commonest = sum(count for _, count in picks.most_common(10)) / n
        density = median(top.feature.density for _, top in tops)
        print(
            f"{rank_by:<10} {len(picks):5,} features among {n:,} picks; the 10 commonest take {100 * commonest:.0f} %;",
            end="",
        )
        print(f" median density {100 * density:.2f} %; on: {shares}")
    every = Counter(_place(of.firings, token) for of in looked for token in range(len(of.firings.tokens)))
    print("tokens:", ", ".join(f"{name} {100 * count / every.total():.0f} %" for name, count in every.most_common()))
    first = looked[0]
    print(f"one text: {first.text[:300]!r}")
    rankings: tuple[RankBy, ...] = ("activation", "surprise")
    for rank_by in rankings:
        for top in first.top(_N_TOP, "max", rank_by):
            piece = first.firings.tokens[top.peak]
            print(f"  {rank_by:<10} {top!r} on {piece!r} ({100 * top.feature.density:.2g} % of tokens)")


def run_of_neurons(folder: Path) -> Client:
    """Collect the directions of SmolLM2's stream, either sign for itself, as features."""
    from sae_lens import StandardSAE, StandardSAEConfig

    width = 576
    sae = StandardSAE(StandardSAEConfig(d_in=width, d_sae=2 * width, apply_b_dec_to_input=False))
    with torch.no_grad():
        sae.W_enc.copy_(torch.cat([torch.eye(width), -torch.eye(width)], dim=1))
        sae.W_dec.copy_(sae.W_enc.T)
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    sae.cfg.metadata.hook_name = f"blocks.{_LAYER}.hook_resid_post"
    sae.save_model(folder / "coder")
    pipeline = Pipeline.model_validate(
        {
            "name": "neurons",
            "runs": str(folder),
            "subject": {"model": "packaged:smollm2-135m-instruct"},
            "coder": {"path": str(folder / "coder"), "name": "neurons"},
            "corpus": {"kind": "docstrings", "n_tokens": 8_000},
            "collect": {"n_pool_blocks": 16, "n_top": 2, "n_fired": 2},
        }
    )
    run_pipeline(pipeline, stages=("corpus", "collect"))
    return autointerp.open(folder / "neurons")


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neurons", action="store_true")
    arguments = parser.parse_args()
    client = autointerp.open(arguments.run)
    texts = paragraphs()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("speed")
    speed(client, texts[:60], arguments.rounds)
    print("percentiles")
    session = open_session(Path(arguments.run))
    (source,) = (SourceSession(session, name) for name in session.source_ids)
    percentiles(source.collected.pool, source.collected.statistics.bin_edges)
    print("ranking")
    ranking(client, texts[:200])
    if arguments.neurons:
        print("ranking, SmolLM2's own directions")
        with tempfile.TemporaryDirectory() as folder:
            ranking(run_of_neurons(Path(folder)), texts[:40])


if __name__ == "__main__":
    main()
