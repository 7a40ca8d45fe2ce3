"""The explainer `brief`: the words on which a feature fires, in a prompt that a small model can follow."""

from dataclasses import replace

from autointerp.explain.explainers.brief import BriefExplainer
from autointerp.llm import Journal
from tests.explain.explaining import HOSTILE, MONTHS, ask, evidence
from tests.loopback.server import Always, Say


def test_the_words_are_shown_once_each_and_no_text_beside_them(journal: Journal) -> None:
    asked = ask(BriefExplainer, Always(Say('{"label": "months"}')), journal, evidence(MONTHS))
    assert asked.prompt == (
        "[system]\nYou name what words have in common. Answer in JSON, with a label of a few words.\n"
        '[user]\nWords: "may", "april"\n\nWhat do the words have in common?\n'
    )
    assert (asked.explanation.label, asked.explanation.explainer) == ("months", "brief")


def test_a_word_can_t_end_its_quotation(journal: Journal) -> None:
    asked = ask(BriefExplainer, Always(Say('{"label": "months"}')), journal, evidence((HOSTILE,)))
    (line,) = [line for line in asked.prompt.splitlines() if line.startswith("Words: ")]
    assert line.count("\n") == 0
    assert len(asked.prompt.splitlines()) == 6


def test_the_words_of_most_contexts_stand_first_and_eight_at_most(journal: Journal) -> None:
    many = tuple(replace(MONTHS[0], tokens=(f"w{i}",), token_ids=(i,), activations=(1.0,)) for i in range(20))
    asked = ask(BriefExplainer, Always(Say('{"label": "words"}')), journal, evidence((*many, many[13])))
    (line,) = [line for line in asked.prompt.splitlines() if line.startswith("Words: ")]
    assert line.startswith('Words: "w13", ')
    assert line.count(",") == 7
