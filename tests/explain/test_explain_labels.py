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
        ("I'm sorry, but I can't", "Refusal"),
        ("Label: I apologize, but I do not see a pattern", "Refusal"),
        ("I don't have enough information.", "Refusal"),
        ("The neuron does not activate on anything specific", "Refusal"),
        ("This feature has no clear meaning", "Refusal"),
        ("It's unclear what these contexts share", "Refusal"),
        ("This content violates our policies", "Refusal"),
        ("Je suis d\u00e9sol\u00e9, mais je ne peux pas vous aider.", "Refusal"),
        ("Je ne suis pas en mesure de r\u00e9pondre", "Refusal"),
        ("Lo siento, no puedo ayudar con eso", "Refusal"),
        ("Es tut mir leid, aber ich kann das nicht beantworten", "Refusal"),
        ("Mi dispiace, non posso", "Refusal"),
        ("Desculpe, mas n\u00e3o posso ajudar", "Refusal"),
        ("Przepraszam, nie mog\u0119 pom\u00f3c", "Refusal"),
        ("\u041a сожалению, я не могу", "Refusal"),
        ("抱歉\uff0c我无法提供标签", "Refusal"),
        ("作为一个AI语言模型\uff0c我无法回答", "Refusal"),
        ("申し訳ありませんが、お答えできません", "Refusal"),
        ("죄송하지만 도와드릴 수 없습니다", "Refusal"),
        ("عذراً، لا أستطيع المساعدة", "Refusal"),
        ("मुझे खेद है, मैं मदद नहीं कर सकता", "Refusal"),
        ("N/A", "Refusal"),
        ("None.", "Refusal"),
        ("unknown", "Refusal"),
        ("无", "Refusal"),
        ("<your label here>", "Refusal"),
        ("a short phrase", "Refusal"),
        ("</think>", "Refusal"),
        ("<|im_start|><|im_end|>", "Refusal"),
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
        'apologies such as "I\'m sorry"',
        "sorry, but",
        "unfortunately, and other words of regret",
        "None in Python code",
        "unknown values",
        "the feature flag of a program",
        "impossible tasks",
        "insufficient funds",
        "d\u00e9sol\u00e9, excuses en fran\u00e7ais",
        "lo siento",
        "ich und andere Pronomen",
        "items in a system",
        "道歉用语",
        "<div> and other tags of HTML",
        "names in <angle brackets>",
    ],
)
def test_what_may_be_a_label_is_one(label: str) -> None:
    assert label_problem(label, PROMPT) is None


def test_words_of_refusal_that_the_contexts_hold_may_name_what_they_show() -> None:
    chats = '1: "assistant: <<I can\'t help>> with that." help 9'
    assert label_problem("I can't help", chats) is None
    assert label_problem("I can't help", PROMPT) is not None


def test_a_mark_within_a_word_does_not_hide_it() -> None:
    marked = '1: "assistant: I apolog<<ize>>, but I can\'t do that." ize 9'
    assert label_problem("I apologize, but I can't", marked) is None
    assert label_problem("I apologize, but I can't", marked.replace("ize", "ies")) is not None


def test_a_word_for_nothing_may_name_the_tokens_that_are_marked_and_no_others() -> None:
    assert label_problem("None", '1: "x = <<None>> if y" None 9') is None
    assert label_problem("None", '1: "x = <<No>>ne if y" No 9') is None
    assert label_problem("</s>", '1: "the end<</s>>>" </s> 9') is None
    assert label_problem("None", '1: "x = None <<if>> y" if 9') == ("Refusal", "the label says nothing: None")
    assert label_problem("na", '1: "a <<banana>>" banana 9') is not None
    assert label_problem("unknown", "shown: an unknown word") is None, "a prompt without marks"


@pytest.mark.parametrize("label", ["Je ne peux pas", "抱歉\uff0c我无法", "the feature is not"])
def test_words_of_refusal_in_any_language_may_name_what_the_contexts_show(label: str) -> None:
    assert label_problem(label, f'1: "she said: <<{label}>> dormir" 9') is None
    assert label_problem(label, PROMPT) is not None
