r"""Train a committed coder again, from nothing but what is installed; a folder that exists is written over.

    python -m data.train_coder --subject minilm --out data/all-minilm-l6-v2-3-res-2k
    python -m data.train_coder --subject smollm2 --out data/smollm2-135m-instruct-14-res-4k \
        --conversations conversations.jsonl own.jsonl

1. Cut the embedded docstring corpus into blocks, and the conversations that `data/make_conversations.py` wrote; the
   last tokens of each are kept for measuring.
2. Run the subject up to the hook point (`data/coder_activations.py`).
3. Of SmolLM2, leave massive activations out, and take their direction out of the others: those of first tokens, and
   of some others on which attention rests, are 150 times as long as the rest, all in one direction. What has no such
   part in training gets no such part in the encoder, so these tokens look like others to the coder.
4. Begin each feature at the centred activation of a token of its own, so that none is born dead, and train with
   SAELens' BatchTopK classes (Bussmann et al., "BatchTopK Sparse Autoencoders", 2024).
5. Set the firing threshold so that a token has `--k` active features on average, and save in half precision.
6. Load the saved coder as a user would, and measure it on the held-out text (`data/coder_measures.py`).
"""

import argparse
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.torch import load_file, save_file
from torch import Tensor

from autointerp.subject.packaged import PREFIX
from data.coder_activations import (
    SUBJECTS,
    CodedSubject,
    Part,
    ReadTokens,
    conversations,
    documentation,
    read_activations,
    resting_activation,
)
from data.coder_measures import loss_recovered, on_first_token, reconstruction

logger = logging.getLogger("train_coder")

BLOCK_LENGTH = 128
SHARE_OF_RANDOM_TOKENS = 0.25
MAX_TYPE_COUNT = 2000
MASSIVE = 3  # times the median norm
TOKENS_OF_LOSS = 2_200


class Tokens(NamedTuple):
    """What is trained or measured on."""

    activations: Float[Tensor, "token width"]  # float16
    token_ids: Int[np.ndarray, " token"]


def main() -> None:
    """Train, save and measure."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.manual_seed(arguments.seed)
    given = {"layer": arguments.layer, "k": arguments.k, "n_documentation": arguments.tokens}
    subject = replace(SUBJECTS[arguments.subject], **{key: value for key, value in given.items() if value is not None})
    parts = [documentation(subject.n_documentation, arguments.held_out_tokens, is_causal=subject.is_causal)]
    parts += [conversations(path, arguments.conversation_tokens) for path in arguments.conversations]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.activations or Path(temporary)
        read = [read_activations(subject, part, folder, arguments.workers) for part in parts]
        training, held_out = split(parts, read)
        logger.info("%d tokens to train on", len(training.token_ids))

        resting = resting_activation(subject) if subject.is_causal else None
        if resting is None:
            coder = train(training, subject, arguments)
        else:
            training = without_massive(training)
            mean = training.activations[::50].float().mean(dim=0)
            direction = torch.nn.functional.normalize(resting - mean, dim=0)
            take_out(training.activations, mean, direction)
            coder = train(training, subject, arguments)
            make_blind(coder, mean, direction)
        save_half_precision(coder, arguments.out)

        measured: dict[str, Any] = {"n_training_tokens": len(training.token_ids)}
        for part, shards, of_part in zip(parts, read, held_out, strict=True):
            if part.name in measured:
                continue
            if resting is None:
                measured |= reconstruction(arguments.out, of_part.activations)
                continue
            usual = without_massive(of_part)
            measured[part.name] = reconstruction(arguments.out, usual.activations)
            measured[part.name]["n_massive_left_out"] = len(of_part.token_ids) - len(usual.token_ids)
            measured[part.name] |= loss_recovered(arguments.out, subject, shards, mean, TOKENS_OF_LOSS)
        if resting is not None:
            measured["first_token"] = on_first_token(arguments.out, resting)
    (arguments.out / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")
    logger.info("%s", measured)


def parse_arguments() -> argparse.Namespace:
    """Read the command line; the defaults are those of the committed coders."""
    parser = argparse.ArgumentParser(description="Train a committed coder again.")
    parser.add_argument("--subject", choices=list(SUBJECTS), default="minilm")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--layer", type=int, help="layer whose output is coded, from 0")
    parser.add_argument("--k", type=float, help="active features on a token, on average")
    parser.add_argument("--tokens", type=int, help="tokens of documentation to train on")
    parser.add_argument("--held-out-tokens", type=int, help="tokens after them, to measure on")
    parser.add_argument(
        "--conversations",
        type=Path,
        nargs="*",
        default=[],
        help="JSONL files, of a causal subject; one that is given twice weighs twice",
    )
    parser.add_argument("--conversation-tokens", type=int, default=930_000, help="at most, of each of these files")
    parser.add_argument("--activations", type=Path, help="folder that keeps them, to go on where a run was stopped")
    parser.add_argument("--workers", type=int, default=1, help="processes that run the subject, one thread each")
    parser.add_argument("--epochs", type=float, default=1.0, help="passes over the training tokens")
    parser.add_argument("--batch", type=int, default=2048, help="tokens in a training step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.held_out_tokens is None:
        arguments.held_out_tokens = 50_000 if SUBJECTS[arguments.subject].is_causal else 100_000
    return arguments


def split(parts: Sequence[Part], read: Sequence[Sequence[ReadTokens]]) -> tuple[Tokens, list[Tokens]]:
    """All parts' tokens to train on, and each part's own that are held out."""
    rows: list[Tensor] = []
    ids: list[np.ndarray] = []
    held_out: list[Tokens] = []
    for part, shards in zip(parts, read, strict=True):
        activations = torch.cat([torch.from_numpy(np.array(shard.activations)) for shard in shards])
        token_ids = np.concatenate([shard.token_ids for shard in shards])
        n_training = len(token_ids) - round(len(token_ids) * part.held_out_share)
        rows.append(activations[:n_training])
        ids.append(token_ids[:n_training])
        held_out.append(Tokens(activations[n_training:].clone(), token_ids[n_training:]))
    return Tokens(torch.cat(rows), np.concatenate(ids)), held_out


def without_massive(tokens: Tokens) -> Tokens:
    """Those whose activation is not massive."""
    norms = torch.cat([batch.float().norm(dim=1) for batch in torch.split(tokens.activations, 65536)])
    usual = norms < MASSIVE * norms.median()
    logger.info("%d massive activations left out", int((~usual).sum()))
    return Tokens(tokens.activations[usual], tokens.token_ids[usual.numpy()])


def take_out(
    activations: Float[Tensor, "token width"], mean: Float[Tensor, " width"], direction: Float[Tensor, " width"]
) -> None:
    """Give all the mean's part in a direction of length 1, in place."""
    taken = total = 0.0
    for batch in torch.split(activations, 65536):
        centred = batch.float() - mean
        parts = centred @ direction
        taken += parts.pow(2).sum().item()
        total += centred.pow(2).sum().item()
        batch.copy_(centred - parts[:, None] * direction + mean)
    logger.info("%.4f of the variance is in the direction of massive activations", taken / total)


@torch.no_grad()
def make_blind(coder: BatchTopKTrainingSAE, mean: Float[Tensor, " width"], direction: Float[Tensor, " width"]) -> None:
    """Take a direction of length 1 out of the encoder, which reads activations as if each had the mean's part in it."""
    weights = direction @ coder.W_enc
    coder.W_enc.sub_(direction[:, None] * weights)
    coder.b_enc.add_((direction @ (mean - coder.b_dec)) * weights)


def train(tokens: Tokens, subject: CodedSubject, arguments: argparse.Namespace) -> BatchTopKTrainingSAE:
    """Train a BatchTopK coder with SAELens' trainer."""
    activations = tokens.activations
    coder = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=subject.width,
            d_sae=subject.n_features,
            k=subject.k,
            normalize_activations="expected_average_only_in",
            metadata=SAEMetadata(
                model_name=subject.model.removeprefix(PREFIX),
                hook_name=f"blocks.{subject.layer}.hook_resid_post",
                context_size=BLOCK_LENGTH,
                prepend_bos=True,
                dataset_path=subject.text,
            ),
        )
    )
    n_samples = int(len(activations) * arguments.epochs)
    n_steps = n_samples // arguments.batch
    batches = shuffle_batches(activations, arguments.batch, arguments.seed)
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=n_samples,
            train_batch_size_samples=arguments.batch,
            lr=arguments.learning_rate,
            lr_end=0.0,
            lr_warm_up_steps=50,
            lr_decay_steps=n_steps // 3,
            autocast=True,
            dead_feature_window=200,
            logger=LoggingConfig(log_to_wandb=False),
            n_batches_for_norm_estimate=50,
        ),
        sae=coder,
        data_provider=batches,
    )
    scaler = trainer.activation_scaler
    scaler.estimate_scaling_factor(d_in=subject.width, data_provider=batches, n_batches_for_norm_estimate=50)
    start_at_tokens(coder, tokens, subject.n_features, scaler.scaling_factor, arguments.seed)
    trained: BatchTopKTrainingSAE = trainer.fit()
    set_threshold(trained, next(batches), subject.k)
    return trained


def shuffle_batches(activations: Float[Tensor, "token width"], batch: int, seed: int) -> Iterator[Tensor]:
    """Yield random batches for ever, each token once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(activations), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            yield activations[order[start : start + batch]].float()


@torch.no_grad()
def start_at_tokens(coder: BatchTopKTrainingSAE, tokens: Tokens, n_features: int, scale: float, seed: int) -> None:
    """Begin encoder and decoder at centred activations of tokens, and the bias at their mean.

    Most are tokens of different types, so that frequent words don't take all places; a type is drawn with the square
    root of its count, up to MAX_TYPE_COUNT. The rest are any tokens at all.
    """
    random = np.random.default_rng(seed)
    activations, token_ids = tokens
    mean = activations[::50].float().mean(dim=0)
    shuffled = random.permutation(len(token_ids))
    _, first = np.unique(token_ids[shuffled], return_index=True)
    one_of_each_type = shuffled[first]
    counts = np.bincount(token_ids)[token_ids[one_of_each_type]]
    weights = np.sqrt(np.minimum(counts, MAX_TYPE_COUNT))
    n_random = int(n_features * SHARE_OF_RANDOM_TOKENS)
    chosen = random.choice(one_of_each_type, n_features - n_random, replace=False, p=weights / weights.sum())
    places = np.concatenate([chosen, random.choice(len(token_ids), n_random, replace=False)])
    directions = torch.nn.functional.normalize(activations[torch.from_numpy(places)].float() - mean, dim=1)
    coder.b_dec.copy_(mean * scale)
    coder.W_dec.copy_(directions)
    coder.W_enc.copy_(directions.T)


@torch.no_grad()
def set_threshold(coder: BatchTopKTrainingSAE, activations: Float[Tensor, "token width"], k: float) -> None:
    """Set the threshold at which a token has k active features on average.

    SAELens tracks it by a moving average, which lags behind in a short training.
    """
    _, before_threshold = coder.encode_with_hidden_pre(activations)
    highest = torch.topk(before_threshold.flatten(), int(k * len(activations)), sorted=False).values
    coder.topk_threshold.fill_(highest.min().item())


def save_half_precision(coder: BatchTopKTrainingSAE, folder: Path) -> None:
    """Save in SAELens' inference format, weights in float16."""
    weights_path, config_path = coder.save_inference_model(folder)
    weights = load_file(weights_path)
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, weights_path)
    weights_path.chmod(0o644)
    config = json.loads(config_path.read_text())
    config["dtype"] = "float16"
    config_path.write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
