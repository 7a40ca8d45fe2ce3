"""Intruder: whether the contexts in which a feature fires belong together, without a label."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.render import active_offsets
from autointerp.llm import Journal, connect
from autointerp.records import Context, FeatureContexts, ScoreWithTrials
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.judges.local import LocalJudge
from autointerp.score.scorers import detection, intruder
from autointerp.score.scorers.intruder import N_EXAMPLES, IntruderScorer, build_questions
from autointerp.score.trials import Posed, ScoreContexts
from tests.loopback.server import LoopbackServer
from tests.loopback.truth import TruthOracle
from tests.score.world import ANIMALS, BagOfWords, Scripted, World, explanation_of, failed, scored, tools

CAT, COLOUR = 0, 1


def words(context: Context, offsets: Sequence[int]) -> set[str]:
    return {context.tokens[offset].strip() for offset in offsets}


def same_word(label: str, task: Task, question: Question) -> Answer:
    """Is a word on which the feature fires in the examples in the context too? As it would be told of one word."""
    assert label == "", "no label is shown to whoever must not look at it"
    marked = set[str]().union(*(words(e, active_offsets(e)) for e in question.examples))
    return Answer(verdict=bool(marked & words(question.context, range(len(question.context.tokens)))))


def scorer(judge: Scripted | LocalJudge | None = None, seed: int = 0) -> IntruderScorer:
    return IntruderScorer(tools(judge or Scripted(same_word), seed=seed))


def of_examples(contexts: FeatureContexts, n: int) -> FeatureContexts:
    """With n firing contexts of the explain split."""
    known = contexts.of("explain", active=True)
    return replace(contexts, contexts=tuple(c for c in contexts.contexts if c not in known[n:]))


def test_the_questions_are_those_of_detection_each_beside_examples_of_the_explain_split(world: World) -> None:
    contexts = world.contexts(CAT)
    posed = build_questions(contexts, "score", 5)
    bare = [Posed(Question(p.question.context), p.truth) for p in posed]
    assert sorted(bare, key=str) == sorted(detection.build_questions(contexts, "score", 5), key=str)
    for p in posed:
        examples = p.question.examples
        assert len({e.context_id for e in examples}) == N_EXAMPLES
        assert all(e.split == "explain" and e.is_active for e in examples)
        assert not {e.document_id for e in examples} & {p.question.context.document_id}


def test_each_question_has_examples_of_its_own_the_same_for_every_label(world: World, pool: PoolTiles) -> None:
    given = world.given(CAT, pool)
    posed = [scorer().pose(explanation_of(CAT, label), given, 5) for label in ("cat", "any text")]
    assert posed[0] == posed[1] != scorer().pose(explanation_of(CAT, "cat"), given, 6)
    assert isinstance(posed[0], tuple)
    assert len({p.question.examples for p in posed[0]}) > 0.8 * len(posed[0])


def test_a_context_of_the_explain_split_is_never_its_own_example(world: World) -> None:
    for n in (2, N_EXAMPLES, 20):
        for p in build_questions(of_examples(world.contexts(CAT), n), "explain", 5):
            assert p.question.context not in p.question.examples
            assert len(p.question.examples) == min(N_EXAMPLES, n - p.truth)


def test_examples_are_of_other_documents_where_there_are_enough(world: World) -> None:
    asked, *known = world.contexts(CAT).of("explain", active=True)
    beside = [replace(c, group_id=asked.group_id) if i % 2 else c for i, c in enumerate(known[:10])]
    assert all(e.group_id != asked.group_id for e in intruder.choose_examples(asked, beside, 1))
    assert len(intruder.choose_examples(asked, [replace(c, group_id="same") for c in beside], 1)) == N_EXAMPLES


def test_a_feature_of_one_word_is_coherent_and_one_of_any_words_less(world: World, pool: PoolTiles) -> None:
    cat, colour = (
        scored(scorer().score(explanation_of(f, "no label"), world.given(f, pool, n=100))).score for f in (CAT, COLOUR)
    )
    assert (cat.value, cat.metric, cat.ci_high) == (1.0, "balanced accuracy", 1.0)
    # Four examples show some of the five colours; whoever goes by words misses the others.
    assert 0.6 < colour.value < 0.95
    assert cat.detail["specificity_by_kind"] == {"silent_random": 1.0, "silent_similar": 1.0}


def test_examples_of_another_feature_leave_it_at_chance(world: World, pool: PoolTiles) -> None:
    examples = world.contexts(COLOUR).of("explain", active=True)

    class Null(IntruderScorer):
        def pose(self, explanation: object, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
            own = build_questions(contexts.feature, "score", key)
            chosen = [intruder.choose_examples(p.question.context, examples, key + i) for i, p in enumerate(own)]
            return tuple(replace(p, question=replace(p.question, examples=c)) for p, c in zip(own, chosen, strict=True))

    null = Null(tools(Scripted(same_word)))
    score = scored(null.score(explanation_of(CAT, "cat"), world.given(CAT, pool, n=200))).score
    assert score.value == pytest.approx(0.5, abs=0.06)
    assert score.ci_low < 0.5


def test_too_few_examples_are_a_failure_that_names_how_many_are_needed(world: World, pool: PoolTiles) -> None:
    given = ScoreContexts(of_examples(world.contexts(CAT), 3), pool, 0.01)
    failure = failed(scorer().score(explanation_of(CAT, "cat"), given))
    assert (failure.error_type, failure.retry) == ("TooFewContexts", False)
    assert failure.message == "it has 3 firing contexts of the explain split, and 4 are needed as examples"
    enough = ScoreContexts(of_examples(world.contexts(CAT), 4), pool, 0.01)
    assert scored(scorer().score(explanation_of(CAT, "cat"), enough)).score.n_trials == 40


def test_the_local_judge_reads_the_words_under_the_marks_as_a_label(world: World, pool: PoolTiles) -> None:
    judge = LocalJudge(BagOfWords())
    score = scored(scorer(judge).score(explanation_of(CAT, "dog"), world.given(CAT, pool))).score
    assert score.value == 1.0
    other = scored(scorer(judge).score(explanation_of(CAT, ANIMALS[1]), world.given(CAT, pool))).score
    assert other.value == score.value, "the label is not looked at"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def ask(
    world: World, pool: PoolTiles, journal: Journal, server: LoopbackServer, label: str
) -> tuple[ScoreWithTrials, ScoreWithTrials]:
    """Both features' scores by a language model."""

    async def run() -> tuple[ScoreWithTrials, ScoreWithTrials]:
        model = ModelConfig(model="m", base_url=server.openai_url)
        async with connect(model, journal) as connected:
            judge = LlmJudge(connected, JudgeConfig(kind="llm", model=model))
            jobs = [(explanation_of(f, label), world.given(f, pool)) for f in (CAT, COLOUR)]
            cat, colour = await IntruderScorer(tools(judge)).score_all(jobs)
            assert isinstance(cat, ScoreWithTrials)
            assert isinstance(colour, ScoreWithTrials)
            return cat, colour

    return asyncio.run(run())


def test_a_language_model_is_shown_examples_with_marks_in_place_of_the_label(
    world: World, pool: PoolTiles, journal: Journal
) -> None:
    with LoopbackServer(TruthOracle()) as server:
        cat, _ = ask(world, pool, journal, server, "a label of no importance")
    assert cat.score.value == 1.0
    users = [call.user for call in server.calls]
    assert all("no importance" not in user for user in users)
    lines = [line for user in users for line in user.splitlines() if line[:1].isdigit()]
    assert (len(users), len(lines)) == (4, 80)
    for line in lines:
        examples, text = line.partition(": ")[2].rsplit(" | ", 1)
        assert [e.count("<<") > 0 for e in json.loads(examples)] == [True] * N_EXAMPLES
        assert "<<" not in json.loads(text)


def test_another_label_of_the_same_features_is_not_paid_again(world: World, pool: PoolTiles, journal: Journal) -> None:
    with LoopbackServer(TruthOracle()) as server:
        first = ask(world, pool, journal, server, "one label")
        n_paid = len(server.calls)
        again = ask(world, pool, journal, server, "another label")
    assert len(server.calls) == n_paid > 0
    assert [s.score.value for s in first] == [s.score.value for s in again]
