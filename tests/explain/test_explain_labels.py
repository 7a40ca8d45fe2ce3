"""What is no label, and what is one though it looks odd."""

import pytest

from autointerp.explain.not_a_label import label_problem

PROMPT = 'Say in one short phrase what makes it fire.\n1: "from <<May>> to July the pass is open" May 9'


@pytest.mark.parametrize(
    ("label", "error_type"),
    [
        ("", "EmptyLabel"),
        (" \n\t", "EmptyLabel"),
        ("—…!?", "EmptyLabel"),
        ("x" * 201, "LabelTooLong"),
        ("The feature fires. " * 20, "LabelTooLong"),
        ("from May to July, the pass is OPEN", "PromptRepeated"),
        ("Say in one short phrase what makes it fire", "PromptRepeated"),
        ("I can't help with that.", "Refusal"),
        ("I\u2019m sorry, but I can\u2019t assist with this request", "Refusal"),
        ("Sorry, I cannot determine what these contexts share", "Refusal"),
        ("Unfortunately, I am unable to identify a pattern", "Refusal"),
        ("As an AI language model, I won't label this", "Refusal"),
    ],
)
def test_what_is_no_label_is_named(label: str, error_type: str) -> None:
    problem = label_problem(label, PROMPT)
    assert problem is not None
    assert problem[0] == error_type


@pytest.mark.parametrize("label", [".", '"."', "'.', '…'", '","', ",", '".", ","'])
def test_punctuation_is_a_label_where_the_feature_was_seen_to_fire_on_it(label: str) -> None:
    fires_on_stops = PROMPT.replace("<<May>>", "May<<.>> June<<…>> or<<,>>")
    assert label_problem(label, fires_on_stops) is None
    assert label_problem(label, PROMPT) == ("EmptyLabel", "the label is empty")
    assert label_problem("!", fires_on_stops) == ("EmptyLabel", "the label is empty")
    assert label_problem("''", fires_on_stops) == ("EmptyLabel", "the label is empty")


@pytest.mark.parametrize(
    "label",
    [
        "months",
        "May",
        "x" * 200,
        "月の名前",
        'refusals such as "I can\'t help with that"',
        "apologies: I'm sorry, I apologise, my fault",
        "I can't, cannot, won't: negated modal verbs",
        "I am able to help: offers of help",
        "sorry",
        "no common pattern",
        "unable to determine a type, in error messages",
        "the pass is open",
    ],
)
def test_what_may_be_a_label_is_one(label: str) -> None:
    assert label_problem(label, PROMPT) is None


def test_words_of_refusal_that_the_contexts_hold_may_name_what_they_show() -> None:
    chats = '1: "assistant: <<I can\'t help>> with that." help 9'
    assert label_problem("I can't help", chats) is None
    assert label_problem("I can't help", PROMPT) is not None
