"""What the prompts of judges cost, counted with a real tokenizer on real text."""

import pytest

from autointerp.config import JudgeConfig
from autointerp.llm import Prompt
from autointerp.score.judge import Question, Task
from autointerp.score.judges.llm_items import Item, deal, render_batch
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.scorers.fuzzing import FUZZING
from autointerp.score.scorers.intruder import INTRUDER, N_EXAMPLES
from tests.loopback.wordpieces import LENGTH, PEAK, contexts, n_tokens

LABEL = "keywords that open a block in a programming language, such as if and while"


def test_examples_in_place_of_a_label_cost_as_much_as_they_are_long() -> None:
    prompt, shown = INTRUDER.read_prompt(), contexts(100 + N_EXAMPLES)
    examples = tuple(shown[100:])
    items = [Item(0, place, "", Question(c, examples=examples)) for place, c in enumerate(shown[:100])]
    batches = deal(INTRUDER, items, JudgeConfig().contexts_per_prompt)
    total = sum(n_tokens(prompt.system) + n_tokens(render_batch(prompt, batch)) for batch in batches)
    assert 100 * (1 + N_EXAMPLES) * LENGTH < total <= 25_000


@pytest.mark.parametrize(
    ("task", "n_per_prompt"), [(DETECTION, JudgeConfig().contexts_per_prompt), (DETECTION, 20), (FUZZING, 20)]
)
def test_judging_100_contexts_stays_under_8000_tokens_few_shots_included(task: Task, n_per_prompt: int) -> None:
    prompt = task.read_prompt()
    total = sum(n_tokens(prompt.system) + n_tokens(user) for user in user_parts(prompt, task, n_per_prompt))
    assert 100 * LENGTH < total <= 8000


def user_parts(prompt: Prompt, task: Task, n_per_prompt: int) -> list[str]:
    marked = (PEAK,) if task == FUZZING else ()
    items = [Item(0, place, LABEL, Question(c, marked)) for place, c in enumerate(contexts(100))]
    return [render_batch(prompt, batch) for batch in deal(task, items, n_per_prompt)]
