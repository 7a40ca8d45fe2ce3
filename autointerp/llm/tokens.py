"""How many tokens a prompt has, told from its bytes: few providers hand out their tokenizers.

Tokenizers of language models are byte-pair encodings: English prose has about four bytes a token, code and JSON three,
and rare scripts fewer. What a model's answered calls had is used as soon as there are some. Where the tokenizer is at
hand, as with open models, a dry run counts with it.

Whether a request fits into a context window (`window`) is judged on the high side: a token for every three bytes of
UTF-8. Even the embedded model's small vocabulary, which cuts finer than those of the models that are asked, makes fewer
tokens of our prompts; a test sees to that. Where the estimate is too low all the same, as it may be for rare scripts,
the server refuses.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from autointerp.errors import PipelineError, in_one_line
from autointerp.hub import load_from_hub
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


class BytesPerToken:
    """What a model's answered calls say of tokens and bytes.

    Args:
        n_bytes: Size of the prompts that were answered before.
        n_tokens: Tokens in these prompts, as the provider counted them.
        n_answers: Number of these prompts.
    """

    def __init__(self, n_bytes: int = 0, n_tokens: int = 0, n_answers: int = 0) -> None:
        self._n_bytes, self._n_tokens, self._n_answers = n_bytes, n_tokens, n_answers
        self._n_learned = 0
        self._most_per_byte = 0.0

    def learn(self, n_bytes: int, n_tokens: int) -> None:
        """Take in an answered call; one whose tokens the server does not count says nothing."""
        if n_bytes > 0 and n_tokens > 0:
            self._n_bytes += n_bytes
            self._n_tokens += n_tokens
            self._n_answers += 1
            self._n_learned += 1
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
        # Sums of earlier answers don't tell their most.
        if self._n_learned < _N_TO_LEARN_FROM:
            return n_bytes * _MOST_TOKENS_PER_BYTE
        return n_bytes * self._most_per_byte * _MARGIN


class TokenizerCount:
    """Counts with a model's own tokenizer, its chat template included where it has one.

    Args:
        location: A folder, or a name on the hub.

    Raises:
        PipelineError: If there is no tokenizer that can be loaded.
    """

    def __init__(self, location: str) -> None:
        from transformers import AutoTokenizer  # slow to import, and seldom needed

        def load() -> Any:
            return AutoTokenizer.from_pretrained(location, trust_remote_code=False)

        self.location = location
        remedy = "name a folder or a repository with a tokenizer, or leave `tokenizer` out: tokens are then estimated"
        is_here = Path(location).is_absolute() or Path(location).exists()
        try:
            self._tokenizer: Any = (
                load() if is_here else load_from_hub(load, f"the tokenizer {location!r}", remedy, PipelineError)
            )
        except PipelineError:
            raise
        except Exception as error:  # a hub, a file or a format may be at fault, each with exceptions of its own
            raise PipelineError(
                f"the tokenizer {location!r} can't be loaded ({in_one_line(error, with_kind=True)})", remedy
            ) from error
        self._has_template = bool(getattr(self._tokenizer, "chat_template", None))
        self._of_fixed = lru_cache(self.text)

    def prompt(self, request: Request[AnswerT], repair: Repair | None = None) -> int:
        """Tokens of what is sent, the schema apart."""
        turns = [("system", request.system), ("user", request.user)]
        if repair is not None:
            turns += [("assistant", repair.bad_answer), ("user", repair.complaint)]
        if self._has_template:
            messages = [{"role": role, "content": text} for role, text in turns]
            try:
                rendered = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                return self.text(rendered)
            except TemplateError:
                self._has_template = False  # it knows no fixed part: the texts alone are counted
        return self.fixed(request) + sum(self.text(text) for _, text in turns[1:])

    def fixed(self, request: Request[AnswerT]) -> int:
        """Tokens of the fixed part."""
        return self._of_fixed(request.system)

    def text(self, text: str) -> int:
        """Tokens of a text, without those that a tokenizer puts around it."""
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


_BYTES_PER_TOKEN = 3


def estimated_tokens(text: str) -> int:
    """Tokens of a text, estimated on the high side."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)
