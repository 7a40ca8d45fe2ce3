"""Answers from the live subject."""

import threading
from contextlib import ExitStack
from typing import Any

import torch

from autointerp.errors import AutointerpError, TooLongError
from autointerp.live.edits import edited
from autointerp.live.generation.request import (
    USUAL_LIMITS,
    GeneratedToken,
    Generation,
    GenerationLimits,
    GenerationRequest,
)
from autointerp.live.generation.stream import Flight, Stream
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject


class Generator:
    """Generates from one subject.

    Args:
        live: The subject.
        limits: What it takes on.

    Raises:
        SubjectError: If the subject has no language-model head.
    """

    def __init__(self, live: LiveSubject, limits: GenerationLimits = USUAL_LIMITS) -> None:
        self.live = live
        self.limits = limits
        self._head = find_head(live.sources.subject)

    @property
    def window(self) -> int | None:
        """Tokens of a prompt and its answer together, as many as the model reads; None where it does not say."""
        model: Any = self.live.sources.subject.model
        found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) else None

    def submit(self, request: GenerationRequest) -> Stream:
        """Ask for an answer.

        Raises:
            TooLongError: If the prompt is longer than it may be.
            BusyError: If too many requests wait.
            GenerationError: If the request is one that can't be answered.
            SubjectError: If features are edited that can't be.
        """
        if self.window is not None and len(request.prompt) >= self.window:
            raise TooLongError(
                f"the prompt has {len(request.prompt):,} tokens, and the model reads {self.window:,} at once",
                "shorten it",
            )
        flight = Flight(request)
        threading.Thread(target=self._run, args=(flight,), daemon=True).start()
        return Stream(flight)

    def _run(self, flight: Flight) -> None:
        try:
            flight.give(self._generate(flight))
        except AutointerpError as error:
            flight.give(error)

    def _generate(self, flight: Flight) -> Generation:
        request, subject = flight.request, self.live.sources.subject
        read, log_probs = list(request.prompt), list[float]()
        while len(log_probs) < request.max_new_tokens and not flight.cancelled.is_set():
            where = torch.ones((1, len(read)), dtype=torch.bool)
            with torch.inference_mode(), ExitStack() as stack:
                for of_source in request.edits:
                    stack.enter_context(edited(self.live.source(of_source.source_id), [of_source.edits], where))
                ids = torch.tensor([read], device=subject.device)
                hidden = subject.model(input_ids=ids, use_cache=False).last_hidden_state
                of_next = self._head.log_probs(hidden[:, -1])[0]
            token_id = int(of_next.argmax())
            read.append(token_id)
            log_probs.append(float(of_next[token_id]))
            flight.give(GeneratedToken(token_id, self.live.pieces.pieces([token_id])[0], log_probs[-1]))
        new = tuple(read[len(request.prompt) :])
        text = "".join(self.live.pieces.pieces(new))
        n_edited = len(request.prompt) if request.edits else 0
        return Generation(
            new, text, tuple(log_probs), "length", len(request.prompt), n_edited, len(new) - 1 if request.edits else 0
        )
