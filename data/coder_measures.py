"""What a saved coder is worth on text that it was not trained on: what it reconstructs, and what the model loses."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from sae_lens import SAE
from torch import Tensor
from transformers import AutoModelForCausalLM

from autointerp.subject.packaged import packaged_folder
from data.coder_activations import CodedSubject, ReadTokens, load_cut

LOSS_BATCH = 16

Replace = Callable[[Float[Tensor, "block position width"]], Float[Tensor, "block position width"]]


@torch.no_grad()
def reconstruction(folder: Path, activations: Float[Tensor, "token width"]) -> dict[str, float]:
    """Measure the saved coder on held-out tokens.

    Returns:
        Fraction of variance unexplained, mean active features on a token, and shares of features that never fire
        there, and that fire on over 1 % and over 10 % of tokens.
    """
    coder = SAE.load_from_disk(folder, dtype="float32")
    mean = activations.float().mean(dim=0)
    error = variance = 0.0
    n_active = torch.zeros(coder.cfg.d_sae)
    for batch in torch.split(activations.float(), 8192):
        features = coder.encode(batch)
        error += (batch - coder.decode(features)).pow(2).sum().item()
        variance += (batch - mean).pow(2).sum().item()
        n_active += (features > 0).sum(dim=0)
    density = n_active / len(activations)
    return {
        "fraction_of_variance_unexplained": round(error / variance, 4),
        "l0": round(density.sum().item(), 2),
        "dead_share": round((density == 0).float().mean().item(), 4),
        "share_over_1_percent": round((density > 0.01).float().mean().item(), 4),
        "share_over_10_percent": round((density > 0.1).float().mean().item(), 4),
        "n_held_out_tokens": len(activations),
    }


@torch.inference_mode()
def loss_recovered(
    folder: Path, subject: CodedSubject, shards: Sequence[ReadTokens], mean: Float[Tensor, " width"], n_tokens: int
) -> dict[str, float]:
    """The model's loss on the next token where the stream at the hook point is replaced, from the second token on.

    Args:
        folder: Of the saved coder.
        subject: A causal one.
        shards: Held-out text; the last blocks are read.
        mean: Activation to put in place of all.
        n_tokens: About how many tokens are predicted.

    Returns:
        Nats a token: of the plain model; with the coder's reconstruction; with that of the first token too; with the
        mean activation; with zeros. And the share of what the mean loses that the reconstruction wins back.
    """
    coder = SAE.load_from_disk(folder, dtype="float32")
    ways: dict[str, tuple[Replace, bool]] = {
        "plain": (lambda stream: stream, True),
        "reconstruction": (lambda stream: coder.decode(coder.encode(stream)), True),
        "reconstruction_of_the_first_token_too": (lambda stream: coder.decode(coder.encode(stream)), False),
        "mean": (lambda stream: mean.expand_as(stream), True),
        "zero": (torch.zeros_like, True),
    }
    blocks = _last_blocks(shards, n_tokens)
    n_predicted = sum(len(block) - 1 for block in blocks)
    losses = {name: loss / n_predicted for name, loss in _sum_losses(subject, blocks, ways).items()}
    recovered = (losses["mean"] - losses["reconstruction"]) / (losses["mean"] - losses["plain"])
    measured = {f"loss_{name}": round(loss, 4) for name, loss in losses.items()}
    return {**measured, "loss_recovered": round(recovered, 4), "n_tokens_of_loss": n_predicted}


@torch.no_grad()
def on_first_token(folder: Path, resting: Float[Tensor, " width"]) -> dict[str, float]:
    """What the coder makes of the first token, on which it was not trained."""
    coder = SAE.load_from_disk(folder, dtype="float32")
    features = coder.encode(resting[None])[0]
    return {
        "norm": round(resting.norm().item(), 1),
        "n_active": int((features > 0).sum()),
        "largest_activation": round(features.max().item(), 2),
        "norm_of_reconstruction": round(coder.decode(features[None]).norm().item(), 1),
    }


def _last_blocks(shards: Sequence[ReadTokens], n_tokens: int) -> list[Int64[np.ndarray, " position"]]:
    blocks: list[Int64[np.ndarray, " position"]] = []
    for shard in reversed(shards):
        for block, kept in zip(shard.blocks[::-1], shard.kept[::-1], strict=True):
            blocks.append(block[: int(np.flatnonzero(kept)[-1]) + 1])
            n_tokens -= len(blocks[-1]) - 1
            if n_tokens <= 0:
                return sorted(blocks, key=len)
    return sorted(blocks, key=len)


def _sum_losses(
    subject: CodedSubject, blocks: Sequence[Int64[np.ndarray, " position"]], ways: Mapping[str, tuple[Replace, bool]]
) -> dict[str, float]:
    """Run the layers up to the hook point once, and those above it for each way."""
    lower = load_cut(subject, torch.float32)[0]
    above = AutoModelForCausalLM.from_pretrained(packaged_folder(subject.model), dtype=torch.float32).eval()
    above.model.layers = above.model.layers[subject.layer + 1 :]
    losses = dict.fromkeys(ways, 0.0)
    for start in range(0, len(blocks), LOSS_BATCH):
        rows = [torch.from_numpy(block) for block in blocks[start : start + LOSS_BATCH]]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            stream = lower(input_ids=tokens.clamp(min=0), use_cache=False).last_hidden_state.float()
        for name, (replaced, keeps_first) in ways.items():
            put = replaced(stream)
            if keeps_first:
                put = torch.cat([stream[:, :1], put[:, 1:]], dim=1)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = above(inputs_embeds=put, use_cache=False).logits[:, :-1]
            losses[name] += torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), ignore_index=-100, reduction="sum"
            ).item()
    return losses
