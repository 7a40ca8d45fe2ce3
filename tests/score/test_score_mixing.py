"""Questions of many features in one prompt: none holds more of one than it must, and what it cost is shared."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.llm import Journal, connect
from autointerp.records import Usage
from autointerp.score.judge import Answers, Case, Question, Task
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.judges.llm_items import Item, deal
from autointerp.score.scorers.detection import DETECTION
from tests.loopback.contexts import context
from tests.loopback.server import Always, Call, Http, LoopbackServer, Oracle, Outcome, Say
from tests.loopback.truth import TruthOracle, shown_contexts

WORDS = tuple(f"w{n:02}" for n in range(20))


def question(case: int, place: int) -> Question:
    """About a context that holds the case's word where its place is even."""
    word = WORDS[case] if place % 2 == 0 else "nothing"
    return Question(context(f"{word} stands in {case} {place}", split="score", block_index=1000 * case + place))


def cases(*n_questions: int) -> list[Case]:
    """One a number, about its own word."""
    return [Case(WORDS[n], [question(n, i) for i in range(of)]) for n, of in enumerate(n_questions)]


def items(of: Sequence[Case]) -> list[Item]:
    return [Item(n, i, case.label, q) for n, case in enumerate(of) for i, q in enumerate(case.questions)]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def judge(
    oracle: Oracle, journal: Journal, of: Sequence[Case], *, task: Task = DETECTION, n_per_prompt: int = 20
) -> tuple[list[Answers], Usage, list[Call]]:
    async def run(server: LoopbackServer) -> tuple[list[Answers], Usage]:
        model = ModelConfig(
            model="m",
            base_url=server.openai_url,
            usd_per_million_input=1.0,
            usd_per_million_output=2.0,
            max_attempts=1,
        )
        async with connect(model, journal) as connected:
            config = JudgeConfig(kind="llm", model=model, contexts_per_prompt=n_per_prompt)
            return await LlmJudge(connected, config).answer(task, of), connected.usage

    with LoopbackServer(oracle) as server:
        said, usage = asyncio.run(run(server))
    return said, usage, server.calls


def test_where_enough_features_are_asked_about_a_prompt_holds_one_question_of_each(journal: Journal) -> None:
    said, _, calls = judge(TruthOracle(), journal, cases(*[40] * 20))
    assert len(calls) == 40
    for call in calls:
        assert Counter(shown.label for shown in shown_contexts(call.user)) == dict.fromkeys(WORDS, 1)
    for of in said:
        assert [answer.verdict for answer in of.answers] == [place % 2 == 0 for place in range(40)]


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 25), st.randoms())
def test_no_prompt_holds_more_of_a_feature_than_it_must_whatever_the_order_of_arrival(
    n_questions: list[int], n_per_prompt: int, random: Random
) -> None:
    asked = items(cases(*n_questions))
    batches = deal(DETECTION, asked, n_per_prompt)
    assert sorted((i for batch in batches for i in batch), key=lambda i: (i.case, i.place)) == asked
    sizes = [len(batch) for batch in batches]
    assert len(batches) == -(-len(asked) // n_per_prompt)
    assert max(sizes, default=0) <= n_per_prompt
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    for batch in batches:
        for case, n in Counter(item.case for item in batch).items():
            assert n <= -(-n_questions[case] // len(batches))
    shuffled = [*asked]
    random.shuffle(shuffled)
    assert deal(DETECTION, shuffled, n_per_prompt) == batches


def test_a_text_that_several_features_are_asked_about_comes_once_in_a_prompt() -> None:
    """Each of four features has eight texts of its own, and eight that all of them have."""
    own = [[question(n, i) for i in range(8)] for n in range(4)]
    shared = [Question(replace(question(9, i).context, feature_index=n)) for n in range(4) for i in range(8)]
    asked = [Case(WORDS[n], [*own[n], *shared[8 * n : 8 * n + 8]]) for n in range(4)]
    batches = deal(DETECTION, items(asked), 4)
    assert len(batches) == 16
    for batch in batches:
        assert len({item.case for item in batch}) == 4
        assert len({item.question.context.text for item in batch}) == 4


def test_cases_in_another_order_are_asked_in_the_same_prompts(journal: Journal) -> None:
    asked = cases(7, 12, 3, 9)
    said, _, calls = judge(TruthOracle(), journal, asked, n_per_prompt=5)
    turned, _, calls_turned = judge(TruthOracle(), journal, asked[::-1], n_per_prompt=5)
    assert len(calls) == 7
    assert {call.user for call in calls} == {call.user for call in calls_turned}
    assert [of.answers for of in turned[::-1]] == [of.answers for of in said]


def test_each_answer_names_the_prompt_that_its_question_was_put_in(journal: Journal) -> None:
    asked = cases(7, 12, 3, 9)
    said, _, calls = judge(TruthOracle(), journal, asked, n_per_prompt=5)
    together: dict[str | None, set[str]] = {}
    for case, of in zip(asked, said, strict=True):
        for q, answer in zip(case.questions, of.answers, strict=True):
            together.setdefault(answer.prompt, set()).add(q.context.text)
    shown = [{context.text for context in shown_contexts(call.user)} for call in calls]
    assert sorted(map(sorted, together.values())) == sorted(map(sorted, shown))
    assert None not in together


def test_a_call_that_fails_leaves_one_question_of_each_feature_unanswered(journal: Journal) -> None:
    def reply(call: Call) -> Outcome:
        return Http(500) if call.index == 0 else TruthOracle().reply(call)

    said, _, _ = judge(Always(reply), journal, cases(*[6] * 10), n_per_prompt=10)
    assert [sum(answer.unanswered is not None for answer in of.answers) for of in said] == [1] * 10


def test_what_a_prompt_cost_is_shared_by_its_features_and_adds_up(journal: Journal) -> None:
    def reply(call: Call) -> Outcome:
        if len(shown_contexts(call.user)) > 6:
            return Http(400, "This model's maximum context length is 99 tokens", code="context_length_exceeded")
        said = TruthOracle().reply(call)
        assert isinstance(said, Say)
        return Say(said.text, tokens=(101, 7, 53))

    said, usage, _ = judge(Always(reply), journal, cases(7, 0, 12, 3, 9), n_per_prompt=10)
    total = sum((of.usage for of in said), Usage())
    assert usage.n_calls > 4
    assert (total.n_calls, total.input_tokens, total.cached_input_tokens, total.output_tokens) == (
        usage.n_calls,
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
    )
    assert total.cost_usd == pytest.approx(usage.cost_usd)
    assert said[1] == Answers([], Usage())
    by_question = [of.usage.input_tokens / len(of.answers) for of in said if of.answers]
    assert max(by_question) < 1.5 * min(by_question)


@given(st.lists(st.integers(0, 40), min_size=1).filter(any), st.integers(0, 9), st.integers(0, 10**7))
def test_shares_add_up_to_the_whole_and_are_in_proportion(weights: list[int], n_calls: int, n_tokens: int) -> None:
    whole = Usage(n_calls, n_tokens, n_tokens // 3, n_tokens // 7, 0.25)
    parts = whole.shared(weights)
    total = sum(parts, Usage())
    assert (total.n_calls, total.input_tokens, total.cached_input_tokens) == (n_calls, n_tokens, n_tokens // 3)
    assert total.output_tokens == n_tokens // 7
    assert total.cost_usd == pytest.approx(0.25)
    for weight, part in zip(weights, parts, strict=True):
        assert abs(part.input_tokens - n_tokens * weight / sum(weights)) <= 1
        assert part.n_calls >= 0


def test_a_prompt_of_a_user_that_names_the_label_once_is_asked_about_one_label_at_a_time(
    journal: Journal, tmp_path: Path
) -> None:
    def reply(call: Call) -> Outcome:
        label = json.loads(call.user.splitlines()[0].removeprefix("Label: "))
        return Say(json.dumps({"answers": [[c.number, 95 * (label in c.text)] for c in shown_contexts(call.user)]}))

    (tmp_path / "mine.txt").write_text(
        "[system]\nJudge.\n[user]\nLabel: {{ label }}\n{{ contexts }}\nGive {{ n_contexts }}.\n", encoding="utf-8"
    )
    said, _, calls = judge(Always(reply), journal, cases(6, 4, 2), task=Task("mine", "mine.txt", tmp_path / "mine.py"))
    assert sorted(len(shown_contexts(call.user)) for call in calls) == [2, 4, 6]
    assert all(a.verdict == (i % 2 == 0) for of in said for i, a in enumerate(of.answers))
