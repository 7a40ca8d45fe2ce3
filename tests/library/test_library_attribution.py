"""An attribution as a client sees it: rows with labels, sums by feature, tables, JSON, errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import autointerp
from autointerp.errors import SearchError
from autointerp.library.attribution import Attribution
from autointerp.library.client import Client

TEXT = "we saw the ship on the river and the ship was red"


@pytest.fixture(scope="module")
def client(planted_runs: Path) -> Client:
    return autointerp.open(planted_runs / "runs/demo")


@pytest.fixture(scope="module")
def pushed(client: Client) -> Attribution:
    return client.features.attribute(TEXT, n_removed=2)


def test_rows_are_every_firing_before_the_token_with_its_label(client: Client, pushed: Attribution) -> None:
    inspected = client.features.inspect(TEXT)
    before = {
        (fired.feature.index, token.position): fired.activation
        for token in inspected.tokens[: pushed.index]
        for fired in token.inspect(99)
    }
    rows = {(row.feature.index, row.position): row.activation for row in pushed.rows}
    assert len(rows) == len(pushed.rows)
    assert rows == {key: pytest.approx(activation, rel=1e-4) for key, activation in before.items()}
    assert [row.token for row in pushed.rows] == [inspected.tokens[row.position].text for row in pushed.rows]
    assert {"ship", "river"} <= {row.feature.label for row in pushed.rows}
    assert [abs(row.gradient) for row in pushed.rows] == sorted(
        (abs(row.gradient) for row in pushed.rows), reverse=True
    )


def test_a_feature_sums_up_its_firings(pushed: Attribution) -> None:
    (ship,) = [of for of in pushed.by_feature(None) if of.feature.label == "ship"]
    own = [row for row in pushed.rows if row.feature.label == "ship"]
    assert len(ship.positions) == len(own) == 2
    assert ship.gradient == pytest.approx(sum(row.gradient for row in own))
    assert len(pushed.by_feature(1)) == 1


def test_those_taken_out_are_told(pushed: Attribution) -> None:
    tried = [row for row in pushed.rows if row.removed is not None]
    assert tried == list(pushed.rows[:2])
    assert {row.position for row in pushed.top(5, by="removed")} == {row.position for row in tried}


def test_integrated_gradients_are_told_where_they_are_asked_for(client: Client, pushed: Attribution) -> None:
    asked = client.features.attribute(TEXT, n_steps=8)
    found = [row.integrated for row in asked.rows]
    known = [value for value in found if value is not None]
    assert len(known) == len(found)
    assert sum(known) == pytest.approx(float(asked.record.integrated.sum()))
    assert [abs(row.integrated or 0) for row in asked.top(9, by="integrated")] == sorted(map(abs, known))[::-1][:9]
    (ship,) = [of for of in asked.by_feature(None, by="integrated") if of.feature.label == "ship"]
    assert ship.integrated == pytest.approx(
        sum(row.integrated or 0 for row in asked.rows if row.feature == ship.feature)
    )
    plain = json.loads(asked.to_json())
    assert plain["n_steps"] == 8
    assert plain["completeness_gap"] == pytest.approx(asked.fall_without_features - sum(known))
    assert abs(plain["completeness_gap"]) < abs(asked.fall_without_features - asked.of_gradient.features)
    assert "integrated" in repr(asked).splitlines()[1]
    assert f"integrated by {sum(known):.3f} in 8 steps" in repr(asked)
    assert (pushed.rows[0].integrated, json.loads(pushed.to_json())["completeness_gap"]) == (None, None)
    assert "integrated" not in repr(pushed)


def test_json_and_pandas_have_all_rows(pushed: Attribution) -> None:
    plain = json.loads(pushed.to_json())
    assert (plain["token"], plain["measure"], plain["index"]) == (" red", "log_prob", 13)
    assert plain["rows"] == [row.as_plain() for row in pushed.rows]
    assert plain["rows"][-1]["removed"] is None
    frame = pushed.to_pandas()
    assert frame.gradient.tolist() == [row.gradient for row in pushed.rows]
    assert plain["of_gradient"]["features"] == pytest.approx(frame.gradient.sum())


def test_printed_it_says_what_pushes_and_what_remains(pushed: Attribution) -> None:
    lines = repr(pushed).splitlines()
    assert lines[0].startswith("log-probability of ' red', in nats: ")
    assert any(("ship" in line and "+" in line) or "-" in line for line in lines[2:4])
    assert any(line.startswith("the coder's error") for line in lines)
    assert f"lower by {pushed.fall_without_features:.3f}" in lines[-1]


def test_without_a_direct_effect_it_says_why(pushed: Attribution) -> None:
    record = replace(
        pushed.record, direct=np.full_like(pushed.record.direct, np.nan), of_direct=None, why_no_direct="it is not so"
    )
    other = Attribution(record, pushed._lookup)
    assert repr(other).splitlines()[-1] == "no direct effect: it is not so"
    assert json.loads(other.to_json())["rows"][0]["direct"] is None
    with pytest.raises(SearchError, match="there is no direct effect: it is not so"):
        other.top(3, by="direct")


def test_a_text_on_which_nothing_fires_has_no_rows(client: Client) -> None:
    silent = client.features.attribute("we saw and", measure="logit")
    assert silent.rows == ()
    assert silent.by_feature() == []
    assert silent.to_pandas().empty
    assert silent.value == pytest.approx(silent.record.value_removed, abs=1e-6)
    assert "0 firings" in repr(silent)


def test_what_makes_no_sense_is_an_error(client: Client, pushed: Attribution) -> None:
    with pytest.raises(SearchError, match="there is no measure 'loss'"):
        client.features.attribute(TEXT, measure="loss")
    with pytest.raises(SearchError, match="n_removed can't be -1"):
        client.features.attribute(TEXT, n_removed=-1)
    with pytest.raises(SearchError, match="k can't be 0"):
        pushed.top(0)
    with pytest.raises(SearchError, match="n_steps can't be 1000"):
        client.features.attribute(TEXT, n_steps=1000)
    with pytest.raises(SearchError, match="there are no integrated gradients"):
        pushed.top(3, by="integrated")
    with pytest.raises(SearchError, match="no firing was taken out"):
        client.features.attribute(TEXT).top(1, by="removed")
