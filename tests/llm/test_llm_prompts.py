"""Prompt files are checked both ways, and nothing from the corpus can leave its quotation marks."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.assets import asset_folder
from autointerp.errors import PromptError
from autointerp.llm.prompts import load_prompt, numbered, parse_prompt, quoted


def test_a_missing_variable_is_an_error() -> None:
    prompt = parse_prompt("p", "[system]\nFixed.\n[user]\n{{ a }} and {{ b }}\n")
    with pytest.raises(PromptError, match="uses b, which it is not given"):
        prompt.user(a="1")


def test_an_unused_variable_is_an_error() -> None:
    prompt = parse_prompt("p", "[user]\n{{ a }}\n")
    with pytest.raises(PromptError, match=r"does not use c: its file must contain \{\{ c \}\}"):
        prompt.user(a="1", c="2")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[system]\nfixed {% endif %}\n[user]\n{{ a }}", "line 2: Encountered unknown tag 'endif'"),
        ("[system]\nfixed\n\n[user]\n\na\n{{ b }", "line 7: unexpected '}'"),
        ("[user]\n{{ b c }}", "line 2: expected token 'end of print statement', got 'c'"),
        ("[system]\n{% if a %}\n[user]\nb{% endif %}", "line 2: Unexpected end of template"),
    ],
)
def test_what_is_no_template_is_told_with_its_line_in_the_file(text: str, problem: str) -> None:
    with pytest.raises(PromptError, match=re.escape(f"prompt 'p.txt' is not a template ({problem}")):
        parse_prompt("p.txt", text)


def test_a_variable_in_the_fixed_part_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"variables in its fixed part \(a\)"):
        parse_prompt("p", "[system]\n{{ a }}\n[user]\n{{ b }}\n")


@pytest.mark.parametrize("text", ["", "Fixed only", "[system]\nFixed only\n", "[user]\n{{ a\n", "[user]\n{% if %}\n"])
def test_a_malformed_prompt_is_an_error(text: str) -> None:
    with pytest.raises(PromptError, match="prompt 'p'"):
        parse_prompt("p", text)


def test_a_prompt_that_is_not_there_is_an_error() -> None:
    with pytest.raises(PromptError, match=r"no prompt file .*nothing\.txt"):
        load_prompt("nothing")


def test_what_is_filled_in_is_no_template() -> None:
    assert parse_prompt("p", "[user]\n<{{ a }}>\n").user(a="{{ b }}{% for %}") == "<{{ b }}{% for %}>"


def test_every_prompt_file_reads_and_hashes_differ() -> None:
    names = [path.stem for path in asset_folder("prompts").glob("*.txt")]
    assert {"explain_examples", "judge_detection", "judge_fuzzing", "repair"} <= set(names)
    assert len({load_prompt(name).sha256 for name in names}) == len(names)


def test_the_prompts_folder_holds_text_only() -> None:
    assert {path.suffix for path in asset_folder("prompts").iterdir()} == {".txt"}


@given(st.text())
def test_a_quoted_text_is_one_line_of_json_that_reads_back(text: str) -> None:
    shown = quoted(text)
    assert json.loads(shown) == text
    assert len(shown.splitlines()) == 1


@given(st.lists(st.text(), max_size=5))
def test_numbered_texts_have_one_line_each_whatever_they_say(texts: list[str]) -> None:
    lines = numbered(texts).splitlines()
    assert [re.match(r'(\d+): "', line) is not None for line in lines] == [True] * len(texts)
    assert [json.loads(line.partition(": ")[2]) for line in lines] == texts


def test_other_scripts_stay_readable_and_hidden_characters_show() -> None:
    assert quoted("日本 עברית ελληνικά 🙂") == '"日本 עברית ελληνικά 🙂"'
    assert quoted("a\u202eb\u2028c\x85d\U000e0041") == '"a\\u202eb\\u2028c\\u0085d\\udb40\\udc41"'
