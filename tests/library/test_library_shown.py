"""What a user meets in a notebook is short, says what it is, and names no place in memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp import Client
from autointerp.errors import FilterError, SearchError


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


def test_everything_that_a_user_meets_is_shown_in_a_few_words(client: Client) -> None:
    feature = client.features.get(1)
    view, run = feature.view(), client.run
    met = [
        *(client, client.features, run, run.reader, feature, view, view.feature, *view.labels, *view.neighbors),
        *(view.labels[0].explanation, *view.labels[0].scores, *feature.contexts(2), feature > 1),
        *(*run.status(), *run.score_summary(), *run.search("river", top_k=1)),
    ]
    for one in met:
        assert len(max(repr(one).splitlines(), key=len)) < 400, repr(one)
        assert " at 0x" not in repr(one)
    assert repr(run.status()[0]) == "<StageStatus collect (done): 12 done, 0 failed, 0 pending, $0.00>"
    assert repr(view.labels[0].explanation) == (
        "<Explanation of planted@0-res-12:1 'river' by outside (unknown author)>"
    )
    assert repr(client) == f"Client of {run!r}"


def test_tab_completion_offers_what_is_for_users() -> None:
    offered = {name for name in dir(autointerp) if not name.startswith("_")}
    assert offered == set(autointerp.__all__)


def test_a_query_s_numbers_are_numbers(client: Client) -> None:
    found = client.sql("SELECT sum(n_active) AS n, 0.5 AS half, (3 * 10 ** 30)::HUGEINT AS large FROM features")
    ((n, half, large),) = found.rows
    assert (type(n), half, large) == (int, 0.5, pytest.approx(3e30))
    frame = client.sql("FROM explanations SELECT feature_index, label_from ORDER BY label_from LIMIT 1").to_pandas()
    assert [str(kind) for kind in frame.dtypes] == ["Int32", "Int32"]
    (null,) = client.sql("SELECT NULL::INTEGER AS none, true AS yes").to_pandas().itertuples(index=False)
    assert str(null.none) == "<NA>"


def test_a_long_table_is_shown_by_its_beginning_and_a_dollar_sign_begins_no_formula(client: Client) -> None:
    html = client.sql("SELECT '$a$ <b>' AS text FROM range(100)")._repr_html_()
    assert html.count("$a$ &lt;b&gt;") == 20
    assert html.endswith("… and 80 more")
    for shown in (html, client.features.get(1)._repr_html_()):
        assert "<table" in shown
        assert "mathjax_ignore" in shown.partition(">")[0]


def test_a_group_is_picked_from_by_places_and_by_masks(client: Client) -> None:
    group = client.features.lookup([0, 1, 7])
    for mask in ([True, False, True], np.array([True, False, True]), group.to_pandas()["index"] != 1):
        assert [feature.index for feature in group[mask]] == [0, 7]
    assert not group[[False, False, False]]
    with pytest.raises(IndexError, match="a mask of 2 for a group of 3"):
        group[[True, False]]
    with pytest.raises(IndexError, match=r"no place 162 in a group of 3 features: .* client\.features\.get\(162\)"):
        group[162]
    with pytest.raises(IndexError, match="no place -4"):
        group.pop(-4)
    assert group & group[1] == group[1:2]
    assert autointerp.FeatureGroup.from_json(json.loads(group.to_json())) == group


def test_arguments_of_a_wrong_type_are_told_in_one_line(client: Client) -> None:
    search: Any = client.features.search
    assert search("river", density=[0, 1.0]) == search("river")
    for wrong in ({"source": 3}, {"explainer": ["outside"]}, {"density": "0.5"}, {"density": (0, 0.5, 1)}):
        with pytest.raises(FilterError):
            search("river", **wrong)
    runs: Any
    for runs in (None, 3, [3]):
        with pytest.raises(SearchError, match="is no run folder"):
            autointerp.open(runs)
    parameters: Any
    for parameters in (3, "x", None):
        with pytest.raises(SearchError, match="no parameters"):
            client.sql("SELECT ?", parameters)
