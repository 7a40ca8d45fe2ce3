"""Several explainers on a few features of a run: side by side on the same trials, kept, and none of the run's own."""

import json
from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline, try_explainers
from autointerp.config import Pipeline
from autointerp.errors import PipelineError, UnknownFeatureError
from tests.command import complaint, exit_status, printed
from tests.loopback.server import Always, LoopbackServer, Say
from tests.run.planted import DEAD, RARE, Planted
from tests.run.prepared import WithContexts

SHIP, BREAD, PIANO = 0, 6, 7
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")


def toml(planted: Planted, folder: Path, url: str | None = None, *, coders: list[str] | None = None) -> Path:
    more = ["[explain]", 'explainer = "keywords"', "[score]", 'scorers = ["detection", "embedding"]']
    if url is not None:
        more += ["[explain.model]", 'model = "m"', f'base_url = "{url}"', "max_attempts = 1"]
    path = folder / "tried.toml"
    path.write_text(planted.toml("tried", folder / "runs", *more, coders=coders), encoding="utf-8")
    return path


@pytest.fixture
def pipeline(planted: Planted, with_contexts: WithContexts, tmp_path: Path) -> Pipeline:
    return with_contexts(load_pipeline(str(toml(planted, tmp_path))))


def test_two_explainers_are_held_against_each_other_on_the_same_trials(pipeline: Pipeline) -> None:
    found = try_explainers(pipeline, [BREAD, f"{pipeline_source(pipeline)}:{SHIP}", BREAD], ["keywords", "rules"])
    assert [feature.feature_index for feature in found.features] == [SHIP, BREAD]
    assert found.n_failed == 0
    for feature, word in zip(found.features, ("ship", "bread"), strict=True):
        keywords, rules = feature.labels
        assert (keywords.explainer, rules.explainer) == ("keywords", "rules")
        assert rules.label == f'"{word}"'
        assert keywords.label is not None
        assert word in keywords.label
        for scorer in ("detection", "embedding"):
            first, second = keywords.scores[scorer], rules.scores[scorer]
            assert first.difference is None
            assert second.by_trials
            assert second.difference is not None
            assert second.difference.value == pytest.approx(second.value - first.value)
            assert second.low <= second.value <= second.high
    assert [of.scorer for of in found.overall["rules"]] == ["detection", "embedding"]
    assert [of.overall.n_first for of in found.overall["rules"]] == [2, 2]


def pipeline_source(pipeline: Pipeline) -> str:
    (source,) = open_run(pipeline.run_folder).sources()
    return source.source_id


def test_what_the_run_shows_as_its_own_stays_and_a_second_try_writes_nothing(pipeline: Pipeline) -> None:
    labelled = pipeline.model_copy(update={"features": pipeline.features.model_copy(update={"indices": "0,6"})})
    run_pipeline(labelled, ("explain", "score"))
    run = open_run(pipeline.run_folder)
    before = run.reader.explanations(baselines=True), run.reader.scores(), run.reader.stages()
    shown = run.status(), run.score_summary()
    try_explainers(pipeline, [SHIP, BREAD], ["rules", "keywords"])
    after = run.reader.explanations(baselines=True), run.reader.scores(), run.reader.stages()
    assert (run.status(), run.score_summary()) == shown
    own = {label.explanation_id for label in before[0]}
    assert after[0] == before[0]
    assert [score for score in after[1] if score.explanation_id in own] == before[1]
    assert after[2] == before[2]
    every = run.reader.explanations(superseded=True)
    assert sorted(e.explainer for e in every) == ["keywords", "keywords", "rules", "rules"]
    first = try_explainers(pipeline, [SHIP, BREAD], ["rules", "keywords"])
    assert run.reader.explanations(superseded=True) == every
    digest = run.reader.content_digest()
    assert try_explainers(pipeline, [SHIP, BREAD], ["rules", "keywords"]) == first
    assert run.reader.content_digest() == digest
    assert run_pipeline(labelled, ("explain", "score")).n_failed == 0
    assert run.reader.explanations(baselines=True) == before[0]


SHOUTING = """
from autointerp.explain.base import BaseExplainer

class Shouting(BaseExplainer):
    name = "shouting"

    async def explain(self, evidence):
        return self.explanation(evidence, evidence.top_tokens[0].token.strip().upper())
"""


def test_of_a_run_without_labels_none_that_is_tried_becomes_its_own(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SHOUTING, encoding="utf-8")
    run = open_run(pipeline.run_folder)
    found = try_explainers(pipeline, [PIANO], ["rules", f"{tmp_path}/own.py:Shouting"])
    assert [label.label for label in found.features[0].labels] == ['"piano"', "PIANO"]
    assert run.reader.explanations() == []
    assert run_pipeline(pipeline, ("explain",)).n_failed == 0
    assert {e.explainer for e in run.reader.explanations()} == {"keywords"}


def test_a_language_model_is_asked_once_and_why_it_wrote_no_label_is_told(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackServer(Always(Say('{"label": "large vessels"}'))) as server:
        file = toml(planted, tmp_path, server.openai_url)
        with_contexts(load_pipeline(str(file)))
        asked = ("explain", str(file), "--only", str(SHIP), "--try", "rules,examples")
        text = printed(capsys, *asked)
        assert "  examples   large vessels" in text
        assert "unknown: one feature" in text
        assert printed(capsys, *asked) == text
        assert len(server.calls) == 1
        found = json.loads(printed(capsys, *asked, "--json"))
        assert found["features"][0]["labels"][1]["label"] == "large vessels"
        assert set(found["features"][0]["labels"][1]["scores"]["detection"]["difference"]) >= {"value", "low", "high"}
    with LoopbackServer(Always(Say("I'm sorry, but I can't"))) as server:
        other = toml(planted, tmp_path, server.openai_url)
        refused = partly_printed(capsys, "explain", str(other), "--only", str(BREAD), "--try", "rules,examples")
        assert "none: ParseFailure: " in refused


def partly_printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that ends with 1 though it has done what it could."""
    capsys.readouterr()
    assert exit_status(*arguments) == 1
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "0", "--try", "keywords,ruels"), "no explainer 'ruels': one of keywords, rules"),
        (("--only", "0", "--try", "keywords,ruels"), "did you mean 'rules'?"),
        (("--only", "0", "--try", "keywords"), "only the explainer 'keywords' is named: there is nothing to compare"),
        (("--only", "0", "--try", "rules,keywords,rules"), "the explainer 'rules' is named twice: name each once"),
        (("--only", "0", "--try", ","), "no explainer is named"),
        (("--only", "0", "--try", "keywords,examples"), "explain.model"),
        (("--only", "0", "--try", "keywords,best_of"), "asks a language model: add a table [explain.model]"),
        (("--only", "0", "--try", "keywords,outside"), "explain.labels"),
        (("--only", str(DEAD), "--try", "keywords,rules"), f":{DEAD} is dead: it never fires in this corpus"),
        (("--only", "99", "--try", "keywords,rules"), "has no feature 99: its features are 0 to 11"),
        (("--only", "x@y:1", "--try", "keywords,rules"), "there is no source 'x@y' in the run: it holds "),
        (("--only", "ship", "--try", "keywords,rules"), "'ship' is not a feature: give an index such as 650"),
        (("--only", "9-1", "--try", "keywords,rules"), "ends before it begins"),
        (("--only", "1-999999999999", "--try", "keywords,rules"), "names 999,999,999,999 features: try a few, 1,000"),
        (("--only", ",", "--try", "keywords,rules"), "no feature is named"),
        (("--try", "keywords,rules"), "--try needs the features that it is tried on: name them by --only"),
        (("--only", "0"), "--only is of --try"),
        (("--json",), "--json is of --try"),
        (("--dry-run",), "--dry-run is of --try: autointerp run --dry-run tells the cost of a whole run"),
        (("--only", "0", "--try", "keywords", "--dry-run"), "only the explainer 'keywords' is named"),
        (("--only", str(DEAD), "--try", "keywords,rules", "--dry-run"), f":{DEAD} is dead: it never fires"),
        (("--only", "0", "--features", "1", "--try", "keywords,rules"), "--try needs the features"),
    ],
)
def test_what_can_t_be_tried_is_told_in_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], told: str, pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = open_run(pipeline.run_folder).reader.content_digest()
    assert told in complaint(capsys, "explain", str(tmp_path / "tried.toml"), *arguments)
    assert open_run(pipeline.run_folder).reader.content_digest() == digest


def test_a_feature_with_too_few_contexts_says_so_beside_those_that_have_labels(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--only", f"{RARE},{SHIP}", "--try", "keywords,rules")
    text = printed(capsys, "explain", str(tmp_path / "tried.toml"), *arguments)  # a finding is no failure
    assert text.count("none: TooFewContexts: ") == 2
    assert '"ship"' in text


FINDS_NOTHING = """
from autointerp.explain.base import NO_RULE, BaseExplainer

class FindsNothing(BaseExplainer):
    name = "finds_nothing"

    async def explain(self, evidence):
        return self.failure(evidence, {error_type}, "it would not")
"""


@pytest.mark.parametrize(("error_type", "status"), [("NO_RULE", 0), ("'Refusal'", 1)])
def test_a_feature_that_no_rule_fits_is_a_finding_as_in_a_run_and_a_refusal_is_not(
    error_type: str, status: int, pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "tried.toml")
    (tmp_path / "own.py").write_text(FINDS_NOTHING.format(error_type=error_type), encoding="utf-8")
    own = f"{tmp_path}/own.py:FindsNothing"
    assert exit_status("explain", file, "--only", f"{SHIP}", "--try", f"keywords,{own}") == status
    assert "it would not" in capsys.readouterr().out
    assert exit_status("run", file, "--set", "features.indices='0'", "--set", f"explain.explainer='{own}'") == status


def test_what_trying_would_ask_is_told_and_nothing_is_asked_or_written(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackServer(Always(Say('{"label": "large vessels"}'))) as server:
        file = toml(planted, tmp_path, server.openai_url)
        run = open_run(with_contexts(load_pipeline(str(file))).run_folder)
        digest = run.reader.content_digest()
        asked = ("explain", str(file), "--only", f"{SHIP},{BREAD}", "--try", "rules,examples")
        planned = json.loads(printed(capsys, *asked, "--dry-run", "--json"))
        assert [(of["stage"], of["n_calls"]) for of in planned["stages"]] == [("explain, examples", 2)]
        assert planned["total"]["input_tokens"] > 0
        assert server.calls == []
        assert run.reader.content_digest() == digest
        printed(capsys, *asked)
        assert len(server.calls) == 2
        again = json.loads(printed(capsys, *asked, "--dry-run", "--json"))
        assert again["total"]["n_calls"] == 0
        assert "asks no language model" in printed(capsys, *asked[:4], "--try", "rules,keywords", "--dry-run")


def test_the_judge_of_tried_labels_is_planned_too_and_needs_no_key(
    planted: Planted,
    with_contexts: WithContexts,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    file = toml(planted, tmp_path, NOWHERE)
    judged = ("judge.model.model='m'", f"judge.model.base_url='{NOWHERE}'")
    with_contexts(load_pipeline(str(file), judged))
    sets = [word for of in judged for word in ("--set", of)]
    asked = ("explain", str(file), *sets, "--only", str(SHIP), "--try", "rules,examples", "--dry-run", "--json")
    stages = json.loads(printed(capsys, *asked))["stages"]
    assert [of["stage"] for of in stages] == ["explain, examples", "score:detection"]
    assert stages[1]["n_calls"] > 1  # each explainer's label


def test_what_the_features_need_is_made_where_the_run_lacks_it(planted: Planted, tmp_path: Path) -> None:
    pipeline = load_pipeline(str(toml(planted, tmp_path)), ("score.scorers=['embedding']",))
    with pytest.raises(UnknownFeatureError, match="has no feature 99"):
        try_explainers(pipeline, [99], ["keywords", "rules"])
    assert not (pipeline.run_folder / "corpus").exists()
    found = try_explainers(pipeline, [SHIP], ["keywords", "rules"])
    assert found.features[0].labels[1].label == '"ship"'
    contexts = open_run(pipeline.run_folder).reader.dataframe("current_contexts")
    assert set(contexts["feature_index"]) == {SHIP}


def test_of_several_sources_a_feature_is_named_with_its_own(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    coders = ["[[coder]]", f'path = "{planted.coder}"', "[[coder]]", f'path = "{planted.coder_2}"']
    pipeline = with_contexts(load_pipeline(str(toml(planted, tmp_path, coders=coders))))
    other, one = (source.source_id for source in open_run(pipeline.run_folder).sources())
    with pytest.raises(PipelineError, match="name the feature with its source, for example "):
        try_explainers(pipeline, [SHIP], ["keywords", "rules"])
    found = try_explainers(pipeline, [f"{one}:0", f"{other}:2"], ["keywords", "rules"])
    assert [(of.source_id, of.labels[1].label) for of in found.features] == [
        (other, '"bread"'),
        (one, '"ship"'),
    ]
    assert [of.overall.n_first for of in found.overall["rules"]] == [2, 2]
