"""A causal language model of one layer, trained here in seconds, that expects words it has seen before."""

from pathlib import Path

import torch

from tests.score.world import ANIMALS, COLOURS, FILLER, WORDS

UNKNOWN = "[UNK]"
WINDOW = 48
_N_STEPS, _N_TEXTS, _N_BEFORE, _N_WORDS = 300, 48, 8, 16


def train(folder: Path) -> None:
    """Save the model and its tokenizer, one token a word of the small world."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([UNKNOWN, *WORDS])}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 1,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(_N_STEPS):
        texts = torch.stack([_text() for _ in range(_N_TEXTS)])
        loss = model(input_ids=texts, labels=texts).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


def _text() -> torch.Tensor:
    """Some words as a prompt has them, and text in which these come often."""
    before = torch.zeros(_N_BEFORE, dtype=torch.long)
    n_named = int(torch.randint(1, 6, ()))
    named = 1 + torch.randperm(len(WORDS))[:n_named]
    before[3 : 3 + n_named] = named
    any_word = 1 + torch.randint(0, len(WORDS), (_N_WORDS,))
    filler = 1 + len(COLOURS + ANIMALS) + torch.randint(0, len(FILLER), (_N_WORDS,))
    text = torch.where(torch.rand(_N_WORDS) < 0.1, any_word, filler)
    drawn = named[torch.randint(0, n_named, (_N_WORDS,))]
    return torch.cat([before, torch.where(torch.rand(_N_WORDS) < 0.3, drawn, text)])
