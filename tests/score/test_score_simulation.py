"""Simulation: activations at every token, told from the label, against the true ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from autointerp.config import ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.records import Context
from autointerp.score.correlation import Simulated
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.judges.local import LocalJudge, token_words
from autointerp.score.scorers.detection import build_questions
from autointerp.score.scorers.embedding import SimilarityJudge
from autointerp.score.scorers.simulation import SimulationScorer, rarities
from autointerp.score.trials import ScoreContexts
from tests.loopback.contexts import of_tokens
from tests.score.world import (
    ANIMALS,
    COLOURS,
    BagOfWords,
    Scripted,
    World,
    explanation_of,
    failed,
    scored,
    tools,
)

CAT, COLOUR = 0, 1
# Colours have 1 to 5, and 10 tells the largest.
SCALE = 10 / len(COLOURS)


@dataclass(frozen=True)
class Simulating(Scripted):
    """A judge that tells activations."""

    simulates: bool = True


def simulating(tell: Callable[[Context], Sequence[float]]) -> Simulating:
    def says(label: str, task: Task, question: Question) -> Answer:
        assert task.wants_activations
        return Answer(verdict=None, activations=tuple(tell(question.context)))

    return Simulating(says)


def truth(context: Context) -> tuple[float, ...]:
    return tuple(SCALE * activation for activation in context.activations)


def scorer(judge: Scripted | LocalJudge | SimilarityJudge) -> SimulationScorer:
    return SimulationScorer(tools(judge, ScoreConfig(n_bootstrap=300)))


def test_the_questions_are_those_of_detection(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    posed = scorer(simulating(truth)).pose(explanation_of(COLOUR, "colours"), given, 5)
    assert posed == build_questions(given.feature, "score", 5)


def test_the_true_activations_score_one_with_an_interval_below(world: World, pool: PoolTiles) -> None:
    done = scored(scorer(simulating(truth)).score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool)))
    score = done.score
    assert score.value == pytest.approx(1.0)
    assert 0.7 < score.ci_low < 1.0
    assert score.ci_high == pytest.approx(1.0)
    assert score.detail["correlation"] == score.detail["explained_variance"] == pytest.approx(1.0)
    assert (score.n_trials, score.detail["n_tokens"]) == (40, 40 * 16)


@pytest.mark.parametrize("noise", [0.5, 1.5, 4.0])
def test_noise_lowers_it_to_the_correlation_that_it_leaves(world: World, pool: PoolTiles, noise: float) -> None:
    rng = np.random.default_rng(2)
    given = world.given(COLOUR, pool, n=300)

    def noisy(context: Context) -> list[float]:
        noised: list[float] = (4 + 0.2 * np.array(truth(context)) + rng.uniform(-noise, noise, 16)).tolist()
        return noised

    score = scored(scorer(simulating(noisy)).score(explanation_of(COLOUR, "colours"), given)).score
    active = [truth(c) for c in given.feature.of("score", active=True)]
    variance = 0.2**2 * np.var(np.concatenate([*active, np.zeros(16 * len(active))]))
    expected = float(np.sqrt(variance / (variance + noise**2 / 3)))
    assert score.value == pytest.approx(expected, abs=0.03)
    assert score.ci_low < expected < score.ci_high


def test_what_goes_against_the_truth_is_told_as_zero_and_as_it_is_in_the_detail(world: World, pool: PoolTiles) -> None:
    judge = simulating(lambda context: [10 - a for a in truth(context)])
    score = scored(scorer(judge).score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool))).score
    assert (score.value, score.ci_low) == (0.0, 0.0)
    assert score.detail["correlation"] == pytest.approx(-1.0)


def test_one_activation_for_every_token_is_worth_nothing_and_said_to_be_uninformative(
    world: World, pool: PoolTiles
) -> None:
    judge = simulating(lambda context: [3.0] * len(context.tokens))
    score = scored(scorer(judge).score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool))).score
    assert score.value == 0.0
    assert score.detail["uninformative"] == "the judge gave every token the same activation"


def test_solvers_without_a_label_get_no_more_than_chance_says(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool, n=100)
    rng = np.random.default_rng(0)

    def value(tell: Callable[[Context], Sequence[float]]) -> float:
        done = scored(scorer(simulating(tell)).score(explanation_of(COLOUR, "colours"), given))
        assert done.score.detail["chance"] == pytest.approx(rare, abs=1e-4)
        return done.score.value

    rare = max(0.0, of_rarity(given, pool))
    assert value(lambda context: np.clip(rarities([context], pool), 0, 10).tolist()) == pytest.approx(rare, abs=1e-4)
    places: list[Callable[[Context], Sequence[float]]] = [
        lambda context: [i / 2 for i in range(16)],
        lambda context: [float(min(i, 15 - i)) for i in range(16)],
        lambda context: [float(rng.uniform(0, 10)) for _ in range(16)],
        lambda context: [float(context.tokens.count(token)) for token in context.tokens],
    ]
    assert max(map(value, places)) < 0.12


def of_rarity(given: ScoreContexts, pool: PoolTiles) -> float:
    contexts = [c for c in given.feature.contexts if c.split == "score"]
    rare = [rarities([context], pool).tolist() for context in contexts]
    fires = np.array([context.is_active for context in contexts])
    true = [context.activations for context in contexts]
    return Simulated.join(rare, true, fires, np.arange(len(contexts))).correlation()


def test_every_trial_keeps_what_was_told_and_the_score_comes_of_them(world: World, pool: PoolTiles) -> None:
    given = world.given(COLOUR, pool)
    judge = simulating(lambda context: [min(10.0, 2 * a + i % 3) for i, a in enumerate(truth(context))])
    done = scored(scorer(judge).score(explanation_of(COLOUR, "colours"), given))
    known = {c.context_id: c for c in given.feature.contexts}
    true = [known[t.context_id].activations for t in done.trials]
    told = [t.simulated for t in done.trials if t.simulated is not None]
    assert all((t.verdict, t.probability) == (None, None) for t in done.trials)
    fires = np.array([t.truth for t in done.trials])
    found = Simulated.join(told, true, fires, np.arange(len(told)))
    assert found.correlation() == pytest.approx(done.score.value)


def test_what_is_not_answered_widens_the_interval_and_bounds_the_value(world: World, pool: PoolTiles) -> None:
    refused = Answer(verdict=None, unanswered="refused")

    def says(label: str, task: Task, question: Question) -> Answer:
        told = Answer(verdict=None, activations=tuple(min(10.0, a + 1) for a in truth(question.context)))
        return refused if question.context.block_index % 3 == 0 else told

    given = world.given(COLOUR, pool)
    part = scored(scorer(Simulating(says)).score(explanation_of(COLOUR, "colours"), given))
    whole = scored(scorer(simulating(truth)).score(explanation_of(COLOUR, "colours"), given)).score
    score = part.score
    assert 0 < score.n_unanswered == sum(t.simulated is None for t in part.trials) < 40
    bounds = score.detail["bounds"]
    assert score.ci_low <= bounds["low"] < bounds["high"] <= score.ci_high
    assert score.ci_low < whole.ci_low - 0.1
    none = failed(scorer(Simulating(lambda *_: refused)).score(explanation_of(COLOUR, "colours"), given))
    assert (none.error_type, none.raw) == ("AllUnanswered", "refused")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(verdict=None, activations=(1.0,) * 15), "gave 15 activations for 16 tokens"),
        (Answer(verdict=None, activations=(11.0,) * 16), "gave an activation that is no number from 0 to 10"),
        (Answer(verdict=None, activations=(float("nan"),) * 16), "gave an activation that is no number from 0 to 10"),
        (Answer(verdict=True), "the judge gives yes or no, or similarities, where activations are asked for"),
        (Answer(None, unanswered="no", activations=(1.0,) * 16), "gave an answer and said that there is none"),
    ],
)
def test_a_judge_that_tells_no_activations_stops_the_run_in_one_line(
    world: World, pool: PoolTiles, answer: Answer, said: str
) -> None:
    judge = Simulating(lambda *_: answer)
    with pytest.raises(PipelineError, match=said) as caught:
        scored(scorer(judge).score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool)))
    assert "\n" not in str(caught.value)


def test_a_judge_that_says_yes_or_no_only_is_told_before_anything_is_asked() -> None:
    for judge in (Scripted(lambda *_: Answer(True)), SimilarityJudge(BagOfWords())):
        with pytest.raises(PipelineError, match=r"tells no activations.*take 'simulation' out of score\.scorers"):
            scorer(judge)


def test_the_local_judge_compares_the_word_of_each_token_with_the_label(world: World, pool: PoolTiles) -> None:
    given = world.given(CAT, pool)
    right, wrong = (
        scored(scorer(LocalJudge(BagOfWords())).score(explanation_of(CAT, label), given)).score
        for label in ("cat", ANIMALS[1])
    )
    assert right.value == pytest.approx(1.0, abs=0.01)
    assert wrong.value < 0.1
    assert right.n_unanswered == 0


def test_the_local_judge_does_not_need_contexts_of_known_truth(world: World, pool: PoolTiles) -> None:
    score_only = world.contexts(CAT)
    bare = replace(score_only, contexts=tuple(c for c in score_only.contexts if c.split == "score"))
    given = ScoreContexts(bare, pool, 0.01)
    assert scored(scorer(LocalJudge(BagOfWords())).score(explanation_of(CAT, "cat"), given)).score.value > 0.9


def test_every_token_has_the_word_that_it_is_part_of() -> None:
    context = of_tokens(("Re", "mem", "ber", " ", "the", "\n", " cat", "'s", "."), (0.0,) * 8 + (1.0,))
    assert token_words(context) == (*["Remember"] * 3, "", "the", "", "cat", "'s", ".")


class OneCase:
    """What a judge is handed."""

    name = "one case"
    is_free = True
    simulates = True

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def fingerprint(self, task: Task) -> str:
        return task.name

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        self.cases += cases
        return [Answers([Answer(None, activations=truth(q.context)) for q in case.questions]) for case in cases]


def test_the_judge_is_handed_the_label_and_contexts_of_the_score_split(world: World, pool: PoolTiles) -> None:
    judge = OneCase()
    simulation = SimulationScorer(tools(judge))
    scored(simulation.score(explanation_of(COLOUR, "colours"), world.given(COLOUR, pool)))
    (case,) = judge.cases
    assert case.label == "colours"
    assert {q.context.split for q in case.questions} == {"score"}
