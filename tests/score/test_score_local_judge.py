"""The local judge, with a similarity that can be worked out by hand."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32

from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.records import Context
from autointerp.score.judge import Answer, Case, Question, Solved, Task
from autointerp.score.judges.local import LocalJudge, calibrate, marked_texts
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.scorers.fuzzing import FUZZING
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
    label: str, questions: Sequence[Question], solved: Sequence[Solved], task: Task = DETECTION
) -> Sequence[Answer]:
    (said,) = asyncio.run(LocalJudge(CountingSimilarity()).answer(task, [Case(label, questions, solved)]))
    return said.answers


SOLVED = [
    Solved(Question(context("red red green the")), True),
    Solved(Question(context("the red of a")), True),
    Solved(Question(context("the cat of a")), False),
    Solved(Question(context("the of")), False),
]


def test_it_says_yes_above_the_threshold_set_on_solved_questions() -> None:
    answers = ask("red green", [Question(context(t)) for t in ("red the", "a the of it", "green")], SOLVED)
    assert [a.verdict for a in answers] == [True, False, True]
    probabilities = [a.probability for a in answers if a.probability is not None]
    assert probabilities[2] > probabilities[0] > 0.5 > probabilities[1] > 0.0
    assert all(a.unanswered is None for a in answers)


def test_its_answer_does_not_depend_on_the_other_questions() -> None:
    questions = [Question(context(t)) for t in ("red the", "a the of it", "green")]
    together = ask("red green", questions, SOLVED)
    assert [ask("red green", [q], SOLVED)[0] for q in questions] == list(together)


@pytest.mark.parametrize("missing", [True, False])
def test_without_solved_questions_of_one_class_there_is_no_answer(missing: bool) -> None:
    solved = [s for s in SOLVED if s.truth != missing]
    answers = ask("red", [Question(context("red")), Question(context("the"))], solved)
    assert [a.verdict for a in answers] == [None, None]
    assert all(a.probability is None for a in answers)
    assert all(a.unanswered and str(missing).lower() in a.unanswered for a in answers)


def test_a_label_that_fits_silent_contexts_better_is_never_taken_by_its_opposite() -> None:
    answers = ask("cat of", [Question(context("red")), Question(context("cat of"))], SOLVED)
    assert [(a.verdict, a.probability) for a in answers] == [(False, 0.5), (False, 0.5)]


def test_no_question_is_no_answer() -> None:
    assert list(ask("red", [], SOLVED)) == []


def test_fuzzing_looks_at_the_marked_tokens_only() -> None:
    def marked(text: str, *offsets: int) -> Question:
        return Question(context(text), offsets)

    solved = [
        Solved(marked("red the cat", 0), True),
        Solved(marked("the red cat", 1), True),
        Solved(marked("red the cat", 1), False),
        Solved(marked("the red cat", 0), False),
    ]
    answers = ask("red", [marked("a red of", 1), marked("a red of", 2)], solved, FUZZING)
    assert [a.verdict for a in answers] == [True, False]


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


def test_the_threshold_of_two_clouds_of_one_shape_lies_halfway_whatever_their_sizes() -> None:
    similarity = np.array([0.1, 0.2, 0.3] * 5 + [0.5, 0.6, 0.7])
    truth = np.array([False] * 15 + [True] * 3)
    assert calibrate(similarity, truth).threshold == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(("n_false", "n_true"), [(15, 3), (3, 15), (3, 3)])
def test_however_well_two_classes_are_told_apart_the_smaller_one_bounds_the_probability(
    n_false: int, n_true: int
) -> None:
    similarity = np.array([0.2] * n_false + [0.8] * n_true)
    calibration = calibrate(similarity, similarity > 0.5)
    # Platt's targets for a class of three: (3 + 1) / (3 + 2), and what is left of it. The penalty takes a little off.
    assert calibration.probability(np.array([0.2, 0.8])) == pytest.approx([0.2, 0.8], abs=0.01)


def test_equal_similarities_give_no_threshold() -> None:
    assert calibrate(np.full(4, 0.3), np.array([True, False, True, False])).slope == 0.0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: len({truth for _, truth in rows}) == 2
    )
)
def test_probabilities_rise_with_similarity_and_stay_within_bounds(rows: list[tuple[float, bool]]) -> None:
    calibration = calibrate(np.array([s for s, _ in rows]), np.array([t for _, t in rows]))
    probabilities = calibration.probability(np.linspace(-1.0, 1.0, 21))
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
    solved = [Solved(Question(context(t)), t in fires) for t in fires[:2] + silent[:2]]
    questions = [Question(context(t)) for t in (fires[2], silent[2])]
    (said,) = asyncio.run(judge.answer(DETECTION, [Case("exception, errors", questions, solved)]))
    answers = said.answers
    assert [a.verdict for a in answers] == [True, False]
