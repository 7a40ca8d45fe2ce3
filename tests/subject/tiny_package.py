"""A Python package with a small random GGUF model in 4 bits, laid out as an installer leaves it."""

import base64
import hashlib
from pathlib import Path

import gguf
import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from autointerp.subject.packaged import Package

NAME = "tiny-llama"
PACKAGE = Package("llm-tiny", "1.0", "tiny.Q4_1.gguf", "4-bit weights (Q4_1), made float again")
MODEL = f"packaged:{NAME}"
CHAT_TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
_WIDTH, _HIDDEN, _N_LAYERS, _N_HEADS = 64, 96, 2, 2
_WORDS = ("the", "fox", "hen", "red")


def install(site: Path, *, recorded: bool = True) -> Path:
    """Put the package into a folder for modules, its file's SHA-256 in RECORD; gives the file."""
    file = site / "llm_tiny" / PACKAGE.file
    file.parent.mkdir(parents=True)
    # Whoever imports it, instead of reading its file, fails.
    (file.parent / "__init__.py").write_text("raise ImportError('no compiler')\n")
    write_model(file)
    digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
    info = site / "llm_tiny-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-tiny\nVersion: 1.0\n")
    hashed = f"sha256={digest},{file.stat().st_size}" if recorded else ","
    (info / "RECORD").write_text(f"llm_tiny/__init__.py,,\nllm_tiny/{PACKAGE.file},{hashed}\n")
    return file


def write_model(file: Path) -> None:
    """Write a Llama of two layers over bytes and a few words."""
    rng = np.random.default_rng(0)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet())]
    merges: list[str] = []
    for word in _WORDS:
        for size in range(2, len(word) + 1):
            if word[:size] not in tokens:
                merges.append(f"{word[: size - 1]} {word[size - 1]}")
                tokens.append(word[:size])
    special = gguf.TokenType.CONTROL
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_N_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_N_HEADS)
    writer.add_head_count_kv(_N_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _N_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([special] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)
    q4_1 = gguf.GGMLQuantizationType.Q4_1

    def add(name: str, *shape: int) -> None:
        weights = rng.normal(scale=0.3, size=shape).astype(np.float32)
        writer.add_tensor(name, gguf.quantize(weights, q4_1), raw_dtype=q4_1)

    add("token_embd.weight", len(tokens), _WIDTH)
    for layer in range(_N_LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(_WIDTH, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", _WIDTH, _WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            add(f"blk.{layer}.{part}.weight", _HIDDEN, _WIDTH)
        add(f"blk.{layer}.ffn_down.weight", _WIDTH, _HIDDEN)
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
