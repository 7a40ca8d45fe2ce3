"""Answers that were generated already: an answer depends on what is asked alone, so that none need be generated twice.

Plain answers, and those under a candidate at a dose, are the same for every specification; only their scores differ.
They are kept as long as what generates them, by all that they depend on: the prompt, its edits, and how they are
drawn. Those that were not asked for longest go when all take more memory than they may.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import GenerationRequest
from autointerp.records.live import Push

MOST_BYTES = 64 * 2**20
# Of an entry with its key, and of a token, about, as CPython keeps them.
_BYTES_EACH, _BYTES_OF_TOKEN = 500, 40


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer.

    Attributes:
        token_ids: Its tokens.
        text: Its text.
        loss: Nats a token by the plain subject; NaN of an answer of fewer than two tokens.
    """

    token_ids: tuple[int, ...]
    text: str
    loss: float

    @property
    def n_bytes(self) -> int:
        """That it takes, about."""
        return _BYTES_EACH + _BYTES_OF_TOKEN * len(self.token_ids) + 2 * len(self.text)


class KnownAnswers:
    """Answers of one generator; several threads may ask.

    Args:
        most_bytes: That they take, about.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._n_bytes = most_bytes, 0
        self._answers: OrderedDict[bytes, KnownAnswer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> KnownAnswer | None:
        """The answer that was kept by a key; None where there is none."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def keep(self, key: bytes, answer: KnownAnswer) -> None:
        """Keep an answer, and forget others where there is no more room."""
        with self._lock:
            if key not in self._answers:
                self._answers[key] = answer
                self._n_bytes += answer.n_bytes
            while self._n_bytes > self._most:
                self._n_bytes -= self._answers.popitem(last=False)[1].n_bytes


def key_of(request: GenerationRequest) -> bytes:
    """Of all that an answer depends on, the subject aside; of a request without rules, which may do anything."""
    assert not request.rules
    digest = hashlib.sha256()
    for of in request.edits:
        for edit in of.edits:
            told = (edit.value, edit.vector.tobytes()) if isinstance(edit, Push) else edit
            digest.update(repr((of.source_id, told)).encode())
    digest.update(repr(replace(request, edits=())).encode())
    return digest.digest()


_KNOWN: WeakKeyDictionary[Generator, KnownAnswers] = WeakKeyDictionary()


def known_answers(generator: Generator) -> KnownAnswers:
    """The answers that are kept of a generator."""
    return _KNOWN.setdefault(generator, KnownAnswers())
