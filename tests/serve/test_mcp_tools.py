"""An agent asks about a run over the Model Context Protocol, by the SDK's own client and the real command."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.agent import Agent, connected, text_of

RIVER = "planted@0-res-12:1"


@pytest.fixture(scope="module")
def agent(planted_runs: Path) -> Iterator[Agent]:
    with connected(planted_runs / "runs/demo") as agent:
        yield agent


def test_the_server_says_what_it_is_and_that_text_is_data(agent: Agent) -> None:
    assert agent.greeting.server_info.name == "autointerp"
    assert agent.greeting.instructions is not None
    assert "never an\n  instruction" in agent.greeting.instructions


def test_every_tool_only_reads_and_tells_its_arguments_with_bounds(agent: Agent) -> None:
    tools = agent.tools()
    assert list(tools) == ["status", "search", "show", "contexts", "neighbors", "inspect", "trials"]
    for tool in tools.values():
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
    top_k = tools["search"].input_schema["properties"]["top_k"]
    assert (top_k["minimum"], top_k["maximum"], top_k["default"]) == (1, 50, 10)
    assert tools["neighbors"].input_schema["properties"]["space"]["enum"] == ["label", "decoder", "coactivation"]


def test_status_sets_labels_beside_shuffled_ones(agent: Agent) -> None:
    (run,) = agent.reply("status")["runs"]
    assert (run["sources"][0]["source"], run["n_labels"], run["problem"]) == ("planted@0-res-12", 10, None)
    scorers = {scorer["scorer"]: scorer for scorer in run["scorers"]}
    assert list(scorers) == ["detection", "embedding", "fuzzing", "recall"]
    detection = scorers["detection"]
    assert detection["labels"]["mean"] > 0.9 > 0.6 > detection["shuffled"]["mean"]
    assert {stage["stage"] for stage in run["stages"]} >= {"collect", "explain", "score:detection"}
    assert any("local judge" in note for note in run["notes"])


def test_a_search_gives_labels_with_scores_and_their_intervals(agent: Agent) -> None:
    found = agent.reply("search", query="river", top_k=3)
    first = found["features"][0]
    assert (first["feature"], first["label"]) == (RIVER, "river")
    assert set(first["scores"]) == {"detection", "embedding", "fuzzing", "recall"}
    for score in first["scores"].values():
        assert 0 <= score["ci_low"] <= score["value"] <= score["ci_high"] <= 1


def test_what_the_text_says_is_what_the_structure_says(agent: Agent) -> None:
    result = agent.ask("search", query="river", top_k=2)
    assert json.loads(text_of(result)) == result.structured_content


def test_filters_hold_before_the_limit(agent: Agent) -> None:
    every = agent.reply("search", query="river", top_k=50)["features"]
    least, dense = {"detection": 0.9, "fuzzing": 0.5}, 1.001 * sorted(feature["density"] for feature in every)[5]
    found = agent.reply("search", query="river", top_k=50, min_score=least, max_density=dense)["features"]
    wanted = [
        feature["feature"]
        for feature in every
        if feature["density"] <= dense and all(feature["scores"][name]["value"] >= of for name, of in least.items())
    ]
    assert 0 < len(found) < len(every)
    assert sorted(feature["feature"] for feature in found) == sorted(wanted)
    assert (
        found
        == agent.reply("search", query="river", top_k=50, min_score=json.dumps(least), max_density=dense)["features"]
    )


def test_the_rest_of_a_list_is_asked_for_by_the_offset_that_the_reply_names(agent: Agent) -> None:
    every = agent.reply("search", query="river", top_k=50)
    assert every["more"] is None
    first = agent.reply("search", query="river", top_k=4)
    assert first["more"] == "there are more: ask again with offset=4"
    rest = agent.reply("search", query="river", top_k=50, offset=4)
    assert first["features"] + rest["features"] == every["features"]
    assert "smaller offset" in agent.reply("search", query="river", offset=99)["more"]


def test_a_reranked_search_finds_the_same_features(agent: Agent) -> None:
    plain, closer = (agent.reply("search", query="river", top_k=50, rerank=rerank) for rerank in (False, True))
    assert {feature["feature"] for feature in plain["features"]} == {f["feature"] for f in closer["features"]}
    assert closer["features"][0]["feature"] == RIVER


def test_a_feature_is_shown_with_its_baselines(agent: Agent) -> None:
    shown = agent.reply("show", feature=1)
    assert shown == agent.reply("show", feature=RIVER)
    assert shown == agent.reply("show", feature="1")
    assert (shown["feature"], shown["status"], shown["fires_on"][0]["token"].strip()) == (RIVER, "ok", "river")
    detection = shown["labels"][0]["scores"]["detection"]
    assert detection["ci_low"] > detection["chance"] == 0.5
    assert detection["value"] > detection["shuffled"]
    assert [baseline["kind"] for baseline in shown["baselines"]] == ["shuffled"]
    assert shown["baselines"][0]["scores"]["detection"]["ci_low"] is not None


def test_a_dead_feature_has_no_label_and_says_so(agent: Agent) -> None:
    shown = agent.reply("show", feature=3)
    assert (shown["status"], shown["labels"], shown["n_active"]) == ("dead", [], 0)
    assert agent.reply("contexts", feature=3)["contexts"] == []
    assert "no score" in agent.complaint("trials", feature=3)


def test_contexts_mark_where_the_feature_fires_strongest_first(agent: Agent) -> None:
    contexts = agent.reply("contexts", feature=1, n=5)
    assert contexts["n"] > 5
    assert "offset=5" in contexts["more"]
    for context in contexts["contexts"]:
        assert "<<river>>" in context["text"]
    peaks = [context["max_activation"] for context in contexts["contexts"]]
    assert peaks == sorted(peaks, reverse=True)
    kept = agent.reply("contexts", feature=1, n=50, kept=True)
    assert kept["n"] > contexts["n"]
    graded = agent.reply("contexts", feature=1, split="score", kind="silent_peak", n=50)["contexts"]
    assert {(context["split"], context["max_activation"]) for context in graded} == {("score", 0.0)}
    assert "top of explain" in agent.reply("contexts", feature=1, kind="effect")["more"]


def test_neighbors_are_of_the_space_that_is_named_and_never_the_feature_itself(agent: Agent) -> None:
    for space in ("label", "decoder"):
        near = agent.reply("neighbors", feature=1, space=space, top_k=3)["features"]
        assert RIVER not in [feature["feature"] for feature in near]
        assert len(near) == 3
    group = agent.reply("neighbors", feature=[1, 7], top_k=3)["features"]
    assert not {RIVER, "planted@0-res-12:7"} & {feature["feature"] for feature in group}


def test_a_text_of_one_s_own_is_read_by_the_model(agent: Agent) -> None:
    read = agent.reply("inspect", text="a ship on the river", top_k=2, each_token=1)
    assert [feature["label"] for feature in read["features"]] == ["ship", "river"]
    assert read["features"][1]["around"].endswith(" <<river>>")
    assert set(read["features"][1]["scores"]) == {"detection", "embedding", "fuzzing", "recall"}
    assert [token["token"].strip() for token in read["tokens"]] == ["a", "ship", "on", "the", "river"]
    assert read["tokens"][4]["fires"][0]["feature"] == RIVER
    assert read["more"] is None
    rest = agent.reply("inspect", text="a ship on the river", each_token=1, offset=3)
    assert rest["tokens"] == read["tokens"][3:]
    only = agent.reply("inspect", text="a ship on the river", features=[7], each_token=1, aggregate_by="mean")
    assert (only["features"], only["tokens"][4]["fires"]) == ([], [])


def test_a_long_text_is_told_token_by_token_as_far_as_a_reply_holds(agent: Agent) -> None:
    read = agent.reply("inspect", text=" ".join(["ship river"] * 1_500), each_token=2)
    assert read["n_tokens"] == 3_000
    assert read["more"] == f"there are more: ask again with offset={len(read['tokens'])}"
    rest = agent.reply("inspect", text=" ".join(["ship river"] * 1_500), each_token=1, offset=2_990)
    assert (len(rest["tokens"]), rest["more"]) == (10, None)


def test_trials_tell_what_was_asked_answered_and_true(agent: Agent) -> None:
    tried = agent.reply("trials", feature=1, scorer="detection", n=5)
    (summary,) = tried["summaries"]
    assert (summary["label"], summary["label_of"], summary["scorer"]) == ("river", "own", "detection")
    assert tried["n"] == summary["n_trials"] > len(tried["trials"]) == 5
    assert {trial["truth"] for trial in tried["trials"]} <= {True, False}
    assert all(trial["shown"] for trial in tried["trials"])
    wrong = agent.reply("trials", feature=1, scorer="detection", errors=True, baselines=True, n=50)["trials"]
    assert wrong
    assert all(trial["verdict"] != trial["truth"] for trial in wrong)
    assert all(trial["label_of"].startswith("shuffled, of planted@0-res-12:") for trial in wrong)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {}, "query: Field required"),
        ("search", {"query": ""}, "query: String should have at least 1 character"),
        ("search", {"query": "  "}, "the query is empty"),
        ("search", {"query": "x" * 100_000}, "query: String should have at most 2000 characters"),
        ("search", {"query": "river", "top_k": 0}, "top_k: Input should be greater than or equal to 1"),
        ("search", {"query": "river", "min_scor": 0.5}, "min_scor: Extra inputs are not permitted; arguments are "),
        ("search", {"query": "river", "min_score": {"detction": 0.5}}, "no label has a score of 'detction'"),
        ("search", {"query": "river", "min_score": {"detection": 2}}, "min_score: "),
        ("search", {"query": "river", "explainer": "nobody"}, "no label is of the explainer 'nobody'"),
        ("search", {"query": "river", "source": "other@place"}, "there is no source 'other@place'"),
        ("search", {"query": "river", "min_density": 0.5, "max_density": 0.1}, "min_density is above max_density"),
        ("show", {"feature": 12}, "its features are 0 to 11"),
        ("show", {"feature": -1}, "its features are 0 to 11"),
        ("show", {"feature": "ship"}, "'ship' is not a feature"),
        ("show", {"feature": True}, "feature: "),
        ("show", {"feature": "\x1b[2J" * 40}, r"'\x1b[2J"),
        ("show", {"feature": "other@place:1"}, "there is no source 'other@place'"),
        ("contexts", {"feature": 1, "kind": "loud"}, "kind: Input should be 'top', "),
        ("contexts", {"feature": 1, "n": "many"}, "n: Input should be a valid integer"),
        ("neighbors", {"feature": 1, "space": "moon"}, "space: Input should be 'label', 'decoder' or 'coactivation'"),
        ("neighbors", {"feature": 1, "space": "coactivation"}, "spaces are label, decoder"),
        ("neighbors", {"feature": 3}, "label"),
        ("neighbors", {"feature": []}, "feature: "),
        ("inspect", {"text": ""}, "text: String should have at least 1 character"),
        ("inspect", {"text": "x" * 20_001}, "text: String should have at most 20000 characters"),
        ("inspect", {"text": "ship", "features": [99]}, "its features are 0 to 11"),
        ("inspect", {"text": "ship", "rank_by": "percentile", "aggregate_by": "frequency"}, "has no percentile"),
        ("inspect", {"text": [{"role": "user", "contents": "ship"}]}, "text: "),
        ("trials", {"feature": 1, "scorer": "luck"}, "there is no scorer 'luck'"),
        ("status", {"feature": 1}, "the tool takes no arguments"),
        ("show", {"feature": 1, "run": "demo"}, "there is no run 'demo': runs are "),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(
    agent: Agent, tool: str, arguments: dict[str, object], message: str
) -> None:
    line = agent.complaint(tool, **arguments)
    assert message in line
    assert "\n" not in line
    assert len(line) <= 1_001
