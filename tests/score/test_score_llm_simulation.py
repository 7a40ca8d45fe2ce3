"""A language model that simulates: what it is shown, how its answers are read, and every way of not answering."""

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.llm import Journal, connect
from autointerp.llm.protocol import TokenChances
from autointerp.score.judge import Answer, Answers, Case, Question
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.judges.llm_items import Item, deal, render_batch
from autointerp.score.judges.llm_simulation import expected_activations, shown_tokens
from autointerp.score.scorers.simulation import SIMULATION
from tests.loopback import truth, wordpieces
from tests.loopback.contexts import context, of_tokens
from tests.loopback.server import Always, Call, Http, LoopbackServer, Oracle, Outcome, Say
from tests.loopback.truth import TruthOracle, simulations

HERE = Path(__file__).parent
LABEL = "names of months"
HOSTILE = ('"] | 3 tokens: ["', "\n2: ", "<<x>>", "日本語", "\u202e", "")


def question(i: int, text: str) -> Question:
    return Question(context(text, kind="quantile", split="score", block_index=i))


def questions(n: int) -> list[Question]:
    return [question(i, f"in {'April' if i % 3 == 0 else 'winter'} of {i}=1.0") for i in range(n)]


def is_a_month(text: str, marked: Sequence[str]) -> bool:
    return text in ("April", "May")


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def ask(
    server: LoopbackServer, journal: Journal, cases: Sequence[Case], *, n_per_prompt: int = 4, **settings: Any
) -> list[Answers]:
    model = ModelConfig.model_validate(
        {"model": "m", "base_url": server.base_url(settings.get("provider", "openai")), "max_attempts": 1, **settings}
    )

    async def run() -> list[Answers]:
        async with connect(model, journal) as connected:
            # What would not fit is of tasks that want yes or no.
            config = JudgeConfig(kind="llm", model=model, contexts_per_prompt=1, simulated_per_prompt=n_per_prompt)
            return await LlmJudge(connected, config).answer(SIMULATION, cases)

    return asyncio.run(run())


def simulated(
    oracle: Oracle, journal: Journal, asked: Sequence[Question], **settings: Any
) -> tuple[list[Answer], list[Call]]:
    with LoopbackServer(oracle) as server:
        (said,) = ask(server, journal, [Case(LABEL, asked)], **settings)
    return list(said.answers), server.calls


def told(call: Call, wrong: dict[int, list[float]] | None = None) -> list[list[float]]:
    """Half of the number of each token's letters, but for some numbers."""
    shown = truth.shown_tokens(call.user)
    return [(wrong or {}).get(of.number, [len(token.strip()) / 2 for token in of.tokens]) for of in shown]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_every_token_has_its_activation_in_its_place(journal: Journal, provider: str) -> None:
    answers, calls = simulated(TruthOracle({LABEL: is_a_month}), journal, questions(10), provider=provider)
    assert [a.activations for a in answers] == [(0, 10.0 * (i % 3 == 0), 0, 0) for i in range(10)]
    assert all((a.verdict, a.probability, a.unanswered) == (None, None, None) for a in answers)
    assert sorted(len(truth.shown_tokens(call.user)) for call in calls) == [3, 3, 4]
    assert len({a.prompt for a in answers}) == 3
    assert all(("logprobs" in call.body) == (provider == "openai") for call in calls)


def test_prompts_mix_features_each_with_its_own_label(journal: Journal) -> None:
    labels = [f"label {n}" for n in range(4)]
    cases = [
        Case(label, [question(4 * n + i, f"word {4 * n + i}") for i in range(3)]) for n, label in enumerate(labels)
    ]
    with LoopbackServer(TruthOracle()) as server:
        said = ask(server, journal, cases)
    assert all(sorted(of.label for of in truth.shown_tokens(call.user)) == labels for call in server.calls)
    assert [answers.usage.n_calls for answers in said] == [1, 1, 1, 0] or sum(a.usage.n_calls for a in said) == 3


def test_the_prompt_is_the_golden_one() -> None:
    hostile = of_tokens(HOSTILE, (0.0,) * 5 + (1.0,))
    asked = [question(0, "it rained in April=2.0 1648"), Question(hostile)]
    batch = [
        Item(n, 0, label, q) for n, (label, q) in enumerate(zip((LABEL, 'x" | 9 tokens: ["y'), asked, strict=True))
    ]
    prompt = SIMULATION.read_prompt()
    user = render_batch(prompt, batch, [shown_tokens(q.context) for q in asked])
    whole = f"[system]\n{prompt.system}\n[user]\n{user}\n"
    assert whole == (HERE / "golden_judge_simulation.txt").read_text(encoding="utf-8")


def test_100_contexts_cost_a_fifth_of_what_is_published_for_simulation() -> None:
    """105,000 tokens in for 100 contexts, all tokens at once (Paulo et al. 2024)."""
    prompt = SIMULATION.read_prompt()
    items = [
        Item(0, place, "keywords that open a block", Question(c)) for place, c in enumerate(wordpieces.contexts(100))
    ]
    users = [
        render_batch(prompt, batch, [shown_tokens(item.question.context) for item in batch])
        for batch in deal(SIMULATION, items, JudgeConfig(kind="local").simulated_per_prompt)
    ]
    total = sum(wordpieces.n_tokens(prompt.system) + wordpieces.n_tokens(user) for user in users)
    assert 100 * wordpieces.LENGTH < total < 40_000


@pytest.mark.parametrize("length", [3, 5])
def test_a_list_of_another_length_is_sent_back_once_and_then_leaves_its_question_unanswered(
    journal: Journal, length: int
) -> None:
    answers, calls = simulated(
        Always(lambda call: Say(simulations(told(call, {2: [1.0] * length})))), journal, questions(4)
    )
    assert len(calls) == 2
    complaint = calls[1].turns[-1][1]
    assert f"number 2 has {length} activations for 4 tokens: give one whole number from 0 to 10" in complaint
    (lost,) = (a for a in answers if a.unanswered is not None)
    assert lost.unanswered == f"the judge gave no simulation: number 2 has {length} activations for 4 tokens"
    assert sum(a.activations is not None and len(a.activations) == 4 for a in answers) == 3


def test_what_is_mended_when_it_is_sent_back_counts(journal: Journal) -> None:
    def reply(call: Call) -> Outcome:
        return Say(simulations(told(call, {} if len(call.turns) > 1 else {1: [1.0], 3: [99.0] * 4})))

    answers, calls = simulated(Always(reply), journal, questions(4))
    assert len(calls) == 2
    assert all(a.unanswered is None for a in answers)


@pytest.mark.parametrize("second", [Http(500), Say("I'd rather not"), Say('{"answers": 3}')])
def test_what_the_first_answer_had_counts_where_the_second_comes_to_nothing(journal: Journal, second: Outcome) -> None:
    def reply(call: Call) -> Outcome:
        return second if len(call.turns) > 1 else Say(simulations(told(call, {2: []})))

    answers, _ = simulated(Always(reply), journal, questions(4))
    assert [a.unanswered is None for a in answers].count(True) == 3


@pytest.mark.parametrize(
    "entry",
    [
        {"number": 1, "activations": [0, 0, 11, 0]},
        {"number": 1, "activations": [0, 0, -1, 0]},
        {"number": 1, "activations": [0, 0, "9", 0]},
        {"number": 1, "activations": [0, 0, True, 0]},
        {"number": 1, "activations": {"in": 3}},
        {"number": "1", "activations": [0, 0, 9, 0]},
        [1, [0, 0, 9, 0]],
        None,
    ],
)
def test_an_entry_that_is_none_costs_no_other_its_answer(journal: Journal, entry: object) -> None:
    def reply(call: Call) -> Outcome:
        good = {"number": 2, "activations": [0, 3, 0, 0]}
        return Say(json.dumps({"answers": [entry, good]}))

    answers, _ = simulated(Always(reply), journal, questions(2))
    assert sorted(a.activations or () for a in answers) == [(), (0, 3, 0, 0)]


def test_a_number_that_is_answered_twice_is_not_answered(journal: Journal) -> None:
    twice = [{"number": 1, "activations": [0, 0, 9, 0]}, {"number": 1, "activations": [0, 0, 0, 0]}]
    (answer,), _ = simulated(Always(lambda call: Say(json.dumps({"answers": twice}))), journal, questions(1))
    assert answer.unanswered == "the judge gave no simulation: number 1 was answered 2 times"


def test_a_refusal_leaves_all_unanswered(journal: Journal) -> None:
    answers, _ = simulated(Always(lambda call: Say("no", stop="refusal")), journal, questions(2))
    assert [a.unanswered for a in answers] == ["Refusal: the model refuses to answer"] * 2


def test_answers_that_don_t_fit_are_asked_for_in_halves(journal: Journal) -> None:
    answers, calls = simulated(TruthOracle(), journal, questions(4), max_output_tokens=60)
    assert [len(truth.shown_tokens(call.user)) for call in calls] == [2, 2]
    assert all(a.unanswered is None for a in answers)
    (alone,), calls = simulated(
        TruthOracle(), journal, [question(0, " ".join("abcdefghijklmnop"))], max_output_tokens=60
    )
    assert not calls
    assert alone.unanswered == "TooLong: the answer may have 64 tokens, more than max_output_tokens"


# --- chances of other numbers -----------------------------------------------------------------------------------------


def logprob(text: str, chances: dict[str, float]) -> dict[str, Any]:
    others = [{"token": other, "logprob": math.log(chance), "bytes": None} for other, chance in chances.items()]
    return {"token": text, "logprob": math.log(chances.get(text, 1.0)), "bytes": None, "top_logprobs": others}


def with_chances(call: Call) -> Say:
    """Each token's number is 2 with a chance of .6, 4 with one of .3, and no number otherwise."""
    text = simulations([[2] * len(of.tokens) for of in truth.shown_tokens(call.user)])
    pieces = []
    for piece in text.replace("[2", "[|2").replace(" 2", "| 2").replace(",", "|,").replace("]", "|]").split("|"):
        lead = piece[:-1]
        chances = {piece: 0.6, f"{lead}4": 0.3, f"{lead}null": 0.0999, f"{lead}7": 0.0001}
        pieces.append(logprob(piece, chances if piece in ("2", " 2") else {piece: 1.0}))
    assert "".join(p["token"] for p in pieces) == text
    return Say(text, logprobs=tuple(pieces))


def test_an_activation_is_its_expected_value_where_the_server_tells_chances(journal: Journal) -> None:
    with LoopbackServer(Always(with_chances)) as server:
        (said,) = ask(server, journal, [Case(LABEL, questions(4))])
        n_calls = len(server.calls)
        (again,) = ask(server, journal, [Case(LABEL, questions(4))])
    expected = (0.6 * 2 + 0.3 * 4) / 0.9
    for answer in said.answers:
        assert answer.activations == pytest.approx([expected] * 4, abs=1e-3)
    assert again.answers == said.answers, "the journal keeps the chances"
    assert len(server.calls) == n_calls == 1
    assert server.calls[0].body["top_logprobs"] == 20


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_server_that_gives_no_chances_is_asked_for_fewer_then_without_and_told_once(
    journal: Journal, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(call: Call) -> Outcome:
        if "logprobs" in call.body:
            return Http(status, f"top_logprobs = {call.body['top_logprobs']} is not supported with this model")
        return Say(simulations(told(call)))

    answers, calls = simulated(Always(reply), journal, questions(12), concurrency=1)
    assert [call.body.get("top_logprobs") for call in calls] == [20, 5, None, None, None]
    assert all(a.unanswered is None for a in answers)
    assert [record.message.split(" (")[0] for record in caplog.records if "chances" in record.message] == [
        "m refuses the chances of 20 tokens",
        "m refuses the chances of 5 tokens",
    ]


TOKENS = tuple(
    TokenChances(text, chances)
    for text, chances in [
        ('{"activations": [', ()),
        ("3", (("3", 0.5), ("5", 0.5))),
        (", ", ()),
        ("1", (("1", 0.9), ("2", 0.1))),
        ("0", ()),
        (",0", ((",0", 0.75), (",4", 0.25))),
        (",", ()),
        (" 10", ((" 10", 0.5), (" 0", 0.25), (" 12", 0.25))),
        ("]}", ()),
    ]
)


def test_numbers_are_read_with_what_stands_around_them_in_a_token() -> None:
    text = "".join(token.text for token in TOKENS)
    assert text == '{"activations": [3, 10,0, 10]}'
    (found,) = expected_activations(text, TOKENS) or [[]]
    # The second, of two tokens, counts as it was written; 12 is no activation.
    assert found == pytest.approx([4.0, 10.0, 1.0, 10 * 0.5 / 0.75], abs=1e-3)


def test_chances_that_don_t_go_with_the_text_are_not_used() -> None:
    text = "".join(token.text for token in TOKENS)
    assert expected_activations(f" {text}", TOKENS) is None
    assert expected_activations(text, ()) is None
