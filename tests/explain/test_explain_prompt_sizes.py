"""What the prompts of explainers cost, counted with a real tokenizer on real text."""

import asyncio
from dataclasses import replace

import pytest

from autointerp.config import ContextsConfig, ExplainConfig, ModelConfig
from autointerp.explain.base import Tools
from autointerp.explain.registry import load_explainer
from autointerp.explain.word_rates import BaseRates
from autointerp.llm.answers import parse_answer
from autointerp.llm.dry_run.planned_answer import plan_answer
from autointerp.llm.protocol import AnswerT, Reply, Request
from autointerp.records import Explanation, FeatureEvidence, TokenCount, Usage
from tests.loopback.wordpieces import LENGTH, contexts, n_tokens


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
