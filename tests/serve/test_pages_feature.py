"""A feature's page, the trials behind its scores, and what can be taken away of them."""

import csv
import io
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

import autointerp
from autointerp.serve.app import Access, make_app
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.run.planted import DEAD, RARE
from tests.serve.asking import SOURCE, told
from tests.serve.serving import answering
from tests.serve.ugly import LABELS, SCRIPT

AT = "/planted/0-res-12"
BROWSER = {"Accept": "text/html"}


class Text(HTMLParser):
    """The text of a page, and what its elements are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @property
    def said(self) -> str:
        return " ".join("".join(self.parts).split())


def read(address: str, path: str) -> tuple[dict[str, Any], Text]:
    """The JSON of a page, and its text."""
    at, _, query = path.partition("?")
    page = httpx.get(address + path, headers=BROWSER, timeout=60)
    assert page.status_code == 200, page.text
    return httpx.get(f"{address}{at}.json?{query}", timeout=60).json(), Text(page.text)


def test_page_and_json_say_the_same(address: str) -> None:
    said, page = read(address, f"{AT}/1")
    assert said["label"] == "river"
    (label,) = (of for of in said["labels"] if of["null"] is None)
    for score in label["scores"]:
        for value in ("value", "low", "high"):
            assert f"{score[value]:.2f}".removeprefix("0") in page.said
        assert score["scored_at"][:10] in page.said
    contexts = [context for band in said["bands"] for context in band["contexts"]]
    assert contexts
    assert all(f"{of['max_activation']:.3g}" in page.said for of in contexts)
    assert all(" ".join("".join(of["tokens"]).split()) in page.said for of in contexts)
    assert all(token["token"].strip() in page.said for token in said["input_tokens"][:12])
    assert f"{said['n_active']:,} of {said['n_tokens']:,} tokens" in page.said


def test_tokens_are_shaded_where_the_feature_fires_and_tell_by_how_much(address: str) -> None:
    said, page = read(address, f"{AT}/1")
    shaded = [of for tag, of in page.elements if tag == "span" and str(of.get("class", "")).startswith("a")]
    strongest = said["bands"][0]["contexts"][0]
    assert shaded[0]["title"] == f"{strongest['max_activation']:.3g}"
    assert shaded[0]["class"] == "a9 peak"
    n_firing = sum(
        activation > 0 for band in said["bands"] for of in band["contexts"] for activation in of["activations"]
    )
    assert len(shaded) == n_firing


def test_bands_go_by_count_or_by_value_and_tell_what_lies_in_them(address: str) -> None:
    for by in ("count", "value"):
        bands = read(address, f"{AT}/1?bands={by}")[0]["bands"]
        assert len(bands) > 1
        for band in bands:
            peaks = [of["max_activation"] for of in band["contexts"]]
            assert peaks == sorted(peaks, reverse=True)
            assert band["low"] <= min(peaks) <= max(peaks) <= band["high"]
            assert band["n"] >= len(peaks)
        assert all(upper["low"] >= lower["high"] for upper, lower in pairwise(bands)), by
    told(httpx.get(f"{address}{AT}/1.json?bands=luck"), 422)


def test_silent_contexts_are_silent_and_say_why_they_are_there(address: str) -> None:
    silent = read(address, f"{AT}/1")[0]["silent"]
    assert silent
    for group in silent:
        assert group["why"]
        assert all(max(of["activations"]) == 0 for of in group["contexts"])


def test_features_that_fire_together_are_counted_on_the_same_tokens(address: str, serving: Serving) -> None:
    n = serving.client.run.reader.source(SOURCE).n_features
    found = {index: serving.client.run.together(index, n) for index in range(n)}
    pairs = {(index, of.feature_index): of for index, some in found.items() for of in some}
    for (first, second), of in pairs.items():
        back = pairs[second, first]
        assert (of.n_both, of.n_own, of.n_other) == (back.n_both, back.n_other, back.n_own)
        assert of.precision == back.recall
        assert 0 < of.jaccard <= min(of.precision, of.recall)
    said, _ = read(address, f"{AT}/1")
    assert said["near"]["no_together"] is None
    assert [of["index"] for of in said["near"]["together"]] == [of.feature_index for of in found[1]][:8]


def test_a_text_of_ones_own_is_read_by_the_model_and_stays_in_the_link(address: str) -> None:
    said, page = read(address, f"{AT}/1?text=a ship on the river&bands=value")
    tested = said["tested"]
    assert "".join(tested["tokens"]).strip() == "a ship on the river"
    assert [value > 0 for value in tested["activations"]] == [False, False, False, False, True]
    assert tested["percentile"] > 0
    assert "% of its largest" in page.said
    alias, _ = read(address, f"{AT}/1?defaulttesttext=a ship on the river")
    assert alias["tested"] == tested
    silent, page = read(address, f"{AT}/1?text=a ship")
    assert silent["tested"]["max_activation"] == 0
    assert "silent on this text" in page.said
    assert read(address, f"{AT}/1?text=%20")[0]["tested"] is None
    told(httpx.get(f"{address}{AT}/1.json", params={"text": "a" * 20_001}), 422)


def test_where_there_is_a_key_a_text_needs_it_and_reading_does_not(serving: Serving) -> None:
    with answering(make_app(Serving(serving.client, Limits()), Access(key="right key"))) as at:
        assert httpx.get(f"{at}{AT}/1.json", timeout=60).status_code == 200
        told(httpx.get(f"{at}{AT}/1.json?text=a ship", timeout=60), 401)
        refused = httpx.get(f"{at}{AT}/1?text=a ship", headers=BROWSER, timeout=60)
        assert refused.status_code == 401
        assert 'href="/key?back=%2Fplanted%2F0-res-12%2F1%3Ftext%3Da' in refused.text
        sent = {**BROWSER, "Referer": f"{at}{AT}/1"}
        refused = httpx.post(f"{at}{AT}/1/notes", data={"do": "star"}, headers=sent, timeout=60)
        assert refused.status_code == 401
        assert 'href="/key?back=%2Fplanted%2F0-res-12%2F1"' in refused.text
        allowed = httpx.get(f"{at}{AT}/1.json?text=a ship", headers={"Authorization": "Bearer right key"}, timeout=60)
        assert allowed.json()["tested"]["tokens"]


def test_a_score_opens_into_its_trials_of_which_errors_are_some(address: str) -> None:
    said, page = read(address, f"{AT}/2/trials?scorer=detection")
    every = [of for of in said["tried"] if of["null"] is None]
    (true,) = every
    assert (true["scorer"], len(true["trials"])) == ("detection", true["n_trials"])
    assert true["n_right"] == sum(of["verdict"] == of["truth"] for of in true["trials"])
    assert all(" ".join("".join(of["context"]["tokens"]).split()) in page.said for of in true["trials"])
    wrong, _ = read(address, f"{AT}/2/trials?errors=true&explanation={true['explanation_id']}")
    assert {of["scorer"] for of in wrong["tried"]} == set(said["scorers"])
    assert {of["explanation_id"] for of in wrong["tried"]} == {true["explanation_id"]}
    assert all(trial["is_wrong"] for of in wrong["tried"] for trial in of["trials"])
    assert "'luck'" in read(address, f"{AT}/2/trials?scorer=luck")[0]["problem"]


def test_a_feature_without_this_or_that_has_a_page_that_says_why(address: str) -> None:
    dead, page = read(address, f"{AT}/{DEAD}")
    assert (dead["status"], dead["label"], dead["bands"]) == ("dead", None, [])
    assert "it never fires in this corpus" in page.said
    rare, page = read(address, f"{AT}/{RARE}")
    assert rare["bands"]
    assert "quasar" in page.said


@pytest.mark.parametrize("index", sorted({*LABELS, RARE, DEAD, 9, 10} - {8}))
def test_no_text_becomes_markup(ugly_address: str, index: int) -> None:
    said, page = read(ugly_address, f"{AT}/{index}")
    tags = [tag for tag, _ in page.elements]
    assert "img" not in tags
    assert all(of.get("src") for tag, of in page.elements if tag == "script")
    assert not [name for _, of in page.elements for name in of if name.startswith("on")]
    if index in LABELS:
        assert said["label"] == LABELS[index]
        assert "\u202e" not in page.said
    if said["bands"]:
        assert SCRIPT[:20] in page.said


def test_what_the_server_can_not_read_is_told_without_its_paths(ugly_address: str, ugly_run: Path) -> None:
    said, page = read(ugly_address, f"{AT}/9")
    assert "the server's log says why" in said["near"]["no_together"]
    assert "the server's log says why" in said["no_contexts"]
    assert str(ugly_run.parent) not in page.said


def test_trials_and_csv_of_ugly_text_are_data_too(ugly_address: str) -> None:
    said, page = read(ugly_address, f"{AT}/0/trials")
    assert said["tried"]
    assert "img" not in [tag for tag, _ in page.elements]
    reply = httpx.get(f"{ugly_address}{AT}/6.csv", timeout=60)
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert rows
    assert {row["document_id"] for row in rows} == {SCRIPT}
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in reply.headers["Content-Disposition"]


def test_csv_has_every_context_strongest_first_and_no_formula(address: str, serving: Serving) -> None:
    rows = list(csv.DictReader(io.StringIO(httpx.get(f"{address}{AT}/1.csv", timeout=60).text)))
    contexts = serving.client.run.feature(1).contexts
    assert {row["context_id"] for row in rows} == {of.context_id for of in contexts}
    peaks = [float(row["max_activation"]) for row in rows]
    assert peaks == sorted(peaks, reverse=True)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_features_of_the_same_label_are_counted_and_told_apart_by_tokens(ugly_address: str) -> None:
    near = read(ugly_address, f"{AT}/7")[0]["near"]
    assert near["n_same_label"] == 1
    (other,) = near["same_label"]
    assert other["index"] == 8
    assert "window" in " ".join(other["only_there"])
    assert "piano" in " ".join(other["only_here"])


def test_an_embed_leaves_out_what_it_is_told_to(address: str) -> None:
    parts = {
        "embedplots": "How often",
        "embedtest": "Try it on a text",
        "embedactivations": "Where it fires",
        "embedscores": "shuffled",
        "embedlink": "in autointerp",
    }
    flags = "&".join(f"{flag}=false" for flag in parts)
    for query, are_there in (("embed=true", True), (f"embed=true&{flags}", False)):
        said = read(address, f"{AT}/1?{query}")[1].said
        assert all((part in said) is are_there for part in parts.values()), query
        assert "river" in said
    assert "Where it fires" in read(address, f"{AT}/1?{flags}")[1].said  # of a page that is no embed


def test_a_feature_is_found_by_its_index_or_its_whole_name(address: str) -> None:
    for asked in ("7", " 7 ", f"{SOURCE}:7"):
        sent = httpx.get(f"{address}{AT}/go", params={"index": asked}, timeout=60)
        assert (sent.status_code, sent.headers["Location"]) == (303, f"{AT}/7")
    assert httpx.get(f"{address}{AT}/go?index=river", headers=BROWSER).status_code == 404


def test_people_star_vote_and_comment_by_forms_that_lead_back(planted_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "run")
    with answering(make_app(Serving(autointerp.open(tmp_path / "run"), Limits()))) as at:
        before, _ = read(at, f"{AT}/1")
        label = before["labels"][0]["id"]
        for sent in (
            {"do": "star"},
            {"do": "vote-for", "explanation": label, "author": "Ada"},
            {"do": "vote-against", "explanation": label, "author": "Bob"},
            {"do": "comment", "text": f"two\nlines {SCRIPT}", "author": "Ada"},
        ):
            reply = httpx.post(f"{at}{AT}/1/notes", data=sent, headers=BROWSER, timeout=60)
            assert (reply.status_code, reply.headers["Location"]) == (303, f"{AT}/1#notes-1")
        said, page = read(at, f"{AT}/1")
        assert said["notes"]["is_starred"]
        assert said["notes"]["votes"] == [{"explanation_id": label, "n_for": 1, "n_against": 1}]
        assert said["notes"]["comments"][0]["text"].startswith("two")
        assert "img" not in [tag for tag, _ in page.elements]
        httpx.post(f"{at}{AT}/1/notes", data={"do": "unstar"}, timeout=60)
        assert not read(at, f"{AT}/1")[0]["notes"]["is_starred"]
        for wrong in ({"do": "nothing"}, {}, {"do": "comment", "text": ""}):
            assert httpx.post(f"{at}{AT}/1/notes", data=wrong, headers=BROWSER, timeout=60).status_code == 400
        evil = {**BROWSER, "Origin": "https://evil.example"}
        assert httpx.post(f"{at}{AT}/1/notes", data={"do": "star"}, headers=evil, timeout=60).status_code == 403


def test_a_label_of_ones_own_stands_scored_beside_the_others(planted_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(planted_runs / "runs/demo", tmp_path / "run")
    with answering(make_app(Serving(autointerp.open(tmp_path / "run"), Limits()))) as at:
        sent = {"do": "label", "text": "the word river", "author": "Ada"}
        reply = httpx.post(f"{at}{AT}/1/notes", data=sent, headers=BROWSER, timeout=120)
        assert (reply.status_code, reply.headers["Location"]) == (303, f"{AT}/1")
        said, page = read(at, f"{AT}/1")
        (own,) = (of for of in said["labels"] if of["label"] == "the word river")
        assert own["scores"]
        assert said["label"] == "river"
        assert "the word river" in page.said


def test_previews_name_the_label_and_its_scores(ugly_address: str) -> None:
    page = read(ugly_address, f"{AT}/0")[1]
    said = {of["property"]: str(of["content"]) for tag, of in page.elements if tag == "meta" and "property" in of}
    assert said["og:title"].startswith("</script><script>")
    assert "detection" in said["og:description"]
    assert said["og:url"] == f"{ugly_address}{AT}/0"
