"""What `collect` is measured on: the settings, and the model, coder and tokens that all systems read.

Everything is seeded and written once to a folder: a random model with `save_pretrained`, a random coder in SAELens'
format, token blocks. Each system runs in a process (the peer in an environment) of its own and loads them from there.
This file needs torch, transformers, safetensors and numpy alone.

- The model has the shape of pythia-70m or GPT-2 small. Its weights are transformers' random start.
- The coder's decoder directions are random unit vectors and its encoder is their transpose. Top-k keeps 32; the
  threshold of JumpReLU and the bias of the standard coder are set on 512 tokens so that about 80 features fire a token.
- Tokens follow Zipf's law (Mandelbrot's form), so that they repeat as in text; there is no BOS token and no padding.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int32
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Architecture = Literal["topk", "jumprelu", "standard"]
ModelShape = Literal["pythia-70m", "gpt2-small", "tiny-neox", "tiny-gpt2"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_TARGET_L0 = 80
_SAMPLE_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        name: What `--setting` takes.
        architecture: Of the coder.
        n_features: Of the coder.
        dtype: Of model and coder while running.
        n_tokens: Tokens of one round, a multiple of a batch.
        n_peer_tokens: The first of them, which the peer reads; 0 where it isn't run.
        floor_goal: Share of the floor's tokens/s to be reached; None where there is no such goal.
        peer_goal: The same for the peer's.
        model: Shape of the model.
        layer: The coder reads this layer's output.
        block_length: Tokens in a block.
        batch_size: Blocks in a batch.
        k: Features that top-k keeps.
    """

    name: str
    architecture: Architecture
    n_features: int
    dtype: Literal["float32", "bfloat16"]
    n_tokens: int
    n_peer_tokens: int
    floor_goal: float | None
    peer_goal: float | None
    model: ModelShape = "pythia-70m"
    layer: int = 3
    block_length: int = 256
    batch_size: int = 32
    k: int = 32

    @property
    def n_blocks(self) -> int:
        """Blocks of one round."""
        return self.n_tokens // self.block_length

    @property
    def piece_rows(self) -> int:
        """Rows that the floor encodes at once: enough for a fast product, 512 MiB in fp32 at most."""
        return min(512, 2**27 // self.n_features)

    @property
    def hook_name(self) -> str:
        """The hook point as a coder names it."""
        return f"blocks.{self.layer}.hook_resid_post"

    def save(self, folder: Path) -> None:
        """Write it where the processes that measure read it."""
        (folder / "setting.json").write_text(json.dumps(asdict(self)))

    @staticmethod
    def load(folder: Path) -> "Setting":
        """Read what `save` wrote."""
        return Setting(**json.loads((folder / "setting.json").read_text()))


_K32, _K131, _M1 = 2**15, 2**17, 2**20
CPU_SETTINGS = (
    Setting("topk-32k-fp32", "topk", _K32, "float32", 32768, 16384, 0.95, 2.0),
    Setting("topk-32k-fp32-block128", "topk", _K32, "float32", 32768, 16384, 0.95, 2.0, block_length=128),
    Setting("topk-32k-bf16", "topk", _K32, "bfloat16", 32768, 16384, 0.9, 3.0),
    Setting("topk-131k-fp32", "topk", _K131, "float32", 16384, 8192, 0.95, 1.8),
    Setting("topk-131k-bf16", "topk", _K131, "bfloat16", 16384, 8192, 0.9, 5.0),
    Setting("topk-1m-fp32", "topk", _M1, "float32", 2048, 0, None, None, batch_size=4),
    Setting("jumprelu-32k-fp32", "jumprelu", _K32, "float32", 32768, 16384, 0.85, None),
    Setting("standard-32k-fp32", "standard", _K32, "float32", 32768, 16384, 0.85, None),
)
GPU_SETTINGS = (
    Setting("gpu-topk-24k-bf16", "topk", 24576, "bfloat16", 2**20, 0, 0.85, None, "gpt2-small", 8),
    Setting("gpu-topk-131k-bf16", "topk", _K131, "bfloat16", 2**19, 0, 0.8, None, "gpt2-small", 8),
)
SETTINGS = {setting.name: setting for setting in (*CPU_SETTINGS, *GPU_SETTINGS)}


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 products; without them PyTorch takes over 100 times as long."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fit_to_machine(setting: Setting, device: str, *, is_quick: bool) -> Setting:
    """A setting of the same kind that this machine does in a few minutes.

    Args:
        setting: From the table.
        device: On which it is to run.
        is_quick: Whether only to see that everything runs: a narrow coder, few tokens, a tiny model.
    """
    if is_quick:
        return replace(
            setting,
            n_features=2048,
            n_tokens=4096,
            n_peer_tokens=min(setting.n_peer_tokens, 2048),
            model="tiny-neox" if setting.model == "pythia-70m" else "tiny-gpt2",
            layer=1,
            batch_size=4,
        )
    if device == "cpu" and setting.dtype == "bfloat16" and not multiplies_bfloat16():
        # A product with 32k features takes a token tens of milliseconds.
        return with_tokens(setting, 1024 if setting.n_features <= _K32 else 512)
    return setting


def with_tokens(setting: Setting, n_tokens: int) -> Setting:
    """The setting on another number of tokens, in at least two batches, so that two threads have one each.

    Args:
        setting: Any.
        n_tokens: A multiple of two blocks; of two batches, where it is as much as that.
    """
    n_blocks = n_tokens // setting.block_length
    return replace(
        setting,
        n_tokens=n_tokens,
        n_peer_tokens=min(setting.n_peer_tokens, n_tokens),
        batch_size=min(setting.batch_size, max(1, n_blocks // 2)),
    )


class PlainCoder(nn.Module):
    """SAELens' inference formulas on its weights, for environments without SAELens; same names of weights and config.

    Args:
        folder: Written by `make_inputs`.
        setting: Its setting.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        super().__init__()
        for name, weights in load_file(folder / "coder" / "sae_weights.safetensors").items():
            self.register_buffer(name, weights.to(DTYPES[setting.dtype]))
        self.architecture = setting.architecture
        self.cfg = SimpleNamespace(
            k=setting.k,
            d_in=self.W_enc.shape[0],
            d_sae=setting.n_features,
            architecture=lambda: setting.architecture,
            apply_b_dec_to_input=True,
            rescale_acts_by_decoder_norm=False,
            normalize_activations="none",
            reshape_activations="none",
        )

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: Tensor

    def process_sae_in(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """What the encoder is multiplied by."""
        return x.to(self.W_enc.dtype) - self.b_dec

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch feature"]:
        """Dense activations of every feature."""
        hidden_pre: Tensor = self.process_sae_in(x) @ self.W_enc + self.b_enc
        if self.architecture == "standard":
            return hidden_pre.relu()
        if self.architecture == "jumprelu":
            return hidden_pre.relu() * (hidden_pre > self.threshold)
        values, indices = torch.topk(hidden_pre, k=self.cfg.k, dim=-1, sorted=False)
        return torch.zeros_like(hidden_pre).scatter_(-1, indices, values.relu())


def make_inputs(setting: Setting, folder: Path, *, seed: int = 0) -> None:
    """Write model, coder and tokens to `folder`; what is there already is kept.

    Args:
        setting: What to make.
        folder: Of this setting alone.
        seed: Of everything random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "setting.json").exists() and Setting.load(folder) == setting:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _random_model(setting)
        model.save_pretrained(folder / "model")
    n_vocab, d_model = int(model.config.vocab_size), int(model.config.hidden_size)
    _save_tokenizer(folder / "model", n_vocab)
    np.save(folder / "tokens.npy", zipf_tokens(setting, n_vocab, seed))
    generator = torch.Generator().manual_seed(seed + 1)
    directions = torch.randn(setting.n_features, d_model, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    weights = {
        "W_enc": directions.T.contiguous(),
        "W_dec": directions,
        "b_enc": torch.zeros(setting.n_features),
        "b_dec": torch.zeros(d_model),
    }
    if setting.architecture != "topk":
        cutoff = _cutoff(setting, folder, weights["W_enc"])
        if setting.architecture == "standard":
            weights["b_enc"] -= cutoff
        else:
            weights["threshold"] = torch.full((setting.n_features,), cutoff)
    (folder / "coder").mkdir(exist_ok=True)
    save_file(weights, folder / "coder" / "sae_weights.safetensors")
    (folder / "coder" / "cfg.json").write_text(json.dumps(_sae_lens_config(setting, d_model)))
    setting.save(folder)


def zipf_tokens(setting: Setting, n_vocab: int, seed: int) -> Int32[np.ndarray, "block position"]:
    """Token ids of which the r-th most frequent has a share proportional to 1 / (r + 2.7)."""
    rng = np.random.default_rng(seed)
    share = 1 / (np.arange(n_vocab) + 2.7)
    ids = rng.permutation(n_vocab)
    ranks = rng.choice(n_vocab, size=(setting.n_blocks, setting.block_length), p=share / share.sum())
    return ids[ranks].astype(np.int32)


def load_model(folder: Path, setting: Setting, device: str) -> Any:
    """The saved base model (without a head), in the setting's dtype."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModel.from_pretrained(folder / "model", dtype=DTYPES[setting.dtype]).to(device).eval()


class _Reached(Exception):
    """Ends a forward pass from inside, with what was seen there."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def stop_after(model: nn.Module, layer: int) -> None:
    """Have every later forward pass end behind a layer, for `read_last`; layers behind it are not run."""

    def stop(_: nn.Module, __: Any, output: Any) -> None:
        raise _Reached(output[0] if isinstance(output, tuple) else output)

    layers = model.get_submodule("h" if hasattr(model, "h") else "layers")
    assert isinstance(layers, nn.ModuleList)
    layers[layer].register_forward_hook(stop)


def read_last(model: nn.Module, tokens: Tensor) -> Float[Tensor, "block position d_model"]:
    """The output of the layer that `stop_after` named. Safe from several threads."""
    try:
        model(input_ids=tokens, use_cache=False)
    except _Reached as reached:
        return reached.output
    raise AssertionError("stop_after was not called")


def _random_model(setting: Setting) -> Any:
    from transformers import GPT2Config, GPT2Model, GPTNeoXConfig, GPTNeoXModel

    if setting.model == "gpt2-small":
        return GPT2Model(GPT2Config())
    if setting.model == "tiny-gpt2":
        return GPT2Model(GPT2Config(vocab_size=1000, n_embd=64, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0))
    if setting.model == "tiny-neox":
        return GPTNeoXModel(
            GPTNeoXConfig(
                vocab_size=1000, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256
            )
        )
    return GPTNeoXModel(
        GPTNeoXConfig(
            vocab_size=50304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8, intermediate_size=2048
        )
    )


def _save_tokenizer(folder: Path, n_vocab: int) -> None:
    """A word for each token id: what reads a model's folder asks for a tokenizer, and Delphi decodes its examples."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {f"w{index}": index for index in range(n_vocab)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")))
    tokenizer.save_pretrained(folder)


def _sae_lens_config(setting: Setting, d_model: int) -> dict[str, Any]:
    """What SAELens 6 writes beside the weights."""
    config: dict[str, Any] = {
        "architecture": setting.architecture,
        "d_in": d_model,
        "d_sae": setting.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"model_name": setting.model, "hook_name": setting.hook_name, "sae_lens_version": "6.54.12"},
    }
    if setting.architecture == "topk":
        config |= {"k": setting.k, "rescale_acts_by_decoder_norm": False}
    return config


def _cutoff(setting: Setting, folder: Path, encoder: Float[Tensor, "d_in feature"]) -> float:
    """The value that a share of pre-activations exceeds such that about 80 features of a token do."""
    model = load_model(folder, replace(setting, dtype="float32"), "cpu")
    tokens = np.load(folder / "tokens.npy")[: max(1, _SAMPLE_TOKENS // setting.block_length)]
    stop_after(model, setting.layer)
    with torch.inference_mode():
        hidden = read_last(model, torch.from_numpy(tokens).long()).flatten(0, 1)
        pre = (hidden @ encoder).flatten()
        n_above = _TARGET_L0 * len(hidden)
        return float(pre.topk(n_above).values[-1])
