"""The whole pipeline with the scorer that turns features up and asks whether the label fits what comes of it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from autointerp import export_run, load_pipeline, open_run, run_pipeline
from autointerp.export.options import ExportOptions
from autointerp.llm import load_prompt
from autointerp.run.dry_run import plan_cost
from autointerp.score.tier import tier_of
from tests.command import complaint, printed
from tests.loopback.server import LoopbackServer
from tests.loopback.truth import TruthOracle
from tests.run.planted import EVERYWHERE, FEATURES, LABELLED, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_generation import STAGES, judged_by
from tests.run.test_run_planted import KEY

pytestmark = pytest.mark.slow


def toml_of(planted: Planted, folder: Path, *more: str, coders: tuple[str, ...] | None = None) -> Path:
    path = folder / "steered.toml"
    lines = ("[score]", 'scorers = ["intervention"]', "n_interventions = 4", *more)
    path.write_text(planted.toml("steered", folder / "runs", *lines, coders=coders), encoding="utf-8")
    return path


def test_a_true_label_fits_what_its_feature_promotes_and_a_shuffled_one_does_not(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = with_contexts(load_pipeline(str(toml_of(planted, tmp_path))))
    assert run_pipeline(pipeline, STAGES).n_failed == 0
    run = open_run(pipeline.run_folder)
    (summary,) = run.score_summary()
    true, shuffled = summary.rows[:2]
    assert (true.kind, true.median) == ("true", 1.0)
    assert shuffled.kind == "shuffled"
    assert shuffled.mean == pytest.approx(0.5, abs=0.2)
    labels = {e.feature_index: e for e in run.reader.explanations()}
    for index in set(LABELLED) - {EVERYWHERE}:
        (score,) = run.reader.scores(explanation_ids=[labels[index].explanation_id])
        assert set(score.detail["promoted"]) >= set(FEATURES[index]), "it promotes its own words"
        assert score.detail["kl"] > 0
        assert score.detail["kl_others"] > 0
        largest = max(c.max_activation for c in run.reader.feature_contexts([index])[0].contexts)
        assert score.detail["strength"] == pytest.approx(largest)
        assert score.n_trials == 8
        shown = {c.context_id: c for c in run.reader.contexts(index, kind="effect")}
        for trial in run.reader.trials(score.explanation_id, "intervention"):
            tokens = shown[trial.context_id].text.split(", ")
            assert (set(FEATURES[index]) <= set(tokens)) == trial.truth
    digest = run.reader.content_digest()
    run_pipeline(pipeline, STAGES)
    assert open_run(pipeline.run_folder).reader.content_digest() == digest
    assert "intervention" in printed(capsys, "show", str(pipeline.run_folder), str(LABELLED[0]))


def test_a_language_model_judges_what_is_promoted(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer(TruthOracle()) as server:
        more = judged_by(server.url + "/v1")
        pipeline = with_contexts(load_pipeline(str(toml_of(planted, tmp_path, *more))))
        plan = plan_cost(pipeline)
        assert server.calls == []
        outcome = run_pipeline(pipeline, STAGES)
        calls = list(server.calls)
    assert outcome.n_failed == 0
    assert {call.system for call in calls} == {load_prompt("judge_intervention").system}
    (stage,) = plan.stages
    assert (stage.stage, stage.usage.n_calls) == ("score:intervention", len(calls))
    (summary,) = open_run(pipeline.run_folder).score_summary()
    assert summary.judge == "writes"
    true, shuffled = summary.rows[:2]
    assert (true.kind, true.median) == ("true", 1.0)
    assert shuffled.kind == "shuffled"
    assert shuffled.mean == pytest.approx(0.5, abs=0.2)


def test_several_sources_of_one_subject_are_each_turned_up_where_they_write(planted: Planted, tmp_path: Path) -> None:
    coders = ("[[coder]]", f'path = "{planted.coder}"', "[[coder]]", f'path = "{planted.coder_2}"')
    pipeline = load_pipeline(str(toml_of(planted, tmp_path, coders=coders)), ('features.indices="0-2,6-8"',))
    assert run_pipeline(pipeline).n_failed == 0
    run = open_run(pipeline.run_folder)
    for source in run.reader.sources():
        labels = {e.explanation_id for e in run.reader.explanations(source_id=source.source_id)}
        values = [s.value for s in run.reader.scores(explanation_ids=sorted(labels))]
        assert len(values) == len(labels) > 0
        assert np.median(values) == 1.0, source.source_id


def test_two_runs_ask_the_same_questions_whatever_is_scored_beside_them(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    found = []
    for name, asked in (("all", 'features.indices="0-2,6"'), ("one", 'features.indices="2"')):
        folder = tmp_path / name
        folder.mkdir()
        pipeline = with_contexts(load_pipeline(str(toml_of(planted, folder)), (asked, "score.baseline=false")))
        run_pipeline(pipeline, STAGES)
        run = open_run(pipeline.run_folder)
        found.append(sorted((c.context_id, c.text) for c in run.reader.contexts(2, kind="effect")))
    assert found[0] == found[1]


def test_a_subject_without_a_head_is_refused_in_one_line_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorers = json.dumps(["detection", "intervention"])
    said = complaint(capsys, "run", "demo", "--set", f"score.scorers={scorers}", "--set", f'runs="{tmp_path}"')
    assert "the scorer 'intervention' asks what the subject expects next" in said
    assert "a model of type bert has no language-model head" in said
    assert "take it out of score.scorers" in said
    assert not list(tmp_path.glob("*/corpus/*")), "before hours of work"


def test_the_tier_of_a_label_stands_wherever_the_label_does(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toml_of(planted, tmp_path)
    pipeline = with_contexts(load_pipeline(str(path), ('score.scorers=["detection"]',)))
    run_pipeline(pipeline, STAGES)
    index, folder = LABELLED[0], pipeline.run_folder
    own = open_run(folder).feature(index)
    assert own.tier == tier_of(own.labels[0].scores, {"detection": 0.5})
    told = "tier       input (output not asked), carried by detection"
    assert told in printed(capsys, "show", str(folder), str(index))
    more = load_pipeline(str(path), ('score.scorers=["detection","intervention","intruder"]',))
    run_pipeline(more, STAGES)
    run = open_run(folder)
    tier = run.feature(index).tier
    assert tier is not None
    assert (tier.name, tier.carried_by) == ("both", ("detection", "intervention"))
    counts = run.reader.tier_counts()
    assert counts["both"] > 0
    assert sum(counts.values()) == run.reader.n_labels()
    assert f"labels by tier: {counts['both']} both" in printed(capsys, "status", str(folder))
    assert json.loads(printed(capsys, "status", str(folder), "--json"))["tiers"] == counts
    assert json.loads(printed(capsys, "show", str(folder), str(index), "--json"))["tier"]["name"] == "both"
    frame = run.to_pandas()
    assert frame["tier"].value_counts().to_dict() == counts
    export_run(folder, tmp_path / "labels.jsonl", options=ExportOptions(baselines=True))
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    exported = Counter(of["tier"] for of in lines if of["label"] and of["explanation"]["label_from"] is None)
    assert exported == Counter(counts)
    shuffled = {of["tier"] for of in lines if of["label"] and of["explanation"]["label_from"] is not None}
    assert shuffled == {None}, "a shuffled label has no tier"
