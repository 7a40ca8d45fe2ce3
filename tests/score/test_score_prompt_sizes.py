"""What the prompts of judges cost, counted with a real tokenizer on real text."""

import pytest

from autointerp.config import JudgeConfig
from autointerp.llm import Prompt
from autointerp.score.judge import Question, Task
from autointerp.score.judges.llm import asking_order, render_batch
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.scorers.fuzzing import FUZZING
from tests.loopback.wordpieces import LENGTH, PEAK, contexts, n_tokens

LABEL = "keywords that open a block in a programming language, such as if and while"


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
