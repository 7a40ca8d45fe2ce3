"""Texts by a language model, which is told the label and shown held-out text to rewrite.

1. The base texts are those of the local writer: windows of the score split in which the feature is silent.
2. One call a label: for each numbered text the model gives a version that the label describes, and one that comes near
   and is not described. So both sorts have the manner of the corpus, and the two of a base differ in little else.
3. What is no text (empty), or came before, is left out; a number given twice or unknown, too.
"""

from collections.abc import Sequence

from autointerp.config import ModelConfig
from autointerp.errors import PipelineError
from autointerp.identity import fingerprint
from autointerp.llm.prompts import Prompt, load_prompt, numbered, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure, LanguageModel, Request
from autointerp.llm.providers.local.loading import model_identity
from autointerp.llm.window import ask_in_window, check_window
from autointerp.records import Explanation
from autointerp.score.trials import ScoreContexts, Undefined
from autointerp.score.writers.local import choose_bases, too_few_bases
from autointerp.score.writers.writer import FEWEST_TEXTS, MadeText, Written

_TOKENS_PER_PAIR = 120
"""Output tokens of two versions of a context, amply counted."""


class Pair(AnswerModel):
    """Two versions of one numbered text."""

    number: int
    fits: str
    misses: str


class Pairs(AnswerModel):
    """The answer: two versions of each numbered text."""

    texts: tuple[Pair, ...]

    def problem(self) -> str | None:
        """What is wrong where there is nothing to run."""
        if not self.texts:
            return "texts is empty, and two versions of each numbered text were asked for"
        if all(pair.fits.split() == pair.misses.split() for pair in self.texts):
            return "the two versions of every text are the same"
        return None


class LlmWriter:
    """A `Writer` that asks a language model; see the module's steps.

    Args:
        model: Asked.
        config: Its table.
        n_texts: Of each sort.

    Raises:
        PipelineError: If the answer can't fit into `max_output_tokens`, or leaves no room in the model's window.
        PromptError: If the prompt file is missing or malformed.
    """

    is_free = False

    def __init__(self, model: LanguageModel, config: ModelConfig, n_texts: int) -> None:
        self._model = model
        self._config = config
        self._n_texts = n_texts
        self._prompt: Prompt = load_prompt("generate_examples")
        check_window(config, "judge.model")
        if n_texts * _TOKENS_PER_PAIR > config.max_output_tokens:
            raise PipelineError(
                f"{n_texts} texts for a label and as many against it do not fit into max_output_tokens = "
                f"{config.max_output_tokens}",
                f"lower score.n_generated to {config.max_output_tokens // _TOKENS_PER_PAIR}, or raise"
                " judge.model.max_output_tokens",
            )

    @property
    def name(self) -> str:
        """The language model's name."""
        return self._config.model

    def fingerprint(self) -> str:
        """Of the model, its settings, the prompt and the number of texts."""
        return fingerprint(
            "llm writer",
            1,
            [self._config.provider, self._config.model, self._config.temperature, *model_identity(self._config)],
            [self._config.max_output_tokens, self._config.context_window],
            self._n_texts,
            [self._prompt.sha256, load_prompt("repair").sha256],
        )

    async def write(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> Written | Undefined:
        """Have the base texts rewritten.

        Raises:
            LanguageModelError: If no further call can succeed: the run stops.
        """
        tiles = choose_bases(contexts, key, self._n_texts)
        if len(tiles) < FEWEST_TEXTS:
            return too_few_bases(contexts, len(tiles))
        pool = contexts.pool
        request = Request(
            system=self._prompt.system,
            user=self._prompt.user(
                label=quoted(explanation.label),
                texts=numbered([pool.texts[tile] for tile in tiles]),
                n_texts=str(len(tiles)),
            ),
            answer=Pairs,
            max_output_tokens=self._config.max_output_tokens,
            temperature=self._config.temperature,
        )
        outcome = await ask_in_window(self._model, request, self._config)
        if isinstance(outcome, CallFailure):
            return Undefined(outcome.error_type, outcome.message, retry=True, raw=outcome.raw, usage=outcome.usage)
        texts = [
            MadeText(text, fits, pool.document_ids[tile], pool.group_ids[tile])
            for pair, tile in _of_numbers(outcome.answer.texts, tiles)
            for text, fits in ((pair.fits, True), (pair.misses, False))
        ]
        return Written(without_repeats(texts), outcome.usage)


def _of_numbers(pairs: Sequence[Pair], tiles: Sequence[int]) -> list[tuple[Pair, int]]:
    """The pairs whose number was asked about and given once, each with its base."""
    given = [pair.number for pair in pairs]
    return [(p, tiles[p.number - 1]) for p in pairs if 1 <= p.number <= len(tiles) and given.count(p.number) == 1]


def without_repeats(texts: Sequence[MadeText]) -> list[MadeText]:
    """The texts that say something, each once; none of those that came as both sorts."""
    sorts: dict[str, set[bool]] = {}
    for text in texts:
        sorts.setdefault(" ".join(text.text.split()), set()).add(text.fits)
    kept: dict[str, MadeText] = {}
    for text in texts:
        plain = " ".join(text.text.split())
        if plain and len(sorts[plain]) == 1:
            kept.setdefault(plain, text)
    return list(kept.values())
