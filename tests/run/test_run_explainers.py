"""The whole pipeline with explainers other than `examples`: ours, and one that a user wrote."""

import json
from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.cli import main
from autointerp.config import Pipeline
from autointerp.errors import PipelineError
from autointerp.run.pipeline import Stage
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Say
from tests.loopback.truth import TruthOracle, shown_contexts
from tests.run.planted import Planted
from tests.run.prepared import WithContexts

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "explain"
STAGES: tuple[Stage, ...] = ("corpus", "collect", "contexts", "explain", "score")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")


def pipeline_with(planted: Planted, folder: Path, explainer: str, url: str) -> Pipeline:
    more = ["[explain]", f"explainer = {json.dumps(explainer)}", "[explain.model]", 'model = "m"']
    more += [f'base_url = "{url}"', "max_attempts = 1"]
    path = folder / "explained.toml"
    path.write_text(planted.toml("explained", folder / "runs", *more), encoding="utf-8")
    return load_pipeline(str(path), ('features.indices="0,6"', 'score.scorers=["detection"]', "score.baseline=false"))


def copied_example(folder: Path) -> Path:
    for name in ("example_explainer.py", "example_explainer.txt"):
        (folder / name).write_text((EXAMPLE / name).read_text(encoding="utf-8"), encoding="utf-8")
    return folder / "example_explainer.py"


def test_the_example_of_the_documentation_labels_features_and_is_scored(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    file = copied_example(tmp_path)
    with LoopbackServer(Always(Say('{"label": "ships in harbours"}'))) as server:
        pipeline = with_contexts(pipeline_with(planted, tmp_path, f"{file}:KindOfText", server.openai_url))
        outcome = run_pipeline(pipeline, STAGES)
        run_pipeline(pipeline_with(planted, tmp_path, f"{file}:KindOfText", server.openai_url), STAGES)
        assert len(server.calls) == 2, "a rerun asks nothing"
        prompt = file.with_suffix(".txt")
        prompt.write_text(prompt.read_text(encoding="utf-8").replace("at most 10", "at most 9"), encoding="utf-8")
        run_pipeline(pipeline_with(planted, tmp_path, f"{file}:KindOfText", server.openai_url), STAGES)
        assert len(server.calls) == 4, "another prompt asks again"
    assert outcome.n_failed == 0
    assert "at most 10 words what kind of text" in server.calls[0].system
    assert "<<" not in server.calls[0].user
    reader = open_run(outcome.folder.path).reader
    explanations = reader.explanations()
    assert [(e.feature_index, e.label, e.explainer) for e in explanations] == [
        (0, "ships in harbours", "kind_of_text"),
        (6, "ships in harbours", "kind_of_text"),
    ]
    assert all(e.n_contexts for e in explanations)
    assert len(reader.scores(explanation_ids=[e.explanation_id for e in explanations])) == 2


def test_an_explainer_that_is_none_is_told_before_anything_is_read(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0", encoding="utf-8")
    pipeline = pipeline_with(planted, tmp_path, f"{tmp_path}/broken.py:Mine", "http://127.0.0.1:9/v1")
    with pytest.raises(PipelineError, match="ZeroDivisionError"):
        run_pipeline(pipeline)
    assert not pipeline.run_folder.exists()
    with pytest.raises(SystemExit) as caught:
        main(["run", str(tmp_path / "explained.toml")])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "broken.py can't be imported (ZeroDivisionError: division by zero): mend that file" in line


def test_labels_from_fewer_contexts_than_were_asked_for_are_told_in_the_stage_s_line(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(call: Call) -> Outcome:
        if len(shown_contexts(call.user)) > 12:
            return Http(400, "This model's maximum context length is 99 tokens")
        return Say('{"label": "ships"}')

    with LoopbackServer(Always(reply)) as server, caplog.at_level("INFO"):
        run_pipeline(with_contexts(pipeline_with(planted, tmp_path, "examples", server.openai_url)), ("explain",))
    (line,) = (record.message for record in caplog.records if record.message.startswith("explain "))
    assert "2 labels rest on 10 contexts instead of explain.n_contexts: more don't fit" in line
    assert "explain.model.context_window" in line


def test_exclusions_and_sides_reach_the_store(planted: Planted, with_contexts: WithContexts, tmp_path: Path) -> None:
    def contrast(call: Call) -> Outcome:
        assert "\nSilent:\n- " in call.user
        return Say('{"label": "ship", "excludes": "boats"}')

    with LoopbackServer(Always(contrast)) as server:
        pipeline = with_contexts(pipeline_with(planted, tmp_path, "contrastive", server.openai_url))
        outcome = run_pipeline(pipeline, STAGES)
    (first, _) = open_run(outcome.folder.path).reader.explanations()
    assert (first.label, first.excludes) == ("ship, but not boats", "boats")
    with LoopbackServer(TruthOracle()) as server:
        outcome = run_pipeline(pipeline_with(planted, tmp_path, "evidence", server.openai_url), STAGES)
        assert '\nRaises: " ship"' in server.calls[0].user
    assert outcome.n_failed == 0
    assert [e.side for e in open_run(outcome.folder.path).reader.explanations()] == ["input", "input"]


def test_the_corpus_decides_what_the_model_is_told_of_it_unless_the_pipeline_does(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told(*overrides: str) -> tuple[list[str], str]:
        made = pipeline_with(planted, tmp_path, "examples", server.openai_url)
        explain = made.explain.model_copy(update={"domain": overrides[0]} if overrides else {})
        caplog.clear()
        before = len(server.calls)
        run_pipeline(made.model_copy(update={"explain": explain}), ("explain",))
        said = [record.message for record in caplog.records if record.message.startswith("explain.domain is")]
        return said, server.calls[-1].system if len(server.calls) > before else ""

    with LoopbackServer(TruthOracle()) as server, caplog.at_level("INFO"):
        with_contexts(pipeline_with(planted, tmp_path, "examples", server.openai_url))
        (line,), general = told()
        assert line.startswith("explain.domain is 'general', by the corpus: of ")
        assert told("general") == ([], ""), "the same labels, which are there already"
        said, code = told("code")
        assert said == []
        assert code.startswith(f"{general}\n\n")
        assert told() == ([], ""), "nothing is pending, so nothing is decided aloud"
    explanations = open_run(tmp_path / "runs" / "explained").reader.explanations()
    assert all("domain" not in e.detail for e in explanations)
