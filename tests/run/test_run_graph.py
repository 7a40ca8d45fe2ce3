"""Labels from the features before and after one: planted sources of which one drives the other, through whole runs."""

import json
import re
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.config import FeaturesConfig, Pipeline
from autointerp.config.file import load_pipeline
from autointerp.errors import PipelineError
from autointerp.llm.prompts import load_prompt
from autointerp.records import Explanation
from autointerp.run.dry_run import plan_cost
from autointerp.run.pipeline import Stage
from tests.loopback.server import Call, LoopbackServer, Outcome, Say
from tests.loopback.truth import most_frequent_mark, shown_contexts
from tests.run.planted import FEATURES, FEATURES_2, Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY

EARLY, LATE = "planted@0-emb-9", "planted@0-res-12"
SHIP, SHIP_EARLY = FEATURES.index(("ship",)), FEATURES_2.index(("ship",))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


class ThreePasses:
    """Answers each pass with its name and with what the first neighbor that it is shown is called."""

    def reply(self, call: Call) -> Outcome:
        if call.system == load_prompt("check").system:
            return Say('{"ok": true}')
        if call.system == load_prompt("explain_examples").system:
            return Say(json.dumps({"label": most_frequent_mark(shown_contexts(call.user))}))
        first = re.search(r'^- ("(?:[^"\\]|\\.)*")', call.user, re.MULTILINE)
        name = json.loads(first[1]) if first else "nothing"
        if call.system == load_prompt("explain_graph_output").system:
            return Say(json.dumps({"label": f"leads to {name}"}))
        if call.system == load_prompt("explain_graph_input").system:
            return Say(json.dumps({"label": f"driven by {name}"}))
        assert call.system == load_prompt("explain_graph").system
        said = re.search(r"^Input: (.*)$", call.user, re.MULTILINE)
        assert said is not None
        return Say(json.dumps({"side": "input", "label": f"{json.loads(said[1])}, united"}))


def pipeline(
    planted: Planted, folder: Path, url: str, *overrides: str, coders: int = 2, name: str = "graph"
) -> Pipeline:
    tables = ["[[coder]]", f'path = "{planted.coder}"', "[[coder]]", f'path = "{planted.coder_2}"'][: 2 * coders]
    model = ['provider = "openai"', 'model = "m"', f'base_url = "{url}/v1"', "concurrency = 4", "max_attempts = 1"]
    more = ["[explain]", 'explainer = "graph"', "[explain.model]", *model]
    path = folder / f"{name}.toml"
    path.write_text(planted.toml(name, folder / "runs", *more, coders=tables), encoding="utf-8")
    return load_pipeline(str(path), overrides)


def labels(of: Pipeline) -> dict[tuple[str, int], Explanation]:
    return {(e.source_id, e.feature_index): e for e in open_run(of.run_folder).reader.explanations()}


EXPLAIN: tuple[Stage, ...] = ("contexts", "explain")


@pytest.mark.slow
def test_a_feature_is_labelled_from_the_one_that_drives_it(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(ThreePasses()) as server:
        of = with_contexts(pipeline(planted, tmp_path, server.url))
        run_pipeline(of, EXPLAIN)
        n_calls = len(server.calls)
        run_pipeline(of, EXPLAIN)
        assert len(server.calls) == n_calls, "a rerun with nothing left to do asked again"
    found = labels(of)
    late, early = found[LATE, SHIP], found[EARLY, SHIP_EARLY]
    (strongest, *_) = late.detail["upstream"]
    assert (late.label, late.side) == (f"driven by {strongest['label']}, united", "input")
    assert "ship" in strongest["label"]
    assert (strongest["feature"], strongest["place"]) == (f"{EARLY}:{SHIP_EARLY}", "with")
    assert strongest["n_both"] == strongest["n_fired"], "it fires on the very same tokens"
    assert early.detail["downstream"][0]["feature"] == f"{LATE}:{SHIP}"
    assert early.detail["output"] == f"leads to {early.detail['downstream'][0]['label']}"
    # What is computed later can't lead to what is computed earlier.
    assert all(neighbor["feature"].startswith(EARLY) for neighbor in early.detail["upstream"])


def asked(server: LoopbackServer) -> set[tuple[str, str]]:
    """What was asked, apart from the check whether the model answers."""
    return {(call.system, call.user) for call in server.calls if call.system != load_prompt("check").system}


@pytest.mark.slow
def test_what_is_asked_about_a_feature_does_not_depend_on_which_others_a_run_has_chosen(
    planted: Planted, tmp_path: Path
) -> None:
    """The few features have contexts of their own alone; those of their neighbors have to be built."""
    local = ('contexts.negatives=["silent_random"]',)
    with LoopbackServer(ThreePasses()) as server:
        every = pipeline(planted, tmp_path, server.url, *local, name="every")
        run_pipeline(every, ("corpus", "collect", *EXPLAIN))
        everything = asked(server)
    with LoopbackServer(ThreePasses()) as server:
        few = pipeline(planted, tmp_path, server.url, *local, 'features.indices="0"', name="few")
        run_pipeline(few, ("corpus", "collect", *EXPLAIN))
        assert asked(server) < everything
        run_pipeline(few.model_copy(update={"features": FeaturesConfig()}), EXPLAIN)
        assert asked(server) == everything
    found, as_one_run = labels(few), labels(every)
    assert {key: (e.label, e.side, e.detail) for key, e in found.items()} == {
        key: (e.label, e.side, e.detail) for key, e in as_one_run.items()
    }
    assert open_run(few.run_folder).reader.feature_contexts([1], LATE) != []


@pytest.mark.slow
def test_a_dry_run_counts_the_calls_that_the_run_makes(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(ThreePasses()) as server:
        of = with_contexts(pipeline(planted, tmp_path, server.url, "explain.neighbors_from=examples"))
        planned = plan_cost(of)
        assert server.calls == [], "a dry run asks nothing"
        run_pipeline(of, EXPLAIN)
        n_asked = len(asked(server))
        run_pipeline(of, EXPLAIN)
        assert len(asked(server)) == n_asked
    (stage,) = planned.stages
    assert (stage.usage.n_calls, stage.n_failed) == (n_asked, 0)


@pytest.mark.slow
def test_one_source_by_itself_has_the_features_on_the_tokens_around_for_neighbors(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(ThreePasses()) as server:
        of = with_contexts(pipeline(planted, tmp_path, server.url, coders=1))
        run_pipeline(of, EXPLAIN)
    found = labels(of)
    places = {n["place"] for e in found.values() for side in ("upstream", "downstream") for n in e.detail[side]}
    assert places <= {"before", "after"}
    assert found[LATE, SHIP].label


@pytest.mark.slow
def test_labels_of_a_file_name_the_neighbors_where_it_has_some(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text(f"feature,label\n{EARLY}:{SHIP_EARLY},large vessels\n", encoding="utf-8")
    from_file = ("explain.neighbors_from=outside", f"explain.labels={tmp_path / 'labels.csv'}")
    with LoopbackServer(ThreePasses()) as server:
        of = with_contexts(pipeline(planted, tmp_path, server.url, *from_file, 'features.indices="0"'))
        run_pipeline(of, EXPLAIN)
        outcome = run_pipeline(of.model_copy(update={"features": FeaturesConfig()}), EXPLAIN)
        prompts = [call.user for call in server.calls]
    assert outcome.n_failed == 0
    assert labels(of)[LATE, SHIP].label == "driven by large vessels, united"
    assert any('no label, fires on " piano"' in prompt for prompt in prompts), "the others have none"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("explain.neighbors_from=graph",), r"needs their neighbors itself: name one that reads contexts alone"),
        (("explain.neighbors_from=best_of",), r"needs a judge: name one that reads contexts alone"),
        (("explain.neighbors_from=keyword",), r"there is no explainer 'keyword'"),
        (("explain.labels=labels.csv",), r"explain.neighbors_from = 'keywords' reads none: set explain.neighbors_from"),
        (("explain.neighbors_from=outside",), r"'outside' reads labels from a file: name it as explain.labels"),
        (("explain.model=null",), r"'graph' asks a language model: add a table \[explain.model\]"),
    ],
)
def test_what_can_not_be_is_told_before_any_work(
    overrides: tuple[str, ...], message: str, planted: Planted, tmp_path: Path
) -> None:
    of = pipeline(planted, tmp_path, "http://127.0.0.1:9")
    changes = dict(override.removeprefix("explain.").split("=") for override in overrides)
    changed = of.explain.model_copy(update={k: None if v == "null" else v for k, v in changes.items()})
    with pytest.raises(PipelineError, match=message):
        run_pipeline(of.model_copy(update={"explain": changed}))
    assert not of.run_folder.exists()
