"""A language model whose chances of yes and no are taken: how they are read, corrected, and asked for."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm import Journal, connect
from autointerp.llm.protocol import Reply, TokenChances
from autointerp.records import Usage
from autointerp.run.judge_answers import settle_answers
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.judges.llm_chances import YesNo, probability_of_yes
from autointerp.score.nulls import WITHHELD
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.scorers.fuzzing import FUZZING
from autointerp.score.scorers.intruder import INTRUDER
from autointerp.score.scorers.simulation import SIMULATION
from autointerp.score.trials import one_answer
from tests.loopback.contexts import context
from tests.loopback.server import Always, Call, Http, LoopbackServer, Oracle, Outcome, Say
from tests.loopback.truth import TruthOracle, say_yes_or_no, shown_single

LABEL, OTHER = "names of months", "verbs of motion"
FREE = {"usd_per_million_input": 0, "usd_per_million_output": 0}


def is_a_month(text: str, marked: Sequence[str]) -> bool:
    return any("April" in place for place in (marked or (text,)))


def question(i: int, text: str, marked: tuple[int, ...] = ()) -> Question:
    return Question(context(text, kind="quantile", split="score", block_index=i), marked)


def questions(n: int) -> list[Question]:
    """Every third one is about a month."""
    return [question(i, f"in {'April' if i % 3 == 0 else 'winter'} of {i}=1.0") for i in range(n)]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def settings(url: str | None = None, *, model: Mapping[str, object] | None = None, **judge: Any) -> JudgeConfig:
    table = {"model": "m", "base_url": url, "max_attempts": 1, **(model or {})}
    return JudgeConfig.model_validate({"kind": "llm", "model": table, **judge})


def ask(
    server: LoopbackServer, journal: Journal, cases: Sequence[Case], task: Task = DETECTION, **judge: Any
) -> list[Answers]:
    config = settings(server.openai_url, answers="chances", **judge)
    assert config.model is not None
    asked = config.model

    async def run() -> list[Answers]:
        async with connect(asked, journal) as model:
            return await LlmJudge(model, config).answer(task, cases)

    return asyncio.run(run())


def told(
    oracle: Oracle, journal: Journal, asked: Sequence[Question], label: str = LABEL, **judge: Any
) -> tuple[list[Answer], list[Call]]:
    with LoopbackServer(oracle) as server:
        (said,) = ask(server, journal, [Case(label, asked)], **judge)
    return list(said.answers), server.calls


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_probability_is_the_share_of_yes_among_all_forms_of_yes_and_no(journal: Journal) -> None:
    answers, calls = told(
        TruthOracle({LABEL: is_a_month}, chances=(0.8, 0.3)), journal, questions(9), content_free="none"
    )
    assert [a.probability for a in answers] == pytest.approx([0.8 if i % 3 == 0 else 0.3 for i in range(9)], abs=1e-3)
    assert [a.verdict for a in answers] == [i % 3 == 0 for i in range(9)]
    assert len(calls) == len({a.prompt for a in answers}) == 9
    schema = calls[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["yes", "no"]
    assert (calls[0].body["logprobs"], calls[0].body["top_logprobs"]) == (True, 20)


def test_a_chance_of_a_millionth_is_told_from_one_of_a_thousandth(journal: Journal) -> None:
    answers, _ = told(
        TruthOracle({LABEL: is_a_month}, chances=(0.001, 0.000002)), journal, questions(3), content_free="none"
    )
    assert [a.probability for a in answers] == pytest.approx([1e-3, 2e-6, 2e-6], rel=1e-2)
    assert not any(a.verdict for a in answers)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([('{"answer": "', ()), ("yes", (("yes", 0.3), ("no", 0.1), ("maybe", 0.6))), ('"}', ())], 0.75),
        ([('{"answer":', ()), (' "no', ((' "no', 0.6), (' "yes', 0.2), (' "not', 0.2))), ('"}', ())], 0.25),
        ([('{"answer": "', ()), ("y", (("y", 0.5), ("ye", 0.1), ("n", 0.3), ("N", 0.1))), ('es"}', ())], 0.6),
        ([('{"answer": "', ()), ("YES", (("YES", 0.5), ("No", 0.5))), ('"}', ())], 0.5),
        ([('<think>{"answer": "no"}</think>', ()), ('{"answer": "', ()), ("yes", (("yes", 0.9), ("no", 0.1)))], None),
        ([('<think>{"answer": "no"}</think>{"answer": "', ()), ("yes", (("yes", 0.9), ("no", 0.1))), ('"}', ())], 0.9),
        ([('{"answer": "', ()), ("yes", ()), ('"}', ())], 1.0),
        ([('{"answer": "', ()), ("no", ()), ('"}', ())], 0.0),
        ([('{"answer": "', ()), ("yes", (("maybe", 0.9), ("perhaps", 0.1))), ('"}', ())], None),
        ([("yes", (("yes", 0.9), ("no", 0.1)))], None),
        ([], None),
    ],
)
def test_the_word_is_found_in_whatever_tokens_it_comes(
    tokens: list[tuple[str, tuple[tuple[str, float], ...]]], expected: float | None
) -> None:
    written = "".join(text for text, _ in tokens)
    word = "no" if written.rstrip('"}').casefold().endswith("no") else "yes"
    reply = Reply(written, YesNo(answer=word), Usage(), "m", tokens=tuple(TokenChances(*token) for token in tokens))
    assert probability_of_yes(reply) == (None if expected is None else pytest.approx(expected))


def test_a_question_whose_answer_comes_without_chances_is_unanswered(journal: Journal) -> None:
    answers, _ = told(TruthOracle({LABEL: is_a_month}), journal, questions(3))
    assert {a.unanswered for a in answers} == {"the server told no chances of yes and no"}
    assert {(a.verdict, a.probability) for a in answers} == {(None, None)}


def test_a_failed_call_costs_no_other_question_its_answer(journal: Journal) -> None:
    def reply(call: Call) -> Outcome:
        return Http(400, "no") if "of 2" in call.user else say_yes_or_no(0.8)

    answers, _ = told(Always(reply), journal, questions(4), content_free="none")
    assert [a.unanswered is None for a in answers] == [True, True, False, True]


def test_an_answer_that_is_neither_yes_nor_no_is_sent_back_once(journal: Journal) -> None:
    def reply(call: Call) -> Outcome:
        return say_yes_or_no(0.8) if len(call.turns) > 1 else Say('{"answer": "perhaps"}')

    (answer,), calls = told(Always(reply), journal, questions(1), content_free="none")
    assert answer.verdict is True
    assert len(calls) == 2


# --- questions without content ----------------------------------------------------------------------------------------


def test_a_model_that_says_yes_to_all_is_told_apart_by_what_it_says_where_there_is_no_text(journal: Journal) -> None:
    oracle = TruthOracle({LABEL: is_a_month}, chances=(0.9, 0.7))
    raw, _ = told(oracle, journal, questions(9), content_free="none")
    assert all(a.verdict for a in raw)
    answers, calls = told(oracle, journal, questions(9), content_free="text")
    assert [a.verdict for a in answers] == [i % 3 == 0 for i in range(9)]
    assert [a.probability for a in answers[:2]] == pytest.approx([9 / (9 + 7 / 3), 0.5], abs=1e-3)
    free = [json.loads(call.user.split(" | ")[1]) for call in calls if "of" not in call.user.split(" | ")[1]]
    assert sorted(free) == ["", "N/A", "…"], "asked once a label, whatever the number of its questions"


def test_where_marks_are_asked_about_nothing_is_marked_in_the_text_without_content(journal: Journal) -> None:
    asked = [question(0, "in April of the year", (1,)), question(1, "in April of the year", (4,))]
    answers, calls = told(
        TruthOracle({LABEL: is_a_month}, chances=(0.9, 0.7)), journal, asked, task=FUZZING, content_free="text"
    )
    assert [a.verdict for a in answers] == [True, False]
    shown = {json.loads(call.user.split(" | ")[1]) for call in calls}
    assert shown == {"in <<April>> of the year", "in April of the <<year>>", "<<>>", "<<N/A>>", "<<…>>"}


def by_the_text_alone(call: Call) -> Outcome:
    """A judge that reads no label: the more of the text is a month, the likelier a yes."""
    return say_yes_or_no(0.9 if "April" in shown_single(call.user).text else 0.2)


@pytest.mark.parametrize("content_free", ["none", "text", "label"])
def test_a_judge_that_reads_no_label_says_the_same_of_the_true_label_as_of_a_shuffled_one(
    journal: Journal, content_free: str
) -> None:
    true, _ = told(Always(by_the_text_alone), journal, questions(9), LABEL, content_free=content_free)
    shuffled, _ = told(Always(by_the_text_alone), journal, questions(9), OTHER, content_free=content_free)
    assert [a.probability for a in true] == [a.probability for a in shuffled]


def test_what_the_text_alone_tells_is_taken_off_where_the_label_is_left_out(journal: Journal) -> None:
    for label in (LABEL, OTHER, WITHHELD):
        answers, _ = told(Always(by_the_text_alone), journal, questions(9), label, content_free="label")
        assert {a.probability for a in answers} == {0.5}
        assert one_answer(answers) == "the judge said no to every question"


def test_a_label_that_is_withheld_stays_at_even_odds_where_labels_are_left_out(journal: Journal) -> None:
    answers, calls = told(
        TruthOracle({LABEL: is_a_month}, chances=(0.9, 0.4)), journal, questions(6), WITHHELD, content_free="label"
    )
    assert {(a.verdict, a.probability) for a in answers} == {(False, 0.5)}
    assert len(calls) == 6, "a question without its label is the same question"


def test_what_questions_cost_is_counted_once(journal: Journal) -> None:
    cases = [Case(LABEL, questions(4)), Case(OTHER, questions(4))]
    with LoopbackServer(TruthOracle({LABEL: is_a_month}, chances=(0.9, 0.4))) as server:
        said = ask(server, journal, cases, content_free="label")
    assert sum(of.usage.n_calls for of in said) == len(server.calls) == 12


def test_examples_may_stand_in_place_of_a_label(journal: Journal) -> None:
    examples = tuple(context("snow in April=9.0", block_index=90 + i) for i in range(2))
    asked = [Question(q.context, (), examples) for q in questions(3)]
    answers, _ = told(TruthOracle(chances=(0.9, 0.4)), journal, asked, "", task=INTRUDER)
    assert [a.verdict for a in answers] == [True, False, False]


# --- how it is asked --------------------------------------------------------------------------------------------------


def fingerprint_of(journal: Journal, task: Task, **judge: Any) -> str:
    config = settings("http://127.0.0.1:9/v1", **judge)
    assert config.model is not None
    model = config.model

    async def run() -> str:
        async with connect(model, journal) as connected:
            return LlmJudge(connected, config).fingerprint(task)

    return asyncio.run(run())


def test_scores_are_told_apart_by_how_they_were_asked_for(journal: Journal) -> None:
    written = fingerprint_of(journal, DETECTION, answers="written")
    ways = [
        fingerprint_of(journal, DETECTION, answers="chances", content_free=free) for free in ("none", "text", "label")
    ]
    assert len({written, *ways}) == 4
    assert fingerprint_of(journal, DETECTION, answers="written", content_free="label") == written


def test_a_task_without_a_prompt_for_one_context_is_asked_several_a_prompt(journal: Journal) -> None:
    task = Task("mine", "judge_detection")
    with LoopbackServer(TruthOracle({LABEL: is_a_month}, chances=(0.9, 0.4))) as server:
        (said,) = ask(server, journal, [Case(LABEL, questions(9))], task)
    assert len(server.calls) == 1
    assert [a.verdict for a in said.answers] == [i % 3 == 0 for i in range(9)]


def test_a_prompt_that_is_edited_while_its_judge_is_at_work_is_asked_as_the_fingerprint_has_it(
    journal: Journal, tmp_path: Path
) -> None:
    own = tmp_path / "one.txt"
    own.write_text("[system]\nThe first wording.\n[user]\n{{ about }} | {{ context }}\n", encoding="utf-8")
    task = Task("mine", "judge_detection", tmp_path / "mine.py", yes_no="one.txt")
    with LoopbackServer(Always(Say('{"answer": "yes"}'))) as server:
        config = settings(server.openai_url, answers="chances", content_free="none")
        assert config.model is not None
        asked = config.model

        async def run() -> None:
            async with connect(asked, journal) as model:
                judge = LlmJudge(model, config)
                judge.fingerprint(task)
                own.write_text("[system]\nAnother wording.\n[user]\n{{ about }} | {{ context }}\n", encoding="utf-8")
                await judge.answer(task, [Case(LABEL, questions(1))])

        asyncio.run(run())
    assert ["first wording" in json.dumps(call.body) for call in server.calls] == [True]


def test_activations_are_asked_for_as_ever(journal: Journal) -> None:
    assert len({fingerprint_of(journal, SIMULATION, answers=answers) for answers in ("written", "chances")}) == 1


def settle(server: LoopbackServer, journal: Journal, config: JudgeConfig) -> tuple[JudgeConfig, list[str]]:
    lines: list[str] = []

    async def run() -> JudgeConfig:
        async with connect(config.model or ModelConfig(model="none", base_url=server.openai_url), journal) as model:
            return await settle_answers(config, lambda stage, table: model, lines.append)

    return asyncio.run(run()), lines


def test_a_server_of_one_s_own_is_asked_once_whether_it_gives_chances(journal: Journal) -> None:
    with LoopbackServer(TruthOracle(chances=(0.9, 0.4))) as server:
        config = settings(server.openai_url, model=FREE)
        settled, lines = settle(server, journal, config)
        again, _ = settle(server, journal, config)
    assert settled.answers == "chances"
    assert again == settled
    assert len(server.calls) == 1
    assert lines == []


@pytest.mark.parametrize("answers", [None, "chances"])
def test_a_server_that_gives_none_goes_on_with_written_percentages(journal: Journal, answers: str | None) -> None:
    with LoopbackServer(TruthOracle()) as server:
        settled, lines = settle(server, journal, settings(server.openai_url, model=FREE, answers=answers))
    assert settled.answers == "written"
    assert lines == ["m gives no chances of yes and no with its answer: it is asked to write percentages."]


def test_a_server_that_refuses_chances_goes_on_with_written_percentages(journal: Journal) -> None:
    def reply(call: Call) -> Outcome:
        return Http(400, "logprobs are not supported") if "logprobs" in call.body else Say('{"answer": "yes"}')

    with LoopbackServer(Always(reply)) as server:
        settled, _ = settle(server, journal, settings(server.openai_url, model=FREE))
    assert settled.answers == "written"


@pytest.mark.parametrize(
    ("model", "judge"),
    [
        ({}, {}),
        ({"usd_per_million_input": 0.1, "usd_per_million_output": 0}, {}),
        ({"provider": "anthropic", **FREE}, {}),
        (FREE, {"answers": "written"}),
    ],
)
def test_where_it_may_cost_something_percentages_are_written_unless_chances_are_asked_for(
    journal: Journal, model: dict[str, object], judge: dict[str, object]
) -> None:
    with LoopbackServer(TruthOracle(chances=(0.9, 0.4))) as server:
        settled, _ = settle(server, journal, settings(server.openai_url, model=model, **judge))
    assert settled.answers == "written"
    assert server.calls == []


def test_a_server_that_is_down_is_not_taken_for_one_that_gives_no_chances(journal: Journal) -> None:
    with (
        LoopbackServer(Always(Http(500))) as server,
        pytest.raises(LanguageModelError, match="not known whether it gives chances"),
    ):
        settle(server, journal, settings(server.openai_url, model=FREE))


def test_a_judge_in_words_stays_as_it_is(journal: Journal) -> None:
    with LoopbackServer(TruthOracle()) as server:
        assert settle(server, journal, JudgeConfig()) == (JudgeConfig(), [])
