"""What gets an explainer ready for many features at once."""

import asyncio
from collections.abc import Sequence

from autointerp.config import ExplainConfig
from autointerp.score.best_of import BestOfExplainer
from tests.explain.test_explain_best_of import EVIDENCE, SELECT_ACTIVE, SELECT_SILENT, Words, taken, tools, writes


class Learning(Words):
    """A judge that keeps what it was told to get ready for."""

    def __init__(self) -> None:
        super().__init__()
        self.learned: list[str] = []

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        self.learned += texts


def test_the_judge_gets_ready_for_the_select_contexts_of_many_features_at_once() -> None:
    judge = Learning()
    explainer = BestOfExplainer(tools(ExplainConfig(), judge), writes(first="ship", second="red"))
    explainer.prepare([EVIDENCE])
    assert judge.learned == [context.text for context in (*SELECT_ACTIVE, *SELECT_SILENT)]
    outcome = taken(asyncio.run(explainer.explain(EVIDENCE)))
    assert outcome.detail["chosen"] == "second"
