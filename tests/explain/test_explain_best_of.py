"""The explainer `best_of`: which of several labels it takes, what it records, and what it costs."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from autointerp.config import ExplainConfig, JudgeConfig, ModelConfig
from autointerp.errors import KeyRefusedError, PipelineError
from autointerp.explain.base import BaseExplainer
from autointerp.explain.explainers.examples import ExamplesExplainer
from autointerp.explain.word_rates import BaseRates
from autointerp.llm import Journal, LanguageModel, connect, load_prompt
from autointerp.records import Context, Explanation, Failure, FeatureEvidence
from autointerp.score.best_of import BestOfExplainer, Choice, Fit, JudgedTools, UnknownFit, choose
from autointerp.score.judge import Answer, Answers, Case, Judge, Question, Task
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.judges.local import LocalJudge
from autointerp.score.scorers.detection import DETECTION
from tests.loopback.contexts import SOURCE, context
from tests.loopback.server import Call, Http, LoopbackServer, Oracle, Outcome, Say
from tests.loopback.truth import TruthOracle
from tests.score.world import BagOfWords


def numbered(texts: Sequence[str], first: int, split: str) -> tuple[Context, ...]:
    """Contexts of a split; `word=2` fires."""
    return tuple(
        context(
            text,
            block_index=first + place,
            split="select" if split == "select" else "explain",
            kind="quantile" if "=" in text else "silent_random",
        )
        for place, text in enumerate(texts)
    )


ACTIVE = numbered(["a red=3 ship", "the red=2 door", "old red=2 wine"], 0, "explain")
SILENT = numbered(["a blue ship", "the green door", "so it goes"], 10, "explain")
SELECT_ACTIVE = numbered(["one red=2 hat", "two red=1 hats", "the red=3 sea", "my red=1 ship"], 20, "select")
SELECT_SILENT = numbered(["one blue ship", "two old hats", "the black sea", "a ship"], 30, "select")
EVIDENCE = FeatureEvidence(
    SOURCE, 7, 0.01, 3.0, ACTIVE, SILENT, (), select_active=SELECT_ACTIVE, select_silent=SELECT_SILENT
)
BACKGROUND = ("so it goes", "a door of old wood")
MODEL = ModelConfig(model="m", max_attempts=1, usd_per_million_input=1.0, usd_per_million_output=2.0)


class Writes(BaseExplainer):
    """A user's explainer that always writes the same."""

    said = ""

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        assert evidence.select_active == evidence.select_silent == (), "it sees nothing of the select split"
        if not self.said:
            return self.failure(evidence, "Refusal", f"{self.name} would not", retry=self.name == "third")
        return self.explanation(evidence, self.said, cost_usd=0.25)


def writes(**said: str) -> list[Writes]:
    """Explainers by name, with what each writes; one that writes nothing fails."""
    return [type(name, (Writes,), {"name": name, "said": text})(tools(ExplainConfig())) for name, text in said.items()]


def tools(config: ExplainConfig, judge: Judge | None = None, model: LanguageModel | None = None) -> JudgedTools:
    def language_model() -> LanguageModel:
        assert model is not None, "nobody asks a language model"
        return model

    base_rates = BaseRates(["a ship of the sea"] * 20)
    judge = judge or LocalJudge(Shares())
    return JudgedTools(
        config,
        language_model,
        lambda: base_rates,
        "of the stage",
        judge=lambda: judge,
        seed=0,
        background=lambda: BACKGROUND,
    )


class Words:
    """A judge that says yes where the label is a word of the context, but answers nothing about some labels."""

    name = "words"
    is_free = True

    def __init__(self, mute: Mapping[str, bool] | None = None) -> None:
        self.mute = mute or {}
        self.asked: list[tuple[str, tuple[str, ...], int]] = []

    def fingerprint(self, task: Task) -> str:
        return "words"

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        assert task == DETECTION
        return [self._answer(case.label, case.questions, case.background) for case in cases]

    def _answer(self, label: str, questions: Sequence[Question], background: Sequence[str]) -> Answers:
        self.asked.append((label, tuple(sorted(q.context.text for q in questions)), len(background)))
        if label in self.mute:
            return Answers([Answer(None, unanswered="Timeout: too late", retry=self.mute[label])] * len(questions))
        return Answers([Answer(label in q.context.text.split(), 0.9) for q in questions])


def best_of(
    candidates: Sequence[BaseExplainer], judge: Words, evidence: FeatureEvidence = EVIDENCE
) -> Explanation | Failure:
    explainer = BestOfExplainer(tools(ExplainConfig(model=MODEL), judge), candidates)
    return asyncio.run(explainer.explain(evidence))


def taken(outcome: Explanation | Failure) -> Explanation:
    assert isinstance(outcome, Explanation), outcome
    return outcome


def test_the_label_that_does_best_on_the_select_split_is_taken_and_the_others_are_recorded() -> None:
    # "ship" is in 1 of 4 firing and 2 of 4 silent contexts: (1/4 + 2/4) / 2. "red" tells them apart.
    judge = Words()
    explanation = taken(best_of(writes(first="ship", second="red"), judge))
    assert (explanation.label, explanation.explainer, explanation.model) == ("red", "best_of", "local")
    assert explanation.detail["chosen_by"] == "balanced accuracy on the select split"
    assert explanation.detail["candidates"] == [
        {
            "explainer": "first",
            "label": "ship",
            "select_balanced_accuracy": 0.375,
            "select_auroc": 0.5,
            "n_trials": 8,
            "n_unanswered": 0,
        },
        {
            "explainer": "second",
            "label": "red",
            "select_balanced_accuracy": 1.0,
            "select_auroc": 0.5,
            "n_trials": 8,
            "n_unanswered": 0,
        },
    ]
    assert explanation.cost_usd == 0.5
    assert json.loads(json.dumps(explanation.detail)) == explanation.detail


def test_the_judge_is_asked_about_the_select_split_only_beside_text_of_the_explain_split() -> None:
    judge = Words()
    best_of(writes(first="ship", second="red"), judge)
    texts = tuple(sorted(c.text for c in (*SELECT_ACTIVE, *SELECT_SILENT)))
    assert judge.asked == [("ship", texts, len(BACKGROUND)), ("red", texts, len(BACKGROUND))]


def test_a_label_that_two_candidates_write_is_graded_once_and_stands_as_the_first_one_s() -> None:
    judge = Words()
    explanation = taken(best_of(writes(first="red", second="ship", third="red"), judge))
    assert sorted(label for label, _, _ in judge.asked) == ["red", "ship"]
    accounts = explanation.detail["candidates"]
    assert [a["explainer"] for a in accounts] == ["first", "second", "third"]
    assert accounts[0]["select_balanced_accuracy"] == accounts[2]["select_balanced_accuracy"] == 1.0


def test_one_label_alone_is_taken_without_asking_anybody() -> None:
    judge = Words()
    explanation = taken(best_of(writes(first="ship", second="", third="ship"), judge))
    assert (explanation.label, judge.asked) == ("ship", [])
    assert explanation.detail["chosen_by"] == "there is no other label"


def test_a_candidate_that_fails_is_passed_over_and_recorded() -> None:
    explanation = taken(best_of(writes(first="", second="ship", third="red"), Words()))
    assert explanation.label == "red"
    assert explanation.detail["candidates"][0] == {
        "explainer": "first",
        "failure": "Refusal",
        "message": "first would not",
    }


def test_only_if_all_fail_is_there_a_failure_the_first_one_s() -> None:
    judge = Words()
    failure = best_of(writes(first="", second=""), judge)
    assert isinstance(failure, Failure)
    assert (failure.error_type, failure.message, failure.retry) == ("Refusal", "first would not", False)
    another = best_of(writes(first="", third=""), judge)
    assert isinstance(another, Failure)
    assert (another.message, another.retry) == ("first would not", True), "the third may fare better another time"
    assert judge.asked == []


@pytest.mark.parametrize("lacking", ["select_active", "select_silent"])
def test_a_feature_without_select_contexts_of_both_kinds_gets_the_first_candidate_s_label(lacking: str) -> None:
    without = replace(EVIDENCE, select_active=()) if lacking == "select_active" else replace(EVIDENCE, select_silent=())
    judge = Words()
    explanation = taken(best_of(writes(first="ship", second="red"), judge, without))
    kind = "firing" if lacking == "select_active" else "silent"
    assert (explanation.label, judge.asked) == ("ship", [])
    assert explanation.detail["chosen_by"] == (
        f"order of the candidates, as none could be tried: there are no {kind} select contexts to judge"
    )
    assert "there are no" in explanation.detail["candidates"][1]["not_tried"]


def test_a_label_that_the_judge_would_not_judge_is_passed_over() -> None:
    explanation = taken(best_of(writes(first="red", second="ship"), Words({"red": True})))
    assert explanation.label == "ship"
    assert explanation.detail["chosen_by"] == "no other label could be tried"
    assert explanation.detail["candidates"][0]["not_tried"].endswith("was answered (Timeout: too late)")


def test_where_the_judge_fails_altogether_the_next_run_tries_again() -> None:
    failure = best_of(writes(first="red", second="ship"), Words({"red": True, "ship": True}))
    assert isinstance(failure, Failure)
    assert (failure.error_type, failure.retry) == ("AllUnanswered", True)
    assert "2 labels were written" in failure.message
    assert "too late" in failure.message


def test_where_no_judge_could_answer_the_first_candidate_s_label_is_taken() -> None:
    """The local judge has nothing to compare with where the pool has no text of the explain split."""
    explanation = taken(best_of(writes(first="ship", second="red"), Words({"red": False, "ship": False})))
    assert explanation.label == "ship"
    assert explanation.detail["chosen_by"].startswith("order of the candidates, as none could be tried")


def fit(accuracy: float, auroc: float | None = None) -> Fit:
    return Fit(accuracy, auroc, 40, 0, 0.0)


ORDER = "order of the candidates, balanced accuracies and AUROCs being equal"
AUROC = "AUROC on the select split, balanced accuracies being equal"
ACCURACY = "balanced accuracy on the select split"


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        ({"a": fit(0.6, 0.9), "b": fit(0.7, 0.1)}, Choice("b", ACCURACY)),
        ({"a": fit(0.7, 0.8), "b": fit(0.7, 0.9), "c": fit(0.5, 1.0)}, Choice("b", AUROC)),
        ({"a": fit(0.7), "b": fit(0.7, 0.2)}, Choice("b", AUROC)),
        ({"a": fit(0.7, 0.8), "b": fit(0.7, 0.8)}, Choice("a", ORDER)),
        ({"a": fit(0.7), "b": fit(0.7)}, Choice("a", ORDER)),
        ({"a": fit((0.7 + 1.0) / 2), "b": fit((0.8 + 0.9) / 2)}, Choice("a", ORDER)),
        ({"a": UnknownFit("x", retry=True), "b": fit(0.2)}, Choice("b", "no other label could be tried")),
    ],
)
def test_ties_go_to_the_higher_auroc_and_then_to_the_first_candidate(
    fits: dict[str, Fit | UnknownFit], expected: Choice
) -> None:
    assert choose(list(fits), fits) == expected


def test_one_balanced_accuracy_of_equal_counts_is_not_above_another_by_its_last_bit() -> None:
    assert (0.7 + 1.0) / 2 != (0.8 + 0.9) / 2, "so the test above says something"


# --- on real parts --------------------------------------------------------------------------------------------------


class Shares(BagOfWords):
    """Share of a text's words that are in the label."""

    fingerprint = "shares"

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        wanted = set(label.replace(",", "").split())
        return np.array([sum(w in wanted for w in t.split()) / len(t.split()) for t in texts], dtype=np.float32)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


class Refusing:
    """Refuses explanations, at a price, and else answers truly."""

    def __init__(self) -> None:
        self.truth = TruthOracle()

    def reply(self, call: Call) -> Outcome:
        if call.system == load_prompt("explain_examples").system:
            return Say("I can't help with that.", stop="refusal")
        return self.truth.reply(call)


def ask_models(
    oracle: Oracle, journal: Journal, plug_ins: Sequence[BaseExplainer]
) -> tuple[Explanation | Failure, LoopbackServer, float]:
    """Have `examples` and plug-ins write labels and a language model judge, and tell what was paid in all."""

    async def run(server: LoopbackServer) -> tuple[Explanation | Failure, float]:
        model = MODEL.model_copy(update={"base_url": server.openai_url})
        config = ExplainConfig(explainer="examples", model=model)
        async with connect(model, journal) as explaining, connect(model, journal) as judging:
            judge = LlmJudge(judging, JudgeConfig(kind="llm", model=model, contexts_per_prompt=5))
            made_of = tools(config, judge, explaining)
            explainer = BestOfExplainer(made_of, [ExamplesExplainer(made_of), *plug_ins])
            outcome = await explainer.explain(EVIDENCE)
            paid = [explaining.usage.cost_usd, judging.usage.cost_usd]
            assert None not in paid
            return outcome, sum(cost for cost in paid if cost is not None)

    with LoopbackServer(oracle) as server:
        outcome, paid = asyncio.run(run(server))
    return outcome, server, paid


def test_the_cost_is_that_of_all_candidates_and_of_the_judge(journal: Journal) -> None:
    outcome, server, paid = ask_models(TruthOracle(), journal, writes(other="ship"))
    explanation = taken(outcome)
    assert (explanation.label, explanation.model) == ("red", "m")
    assert explanation.prompt_sha256 == load_prompt("explain_examples").sha256
    assert explanation.n_contexts == 3
    # One label, and 8 contexts in prompts of 5 for each of two labels.
    assert len(server.calls) == 1 + 2 * 2
    assert explanation.cost_usd == pytest.approx(paid + 0.25)


def test_a_refusal_that_was_paid_counts_too(journal: Journal) -> None:
    outcome, _, paid = ask_models(Refusing(), journal, writes(other="ship", another="red"))
    explanation = taken(outcome)
    accounts = explanation.detail["candidates"]
    assert accounts[0]["failure"] == "Refusal"
    assert explanation.cost_usd == pytest.approx(paid + 0.5)


def test_no_context_of_the_select_split_goes_into_a_prompt_for_a_label(journal: Journal) -> None:
    _, server, _ = ask_models(TruthOracle(), journal, writes(other="ship"))
    (prompt,) = [c.user for c in server.calls if c.system == load_prompt("explain_examples").system]
    assert all(c.text.replace("red", "<<red>>") in prompt for c in ACTIVE)
    assert not any(c.text.replace("red", "<<red>>") in prompt for c in SELECT_ACTIVE)


class KeyRefused:
    def reply(self, call: Call) -> Outcome:
        return Http(401, '{"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}')


def test_a_refused_key_stops_the_run(journal: Journal) -> None:
    with pytest.raises(KeyRefusedError):
        ask_models(KeyRefused(), journal, writes(other="ship"))


# --- made from a pipeline's config ----------------------------------------------------------------------------------

PLUG_IN = """
from autointerp.explain.base import BaseExplainer

class Says(BaseExplainer):
    name = "says"

    async def explain(self, evidence):
        return self.explanation(evidence, "{label}")
"""


def plug_in(folder: Path, label: str = "ship") -> str:
    (folder / "says.py").write_text(PLUG_IN.format(label=label))
    return f"{folder / 'says.py'}:Says"


def test_it_works_without_a_language_model_where_no_candidate_asks_one(tmp_path: Path) -> None:
    config = ExplainConfig(explainer="best_of", candidates=(plug_in(tmp_path), "keywords"))
    assert not BestOfExplainer.asks_model(config)
    explanation = taken(asyncio.run(BestOfExplainer(tools(config)).explain(EVIDENCE)))
    assert (explanation.label, explanation.cost_usd) == ('the word "red"', 0.0)
    assert [a["explainer"] for a in explanation.detail["candidates"]] == ["says", "keywords"]


def test_it_asks_a_model_where_a_candidate_does() -> None:
    model = ModelConfig(model="m")
    assert BestOfExplainer.asks_model(
        ExplainConfig(explainer="best_of", candidates=("keywords", "examples"), model=model)
    )


def test_another_candidate_and_another_order_make_another_fingerprint(tmp_path: Path) -> None:
    name = plug_in(tmp_path)
    both = ExplainConfig(explainer="best_of", candidates=(name, "keywords"))
    settled = BestOfExplainer.settings_fingerprint(both)
    turned = both.model_copy(update={"candidates": ("keywords", name)})
    more_words = both.model_copy(update={"n_keywords": 3})
    plug_in(tmp_path, "river")
    settings = [settled, *(BestOfExplainer.settings_fingerprint(c) for c in (both, turned, more_words))]
    assert len(set(settings)) == 4


def test_a_best_of_among_the_candidates_is_refused() -> None:
    config = ExplainConfig(explainer="best_of", candidates=("keywords", "autointerp.score.best_of:BestOfExplainer"))
    with pytest.raises(PipelineError, match="itself a best_of"):
        BestOfExplainer.settings_fingerprint(config)


def test_a_candidate_named_twice_is_refused_however_it_is_written() -> None:
    spelled_out = "autointerp.explain.explainers.keywords:KeywordsExplainer"
    config = ExplainConfig(explainer="best_of", candidates=("rules", "keywords", spelled_out))
    with pytest.raises(PipelineError, match="holds 'keywords' twice: name each explainer once"):
        BestOfExplainer.settings_fingerprint(config)
