"""What a dose of 1 does on documents and on prompts of a chat, found on the one alone and on both.

    python -m benchmarks.steer dose_texts RUN [--features 6] [--tokens 1536]

RUN is a finished run of a chat model; it is only read. Of features that fire, drawn by a keyed hash, the dose is found
on the run's corpus and on texts that are mixed with prompts, as `Run.dose_texts` says. Both are then read on *held-out*
texts: others of the corpus, and every second of the shipped instructions and questions, which no dose was found on.
Told is the 95th percentile over tokens of KL(steered || plain) on each, and where both count alike.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autointerp.identity import hash_key, in_keyed_order
from autointerp.library.steer.material import shipped_instructions, shipped_questions
from autointerp.live.divergence import DivergenceMeter
from autointerp.live.dose import USUAL_METHOD, DoseSeeker
from autointerp.records.live import Edit
from autointerp.run.dose_prompts import draw_prompts, mixed
from autointerp.run.doses import draw_texts
from autointerp.run.session import open_session


def alike(parts: Sequence[np.ndarray], wanted: float) -> float:
    """A percentile over tokens of several texts, where each text's tokens weigh as much together."""
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(reached, wanted / 100)])


def main() -> None:
    """Find, read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--features", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=1536)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    session = open_session(args.run)
    live, seed = session.live_subject, session.pipeline.seed
    source = live.sources.sources[0]
    candidates = [of.feature_index for of in session.reader.features(source_id=source.source_id) if of.n_active]
    features = in_keyed_order(hash_key(0, "doses"), np.array(candidates))[: args.features].tolist()
    method = replace(USUAL_METHOD, n_tokens=args.tokens)
    half = replace(method, n_tokens=args.tokens // 2)
    said = [*shipped_instructions(), *(of.question for of in shipped_questions().questions)]
    own = {
        "corpus": draw_texts(session.blocks, seed, method),
        "mixed": mixed(draw_texts(session.blocks, seed, half), draw_prompts(live, said[::2], seed, half)),
    }
    held_out = {
        "corpus": draw_texts(session.blocks, seed, method, n_skipped=args.tokens),
        "prompts": draw_prompts(live, said[1::2], seed, half),
    }
    print(f"{source.source_id}, {len(features)} features, {args.threads} thread, load {os.getloadavg()[0]:.1f}")
    for name, texts in (own | {f"held out: {name}": of for name, of in held_out.items()}).items():
        print(f"  {name}: {len(texts.token_ids)} texts, {int(texts.counted.sum())} tokens counted", flush=True)
    units: dict[str, dict[int, float]] = {}
    for name, texts in own.items():
        began = time.process_time()
        found = DoseSeeker(live, source.source_id, texts, method).find(features)
        units[name] = {index: of.unit for index, of in zip(features, found, strict=True) if of.unit is not None}
        print(
            f"  found on {name}: {(time.process_time() - began) / len(features):.0f} s of the processor each",
            flush=True,
        )
    both = [index for index in features if all(index in of for of in units.values())]
    ratios = np.array([units["mixed"][index] / units["corpus"][index] for index in both])
    print(f"\nfound on both, a unit is {np.median(ratios):.2f} of one found on the corpus", end=" ")
    print(f"({ratios.min():.2f} to {ratios.max():.2f})\n")
    print("| p95 of KL, held out | corpus | prompts | both alike |\n|---|---|---|---|")
    meters = {name: DivergenceMeter(live, source.source_id, texts) for name, texts in held_out.items()}
    for name, of in units.items():
        edits = [(Edit(index, "add", of[index]),) for index in both]
        kls = {on: meter.measure(edits) for on, meter in meters.items()}
        rows = [[float(np.percentile(kl, method.percentile)) for kl in kls[on]] for on in held_out]
        rows.append([alike(parts, method.percentile) for parts in zip(*kls.values(), strict=True)])
        cells = [f"{np.median(row):.2f} ({min(row):.2f} to {max(row):.2f})" for row in rows]
        print(f"| found on {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
