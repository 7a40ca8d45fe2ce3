"""What is read of a model's words: the answer wherever it stands, and nothing that would be a guess."""

import json
from typing import Any

import pytest

from autointerp.llm import Reply, answers
from autointerp.llm.answers import parse_answer
from tests.llm.asking import Asker, Label
from tests.loopback.server import Always, LoopbackServer, Say

MOST_READINGS = 12  # of each character: about ten looks for commas read a heap to its end, of a thousand looks in all
MONTHS = '{"label": "months"}'
DRAFT = '{"label": "a draft"}'
AROUND = {
    "nothing": "GOOD",
    "space": " \n GOOD\r\n",
    "a byte order mark": "\ufeffGOOD",
    "thoughts": "<think>\nthe tokens look like {keys}\n</think>\n\nGOOD",
    "empty thoughts": "<think>\n\n</think>\n\nGOOD",
    "several thoughts": "<think>a</think>\n<reasoning>b</reasoning>GOOD",
    "thoughts with a draft": "<thinking>perhaps DRAFT</thinking>GOOD",
    "thoughts that the template began": "perhaps DRAFT or {x}</think>GOOD",
    "a broken draft before an end": 'perhaps {"label</think>GOOD',
    "thoughts behind": "GOOD\n<think>DRAFT</think>",
    "a namespace": "<seed:think>DRAFT</seed:think>GOOD",
    "mistral": "[THINK]DRAFT[/THINK]GOOD",
    "cohere": "<|START_THINKING|>DRAFT<|END_THINKING|><|START_RESPONSE|>GOOD<|END_RESPONSE|>",
    "medgemma": "<unused94>thought\nDRAFT<unused95>GOOD",
    "apertus": "<|inner_prefix|>DRAFT<|inner_suffix|>GOOD",
    "kimi": "\u25c1think\u25b7DRAFT\u25c1/think\u25b7GOOD",
    "gpt-oss": "<|channel|>analysis<|message|>DRAFT<|end|><|start|>assistant<|channel|>final<|message|>GOOD<|return|>",
    "gpt-oss, constrained": "<|channel|>analysis<|message|>a<|end|><|channel|>final <|constrain|>JSON<|message|>GOOD",
    "gpt-oss without its signs": "analysisWe see DRAFT.assistantfinalGOOD",
    "a fence": "```json\nGOOD\n```",
    "a fence in capitals": "```JSON\nGOOD\n```",
    "a fence from Windows": "```json\r\nGOOD\r\n```",
    "a fence on one line": "```GOOD```",
    "a fence of tildes": "~~~json\nGOOD\n~~~",
    "a sentence before": "Here is the JSON you asked for:\n```json\nGOOD\n```",
    "a sentence behind": "GOOD\n\nAll marked tokens are months.",
    "braces that are no JSON": 'The set {a, b}, or {"a", "b"}: GOOD',
    "an object that is no answer": 'From {"June": 9}: GOOD',
    "the same twice": "GOOD\n\nGOOD",
    "a tag": "<answer>GOOD</answer>",
    "an object": '{"answer": GOOD}',
    "a list": "[GOOD]",
    "a list in an object": '{"answers": [GOOD]}',
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_an_answer_is_read_wherever_it_stands(around: str) -> None:
    assert parse_answer(around.replace("GOOD", MONTHS).replace("DRAFT", DRAFT), Label) == Label(label="months")


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "months",}',
        '{"label": "months" ,\n}',
        '{"Label": "months"}',
        '{" label": "months", "confidence": [0.9,], "why": {"label": "the marks"}}',
        '"{\\"label\\": \\"months\\"}"',
        '"{\\"label\\":\n\\"months\\"}"',
        '\ufeff"{\\"label\\": \\"months\\"}"',
        '{"answer": "{\\"label\\": \\"months\\"}"}',
    ],
)
def test_an_answer_in_another_hand_is_read(text: str) -> None:
    assert parse_answer(text, Label) == Label(label="months")


@pytest.mark.parametrize(
    "label", ["the tag </think>", "<think> and {braces}", "lists such as [1, ]", "a line\nand another", "x, }"]
)
def test_what_looks_like_an_envelope_within_a_label_is_part_of_it(label: str) -> None:
    assert parse_answer(f'{{"label": "{label}"}}', Label) == Label(label=label)
    assert parse_answer(f'<think>a</think> {{"label": "{label}",}}', Label) == Label(label=label)


def test_half_of_a_pair_of_code_units_does_not_cost_the_label() -> None:
    assert parse_answer('{"label": "keys \\ud83d"}', Label) == Label(label="keys \ufffd")
    assert parse_answer('{"label": "keys \\ud83d\\ude00"}', Label) == Label(label="keys \U0001f600")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("months", "no JSON object"),
        ('"label": "months"', "no JSON object"),
        ("{'label': 'months'}", "no JSON object"),
        ('{"label": "the word "key""}', "no JSON object"),
        ('{"label": "a", "label": "b"}', "no JSON object"),
        ('{"rejected": {"label": "a"}, "final": b}', "no JSON object"),
        ('{"label": "a"} {"label": "b"}', "2 different answers"),
        ('[{"label": "a"}, {"label": "b"}]', "label: Field required|2 different answers"),
        ('{"draft": {"label": "a"}, "final": {"label": "b"}}', "label: Field required"),
        ('{"label": "a", "Label": "b"}', "two of its fields have one name"),
        ('{"label": null}', "label: Input should be a valid string"),
        ('{"label": ["a"]}', "label: Input should be a valid string"),
        ('{"label": {"type": "string"}}', "label: Input should be a valid string"),
        ("{}", "label: Field required"),
        ('{"a": ' * 5000, "no JSON object|cut off"),
    ],
)
def test_nothing_is_guessed(text: str, problem: str) -> None:
    said = parse_answer(text, Label)
    assert isinstance(said, str)
    assert any(part in said for part in problem.split("|")), said


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "mon',
        '{"label": "months"',
        '{"drafts": [{"label": "a"}, {"label": "b',
        "<think>perhaps DRAFT",
        "<think>perhaps DRAFT, or",
        "<|channel|>analysis<|message|>DRAFT",
    ],
)
def test_nothing_is_read_of_an_answer_that_is_cut_off(text: str) -> None:
    said = parse_answer(text.replace("DRAFT", DRAFT), Label)
    assert said in ("it is cut off", "its thoughts don't end, and no answer follows them")


class CharactersRead:
    """Counts the characters that are read in the search for objects, as often as each is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        self._decoder = answers._DECODER
        self._without_last_commas = answers._without_last_commas
        monkeypatch.setattr(answers, "_DECODER", self)
        monkeypatch.setattr(answers, "_without_last_commas", self.without_last_commas)

    def raw_decode(self, text: str, start: int) -> tuple[Any, int]:
        end = len(text)
        try:
            value, end = self._decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            end = error.pos
            raise
        finally:
            self.n += end - start
        return value, end

    def without_last_commas(self, text: str, start: int) -> str:
        self.n += len(text) - start
        return self._without_last_commas(text, start)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{" * 200_000, "more than 1000 braces that begin no JSON object"),
        ('{"a" 1} ' * 50_000, "more than 1000 braces that begin no JSON object"),
        ('{"a":' * 50_000, "no JSON object"),
        ('{"a":[1,],x ' * 20_000 + "}" * 20_000, "more than 1000 braces that begin no JSON object"),
        ("<think>" * 50_000, "its thoughts don't end"),
        ("<|channel|>final " * 20_000, "no JSON object"),
        ('{"label": "months"' + ", " * 100_000, "no JSON object"),
        ("".join(f'{{"label": "{n}"}}' for n in range(20_000)), "20000 different answers"),
    ],
    ids=["braces", "broken objects", "nested", "nested with commas", "thoughts", "channels", "commas", "answers"],
)
def test_a_heap_of_brackets_is_refused_without_reading_it_time_and_again(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    read = CharactersRead(monkeypatch)
    said = parse_answer(text, Label)
    assert isinstance(said, str)
    assert problem in said
    assert read.n <= MOST_READINGS * len(text)


def test_an_answer_with_many_commas_too_many_is_read_in_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    read = CharactersRead(monkeypatch)
    said = f'{{"why": [{"[1,], " * 100_000}], "label": "months, ]",}}'
    assert parse_answer(said, Label) == Label(label="months, ]")
    assert read.n <= 3 * len(said)  # up to the first comma, for all commas, and without them


def test_broken_braces_before_an_answer_do_not_cost_it() -> None:
    assert parse_answer("{x} " * 900 + MONTHS, Label) == Label(label="months")
    assert parse_answer("{x} " * 5000 + "</think>" + MONTHS, Label) == Label(label="months")
    assert parse_answer(f'{{"a": [1,], b}} {MONTHS}', Label) == Label(label="months")


def test_a_model_that_thinks_aloud_is_asked_once(asker: Asker) -> None:
    with LoopbackServer(Always(Say(f"<think>DRAFT</think>\n```json\n{MONTHS}\n```"))) as server:
        outcome = asker.ask_one(server)
        assert isinstance(outcome, Reply)
        assert outcome.answer == Label(label="months")
        assert len(server.calls) == 1
