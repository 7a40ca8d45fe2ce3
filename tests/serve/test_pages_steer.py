"""The page of steering, as HTML and as JSON, and its answers."""

import html
import json
import re

import httpx
import pytest

from tests.serve.asking import SOURCE, told

STATE = "feature=1&strength=2&unit=max&mode=add&n_tokens=4&seed=3&say=a+ship"
TURN = {"say": ["a ship"], "feature": ["1"], "strength": ["2"], "unit": ["max"], "n_tokens": 4, "seed": 3}


def get(address: str, path: str) -> httpx.Response:
    return httpx.get(address + path, headers={"Accept": "text/html"}, timeout=60)


def answered(reply: httpx.Response) -> dict[str, dict[str, object]]:
    """Each side's answer, which is what its pieces make."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    *events, last = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert last == "[DONE]"
    texts, answers = {"plain": "", "steered": ""}, {}
    for event in map(json.loads, events):
        texts[event["side"]] += event.get("text", "")
        if "answer" in event:
            answers[event["side"]] = event["answer"]
    assert {side: answer["text"] for side, answer in answers.items()} == {side: texts[side] for side in answers}
    return answers


def test_an_address_holds_how_a_model_is_steered_and_runs_nothing(address: str) -> None:
    said = httpx.get(f"{address}/steer.json?{STATE}").json()
    (edit,) = said["edits"]
    assert (edit["feature"]["label"], edit["strength"], edit["unit"], edit["mode"]) == ("river", 2.0, "max", "add")
    assert said["source"] == SOURCE
    assert said["answered"] == []
    assert len(said["presets"]) == 8
    again = httpx.get(f"{address}{said['path'].replace('/steer', '/steer.json')}").json()
    assert again["path"] == said["path"]
    assert again["asked"] == said["asked"]
    assert ">river<" in get(address, f"/steer?{STATE}").text


def test_both_answers_come_as_they_are_written_with_the_tokens_that_were_edited(address: str) -> None:
    reply = httpx.post(f"{address}/api/steering", json=TURN, timeout=60)
    answers = answered(reply)
    assert answers["plain"]["edited"] is None
    edited = answers["steered"]["edited"]
    assert isinstance(edited, dict)
    assert (edited["scope"], edited["n_prompt"]) == ("all", answers["steered"]["n_prompt"])
    assert edited["n_features"] == 1
    link = reply.headers["Content-Location"]
    assert link == "/steer?say=a+ship&feature=1&strength=2&unit=max&n_tokens=4&seed=3&mode=add"
    assert answered(httpx.post(f"{address}/api/steering", json=TURN, timeout=60)) == answers, "by the same seed"


def test_nothing_edited_is_one_answer(address: str) -> None:
    turn = {"say": ["a ship"], "n_tokens": 2}
    assert set(answered(httpx.post(f"{address}/api/steering", json=turn, timeout=60))) == {"plain"}


def test_a_form_without_scripts_is_answered_turn_by_turn_as_a_program_is(address: str) -> None:
    fields = {**TURN, "say": ["a ship", "<b>the</b> river", " "], "feature": ["1", ""], "strength": ["2", ""]}
    fields |= {"unit": ["max", "dose"], "mode": ["add", "add"], "do": "answer"}
    page = httpx.post(f"{address}/steer", data=fields, headers={"Accept": "text/html"}, timeout=120)
    assert page.status_code == 200, page.text
    assert "<b>the</b>" not in page.text
    texts = [html.unescape(of) for of in re.findall(r'<p class="text" dir="auto">(.*?)</p>', page.text, re.DOTALL)]
    first = answered(httpx.post(f"{address}/api/steering", json=TURN, timeout=60))
    assert texts[:2] == [first["plain"]["text"], first["steered"]["text"]]
    second = {**TURN, "say": ["a ship", "<b>the</b> river"], "plain": texts[:1], "steered": texts[1:2]}
    then = answered(httpx.post(f"{address}/api/steering", json=second, timeout=60))
    assert texts[2:4] == [then["plain"]["text"], then["steered"]["text"]]


def test_the_form_leads_to_the_address_of_its_state(address: str) -> None:
    fields = {**TURN, "feature": ["1", ""], "strength": ["2", ""], "unit": ["max", "dose"], "mode": ["add", "pin"]}
    sent = httpx.post(f"{address}/steer", data={**fields, "do": "show"})
    assert sent.status_code == 303, sent.text
    assert get(address, sent.headers["Location"]).status_code == 200
    assert "strength=2&" in sent.headers["Location"]


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ({"say": []}, 400, "nothing is said"),
        ({"say": ["a"], "feature": ["99"]}, 404, "has no feature 99"),
        ({"say": ["a"], "feature": ["1"], "strength": ["many"]}, 400, "'many' is no strength"),
        ({"say": ["a"], "feature": ["1"], "strength": ["1000"]}, 400, "absurd"),
        ({"say": ["a"], "feature": ["1"], "strength": ["nan"]}, 400, "strength"),
        ({"say": ["a"], "unit": ["tons"]}, 422, "unit"),
        ({"say": ["a"], "seed": -1}, 422, "seed"),
        ({"say": ["a"], "temperature": 9}, 422, "temperature"),
        ({"say": ["a"], "source": "nowhere"}, 404, "nowhere"),
        ({"say": ["a"] * 21}, 422, "say"),
    ],
)
def test_what_makes_no_sense_is_told(address: str, body: object, status: int, line: str) -> None:
    assert line in told(httpx.post(f"{address}/api/steering", json=body, timeout=60), status)


def test_what_was_found_elsewhere_or_before_is_told_to_be_gone(address: str) -> None:
    page = get(address, "/steer?wanted=talk+about+%3Cscript%3E")
    assert "no longer kept here" in page.text
    assert "<script>" not in page.text.split("<main", 1)[1]


@pytest.mark.slow
def test_features_that_are_found_come_with_their_receipt_which_the_page_keeps(address: str) -> None:
    found = httpx.post(f"{address}/api/steering/find", json={"wanted": "talk about ships"}, timeout=120).json()
    receipt = found["receipt"]
    assert receipt["wanted"] == "talk about ships"
    assert receipt["steers"] == bool(found["edits"])
    assert receipt["steers"] or receipt["reasons"]
    assert receipt["n_choose"] + receipt["n_report"] == 24
    page = get(address, found["path"])
    assert "What “talk about ships” is worth" in page.text
    kept = httpx.post(f"{address}/steer", data={"wanted": "talk about ships", "do": "find"}, timeout=5)
    assert kept.status_code == 200
    assert f"in {receipt['seconds']:,.0f} s" in kept.text
