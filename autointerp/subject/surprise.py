"""How probable a causal language model finds texts behind a prompt.

1. The prompt is run once, and what its tokens leave behind (keys and values) is there for all texts.
2. Texts of about the same number of tokens are run together, padded at their ends, where a causal model sees nothing
   of it.
3. A text's value is the mean of ln p(token | prompt, tokens before) over its own tokens, without those of the prompt.
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn import functional

from autointerp.devices import find_device
from autointerp.errors import SubjectError
from autointerp.subject.limits import check_text, n_embedded
from autointerp.subject.model import Subject, load_causal_subject
from autointerp.subject.products import multiplies_natively

if TYPE_CHECKING:
    from autointerp.config import SubjectConfig

_BATCH = 20
_N_TIMED_TEXTS = 10
_PADDING = 0


@dataclass
class CausalModel:
    """A causal language model that reads texts.

    Attributes:
        subject: The model with its head, and its tokenizer.
        window: Tokens that it reads at once; None where it says no limit.
        n_read: Tokens that it has been run on, padding included.
    """

    subject: Subject
    window: int | None
    n_read: int = 0

    def n_tokens(self, text: str) -> int:
        """Tokens of a text, without special ones."""
        return len(self._token_ids(text))

    @torch.inference_mode()
    def mean_log_probability(self, prompt: str, texts: Sequence[str]) -> Float64[np.ndarray, " text"]:
        """Mean of ln p over the tokens of each text behind a prompt; NaN where they are more than the model reads.

        A text without tokens has NaN too, and one with a token that the model has no embedding for. Batches are cut by
        these texts alone, so that a value does not depend on what else is asked.
        """
        model: Any = self.subject.model
        before = self._start(prompt)
        assert before, "the first token of a text has something before it"
        ids = [self._token_ids(text) for text in texts]
        room = np.inf if self.window is None else self.window - len(before)
        fits = [i for i, of_text in enumerate(ids) if 0 < len(of_text) <= room and self._embeds(of_text)]
        fits.sort(key=lambda i: (len(ids[i]), i))
        values = np.full(len(ids), np.nan)
        if not fits or not self._embeds(before):
            return values
        device = self.subject.device
        start = model(input_ids=torch.tensor([before], device=device), use_cache=True)
        first = start.logits[0, -1].float().log_softmax(dim=-1)
        self.n_read += len(before)
        for begin in range(0, len(fits), _BATCH):
            these = fits[begin : begin + _BATCH]
            longest = len(ids[these[-1]])
            padded = torch.tensor([ids[i] + [_PADDING] * (longest - len(ids[i])) for i in these], device=device)
            total = first[padded[:, 0]].double()
            if longest > 1:
                kept = _repeated(start.past_key_values, len(these))
                logits = model(input_ids=padded[:, :-1], past_key_values=kept, use_cache=True).logits
                total = total + _sums(logits, padded[:, 1:], torch.tensor([len(ids[i]) - 1 for i in these]))
            values[these] = (total.cpu() / torch.tensor([len(ids[i]) for i in these])).numpy()
            self.n_read += padded.numel()
        return values

    def tokens_per_second(self, texts: Sequence[str]) -> float:
        """How many tokens it reads a second, measured on a few texts."""
        started, before = time.monotonic(), self.n_read
        self.mean_log_probability(texts[0], texts[:_N_TIMED_TEXTS])
        return (self.n_read - before) / max(time.monotonic() - started, 1e-6)

    def _start(self, prompt: str) -> list[int]:
        """The prompt's tokens behind the one that texts begin with, where the model has one of those."""
        tokenizer = self.subject.tokenizer
        special = tokenizer("")["input_ids"]
        begin = special[:1] if special and special[0] == tokenizer.bos_token_id else []
        return [*begin, *self._token_ids(prompt)]

    def _embeds(self, ids: Sequence[int]) -> bool:
        return max(ids) < n_embedded(self.subject)

    def _token_ids(self, text: str) -> list[int]:
        ids: list[int] = self.subject.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids


def load_causal_model(config: "SubjectConfig", key: str) -> CausalModel:
    """Load a causal language model, in bfloat16 where the device multiplies it.

    Args:
        config: Names it.
        key: The key that names it, for messages.

    Raises:
        SubjectError: As of `load_causal_subject`.
    """
    native = multiplies_natively(torch.bfloat16, find_device(config.device))
    try:
        subject = load_causal_subject(config.model_copy(update={"dtype": "bfloat16" if native else "float32"}))
    except SubjectError as error:
        raise SubjectError(
            error.problem.replace("subject.model", key), error.remedy.replace("subject.model", key)
        ) from error
    check_text(subject, 1)
    model: Any = subject.model
    with torch.inference_mode():
        said = model(input_ids=torch.tensor([[0]], device=subject.device), use_cache=True)
    if getattr(said, "past_key_values", None) is None:
        raise SubjectError(
            f"the model {config.model} keeps no keys and values of what it has read, which is wanted here",
            f"set {key} to a transformer",
        )
    return CausalModel(subject, getattr(model.config.get_text_config(), "max_position_embeddings", None))


def _repeated(cache: Any, n: int) -> Any:
    """The keys and values of the prompt, for each text of a batch."""
    kept = deepcopy(cache)
    kept.batch_repeat_interleave(n)
    return kept


def _sums(
    logits: Float[Tensor, "text token vocabulary"], tokens: Int[Tensor, "text token"], n_tokens: Int[Tensor, " text"]
) -> Float[Tensor, " text"]:
    """Sum of ln p over the first tokens of each text."""
    of_token = torch.stack(
        [
            -functional.cross_entropy(of_text.float(), wanted, reduction="none")
            for of_text, wanted in zip(logits, tokens, strict=True)
        ]
    )
    is_text = torch.arange(tokens.shape[1], device=tokens.device) < n_tokens.to(tokens.device)[:, None]
    return (of_token.double() * is_text).sum(dim=1)
