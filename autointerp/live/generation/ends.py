"""Which tokens end an answer."""

from typing import Any

from autointerp.quiet import quiet_libraries
from autointerp.subject.model import Subject

# What ends a turn in the templates of chat models whose generation config does not say so.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>")


def end_tokens(subject: Subject) -> frozenset[int]:
    """Tokens that end an answer.

    Those of the model's generation config and of its config, the tokenizer's EOS, and the special tokens by which chat
    templates end a turn.
    """
    model: Any = subject.model
    text_config = model.config.get_text_config()
    said = [getattr(_generation_config(model), "eos_token_id", None), getattr(text_config, "eos_token_id", None)]
    said.append(subject.tokenizer.eos_token_id)
    ends = {int(token) for one in said if one is not None for token in (one if isinstance(one, list) else [one])}
    added = subject.tokenizer.added_tokens_decoder
    return frozenset(ends | {token_id for token_id, token in added.items() if str(token) in _TURN_ENDS})


def _generation_config(model: Any) -> Any:
    """The model's own; None where there is none with it, which most base models lack."""
    from transformers import GenerationConfig

    with quiet_libraries():
        try:
            return GenerationConfig.from_pretrained(model.name_or_path, local_files_only=True)
        except (OSError, ValueError):
            return None
