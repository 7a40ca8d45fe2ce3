"""Nulls of a run: made on a sample, scored on the same trials, and only by judges that can say something of them."""

from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.library.run import Run
from autointerp.records import Explanation
from autointerp.words import label_words
from tests.loopback.server import LoopbackServer
from tests.loopback.truth import shown_contexts
from tests.run.planted import COLOURS, FEATURES, LABELLED, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

pytestmark = pytest.mark.slow

SAMPLED = ("score.n_most_frequent_token=4", "score.n_no_label=3", 'score.scorers=["detection","embedding"]')


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def by_kind(folder: Path) -> dict[str, list[Explanation]]:
    kinds: dict[str, list[Explanation]] = {}
    for explanation in open_run(folder).reader.explanations(baselines=True):
        kinds.setdefault(explanation.explainer, []).append(explanation)
    return kinds


def test_every_null_is_scored_on_the_questions_of_the_true_label(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *SAMPLED))
        assert run_pipeline(pipeline).n_failed == 0
        n_asked = len(server.calls)
        run_pipeline(pipeline)
        assert len(server.calls) == n_asked, "a rerun with nothing left to do asked again"
        prompts = [labels for call in server.calls if (labels := {of.label for of in shown_contexts(call.user)} - {""})]
    kinds = by_kind(pipeline.run_folder)
    assert {kind: len(rows) for kind, rows in kinds.items()} == {
        "examples": len(LABELLED),
        "shuffled": len(LABELLED),
        "most_frequent_token": 4,
        "no_label": 3,
    }
    reader = open_run(pipeline.run_folder).reader
    true = {e.feature_index: e for e in kinds["examples"]}
    for null in kinds["most_frequent_token"] + kinds["no_label"]:
        asked, of_true = (
            [(t.context_id, t.truth) for t in reader.trials(e.explanation_id, "detection")]
            for e in (null, true[null.feature_index])
        )
        assert asked == of_true
    scored = {
        kind: {s.scorer for s in reader.scores(explanation_ids=[rows[0].explanation_id])}
        for kind, rows in kinds.items()
    }
    assert scored["most_frequent_token"] == {"detection", "embedding"}
    assert scored["no_label"] == {"detection"}, "what compares the label with the text has nothing to compare"
    withheld = kinds["no_label"][0].label
    assert all(labels == {withheld} for labels in prompts if withheld in labels), "no other label tells in its prompts"
    assert all(of.n_pending == 0 for of in reader.status() if of.stage != "index")


def test_of_few_features_there_are_shuffled_labels_only_unless_more_is_asked_for(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    pipeline = with_contexts(load_pipeline(str(file), ('score.scorers=["detection"]',)))
    run_pipeline(pipeline)
    assert set(by_kind(pipeline.run_folder)) == {"keywords", "shuffled"}
    # Gone on with, more nulls are added, and nothing else is scored again.
    more = load_pipeline(str(file), ('score.scorers=["detection"]', "score.n_most_frequent_token=5"))
    run_pipeline(more)
    kinds = by_kind(pipeline.run_folder)
    assert len(kinds["most_frequent_token"]) == 5
    (of,) = open_run(pipeline.run_folder).score_summary()
    assert [(null.kind, null.n) for null in of.other_nulls] == [("most_frequent_token", 5)]


def test_nulls_that_are_not_asked_for_are_not_made(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    asked = ('score.scorers=["detection"]', 'score.nulls=["most_frequent_token"]', "score.n_most_frequent_token=5")
    pipeline = with_contexts(load_pipeline(str(file), asked))
    run_pipeline(pipeline)
    assert set(by_kind(pipeline.run_folder)) == {"keywords", "most_frequent_token"}


def test_labels_made_partly_wrong_are_kept_apart_from_the_true_ones_and_score_lower(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs"), encoding="utf-8")
    asked = ('score.scorers=["recall"]', 'score.nulls=["too_broad", "too_narrow"]', "score.n_partly_wrong=20")
    pipeline = with_contexts(load_pipeline(str(file), asked))
    assert run_pipeline(pipeline).n_failed == 0
    run = open_run(pipeline.run_folder)
    kinds = by_kind(pipeline.run_folder)
    true = {e.feature_index: e for e in kinds["keywords"]}
    assert set(kinds) == {"keywords", "too_broad", "too_narrow"}
    assert {e.feature_index for e in kinds["too_broad"]} == set(true)
    for of in kinds["too_broad"]:
        assert of.label.startswith(true[of.feature_index].label)
        assert len(label_words(of.label)) > len(label_words(true[of.feature_index].label))
    # Only what lists several things can be made narrower.
    assert [e.feature_index for e in kinds["too_narrow"]] == [FEATURES.index(COLOURS)]
    (recall,) = run.score_summary()
    below = {of.kind: of.share_below_true for of in recall.other_nulls}
    assert below["too_broad"] is not None
    assert below["too_broad"] > 0.5
    # To the local judge one colour is as good as three: what is of no use to see the difference is told as none.
    assert below["too_narrow"] == 0.0


def test_a_paid_judge_is_asked_about_partly_wrong_labels_only_where_that_is_said(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.score.nulls._A_TENTH", 1)  # the default's sample, of as few labels as there are
    asked = ('score.nulls=["too_broad"]', 'score.scorers=["detection","embedding"]')
    with LoopbackServer(knowing()) as server:
        pipeline = with_contexts(asked_pipeline(planted, tmp_path, server.openai_url, *asked))
        assert run_pipeline(pipeline).n_failed == 0
        run, n_asked = open_run(pipeline.run_folder), len(server.calls)
        assert scored_of(run, "too_broad") == {"embedding"}
        assert all(of.n_pending == 0 for of in run.status() if of.stage != "index")
        score = pipeline.score.model_copy(update={"n_partly_wrong": 4})
        assert run_pipeline(pipeline.model_copy(update={"score": score})).n_failed == 0
        assert len(server.calls) > n_asked
        assert scored_of(run, "too_broad") == {"detection", "embedding"}


def scored_of(run: Run, kind: str) -> set[str]:
    """The scorers that scored labels of a null."""
    rows = [e.explanation_id for e in run.reader.explanations(baselines=True) if e.explainer == kind]
    assert rows
    return {score.scorer for score in run.reader.scores(explanation_ids=rows)}
