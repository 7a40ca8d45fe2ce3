"""A client over one run and over several: what it finds, how results behave, and what it says no to."""

import json
import operator
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp import Client, Condition, Feature, FeatureGroup
from autointerp.errors import FilterError, SearchError, StoreError, UnknownFeatureError
from autointerp.library.features import Features
from autointerp.records import SearchHit


@pytest.fixture(scope="session")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="session")
def copy(planted_runs: Path) -> Path:
    """The same source in a run of its own."""
    folder = planted_runs / "copied/demo"
    shutil.copytree(planted_runs / "runs/demo", folder)
    return folder


def test_a_feature_equals_itself_wherever_it_came_from(client: Client, copy: Path) -> None:
    river = client.features.get(1)
    ways = [
        client.features.search("river")[0],
        client.features.lookup(["planted@0-res-12:1"])[0],
        client.features.neighbors(0, space="label")[[0]].pick([0])[0],
        FeatureGroup.from_json(FeatureGroup([river]).to_json())[0],
        autointerp.open(copy).features.get(np.int64(1)),
        pickle.loads(pickle.dumps(river)),
    ]
    assert [feature == river for feature in ways] == [True, True, ways[2].index == 1, True, True, True]
    assert len({*ways, river}) == 1 + (ways[2].index != 1)
    assert river != client.features.get(0)
    assert river not in [client.features.get(0), None, "river"]


def test_a_comparison_with_a_number_is_a_condition_and_with_anything_else_none(client: Client) -> None:
    river, ship = client.features.get(1), client.features.get(0)
    condition = (river > 1) & ((ship >= 0.5) | ~(FeatureGroup([river, ship]) < 2)) & (river != 3) & (ship == 0)
    activations = {
        ("planted@0-res-12", 1): np.array([2, 0, 3, 5], dtype=np.float32),
        ("planted@0-res-12", 0): np.array([0, 9, 0, 0], dtype=np.float32),
    }
    assert condition.holds(activations).tolist() == [True, False, False, True]
    assert Condition.from_json(condition.to_json()) == condition
    assert repr(Condition.from_json(condition.to_json())) == repr(condition)
    assert condition.names() == (("planted@0-res-12", 1), ("planted@0-res-12", 0))
    assert (river == "1") is False
    wrong: Any
    for wrong in ("0.5", True, None):
        with pytest.raises(TypeError, match="compared with a number"):
            operator.gt(river, wrong)
    with pytest.raises(TypeError, match="join conditions by"):
        bool(river > 0 and ship > 0)
    with pytest.raises(FilterError, match="nothing is known of what planted@0-res-12:0 does here"):
        condition.holds({("planted@0-res-12", 1): np.ones(1, dtype=np.float32)})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"all": []}', '{"features": ["7"], "is": ">", "value": 1}', "[" * 100_000]
)
def test_what_is_no_condition_is_told(text: str) -> None:
    with pytest.raises(FilterError, match=r"is no condition|names no feature"):
        Condition.from_json(text)


def test_filters_come_before_the_limit(client: Client) -> None:
    every = client.features.search("a colour of things", top_k=100)
    dense = client.features.search("a colour of things", top_k=3, density=(0.01, 1.0))
    assert [f.index for f in dense] == [f.index for f in every if f.density >= 0.01][:3]
    assert client.features.search("river", min_score=1.0, top_k=100) == FeatureGroup(
        feature
        for feature in client.features.search("river", top_k=100)
        if len(feature.scores) == 4 and min(feature.scores.values()) == 1.0
    )
    assert client.features.search("river", explainer="outside", source="planted@0-res-12", top_k=1)[0].index == 1


def test_results_carry_scores_with_their_intervals(client: Client) -> None:
    river = client.features.search("river", top_k=1)[0]
    assert set(river.scores) == set(river.intervals) == {"detection", "embedding", "fuzzing", "recall"}
    for scorer, (low, high) in river.intervals.items():
        assert 0 <= low <= river.scores[scorer] <= high <= 1
    assert repr(river).startswith("<Feature planted@0-res-12:1 'river', detection ")
    (scored,) = [label for label in river.view().labels if not label.explanation.is_baseline]
    assert {score.scorer: (score.ci_low, score.ci_high) for score in scored.scores} == river.intervals
    frame = FeatureGroup([river]).to_pandas()
    assert frame.loc[0, "detection_ci_low"] == river.intervals["detection"][0]


def test_a_group_is_an_ordered_collection_without_repetition(client: Client) -> None:
    group = client.features.lookup([7, 1, 7, 0])
    assert [feature.index for feature in group] == [7, 1, 0]
    assert [feature.index for feature in group[[2, 0]]] == [0, 7]
    assert [feature.index for feature in group[np.array([1])]] == [1]
    assert group[-1].index == 0
    assert group[1:] == client.features.lookup([1, 0])
    assert group != client.features.lookup([1, 7, 0])
    with pytest.raises(IndexError):
        group[3]
    wrong: Any = "river"
    with pytest.raises(SearchError, match="'river' is no feature"):
        group.add(wrong)
    assert group.pop().index == 0
    assert [feature.index for feature in group] == [7, 1]
    with pytest.raises(TypeError):
        hash(group)


def test_a_group_shows_itself(client: Client) -> None:
    lines = repr(client.features.search("river", top_k=2)).splitlines()
    assert lines[0] == "2 features of planted@0-res-12"
    assert lines[1].split() == [
        "feature",
        "label",
        "relevance",
        "detection",
        "embedding",
        "fuzzing",
        "recall",
        "density",
    ]
    assert lines[2].startswith("1        river ")
    assert "(no label)" in repr(client.features.lookup([3]))
    assert repr(FeatureGroup()) == "<FeatureGroup of no feature>"
    html = client.features.lookup([1])._repr_html_()
    assert '<span style="background:rgba(255,140,0,1.00)"' in html
    assert "river</span>" in html


def test_labels_and_tokens_are_data_in_a_notebook(client: Client) -> None:
    hostile = replace(client.features.get(1), label="<script>alert(1)</script>\x1b[2J", backend=None)
    html = FeatureGroup([hostile])._repr_html_()
    assert "<script>" not in html
    assert "\x1b" not in html
    assert "\x1b" not in repr(FeatureGroup([hostile]))
    assert FeatureGroup.from_json(FeatureGroup([hostile]).to_json())[0].label == hostile.label


def test_what_was_read_from_json_says_that_it_belongs_to_no_run(client: Client) -> None:
    (read,) = FeatureGroup.from_json(client.features.lookup([1]).to_json())
    assert isinstance(read, Feature)
    with pytest.raises(SearchError, match="look it up with a client"):
        read.contexts()
    assert client.features.get(read).view().feature.feature_index == 1
    for text in ("", "7", '[{"id": 1}]', '{"a": 1}', "[" * 100_000):
        with pytest.raises(SearchError, match="is no group of features"):
            FeatureGroup.from_json(text)


def test_several_runs_are_one_client_in_which_each_feature_is_found_once(client: Client, copy: Path) -> None:
    both = autointerp.open([copy, client.run.name])
    found = both.features.search("river", top_k=5)
    assert found == client.features.search("river", top_k=5)
    assert both.features.get(1).run == str(copy)
    assert both.features.get(client.features.get(1)).run == str(copy)
    assert len(both.to_pandas()) == 2 * len(client.to_pandas())
    assert both.sources() == client.sources()
    with pytest.raises(SearchError, match=r"take one of client\.runs"):
        both.sql("SELECT 1")
    assert len(repr(both).splitlines()) == 3


class OtherEmbedder:
    name = "other"

    def embed(self, texts: object) -> object:
        raise AssertionError("nothing is embedded where nothing can be compared")


def test_runs_that_other_models_embedded_are_not_searched_together(client: Client) -> None:
    embedder: Any = OtherEmbedder()
    other = autointerp.open(client.run.name, embedder).run
    with pytest.raises(SearchError, match=r"embedded by different models: .* by all-minilm-l6-v2, .* by other"):
        Client([client.run, other]).features.search("river")


def test_bad_names_and_numbers_are_told(client: Client) -> None:
    features = client.features
    with pytest.raises(UnknownFeatureError, match="its features are 0 to 11"):
        features.get(12)
    with pytest.raises(UnknownFeatureError, match="'x' is not a feature"):
        features.lookup(["x"])
    with pytest.raises(StoreError, match="there is no source 'other@0' here: there are planted@0-res-12"):
        features.get("other@0:1")
    top_k: Any
    for top_k in (0, -1, 1.5, True):
        with pytest.raises(SearchError, match="top_k can't be"):
            features.search("river", top_k=top_k)
    with pytest.raises(SearchError, match="the query is empty"):
        features.search(" ")
    with pytest.raises(FilterError, match="there is no source 'x'"):
        features.search("river", source="x")
    with pytest.raises(FilterError, match="no label has a score of 'x'"):
        features.search("river", min_score={"x": 0.5})
    with pytest.raises(FilterError, match="no share of tokens"):
        features.search("river", density=2)
    with pytest.raises(SearchError, match="no feature to find neighbors of"):
        features.neighbors([])
    with pytest.raises(StoreError, match="there is no store"):
        autointerp.open(Path(client.run.name) / "no-such")
    with pytest.raises(SearchError, match="no run is named"):
        autointerp.open([])
    assert features.rerank([], "river") == FeatureGroup()
    assert features.lookup([]) == FeatureGroup()


def test_what_has_no_label_is_reranked_last(client: Client) -> None:
    found = client.features.rerank([3, 0, 1], "river")
    assert [feature.index for feature in found] == [1, 0, 3]
    assert found[2].relevance is None
    assert len(client.features.rerank([3, 0, 1], "river", top_k=2)) == 2


def test_top_k_may_be_more_than_there_is(client: Client) -> None:
    assert len(client.features.search("river", top_k=10_000)) == client.run.reader.n_labels()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM scores", "does more than to read"),
        ("COPY scores TO 'scores.csv'", "does more than to read"),
        ("EXPLAIN ANALYZE COPY scores TO 'scores.csv'", "does more than to read"),
        ("ATTACH 'other.duckdb'", "does more than to read"),
        ("SET threads = 1", "does more than to read"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "no statements"),
        ("SELEC 1", "syntax error"),
        ("SELECT no_such FROM scores", "no_such"),
        ("SELECT ?", "the store can't answer"),
    ],
)
def test_a_query_only_reads(
    client: Client, query: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SearchError, match=said):
        client.sql(query)
    assert not list(tmp_path.iterdir())


def test_a_query_gives_rows_a_frame_and_a_table(client: Client) -> None:
    found = client.sql(
        "FROM current_explanations SELECT feature_index, label WHERE label_from IS NULL ORDER BY 1 LIMIT 2"
    )
    assert found.columns == ["feature_index", "label"]
    assert found.rows == [(0, "ship"), (1, "river")]
    assert found.to_pandas().label.tolist() == ["ship", "river"]
    assert repr(found).splitlines()[1:] == ["0              ship", "1              river"]
    assert client.sql("SELECT $a + 1 AS b", {"a": 1}).rows == [(2,)]
    assert "and 80 more" in repr(client.sql("FROM range(100)"))


def test_a_group_s_json_can_be_read_by_others(client: Client) -> None:
    (plain,) = json.loads(client.features.search("river", top_k=1).to_json())
    assert plain["id"] == "planted@0-res-12:1"
    assert plain["label"] == "river"
    assert set(plain["intervals"]) == set(plain["scores"])


def test_ties_between_runs_keep_the_order_in_which_runs_are_named() -> None:
    class One:
        embedder_name = "e"

        def __init__(self, name: str) -> None:
            self.name = name

        def scorers(self) -> list[str]:
            return []

        def search(self, query: str, top_k: int, where: object, min_relevance: object) -> list[SearchHit]:
            return [SearchHit("m@s", index, "label", "e", 0.5, 0.1) for index in (2, 1)]

    runs: Any = [One("a"), One("b")]
    found = Features(runs).search("x")
    assert [(feature.index, feature.run) for feature in found] == [(2, "a"), (1, "a")]
