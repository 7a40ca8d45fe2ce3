"""A language model as reranker: it is shown the query and numbered labels with contexts, and says how well each fits.

The model is `[search.model]`. What it is asked goes through the run's journal, within its budget: the same question is
paid for once. Where a call fails, or leaves a label out twice, the order is kept, and that is said.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import WithJsonSchema

from autointerp.errors import SearchError
from autointerp.llm.prompts import load_prompt, quoted
from autointerp.llm.protocol import AnswerModel, CallFailure, Request
from autointerp.search.rerankers.base import BaseReranker, ShownLabel
from autointerp.search.rerankers.cross_encoder import around_peak
from autointerp.valid_text import valid_text

PROMPT = "rerank"
_MOST_QUERY = 2000


class Fits(AnswerModel):
    """How well each numbered label fits the query, in percent."""

    answers: Annotated[
        tuple[Any, ...],
        WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
    ]


class LanguageModelReranker(BaseReranker):
    """Asks a language model."""

    name = "language_model"
    n_contexts = 3

    def relevance(self, query: str, labels: Sequence[ShownLabel]) -> list[float] | None:
        """See the module.

        Raises:
            SearchError: If no model is named.
            LanguageModelError: If it can't be asked.
        """
        config = self.tools.config.model
        if config is None:
            raise SearchError("no language model is named that could rerank", "name one in [search.model]")
        request = rerank_request(query, labels, config.max_output_tokens)
        outcome, usage = self.tools.ask(config, request)
        cost = "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
        if usage.n_calls:
            self.tools.say(f"{config.model}: {usage.n_calls} calls, {cost}")
        if isinstance(outcome, CallFailure):
            found: list[int] | str = f"{outcome.error_type}: {outcome.message}"
        else:
            found = read_fits(outcome.answer, len(labels))
        if isinstance(found, str):
            self.tools.say(f"{config.model} did not rerank ({found}): the order is kept")
            return None
        return [percent / 100 for percent in found]


def rerank_request(query: str, labels: Sequence[ShownLabel], max_output_tokens: int) -> Request[Fits]:
    """The question about some labels."""
    prompt = load_prompt(PROMPT)
    lines = []
    for number, shown in enumerate(labels, start=1):
        contexts = " | ".join(quoted(around_peak(context)) for context in shown.contexts)
        lines.append(
            f"{number}: {quoted(shown.label)} | {contexts}" if contexts else f"{number}: {quoted(shown.label)}"
        )

    def misfit(answer: Fits) -> str | None:
        found = read_fits(answer, len(labels))
        return found if isinstance(found, str) else None

    return Request(
        system=prompt.system,
        user=prompt.user(
            query=quoted(valid_text(query)[:_MOST_QUERY]), labels="\n".join(lines), n_labels=str(len(labels))
        ),
        answer=Fits,
        max_output_tokens=max_output_tokens,
        misfit=misfit,
    )


def read_fits(answer: Fits, n_labels: int) -> list[int] | str:
    """The percentage of each label; or what is wrong with the answer, in one line."""
    found: dict[int, int] = {}
    for pair in answer.answers:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(type(n) is int for n in pair)):
            return f"{json.dumps(pair)[:40]} is no pair [number, percent]"
        number, percent = pair
        if not 1 <= number <= n_labels or not 0 <= percent <= 100 or number in found:
            return f"{json.dumps(pair)} is no new number from 1 to {n_labels} with a percentage"
        found[number] = percent
    missing = [number for number in range(1, n_labels + 1) if number not in found]
    if missing:
        return f"{len(missing)} of {n_labels} numbers are missing, {missing[0]} first"
    return [found[number] for number in range(1, n_labels + 1)]
