"""What the page of a text says."""

from pathlib import Path

import pytest
from pydantic import ValidationError

import autointerp
from autointerp.errors import AutointerpError
from autointerp.library.inspector import ContextInspector
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.serve.views.text import KeptTexts, TextAsked, TextRead, text_view
from tests.run.planted import COLOURS, EVERYWHERE, FEATURES
from tests.serve.asking import SOURCE

SHIP, RIVER, COLOUR = FEATURES.index(("ship",)), FEATURES.index(("river",)), FEATURES.index(COLOURS)
TEXT = "the ship is red and the river is blue"


@pytest.fixture(scope="module")
def serving(planted_runs: Path) -> Serving:
    """The run, nothing of it loaded."""
    return Serving(autointerp.open(planted_runs / "runs/demo"), Limits())


def read(serving: Serving, asked: TextAsked) -> TextRead:
    found = text_view(asked, serving).read
    assert found is not None
    return found


@pytest.mark.parametrize("by", ["surprise", "percentile", "activation"])
def test_a_text_tells_which_features_fire_on_which_tokens(serving: Serving, by: str) -> None:
    found = read(serving, TextAsked.model_validate({"text": TEXT, "by": by}))
    assert {of.feature.index for of in found.features} == {SHIP, RIVER, COLOUR, EVERYWHERE}
    values = [getattr(of, by) for of in found.features]
    assert values == sorted(values, reverse=True)
    (passage,) = found.passages
    assert "".join(passage.tokens).strip() == TEXT
    shaded = {token.strip() for token, value in zip(passage.tokens, passage.values, strict=True) if value > 0}
    assert shaded == {"the", "ship", "red", "river", "blue"}
    leading = {line.text.strip(): line.leading.feature.index for line in found.lines if line.leading}
    assert (leading["ship"], leading["red"], leading["the"]) == (SHIP, COLOUR, EVERYWHERE)
    assert found.n_firing == 4


def test_a_token_tells_its_features_and_a_feature_shades_its_tokens(serving: Serving) -> None:
    found = read(serving, TextAsked(text=TEXT, token=3, feature=COLOUR))
    assert found.on_token is not None
    assert (found.on_token.position, found.on_token.text) == (3, " red")
    assert [of.feature.index for of in found.on_token.fired] == [COLOUR]
    assert found.shaded_by is not None
    assert found.shaded_by.label == "red green blue"
    (passage,) = found.passages
    assert [token for token, value in zip(passage.tokens, passage.values, strict=True) if value] == [" red", " blue"]
    assert found.largest == max(passage.values)


def test_a_conversation_is_told_by_whose_word_it_is(serving: Serving) -> None:
    asked = TextAsked(role=("user", "assistant", "user"), content=("a ship?", "a river.", "  "), text="not looked at")
    found = read(serving, asked)
    told = {p.role: "".join(p.tokens).strip() for p in found.passages if p.role}
    assert told == {"user": "a ship?", "assistant": "a river."}
    firsts = [p.first for p in found.passages]
    assert firsts == sorted(firsts)
    assert sum(len(p.tokens) for p in found.passages) == found.n_tokens


def test_a_text_is_read_once_however_much_is_asked_of_it(serving: Serving) -> None:
    kept, n_read = KeptTexts(2), list[int]()
    inspector = serving.client.features.inspect(TEXT)

    def reading() -> ContextInspector:
        n_read.append(1)
        return inspector

    for text in ("a", "b", "a", "c", "a", "b"):
        kept.get(SOURCE, text, reading)
    assert len(n_read) == 4, "a once, b twice, c once"


def test_line_breaks_are_those_that_were_written(serving: Serving) -> None:
    asked = TextAsked(text="the ship\r\nthe river")
    assert asked.text == "the ship\nthe river"
    assert "\r" not in read(serving, asked).model_dump_json()


def test_no_text_is_no_trouble(serving: Serving) -> None:
    assert text_view(TextAsked(text=" \n"), serving).read is None


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\ud83d", "a\0b ship", "مرحبا بالعالم", "🎹 ship", "ﷺ"])
def test_any_text_is_read(serving: Serving, text: str) -> None:
    asked = TextAsked(text=text)
    assert read(serving, asked).n_tokens > 0
    assert asked.model_dump_json()


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (TextAsked(text="ship " * 4_001), "the text has 20,005 characters"),
        (TextAsked(text=TEXT, feature=12), "feature 12"),
        (TextAsked(text=TEXT, source="nowhere"), "there is no model 'nowhere'"),
        (TextAsked(text=TEXT, by="percentile", over="frequency"), "no percentile"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(serving: Serving, asked: TextAsked, line: str) -> None:
    with pytest.raises(AutointerpError) as error:
        text_view(asked, serving)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_token_that_a_shorter_text_no_longer_has_is_passed_over(serving: Serving) -> None:
    assert read(serving, TextAsked(text=TEXT, token=9_999)).on_token is None


@pytest.mark.parametrize("asked", [{"role": ("narrator",), "content": ("a",)}, {"token": -1}, {"by": "luck"}])
def test_what_no_text_has_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TextAsked.model_validate(asked)
