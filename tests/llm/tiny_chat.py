"""A small random language model over bytes, saved as transformers saves one, that can be asked in this process."""

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WINDOW = 512


def save_tiny_chat(folder: Path, template: str | None = CHAT_TEMPLATE, family: str = "llama", **settings: Any) -> str:
    """Save a model of two layers with its tokenizer; gives the folder.

    Args:
        folder: To be made.
        template: The chat template; None for none.
        family: `llama`, `gpt2`, `mistral`, `mamba` or another of transformers' model types.
        settings: Of its config.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {
        text: i for i, text in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), "yes", "no"])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    saved = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|im_start|>")
    saved.add_special_tokens({"additional_special_tokens": special})
    saved.chat_template = template
    saved.save_pretrained(folder)
    shape = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": WINDOW,
    }
    if family not in ("gpt2", "mamba", "bloom"):
        shape |= {"intermediate_size": 48, "num_key_value_heads": 1, "head_dim": 16}
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, **shape | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None} | settings
    )
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    model.save_pretrained(folder)
    return str(folder)
