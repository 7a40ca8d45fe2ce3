"""Small tokenizers of the kinds that models have, trained here."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

# As Qwen, Yi and many others write conversations.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)


def bytelevel_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """A GPT-2-like tokenizer that knows bytes only, and puts nothing around a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(special),
        initial_alphabet=alphabet,
        special_tokens=sorted(set(special.values())),
        show_progress=False,
    )
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def gpt2_like() -> PreTrainedTokenizerFast:
    """One token is BOS, EOS and UNK, and is put nowhere."""
    return bytelevel_tokenizer(bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def llama_like() -> PreTrainedTokenizerFast:
    """It puts BOS first by itself, and has a token that only its flag tells to be special, as Llama 3 has."""
    tokenizer = bytelevel_tokenizer(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.add_tokens([AddedToken("<|header|>", special=True), AddedToken("  ", special=False)])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.convert_tokens_to_ids("<s>"))]
    )
    return tokenizer


def chatml_tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Qwen-like: no BOS, EOS at the end of each text, messages between tokens of their own."""
    tokenizer = bytelevel_tokenizer(eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer
