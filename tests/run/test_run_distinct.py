"""Runs that tell features of nearly the same label apart: what they ask, what they keep, and how they go on."""

import json
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.errors import KeyRefusedError, PipelineError
from autointerp.llm import load_prompt
from autointerp.records import Explanation
from autointerp.run.dry_run import plan_cost
from autointerp.run.pipeline import Stage
from tests.loopback.server import Call, Http, LoopbackServer, Outcome, Say
from tests.loopback.truth import TruthOracle, most_frequent_mark, shown_contexts
from tests.run.planted import Planted
from tests.run.prepared import WithContexts
from tests.run.test_run_planted import KEY, Told, asked_pipeline

pytestmark = pytest.mark.slow

EXPLAIN: tuple[Stage, ...] = ("explain",)
SHARED = "a noun"


class Coarse:
    """Calls whatever fires on a noun `SHARED`; asked what tells it apart, it says the word, unless it refuses."""

    def __init__(self, *, refuses_after: int | None = None, finds: bool = True) -> None:
        self._truth = TruthOracle({SHARED: lambda text, marked: True})
        self.left = refuses_after
        self._finds = finds
        self.is_down = self.judge_is_down = False
        self.n_first = self.n_apart = 0

    def reply(self, call: Call) -> Outcome:
        if call.system == load_prompt("explain_examples").system:
            self.n_first += 1
            word = most_frequent_mark(shown_contexts(call.user))
            return Say(json.dumps({"label": SHARED if word in {"ship", "river", "bread"} else word}))
        if call.system == load_prompt("explain_distinct").system:
            if self.is_down:
                return Http(500, "down")
            if self.left == 0:
                return Http(401, "the key is refused")
            self.left = None if self.left is None else self.left - 1
            self.n_apart += 1
            assert f'- "{SHARED}": ' in call.user
            return Say(json.dumps({"label": most_frequent_mark(shown_contexts(call.user)) if self._finds else ""}))
        return Http(500, "down") if self.judge_is_down else self._truth.reply(call)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def pipeline_of(planted: Planted, folder: Path, url: str, indices: str = "0,1,6,7", *more: str) -> Pipeline:
    overrides = ("explain.distinct=true", "explain.distinct_similarity=0.99", 'score.scorers=["detection"]')
    return asked_pipeline(
        planted, folder, url, *overrides, "score.baseline=false", f'features.indices="{indices}"', *more
    )


def labels(pipeline: Pipeline) -> dict[int, str]:
    return {of.feature_index: of.label for of in explanations(pipeline)}


def explanations(pipeline: Pipeline) -> list[Explanation]:
    return open_run(pipeline.run_folder).reader.explanations()


def test_features_of_one_label_are_told_apart_and_the_others_keep_theirs(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    told, oracle = Told(), Coarse()
    with LoopbackServer(oracle) as server:
        pipeline = with_contexts(pipeline_of(planted, tmp_path, server.openai_url))
        planned = {of.stage: of.usage.n_calls for of in plan_cost(pipeline).stages}
        assert run_pipeline(pipeline, ("explain", "score"), told).n_failed == 0
        n_calls = len(server.calls)
        run_pipeline(pipeline, ("explain", "score"))
        assert len(server.calls) == n_calls, "a rerun asks nothing"
    assert labels(pipeline) == {0: "ship", 1: "river", 6: "bread", 7: "piano"}
    assert (oracle.n_first, oracle.n_apart) == (4, 3)
    by_feature = {of.feature_index: of for of in explanations(pipeline)}
    distinct = by_feature[0].detail["distinct"]
    assert (distinct["first_label"], sorted(distinct["near"])) == (SHARED, [1, 6])
    assert distinct["first_from_siblings"] == 0.5 < distinct["second_from_siblings"] == 1.0
    assert "distinct" not in by_feature[7].detail
    assert "3 labels nearly shared: 3 told apart, 0 of features that do the same" in told.lines["explain"]
    assert "features with an equal label: 3 before, 0 after" in told.lines["explain"]
    assert planned["explain"] >= 7, "the plan is no less than what was asked"
    assert planned["explain:select"] > 0


def test_a_run_that_tells_nothing_apart_finds_its_labels_there_and_its_labels_are_found(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    oracle = Coarse()
    with LoopbackServer(oracle) as server:
        apart = with_contexts(pipeline_of(planted, tmp_path, server.openai_url))
        plain = apart.model_copy(update={"explain": apart.explain.model_copy(update={"distinct": False})})
        run_pipeline(plain, EXPLAIN)
        assert labels(plain) == {0: SHARED, 1: SHARED, 6: SHARED, 7: "piano"}
        run_pipeline(apart, EXPLAIN)
        assert (oracle.n_first, oracle.n_apart) == (4, 3)
        run_pipeline(plain, EXPLAIN)
        assert labels(plain) == {0: SHARED, 1: SHARED, 6: SHARED, 7: "piano"}
        run_pipeline(apart, EXPLAIN)
    assert (oracle.n_first, oracle.n_apart) == (4, 3), "both are there"
    assert labels(apart) == {0: "ship", 1: "river", 6: "bread", 7: "piano"}


def test_a_run_that_ends_between_the_two_passes_goes_on_to_the_same_labels(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    for folder in ("cut", "whole"):
        (tmp_path / folder).mkdir()
    with LoopbackServer(Coarse()) as server:
        whole = with_contexts(pipeline_of(planted, tmp_path / "whole", server.openai_url))
        run_pipeline(whole, EXPLAIN)
    oracle = Coarse(refuses_after=0)
    with LoopbackServer(oracle) as server:
        cut = with_contexts(pipeline_of(planted, tmp_path / "cut", server.openai_url))
        for left in (0, 1):
            oracle.left = left
            with pytest.raises(KeyRefusedError):
                run_pipeline(cut, EXPLAIN)
            assert labels(cut) == {0: SHARED, 1: SHARED, 6: SHARED, 7: "piano"}, "what there is can be read"
        oracle.left = None
        run_pipeline(cut, EXPLAIN)
    assert (oracle.n_first, oracle.n_apart) == (4, 3), "no call was made twice"
    same = [[(e.explanation_id, e.label, e.detail) for e in explanations(of)] for of in (cut, whole)]
    assert same[0] == same[1]


def test_a_feature_whose_model_or_judge_is_down_is_told_apart_by_the_next_run(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    oracle = Coarse()
    oracle.is_down = True
    with LoopbackServer(oracle) as server:
        pipeline = with_contexts(pipeline_of(planted, tmp_path, server.openai_url))
        assert run_pipeline(pipeline, EXPLAIN).n_failed == 3
        assert labels(pipeline) == {7: "piano"}
        oracle.is_down, oracle.judge_is_down = False, True
        assert run_pipeline(pipeline, EXPLAIN).n_failed == 3
        oracle.judge_is_down = False
        assert run_pipeline(pipeline, EXPLAIN).n_failed == 0
    assert labels(pipeline) == {0: "ship", 1: "river", 6: "bread", 7: "piano"}
    assert (oracle.n_first, oracle.n_apart) == (4, 3), "what was answered is not asked again"


def test_features_added_later_are_told_from_those_there_which_keep_their_labels(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    oracle = Coarse()
    with LoopbackServer(oracle) as server:
        some = with_contexts(pipeline_of(planted, tmp_path, server.openai_url, "0,7"))
        run_pipeline(some, EXPLAIN)
        assert labels(some) == {0: SHARED, 7: "piano"}
        before = {of.feature_index: of.explanation_id for of in explanations(some)}
        run_pipeline(pipeline_of(planted, tmp_path, server.openai_url, "0,1,6,7"), EXPLAIN)
    assert (oracle.n_first, oracle.n_apart) == (4, 2)
    assert labels(some) == {0: SHARED, 1: "river", 6: "bread", 7: "piano"}
    assert before.items() <= {of.feature_index: of.explanation_id for of in explanations(some)}.items()


def test_where_the_model_finds_no_difference_the_shared_label_stays(
    planted: Planted, with_contexts: WithContexts, tmp_path: Path
) -> None:
    with LoopbackServer(Coarse(finds=False)) as server:
        pipeline = with_contexts(pipeline_of(planted, tmp_path, server.openai_url))
        assert run_pipeline(pipeline, EXPLAIN).n_failed == 0
    assert labels(pipeline) == {0: SHARED, 1: SHARED, 6: SHARED, 7: "piano"}
    (kept,) = {of.detail["distinct"]["kept"] for of in explanations(pipeline) if "distinct" in of.detail}
    assert kept == "first label: NoDifference, m finds no difference"


def test_an_explainer_that_tells_nothing_apart_is_told_before_anything_is_read(
    planted: Planted, tmp_path: Path
) -> None:
    pipeline = pipeline_of(planted, tmp_path, "http://127.0.0.1:9/v1", "0,1", 'explain.explainer="best_of"')
    with pytest.raises(PipelineError, match=r"explain\.distinct is set, and the explainer 'best_of' tells no"):
        run_pipeline(pipeline)
    assert not pipeline.run_folder.exists()
