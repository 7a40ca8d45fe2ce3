"""The local judge, with a similarity that can be worked out by hand."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jaxtyping import Float32

from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.records import Context
from autointerp.score.judge import Answer, Case, Question, Task
from autointerp.score.judges.local import LocalJudge, Scale, marked_texts
from autointerp.score.judges.rule import RuleJudge
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.scorers.fuzzing import FUZZING
from autointerp.score.scorers.simulation import SIMULATION
from tests.score.world import BagOfWords


class CountingSimilarity(BagOfWords):
    """Share of a text's words that are in the label."""

    fingerprint = "counting"

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        wanted = set(label.split())
        shares = [sum(w in wanted for w in t.split()) / max(1, len(t.split())) for t in texts]
        return np.array(shares, dtype=np.float32)


def context(text: str, number: int = 0) -> Context:
    tokens = tuple(f" {word}" for word in text.split())
    return Context(
        context_id=f"c{number}",
        source_id="toy@judge",
        feature_index=1,
        kind="top",
        split="explain",
        tokens=tokens,
        token_ids=tuple(range(len(tokens))),
        activations=(1.0,) * len(tokens),
        max_activation=1.0,
        peak=0,
        quantile=None,
        document_id=f"d{number}",
        block_index=number,
        start=0,
    )


def ask(
    label: str, questions: Sequence[Question], background: Sequence[str], task: Task = DETECTION
) -> Sequence[Answer]:
    (said,) = asyncio.run(LocalJudge(CountingSimilarity()).answer(task, [Case(label, questions, tuple(background))]))
    return said.answers


# Of "red": similarity 0, with the word added 1/4.
BACKGROUND = ("the cat of", "a dog in")


def test_it_says_yes_from_a_third_of_the_way_from_text_as_it_comes_to_text_with_a_word_of_the_label() -> None:
    texts = ("red cat the a dog in of it on at", "red cat the a dog in of it on at by so", "red the of", "a cat")
    # 1/10, 1/12, 1/3 and 0: of the way to 1/4 that is .4, 1/3 less a rounding, 1.33 and 0.
    answers = ask("red", [Question(context(text)) for text in texts[:1] + texts[2:]], BACKGROUND)
    assert [a.verdict for a in answers] == [True, True, False]
    probabilities = [a.probability for a in answers if a.probability is not None]
    assert probabilities[1] > probabilities[0] > 0.5 > probabilities[2] > 0.0
    below = "red " + "cat " * 12
    assert [a.verdict for a in ask("red", [Question(context(below))], BACKGROUND)] == [False]


def test_a_label_of_words_that_any_text_has_needs_more_than_what_any_text_has() -> None:
    background = ("the cat", "the dog")  # 1/2, with the word added again 2/3
    answers = ask("the", [Question(context(text)) for text in ("the cat", "the the cat")], background)
    assert [a.verdict for a in answers] == [False, True]


def test_its_answer_does_not_depend_on_the_other_questions() -> None:
    questions = [Question(context(t)) for t in ("red the", "a the of it", "green")]
    together = ask("red green", questions, BACKGROUND)
    assert [ask("red green", [q], BACKGROUND)[0] for q in questions] == list(together)


def test_a_wrong_label_that_is_close_to_a_feature_s_one_word_is_told_from_it() -> None:
    """With a threshold set on the feature's own answers, "red"-ish words would pass as far as they go."""

    class Near(CountingSimilarity):
        def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
            share = {"red": 1.0, "pink": 0.2}
            return np.array([max(share.get(w, 0.0) for w in t.split()) for t in texts], dtype=np.float32)

    questions = [Question(context("pink the", i), (0,)) for i in range(3)] + [Question(context("of the", 9), (0,))]
    (said,) = asyncio.run(LocalJudge(Near()).answer(FUZZING, [Case("red", questions, BACKGROUND)]))
    assert [a.verdict for a in said.answers] == [False] * 4


@pytest.mark.parametrize("background", [(), ("", "  ")])
def test_without_text_to_compare_with_there_is_no_answer(background: tuple[str, ...]) -> None:
    answers = ask("red", [Question(context("red")), Question(context("the"))], background)
    assert [(a.verdict, a.probability, a.retry) for a in answers] == [(None, None, False)] * 2
    assert all(a.unanswered and "explain split" in a.unanswered for a in answers)


def test_a_label_that_its_own_words_don_t_bring_nearer_says_no_with_probability_one_half() -> None:
    class Constant(CountingSimilarity):
        def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
            return np.full(len(texts), 0.4, dtype=np.float32)

    case = Case("red", [Question(context("red"))], BACKGROUND, texts=("red",))
    (said,) = asyncio.run(LocalJudge(Constant()).answer(DETECTION, [case]))
    assert [(a.verdict, a.probability) for a in said.answers] == [(False, 0.5)]
    assert said.texts is not None
    assert not said.texts.any()


def test_no_question_is_no_answer() -> None:
    assert list(ask("red", [], BACKGROUND)) == []


def test_fuzzing_looks_at_the_marked_tokens_only() -> None:
    questions = [Question(context("a red of"), (1,)), Question(context("a red of"), (2,))]
    assert [a.verdict for a in ask("red", questions, BACKGROUND, FUZZING)] == [True, False]


RULE = '"red" right before "cat"'


def test_a_label_that_is_a_rule_is_carried_out_and_not_compared() -> None:
    questions = [Question(context(text)) for text in ("a red cat", "a cat is red", "a red dog")]
    answers = ask(RULE, questions, BACKGROUND)
    assert [(a.verdict, a.probability) for a in answers] == [(True, 1.0), (False, 0.0), (False, 0.0)]
    assert [a.verdict for a in ask("red cat", questions, BACKGROUND)] == [True, True, True]


def test_a_rule_needs_no_text_to_compare_with() -> None:
    assert [a.verdict for a in ask('"red"', [Question(context("red")), Question(context("cat"))], ())] == [True, False]


def test_a_rule_holds_of_more_than_half_of_the_marked_words_or_its_answer_is_no() -> None:
    one = context("a red cat red dog")
    answers = ask(RULE, [Question(one, marked) for marked in ((1,), (3,), (1, 2))], BACKGROUND, FUZZING)
    assert [a.verdict for a in answers] == [True, False, False]


def test_a_rule_is_carried_out_on_every_text_besides() -> None:
    case = Case(RULE, [Question(context("a red cat"))], BACKGROUND, texts=("a red cat", "red and cat"))
    (said,) = asyncio.run(LocalJudge(CountingSimilarity()).answer(DETECTION, [case]))
    assert said.texts is not None
    assert said.text_probabilities is not None
    assert said.texts.tolist() == [True, False]
    assert said.text_probabilities.tolist() == [1.0, 0.0]


def test_a_rule_tells_the_largest_activation_on_the_tokens_of_which_it_holds() -> None:
    (answer,) = ask(RULE, [Question(context("a red cat red dog"))], BACKGROUND, SIMULATION)
    assert answer.activations == (0.0, 10.0, 0.0, 0.0, 0.0)


def test_examples_stand_in_place_of_a_label_that_is_a_rule_too() -> None:
    question = Question(context("the cat of it"), examples=(context("red"),))
    (said,) = asyncio.run(LocalJudge(CountingSimilarity()).answer(DETECTION, [Case('"cat"', [question], BACKGROUND)]))
    assert said.answers[0].verdict is False


@pytest.mark.parametrize(
    "label", ['words such as "red"', 'the words "red", "cat"', "'red', 'cat'", "red, cat", 'text about "red" or "cat"']
)
def test_what_is_no_sentence_of_a_rule_is_compared_word_by_word(label: str) -> None:
    (answer,) = ask(label, [Question(context("a red cat"))], BACKGROUND)
    assert answer.probability not in (0.0, 1.0)


def test_how_rules_are_carried_out_is_part_of_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LocalJudge(CountingSimilarity()).fingerprint(DETECTION)
    monkeypatch.setattr(RuleJudge, "fingerprint", lambda self, task: "another")
    assert LocalJudge(CountingSimilarity()).fingerprint(DETECTION) != before


def test_marks_are_widened_to_whole_words_and_joined_where_they_touch() -> None:
    pieces = context("x")
    cut = Context(
        **{
            **{name: getattr(pieces, name) for name in Context.__slots__},
            "tokens": (" a", " deq", "ue", ",", " then", " (", "x", ")"),
        }
    )
    assert marked_texts(cut, (2,)) == ("deque",)
    assert marked_texts(cut, (1, 2)) == ("deque",)
    assert marked_texts(cut, (0, 2)) == ("a deque",)
    assert marked_texts(cut, (2, 3)) == ("deque,",)
    assert marked_texts(cut, (6, 0)) == ("a", "x")
    assert marked_texts(cut, (5,)) == ("(",)


@settings(deadline=None)
@given(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))
@example(0.0, 0.0011)
def test_probabilities_rise_with_similarity_and_stay_within_bounds(background: float, own: float) -> None:
    probabilities = Scale(background, own).probability(np.linspace(-1.0, 1.3, 21))
    assert np.isfinite(probabilities).all()
    assert (np.diff(probabilities) >= 0).all()
    assert 0.0 <= probabilities[0] <= probabilities[-1] <= 1.0


def test_with_the_real_embedder_a_true_label_is_told_from_a_false_one() -> None:
    judge = LocalJudge(Embedder(EmbedderConfig(device="cpu")))
    fires = [
        "it may raise an exception here",
        "an error is thrown when it fails",
        "exceptions are caught by the caller",
    ]
    silent = ["the cat sleeps on the warm mat", "a matrix has rows and columns", "open the file and read its lines"]
    background = (*fires[:2], *silent[:2])
    questions = [Question(context(t)) for t in (fires[2], silent[2])]
    (said,) = asyncio.run(judge.answer(DETECTION, [Case("exception, errors", questions, background)]))
    answers = said.answers
    assert [a.verdict for a in answers] == [True, False]
