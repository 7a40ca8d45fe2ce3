"""What comes next: the subject's log-probabilities of the next token, plain and under edits.

The subject is a base model; its last hidden state, which transformers gives after the final norm, goes through the
language-model head of the checkpoint (`subject.logits`), and through Gemma's soft cap where the config has one.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.live.edits import edited
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, Effect, TokenChange
from autointerp.subject.limits import readable_tokens
from autointerp.subject.logits import NoLogits, Unembedding, find_unembedding
from autointerp.subject.model import Subject

# Tokens that are sorted for each that is named: some show as nothing, and some as others do.
_LOOKED_AT = 32


@dataclass(frozen=True, slots=True)
class OutputHead:
    """From the last hidden state to logits.

    Attributes:
        weights: Rows of the language-model head, in float32, on the subject's device.
        soft_cap: Logits are kept below it by a tanh; None where they are not.
    """

    weights: Float[Tensor, "token d_model"]
    soft_cap: float | None

    def logits(self, hidden: Float[Tensor, "text d_model"]) -> Float[Tensor, "text token"]:
        """Logits of the next token, in float32."""
        logits = torch.nn.functional.linear(hidden.float(), self.weights)
        return logits if self.soft_cap is None else self.soft_cap * torch.tanh(logits / self.soft_cap)

    def log_probs(self, hidden: Float[Tensor, "text d_model"]) -> Float[Tensor, "text token"]:
        """Log-probabilities of the next token."""
        return self.logits(hidden).log_softmax(dim=-1)


# Read out of the checkpoint once, as long as a model is loaded: all who ask share them.
_UNEMBEDDINGS: WeakKeyDictionary[nn.Module, dict[str, Unembedding]] = WeakKeyDictionary()
_HEADS: WeakKeyDictionary[nn.Module, dict[str, OutputHead]] = WeakKeyDictionary()


def read_unembedding(subject: Subject, remedy: str) -> Unembedding:
    """The subject's final norm and language-model head, as of `find_unembedding`; read once.

    Args:
        subject: The subject.
        remedy: What to do where there is none.

    Raises:
        SubjectError: If it has none.
    """
    known = _UNEMBEDDINGS.setdefault(subject.model, {})
    if subject.family not in known:
        found = find_unembedding(subject)
        if isinstance(found, NoLogits):
            raise SubjectError(found.reason, remedy)
        known[subject.family] = found
    return known[subject.family]


def find_head(subject: Subject) -> OutputHead:
    """The subject's language-model head; made once.

    Raises:
        SubjectError: If it has none.
    """
    known = _HEADS.setdefault(subject.model, {})
    if subject.family not in known:
        known[subject.family] = _make_head(subject)
    return known[subject.family]


def _make_head(subject: Subject) -> OutputHead:
    unembedding = read_unembedding(
        subject, "chats, next tokens, doses and attributions need a causal language model; all else goes on without"
    )
    model: Any = subject.model
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return OutputHead(unembedding.weights.float(), float(cap) if cap else None)


def next_token_log_probs(
    live: LiveSubject, head: OutputHead, source_id: str, texts: Sequence[Sequence[int]], edits: Sequence[Sequence[Edit]]
) -> Float[Tensor, "text token"]:
    """Run texts as far as they go, and read what the subject expects next.

    Args:
        live: The subject.
        head: Its head.
        source_id: The source whose features are edited.
        texts: Tokens of each.
        edits: Of each text, at every token of it that counts.

    Raises:
        SubjectError: If features are edited that can't be.
    """
    subject = live.sources.subject
    with live.lock, torch.inference_mode():
        ids, mask, counted = live.framed(texts, open_ended=True)
        ids = readable_tokens(subject, ids, mask)
        under = edited(live.source(source_id), edits, torch.from_numpy(counted)) if any(edits) else nullcontext()
        with under:
            hidden: Tensor = subject.model(
                input_ids=ids.to(subject.device), attention_mask=mask.to(subject.device), use_cache=False
            ).last_hidden_state
        last = mask.sum(dim=1).to(subject.device) - 1
        return head.log_probs(hidden[torch.arange(len(texts), device=subject.device), last])


def effects(
    live: LiveSubject,
    head: OutputHead,
    source_id: str,
    asked: Sequence[tuple[Sequence[Sequence[int]], Sequence[Edit]]],
    n_tokens: int,
) -> list[Effect]:
    """What edits do to the next token, each on the mean of its prompts.

    Args:
        live: The subject.
        head: Its head.
        source_id: The source whose features are edited.
        asked: Prompts, as tokens, with the edits that are made in all of them.
        n_tokens: Tokens named at either end.

    Returns:
        One for each of `asked`.

    Raises:
        SubjectError: If the source's features can't be edited.
    """
    distinct = list(dict.fromkeys(tuple(prompt) for prompts, _ in asked for prompt in prompts))
    plain: dict[tuple[int, ...], Tensor] = {}
    for batch in live.batches(distinct):
        texts = [distinct[i] for i in batch]
        plain |= dict(zip(texts, next_token_log_probs(live, head, source_id, texts, [()] * len(texts)), strict=True))
    rows = [(number, tuple(prompt)) for number, (prompts, _) in enumerate(asked) for prompt in prompts]
    n_vocabulary = len(head.weights)
    changes = np.zeros((len(asked), n_vocabulary), dtype=np.float32)
    kl = np.zeros(len(asked))
    for batch in live.batches([prompt for _, prompt in rows]):
        texts, of = [rows[i][1] for i in batch], [rows[i][0] for i in batch]
        after = next_token_log_probs(live, head, source_id, texts, [asked[number][1] for number in of])
        change = after - torch.stack([plain[text] for text in texts])
        divergence = (after.exp() * change).sum(dim=1)
        for number, row, nats in zip(of, change.cpu().numpy(), divergence.tolist(), strict=True):
            share = 1 / len(asked[number][0])
            changes[number] += share * row
            kl[number] += share * nats
    shown = _shown_tokens(live, n_vocabulary)
    return [
        Effect(_highest(row, shown, n_tokens), _highest(-row, shown, n_tokens, sign=-1), max(0.0, float(nats)))
        for row, nats in zip(changes, kl, strict=True)
    ]


def _shown_tokens(live: LiveSubject, n: int) -> dict[int, str]:
    """The tokens that show as something, by their text without the space around it."""
    n_known = min(n, live.pieces.n_tokens)
    shown = ((i, live.pieces.shown_alone(i).strip()) for i in range(n_known) if i not in live.special.uncounted)
    return {i: text for i, text in shown if text}


def _highest(
    changes: Float32[np.ndarray, " token"], shown: dict[int, str], n: int, sign: int = 1
) -> tuple[TokenChange, ...]:
    """The tokens with the highest changes, ties to the lower id; of those that show alike the first."""
    found: dict[str, TokenChange] = {}
    for token_id in _descending(changes, _LOOKED_AT * n):
        text = shown.get(token_id)
        if text is not None and text not in found:
            found[text] = TokenChange(token_id, text, sign * float(changes[token_id]))
            if len(found) == n:
                break
    return tuple(found.values())


def _descending(changes: Float32[np.ndarray, " token"], n_first: int) -> Iterator[int]:
    """Tokens from the highest change to the lowest; to sort them all would take longer than to run the subject."""
    first = np.arange(0)
    if n_first < len(changes):
        bound = np.partition(-changes, n_first)[n_first]
        first = np.flatnonzero(-changes < bound)
        yield from first[np.argsort(-changes[first], kind="stable")].tolist()
    yield from np.argsort(-changes, kind="stable")[len(first) :].tolist()
