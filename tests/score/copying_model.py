"""A causal language model of one layer whose weights are written here: it expects words that it has seen before.

Each token's own dimension is copied by attention, which is alike to all tokens before, into a second one, which the
head reads; a last dimension, the same in all tokens, makes filler likelier than colours and animals. Nothing is
trained, so it is the same on every processor.
"""

from pathlib import Path

import torch

from tests.score.world import ANIMALS, COLOURS, WORDS

UNKNOWN = "[UNK]"
WINDOW = 48
# What the head gives for being filler, for having been seen, and for having been seen and being filler.
_FILLER, _SEEN, _SEEN_FILLER = 0.3, 0.65, 0.2


def save(folder: Path) -> None:
    """Save the model and its tokenizer, one token a word of the small world."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([UNKNOWN, *WORDS])}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN).save_pretrained(folder)
    n_words = len(WORDS) + 1
    width = 2 * n_words + 2
    config = LlamaConfig(
        vocab_size=n_words,
        hidden_size=width,
        intermediate_size=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    filler = 1 + len(COLOURS + ANIMALS)  # the first of it
    known = torch.arange(1, n_words)  # an unknown word is never expected for having been seen
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        attention = model.model.layers[0].self_attn
        model.model.embed_tokens.weight[known, known] = 1.0
        model.model.embed_tokens.weight[:, -1] = 1.0
        attention.v_proj.weight[n_words + known, known] = 1.0
        attention.o_proj.weight.copy_(torch.eye(width))
        model.lm_head.weight[known, n_words + known] = torch.where(known < filler, _SEEN, _SEEN_FILLER)
        model.lm_head.weight[filler:, -1] = _FILLER
    model.save_pretrained(folder)
