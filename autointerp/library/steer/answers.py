"""What the subject answers under some edits, and what each answer is worth: the measuring part of steering to order.

1. An *arm* is a way to answer: plain, steered, under a control. Each prompt may have edits of its own.
2. All arms answer the same prompts, each prompt with the same seed in all of them.
3. Of each answer is measured: its concept score and the facets that it mentions (`measures`), how close it is to its
   instruction, its repetition, and its loss: nats a token that the *plain* subject gives it as a text by itself, from
   its second token on, so that a change of subject costs nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from autointerp.embedder import TextEmbedder
from autointerp.identity import hash_key
from autointerp.library.steer.known_answers import KnownAnswer, key_of, known_answers
from autointerp.library.steer.measures import Concept, repetition
from autointerp.library.steer.prompts import Prompts
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import Generation, GenerationRequest
from autointerp.live.generation.stream import Stream
from autointerp.live.log_probs import Reading, n_tokens_read, token_log_probs
from autointerp.live.next_token import OutputHead
from autointerp.records.live import SourceEdits


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        max_tokens: Of an answer.
        temperature: 0 takes the likeliest token.
        top_p: Tokens are drawn from the likeliest ones that together have this probability.
        seed: Of it and of the prompt's number each answer has a seed.
    """

    max_tokens: int = 32
    temperature: float = 0.6
    top_p: float = 0.9
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """A way to answer.

    Attributes:
        name: What it is called.
        prompts: What the subject reads, special tokens included.
        edits: Of each prompt.
    """

    name: str
    prompts: tuple[tuple[int, ...], ...]
    edits: tuple[tuple[SourceEdits, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What came of one arm, by prompt.

    Attributes:
        texts: The answers.
        tokens: Their tokens.
        concept: Concept score, in [0, 1].
        mentions: Whether each mentions each facet.
        loss: Nats a token by the plain subject; NaN of an answer of fewer than two tokens.
        repetition: Share of 4-grams that stood there before.
        kept: Cosine of the answer and its instruction.
    """

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    concept: Float64[np.ndarray, " prompt"]
    mentions: Bool[np.ndarray, "prompt facet"]
    loss: Float64[np.ndarray, " prompt"]
    repetition: Float64[np.ndarray, " prompt"]
    kept: Float64[np.ndarray, " prompt"]

    def means(self) -> tuple[float, float | None, float]:
        """Mean concept score, loss (None where no answer has one) and repetition."""
        has_loss = np.isfinite(self.loss)
        loss = float(self.loss[has_loss].mean()) if has_loss.any() else None
        return float(self.concept.mean()), loss, float(self.repetition.mean())


@dataclass(slots=True)
class Spent:
    """What measuring has cost.

    Attributes:
        n_generated: Tokens generated.
        n_read: Tokens read without generating: prompts, answers whose loss is read, questions.
        n_answers: Answers generated.
        n_known: Answers that had been generated before, and were taken from there.
    """

    n_generated: int = 0
    n_read: int = 0
    n_answers: int = 0
    n_known: int = 0


class Asker:
    """Has arms answer prompts, and measures the answers.

    Attributes:
        spent: What it has cost up to now.

    Args:
        generator: Of the subject.
        head: Its head.
        prompts: Puts texts to it.
        concept: What answers are scored by.
        embedder: Gives vectors of texts.
        sampling: How answers are drawn.
        on_answer: Told of each answer.
    """

    def __init__(
        self,
        generator: Generator,
        head: OutputHead,
        prompts: Prompts,
        concept: Concept,
        embedder: TextEmbedder,
        sampling: Sampling,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        self._generator, self._head, self._prompts = generator, head, prompts
        self._concept, self._embedder = concept, embedder
        self._sampling, self._on_answer = sampling, on_answer
        self.spent = Spent()

    def ask(self, instructions: Sequence[str], arms: Sequence[Arm]) -> list[Answers]:
        """Have all arms answer; what was answered before is known (`known_answers`).

        Args:
            instructions: As they were written, by prompt; the same in all arms.
            arms: The arms.

        Returns:
            Of each arm.

        Raises:
            SubjectError: If features are edited that can't be.
            GenerationError: If a request can't be answered.
        """
        requests = [
            GenerationRequest(
                prompt=prompt,
                edits=edits,
                max_new_tokens=self._sampling.max_tokens,
                temperature=self._sampling.temperature,
                top_p=self._sampling.top_p,
                seed=hash_key(self._sampling.seed, "answer", instruction) % 2**31,
            )
            for arm in arms
            for instruction, prompt, edits in zip(instructions, arm.prompts, arm.edits, strict=True)
        ]
        answers, n = self._answers(requests), len(instructions)
        return [self._measured(instructions, answers[i : i + n]) for i in range(0, n * len(arms), n)]

    def _answers(self, requests: Sequence[GenerationRequest]) -> list[KnownAnswer]:
        """Answers in order; each request is answered once, whoever asked it."""
        keys, kept = [key_of(request) for request in requests], known_answers(self._generator)
        found = {key: known for key in keys if (known := kept.get(key)) is not None}
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in found}
        generations = list(self._generate(missing.values()))
        losses = self._losses([generation.token_ids for generation in generations])
        for key, generation, loss in zip(missing, generations, losses.tolist(), strict=True):
            found[key] = KnownAnswer(tuple(generation.token_ids), generation.text, loss)
            kept.keep(key, found[key])
        n_known = len(requests) - len(missing)
        self.spent.n_known += n_known
        if self._on_answer is not None:
            for _ in range(n_known):
                self._on_answer()
        return [found[key] for key in keys]

    def _generate(self, requests: Iterable[GenerationRequest]) -> Iterable[Generation]:
        """Answers in order; as many requests are under way as the generator takes at once, and as many wait."""
        under_way: deque[Stream] = deque()
        for request in requests:
            under_way.append(self._generator.submit(request))
            if len(under_way) >= 2 * self._generator.limits.n_at_once:
                yield self._result(under_way.popleft())
        while under_way:
            yield self._result(under_way.popleft())

    def _result(self, stream: Stream) -> Generation:
        answer = stream.result()
        self.spent.n_generated += len(answer.token_ids)
        self.spent.n_read += answer.n_prompt_tokens
        self.spent.n_answers += 1
        if self._on_answer is not None:
            self._on_answer()
        return answer

    def _losses(self, answers: Sequence[tuple[int, ...]]) -> Float64[np.ndarray, " answer"]:
        readings = []
        for tokens in answers:
            text = self._prompts.text(tokens)
            readings.append(Reading(text, max(1, len(text) - len(tokens) + 1)) if tokens else Reading((0,), 1))
        self.spent.n_read += n_tokens_read(readings)
        log_probs = token_log_probs(self._generator.live, self._head, readings)
        return np.array([-float(of.mean()) if of.size else np.nan for of in log_probs])

    def _measured(self, instructions: Sequence[str], answers: Sequence[KnownAnswer]) -> Answers:
        texts = tuple(answer.text for answer in answers)
        scores = self._concept.score(texts)
        vectors = self._embedder.embed([*texts, *instructions])
        kept = (vectors[: len(texts)] * vectors[len(texts) :]).sum(axis=1).astype(np.float64)
        return Answers(
            texts=texts,
            tokens=tuple(answer.token_ids for answer in answers),
            concept=scores.values,
            mentions=scores.mentions,
            loss=np.array([answer.loss for answer in answers]),
            repetition=np.array([repetition(answer.token_ids) for answer in answers]),
            kept=kept,
        )
