"""Answers from a live subject."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.live.generation.generator import Generator
from autointerp.live.generation.request import GenerationRequest
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, SourceEdits
from autointerp.subject.source import load_sources

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)


@pytest.fixture
def live(saved_model: Callable[..., Path], saved_coder: Callable[..., Path]) -> LiveSubject:
    subject = SubjectConfig(model=str(saved_model("gpt2")), name="tiny", device="cpu")
    sources = load_sources(subject, [CoderConfig(path=str(saved_coder("standard")), name="1-res")])
    return LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=256)


def test_an_answer_is_the_models_own(live: LiveSubject) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(live.sources.subject.model.name_or_path)
    expected = model.generate(torch.tensor([PROMPT]), do_sample=False, max_new_tokens=12)[0, len(PROMPT) :]
    answer = Generator(live).submit(GenerationRequest(PROMPT, max_new_tokens=12, temperature=0)).result()
    assert list(answer.token_ids) == expected.tolist()


def test_edits_change_the_answer(live: LiveSubject) -> None:
    edits = (SourceEdits("tiny@1-res", (Edit(7, "add", 30.0),)),)
    plain = Generator(live).submit(GenerationRequest(PROMPT, max_new_tokens=12, temperature=0)).result()
    steered = Generator(live).submit(GenerationRequest(PROMPT, edits=edits, max_new_tokens=12, temperature=0)).result()
    assert steered.token_ids != plain.token_ids
    assert (steered.n_edited_prompt, steered.n_edited_generated) == (8, 11)
