"""Answers from the live subject: requests in flight are generated in one batch, each as if it were alone."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from autointerp.live.generation.batch import Batch
from autointerp.live.generation.changes import Editors
from autointerp.live.generation.check import check_edits, check_request
from autointerp.live.generation.ends import end_tokens
from autointerp.live.generation.passes import Reader
from autointerp.live.generation.request import USUAL_LIMITS, GenerationLimits, GenerationRequest
from autointerp.live.generation.row import Row
from autointerp.live.generation.stream import Flight, Stream
from autointerp.live.generation.text import AnswerText
from autointerp.live.generation.worker import Worker
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.subject.limits import window_of


class Generator:
    """Generates from one subject, in a thread that begins with the first request and sleeps while there are none.

    Tokens do not depend on what else is generated at the time, nor on `use_cache`, nor on whether they are streamed;
    `generation.choose` says how. Let go of, it answers what was asked, and ends.

    Args:
        live: The subject.
        limits: What it takes on.

    Raises:
        SubjectError: If the subject has no language-model head.
    """

    def __init__(self, live: LiveSubject, limits: GenerationLimits = USUAL_LIMITS) -> None:
        subject = live.sources.subject
        model: Any = subject.model
        self.live = live
        self.limits = limits
        self.ends = end_tokens(subject)
        self._editors = Editors(live)
        self._reader = Reader(live, find_head(subject), self._editors)
        self._batch = Batch(self._reader, self._editors, model.dtype, live.n_tokens_at_once)
        texts = _Texts(live, self.ends)
        worker = Worker(self._batch, _NewRow(texts, self._editors, self._reader), self.ends, window_of(subject), limits)
        self._texts, self._worker = texts, worker
        weakref.finalize(self, worker.close)

    @property
    def window(self) -> int | None:
        """Tokens of a prompt and its answer together, as many as the model reads; None where it does not say."""
        return window_of(self.live.sources.subject)

    def submit(self, request: GenerationRequest) -> Stream:
        """Ask for an answer.

        An answer is no longer than `limits.longest_answer`, whatever is asked for.

        Raises:
            TooLongError: If the prompt is longer than it may be.
            BusyError: If too many requests wait.
            GenerationError: If the request is one that can't be answered.
            SubjectError: If features are edited that can't be.
        """
        check_request(request, self.live, self._editors, self.limits)
        flight = Flight(request)
        self._worker.submit(flight)
        return Stream(flight)

    def next_logits(self, requests: Sequence[GenerationRequest]) -> list[Float32[np.ndarray, " token"]]:
        """What the subject expects after each prompt, under the request's edits and rules.

        Each prompt is read by itself, in the caller's thread; without edits the logits are the plain model's, bit for
        bit. A rule's abort ends nothing here, and its handlers are asked one after another.

        Returns:
            Logits of all tokens that the model has a row for.

        Raises:
            TooLongError: As of `submit`.
            GenerationError: The same.
            SubjectError: The same.
        """
        for request in requests:
            check_request(request, self.live, self._editors, self.limits)
        return [self._next_logits(request) for request in requests]

    @contextmanager
    def held(self, request: GenerationRequest) -> Iterator[None]:
        """Have this thread's passes over a prompt edited, as it is edited when it is read to be answered.

        Its rules are evaluated before, as of `next_logits`. The prompt is read alone, without padding.

        Raises:
            As `next_logits`.
        """
        check_request(request, self.live, self._editors, self.limits)
        row, _ = self._read(request)
        at_tokens = [row.compiled(position) for position in range(len(request.prompt))]
        with self._reader.under(self._editors.changes(at_tokens)):
            yield

    def _next_logits(self, request: GenerationRequest) -> Float32[np.ndarray, " token"]:
        return self._read(request)[1].cpu().numpy()

    def _read(self, request: GenerationRequest) -> tuple[Row, torch.Tensor]:
        """A prompt that was read to its end, and what comes then."""
        row = Row(request, self._texts.begin(request), self._editors, None)
        logits: torch.Tensor | None = None
        while logits is None:
            logits = self._batch.read_on(row)
            row.is_aborted = False
            for asked in row.asked:
                assert asked.event.handler is not None
                edits = asked.event.handler(asked.happening) or ()
                check_edits(edits, self.live, self._editors)
                row.add(edits, asked.rule.lasting == "rest", asked.happening.position)
            row.asked = ()
        return row, logits


class _Texts:
    """Begins answers' texts."""

    def __init__(self, live: LiveSubject, ends: frozenset[int]) -> None:
        self._pieces, self._silent = live.pieces, live.special.uncounted | ends

    def begin(self, request: GenerationRequest) -> AnswerText:
        """The text of an answer, empty as yet."""
        return AnswerText(self._pieces, self._silent, request.stop)


class _NewRow:
    """Begins answers; holds nothing of the generator, so that that can be let go of."""

    def __init__(self, texts: _Texts, editors: Editors, reader: Reader) -> None:
        self._texts, self._editors, self._reader = texts, editors, reader

    def __call__(self, flight: Flight) -> Row:
        request = flight.request
        cache = self._reader.new_cache() if request.use_cache else None
        return Row(request, self._texts.begin(request), self._editors, cache)
