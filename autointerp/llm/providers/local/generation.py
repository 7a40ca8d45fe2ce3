"""Answers of a causal model to a batch of questions, each held to its schema.

1. What the questions have in common at their beginning (their *head*: the system's text, a prompt's fixed words) is
   computed once, kept for later batches, and its keys and values are repeated for each question.
2. The rest of each question is read together with the others', padded on the left between head and rest. Positions are
   counted without the padding, and no token attends to it: an answer is that of the question alone, up to rounding.
3. At each step a question's next token is the likeliest that its schema allows, or one drawn in proportion to
   exp(logit / temperature) by the Gumbel-max trick, with noise from a generator that is keyed by question and place.
   What the schema forces is written without asking the model, and read together with the token before it.
4. An answer that is whole leaves the batch; its place is not computed further.

Whether a model gives the same in a batch and behind a kept head is tried on a few tokens when it is loaded: one that
does not (a recurrent state takes padding in) is asked one question at a time, or without heads.
"""

import copy
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autointerp.devices import is_out_of_memory
from autointerp.errors import LanguageModelError, in_one_line
from autointerp.identity import hash_key
from autointerp.llm.protocol import TokenChances
from autointerp.llm.providers.local.grammar import Answer, Grammar

_LOG = logging.getLogger(__name__)
_MOST_HEADS = 8
_LEAST_HEAD = 16
"""Tokens; fewer are as quickly read anew."""
_N_TRIED = 12
_TOLERANCE, _TOLERANCE_16 = 1e-3, 0.03
"""Of the largest logit: what sums in another order may differ by, in 32 bits and in 16."""
_MOST_CHANCES = 20
_LEAST_CHANCE = 0.001
"""What is less likely than this is not kept, as of servers: an answer would take hundreds of kilobytes."""
_FEW = 8
"""Where no more tokens than this are allowed, as in a choice, all that have any chance are kept."""
_ANY_CHANCE = 1e-9
_CANT = (RuntimeError, ValueError, TypeError, AttributeError, IndexError)
"""What caches and models of transformers raise of what they can't do with several rows, or with a copy."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, in tokens.

    Attributes:
        tokens: Of the prompt.
        n_fixed: Of these, the first ones that other questions with the same system text have too.
        schema: JSON schema of the answer.
        most_output: Tokens that the answer may have.
        temperature: 0 for the likeliest answer.
        seed: Of what is drawn, 64 bits.
        wants_chances: Whether the chances of other tokens are wanted.
    """

    tokens: Sequence[int]
    n_fixed: int
    schema: dict[str, Any]
    most_output: int
    temperature: float = 0.0
    seed: int = 0
    wants_chances: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """An answer.

    Attributes:
        text: Its text.
        is_cut: Whether it would have gone on past `most_output`.
        n_output: Its tokens.
        n_cached: Tokens of the question that were not read anew.
        tokens: With their chances, where these were wanted.
    """

    text: str
    is_cut: bool
    n_output: int
    n_cached: int
    tokens: tuple[TokenChances, ...] = ()


@dataclass(slots=True)
class _Row:
    """A question of a batch, under way: `unread` is what the model has not read of it and of its answer."""

    question: Question
    answer: Answer
    unread: list[int]
    n_cached: int
    written: list[int] = field(default_factory=list)
    chances: dict[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    is_cut: bool = False

    def write(self, *tokens: int) -> None:
        """Take tokens into the answer, as many as it may have."""
        room = self.question.most_output - len(self.written)
        self.is_cut |= len(tokens) > room
        self.written += tokens[:room]
        self.unread += tokens

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to write."""
        self.is_cut |= not self.answer.is_whole and len(self.written) >= self.question.most_output
        return self.is_cut or self.answer.is_whole


@dataclass(frozen=True, slots=True)
class _Head:
    tokens: list[int]
    cache: Any


class Generator:
    """Writes a model's answers; for one thread.

    Args:
        model: A causal model of transformers, with its head, in evaluation mode.
        grammar: Of its tokens.
        name: The model's, for what is told.
        keeps_heads: Whether what questions have in common is kept.

    Raises:
        RuntimeError: If the device has no room for a few tokens (`devices.is_out_of_memory`).

    Attributes:
        has_batches: Whether several questions may be asked at once.
        bytes_per_token: Of keys and values.
    """

    def __init__(self, model: Any, grammar: Grammar, name: str, *, keeps_heads: bool = True) -> None:
        self._model = model
        self._name = name
        self._grammar = grammar
        self._device = model.device
        known = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in known
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self._heads: list[_Head] = []
        self.bytes_per_token = 0.0
        of_batch, of_head = self._tried()
        if of_batch is not None:
            _LOG.warning("%s %s: it is asked one question at a time", name, of_batch)
        if of_head is not None:
            _LOG.warning("%s %s: each question is read whole", name, of_head)
        self.has_batches, self._keeps_heads = of_batch is None, of_head is None and keeps_heads

    @torch.inference_mode()
    def write(
        self, questions: Sequence[Question], is_unwanted: Callable[[], bool] = lambda: False
    ) -> list[Written] | None:
        """Answer a batch.

        Args:
            questions: One or more; one where the model has no batches.
            is_unwanted: Asked at each step.

        Returns:
            The answers in the questions' order; None if they were not wanted any more.

        Raises:
            LanguageModelError: If the model or its tokenizer can write no answer.
            torch.OutOfMemoryError: If the device has no room for them.
        """
        head, n_new = self._head(questions)
        rows = [
            _Row(q, self._grammar.begin(q.schema), list(q.tokens[len(head.tokens) :]), len(head.tokens))
            for q in questions
        ]
        rows[0].n_cached -= n_new
        for row in rows:
            row.write(*row.answer.forced())
        waiting = [row for row in rows if not row.is_over]
        cache: Any = _repeated(head.cache, len(waiting)) if head.tokens and waiting else self._empty()
        mask = torch.ones((len(waiting), len(head.tokens)), dtype=torch.long, device=self._device)
        while waiting and not is_unwanted():
            logits, mask = self._read([row.unread for row in waiting], cache, mask)
            self._choose(waiting, logits)
            kept = [place for place, row in enumerate(waiting) if not row.is_over]
            if len(kept) < len(waiting):
                waiting = [waiting[place] for place in kept]
                if waiting:
                    chosen = torch.tensor(kept, device=self._device)
                    cache.batch_select_indices(chosen)
                    mask = mask[chosen]
        return None if waiting else [self._written(row) for row in rows]

    def _choose(self, rows: Sequence[_Row], logits: Float[Tensor, "row token"]) -> None:
        """Write each row's next token, and what its schema forces after it."""
        allowed = torch.stack([row.answer.allowed() for row in rows]).to(self._device)
        logits = logits.masked_fill(~allowed, -torch.inf)
        drawn = [place for place, row in enumerate(rows) if row.question.temperature > 0]
        self._check(allowed, logits)
        scores = logits
        if drawn:
            scores = logits.clone()
            for place in drawn:
                question, n_before = rows[place].question, len(rows[place].written)
                scores[place] = logits[place] / question.temperature + self._noise(
                    question.seed, n_before, logits.shape[1]
                )
        chosen = scores.argmax(dim=-1).tolist()
        wanted = [place for place, row in enumerate(rows) if row.question.wants_chances]
        if wanted:
            n_allowed = allowed.sum(dim=-1)[wanted].tolist()
            likely, tokens = torch.softmax(logits[wanted], dim=-1).topk(min(_MOST_CHANCES, logits.shape[1]))
            for place, n, values, ids in zip(wanted, n_allowed, likely.tolist(), tokens.tolist(), strict=True):
                least = _ANY_CHANCE if n <= _FEW else _LEAST_CHANCE
                kept = tuple((i, float(f"{p:.6g}")) for i, p in zip(ids, values, strict=True) if p >= least)
                rows[place].chances[len(rows[place].written)] = kept if len(kept) > 1 else ()
        for row, token in zip(rows, chosen, strict=True):
            row.unread = []
            row.answer.take(token)
            row.write(token, *row.answer.forced())

    def _check(self, allowed: Bool[Tensor, "row token"], logits: Float[Tensor, "row token"]) -> None:
        """See that each row has a next token.

        Args:
            allowed: By its schema.
            logits: Those of what is not allowed are -infinity.
        """
        if not bool(allowed.any(dim=-1).all()):
            raise LanguageModelError(
                f"the tokenizer of {self._name} has no token to go on with in an answer in JSON",
                "use a model whose tokenizer knows every character",
            )
        if not bool(torch.isfinite(logits.amax(dim=-1)).all()):
            raise LanguageModelError(
                f"{self._name} gives logits that are no numbers",
                "set dtype to float32 or bfloat16, or download it again",
            )

    def _noise(self, seed: int, place: int, n_tokens: int) -> Float[Tensor, " token"]:
        """Gumbel noise, the same for a seed and a place on any device."""
        generator = torch.Generator().manual_seed(hash_key(seed, str(place)))
        return -torch.empty(n_tokens).exponential_(generator=generator).log().to(self._device)

    def _written(self, row: _Row) -> Written:
        texts = self._grammar.texts(row.written)
        tokens: tuple[TokenChances, ...] = ()
        if row.question.wants_chances:
            tokens = tuple(
                TokenChances(text, tuple((self._grammar.texts([i])[0], p) for i, p in row.chances.get(place, ())))
                for place, text in enumerate(texts)
            )
        return Written("".join(texts), row.is_cut, len(row.written), row.n_cached, tokens)

    def _read(
        self, unread: Sequence[Sequence[int]], cache: Any, mask: Int[Tensor, "row position"]
    ) -> tuple[Float[Tensor, "row token"], Int[Tensor, "row read"]]:
        """Read on in each row.

        Args:
            unread: Tokens of each row, at least one.
            cache: Keys and values of what was read; is added to.
            mask: 0 where what was read is padding.

        Returns:
            Logits of what follows each row's last token, and the mask with what was read now.
        """
        longest = max(map(len, unread))
        padded = [[0] * (longest - len(tokens)) + list(tokens) for tokens in unread]
        new = [[0] * (longest - len(tokens)) + [1] * len(tokens) for tokens in unread]
        mask = torch.cat([mask, torch.tensor(new, device=self._device)], dim=1)
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -longest:]
        said = self._model(
            input_ids=torch.tensor(padded, device=self._device),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **({"position_ids": places} if self._takes_positions else {}),
            **self._last_only,
        )
        return said.logits[:, -1].float(), mask

    def _empty(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self._model.config)

    def _head(self, questions: Sequence[Question]) -> tuple[_Head, int]:
        """What the questions begin with, read, and how many of its tokens were read now."""
        head = _Head([], self._empty())
        if not self._keeps_heads:
            return head, 0
        common = _common([question.tokens for question in questions])
        most = min(len(question.tokens) for question in questions) - 1
        for kept in self._heads:
            n = len(kept.tokens)
            if len(head.tokens) < n <= most and common[:n] == kept.tokens:
                head = kept
        # Of a single question nobody knows what the next will share, but for the system's text. That stands by itself,
        # since what a batch shares beyond it, such as a label, may be its own.
        n_read = 0
        for end in (questions[0].n_fixed, len(common) if len(questions) > 1 else 0):
            unread = common[len(head.tokens) : min(end, most)]
            if len(unread) >= _LEAST_HEAD:
                head = self._longer(head, unread)
                n_read += len(unread)
            if head.tokens:
                self._heads = [head, *(kept for kept in self._heads if kept is not head)][:_MOST_HEADS]
        return head, n_read

    def _longer(self, head: _Head, unread: list[int]) -> _Head:
        cache = copy.deepcopy(head.cache)
        mask = torch.ones((1, len(head.tokens)), dtype=torch.long, device=self._device)
        self._read([unread], cache, mask)
        return _Head(head.tokens + unread, cache)

    @torch.inference_mode()
    def _tried(self) -> tuple[str | None, str | None]:
        """What is wrong with the model's logits in a batch, and behind a kept head; None where they are as alone."""
        n_known = self._model.get_input_embeddings().weight.shape[0]
        long = [(7 * place + 1) % n_known for place in range(_N_TRIED)]
        short = long[_N_TRIED // 2 :]
        end = [long[:1]]
        nothing = torch.ones((2, 0), dtype=torch.long, device=self._device)
        cache, cache_of_short = self._empty(), self._empty()
        of_long, _ = self._read([long], cache, nothing[:1])
        kept = sum(t.nbytes for layer in cache.layers for t in vars(layer).values() if isinstance(t, Tensor))
        self.bytes_per_token = kept / _N_TRIED
        of_short, mask = self._read([short], cache_of_short, nothing[:1])
        of_end, _ = self._read(end, cache_of_short, mask)

        def together() -> Tensor:
            cache = self._empty()
            of_both, mask = self._read([long, short], cache, nothing)
            last = torch.tensor([1], device=self._device)
            cache.batch_select_indices(last)
            return torch.cat([of_both, self._read(end, cache, mask[last])[0]])

        def behind() -> Tensor:
            cache = self._empty()
            _, mask = self._read([long[: _N_TRIED // 2]], cache, nothing[:1])
            return self._read([short], _repeated(cache, 1), mask)[0]

        return (
            self._problem("in a batch", torch.cat([of_long, of_short, of_end]), together),
            self._problem("behind a kept beginning", of_long, behind),
        )

    def _problem(self, where: str, wanted: Tensor, read: Callable[[], Tensor]) -> str | None:
        try:
            got = read()
        except _CANT as error:
            if is_out_of_memory(error):
                raise
            return f"can't be asked {where} ({in_one_line(error, with_kind=True)})"
        tolerance = _TOLERANCE if self._model.dtype == torch.float32 else _TOLERANCE_16
        is_same = bool((got - wanted).abs().max() <= tolerance * wanted.abs().max())
        return None if is_same else f"gives other answers {where}"


def _common(sequences: Sequence[Sequence[int]]) -> list[int]:
    """What sequences begin with, all of them."""
    first, last = min(map(list, sequences)), max(map(list, sequences))
    differs = (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differs, min(len(first), len(last)))]


def _repeated(cache: Any, n: int) -> Any:
    """A copy of one question's keys and values for each of several."""
    copied = copy.deepcopy(cache)
    copied.batch_repeat_interleave(n)
    return copied
