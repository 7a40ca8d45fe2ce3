"""How many tokens a prompt has, told from its bytes: no provider hands out its tokenizer.

Tokenizers of language models are byte-pair encodings: English prose has about four bytes a token, code and JSON three,
and rare scripts fewer. What a model's answered calls had is used as soon as there are some.
"""

import json

from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import AnswerT, Repair, Request

BYTES_PER_TOKEN = 4.0
"""Until calls have told: of English prose under a vocabulary of 100,000."""
_MOST_TOKENS_PER_BYTE = 0.5
_N_TO_LEARN_FROM = 20
_MARGIN = 1.1


def prompt_bytes(request: Request[AnswerT], repair: Repair | None = None) -> int:
    """UTF-8 bytes of what is sent, the schema apart."""
    texts = (request.system, request.user, *((repair.bad_answer, repair.complaint) if repair else ()))
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def schema_bytes(request: Request[AnswerT]) -> int:
    """UTF-8 bytes of the answer's schema, which a provider may count as input."""
    return len(json.dumps(answer_schema(request.answer), separators=(",", ":")))


class BytesPerToken:
    """What a model's answered calls say of tokens and bytes.

    Args:
        n_bytes: Of prompts answered before.
        n_tokens: Of the same prompts, as the provider counted them.
        n_answers: How many these are.
    """

    def __init__(self, n_bytes: int = 0, n_tokens: int = 0, n_answers: int = 0) -> None:
        self._n_bytes, self._n_tokens, self._n_answers = n_bytes, n_tokens, n_answers
        self._most_per_byte = 0.0

    def learn(self, n_bytes: int, n_tokens: int) -> None:
        """Take in an answered call; one whose tokens the server does not count says nothing."""
        if n_bytes > 0 and n_tokens > 0:
            self._n_bytes += n_bytes
            self._n_tokens += n_tokens
            self._n_answers += 1
            self._most_per_byte = max(self._most_per_byte, n_tokens / n_bytes)

    @property
    def n_answers(self) -> int:
        """Answered calls that the estimate rests on."""
        return self._n_answers

    def expected(self, n_bytes: int) -> float:
        """Tokens of so many bytes, to be expected."""
        if self._n_tokens == 0:
            return n_bytes / BYTES_PER_TOKEN
        return n_bytes * self._n_tokens / self._n_bytes

    def at_most(self, n_bytes: int) -> float:
        """Tokens of so many bytes, hardly to be passed."""
        if self._n_answers < _N_TO_LEARN_FROM or self._most_per_byte == 0.0:
            return n_bytes * _MOST_TOKENS_PER_BYTE
        return n_bytes * self._most_per_byte * _MARGIN
