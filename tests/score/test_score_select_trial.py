"""What chooses among labels: hand-worked fits to the select split, and what no scorer may use of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from autointerp.contexts.pool import PoolTiles
from autointerp.records import Context, FeatureEvidence, Split
from autointerp.score.best_of import Fit, SelectTrial, UnknownFit
from autointerp.score.judge import Answer, Question, Task
from autointerp.score.trials import ScoreContexts
from tests.loopback.contexts import SOURCE, context
from tests.score.world import Scripted, World


def contexts(texts: Sequence[str], first: int, split: Split) -> tuple[Context, ...]:
    return tuple(context(text, block_index=first + i, split=split) for i, text in enumerate(texts))


EVIDENCE = FeatureEvidence(
    SOURCE,
    7,
    0.01,
    3.0,
    contexts(["shown=3 one", "shown=2 two"], 0, "explain"),
    contexts(["shown three"], 10, "explain"),
    (),
    select_active=contexts(["a=1", "b=1", "c=1", "d=1"], 20, "select"),
    select_silent=contexts(["e", "f", "g"], 30, "select"),
)


def fit(says: dict[str, Answer], evidence: FeatureEvidence = EVIDENCE) -> Fit | UnknownFit:
    def say(label: str, task: Task, question: Question) -> Answer:
        assert (label, task.name) == ("a label", "detection")
        return says[question.context.text]

    return asyncio.run(SelectTrial(Scripted(say), 0).fit("a label", evidence))


def test_a_fit_is_the_balanced_accuracy_and_the_auroc_worked_out_by_hand() -> None:
    """3 of 4 firing and 2 of 3 silent contexts are answered rightly; 10 of 12 pairs are in the right order."""
    yes, no = {"a": 0.9, "b": 0.8, "c": 0.7, "g": 0.75}, {"d": 0.3, "e": 0.2, "f": 0.1}
    says = {text: Answer(True, p) for text, p in yes.items()} | {text: Answer(False, p) for text, p in no.items()}
    found = fit(says)
    assert isinstance(found, Fit)
    assert found.balanced_accuracy == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found.auroc == pytest.approx(10 / 12)
    assert (found.n_trials, found.n_unanswered, found.cost_usd) == (7, 0, 0.0)


def test_unanswered_trials_are_counted_and_in_no_rate() -> None:
    says = {text: Answer(True) for text in "abcd"} | {text: Answer(False) for text in "efg"}
    found = fit(says | {"a": Answer(None, unanswered="Refusal: no"), "e": Answer(True)})
    assert isinstance(found, Fit)
    assert found.balanced_accuracy == pytest.approx((1 + 2 / 3) / 2)
    assert (found.auroc, found.n_trials, found.n_unanswered) == (None, 7, 1)


def test_a_class_without_answers_leaves_the_fit_unknown() -> None:
    silence = Answer(None, unanswered="Timeout: too late")
    says = dict.fromkeys("abcd", silence) | {text: Answer(False) for text in "efg"}
    found = fit(says)
    assert isinstance(found, UnknownFit)
    assert found.retry
    assert "none of the 4 questions whose true answer is yes was answered (Timeout: too late)" in found.reason
    for_ever = fit(says | {text: replace(silence, retry=False) for text in "abcd"})
    assert isinstance(for_ever, UnknownFit)
    assert not for_ever.retry


@pytest.mark.parametrize("lacking", ["select_active", "select_silent"])
def test_where_a_kind_of_context_is_lacking_nobody_is_asked(lacking: str) -> None:
    without = replace(EVIDENCE, select_active=()) if lacking == "select_active" else replace(EVIDENCE, select_silent=())
    found = fit({}, without)
    assert isinstance(found, UnknownFit)
    assert not found.retry


def test_the_judge_the_seed_and_nothing_else_make_the_fingerprint() -> None:
    judge = Scripted(lambda *_: Answer(True))
    assert SelectTrial(judge, 0).fingerprint == SelectTrial(judge, 0).fingerprint
    others = [SelectTrial(replace(judge, made_of="other"), 0), SelectTrial(judge, 1), SelectTrial(judge, 0)]
    assert len({other.fingerprint for other in others}) == 3


def test_recall_asks_about_nothing_that_nearly_repeats_a_select_context(world: World, pool: PoolTiles) -> None:
    whole = world.contexts(0)
    tile = int(ScoreContexts(whole, pool, 0.1).silent_tiles.eligible[0])
    repeating = replace(pool.context(tile, 0), split="select", document_id="another")
    found = ScoreContexts(replace(whole, contexts=(*whole.contexts, repeating)), pool, 0.1).silent_tiles
    assert tile not in found.eligible
    assert found.n_left_out == 1
