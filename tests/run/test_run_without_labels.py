"""Runs with a scorer that looks at no label: paid once a feature, and never for a shuffled label."""

from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.llm.prompts import load_prompt
from autointerp.run.dry_run import plan_cost
from tests.loopback.server import LoopbackServer
from tests.run.planted import LABELLED, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, asked_pipeline, knowing

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_it_scores_true_labels_only_and_a_second_label_of_a_feature_is_not_paid_for(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    def pipeline(*settings: str) -> Pipeline:
        return asked_pipeline(planted, tmp_path, server.openai_url, 'score.scorers=["intruder"]', *settings)

    def n_judged() -> int:
        return sum(call.system == load_prompt("judge_intruder").system for call in server.calls)

    with LoopbackServer(knowing()) as server:
        with_contexts(pipeline())
        (planned,) = (stage for stage in plan_cost(pipeline()).stages if stage.stage == "score:intruder")
        assert n_judged() == 0
        assert run_pipeline(pipeline()).n_failed == 0
        n_paid = n_judged()
        assert planned.usage.n_calls == n_paid > 0
        run = open_run(pipeline().run_folder)
        first = {e.feature_index: e.explanation_id for e in run.reader.explanations()}
        trials = {feature: run.reader.trials(name, "intruder") for feature, name in first.items()}
        (summary,) = run.score_summary()
        assert [(row.kind, row.n) for row in summary.rows] == [("true", len(LABELLED))]
        assert summary.win_rate is None
        assert {s.stage: (s.n_done, s.n_pending) for s in run.reader.status()}["score:intruder"] == (len(LABELLED), 0)

        assert run_pipeline(pipeline("explain.n_contexts=7", "features.sample=6")).n_failed == 0
        assert n_judged() == n_paid
    reader = open_run(pipeline().run_folder).reader
    second = {e.feature_index: e.explanation_id for e in reader.explanations()}
    assert 0 < len(second) <= len(first)
    for feature, name in second.items():
        assert name != first[feature]
        taken = reader.trials(name, "intruder")
        assert [(t.context_id, t.verdict, t.prompt) for t in taken] == [
            (t.context_id, t.verdict, t.prompt) for t in trials[feature]
        ]
