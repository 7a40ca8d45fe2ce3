"""What text a model can read: sizes of its weights against those of its tokenizer and of the corpus's blocks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.errors import SubjectError
from autointerp.subject.limits import check_text, n_embedded
from autointerp.subject.model import load_subject
from autointerp.subject.source import Sources, load_sources
from tests.corpus.small_tokenizers import bytelevel_tokenizer

N_POSITIONS = 64


@pytest.fixture
def saved_subject(tmp_path: Path, tiny_model: Callable[..., Any]) -> Callable[..., SubjectConfig]:
    """Saves a small model with so many rows and a tokenizer of 257 tokens, to which padding may be added after it."""

    def save(family: str = "gpt2", n_rows: int = 257, *, pads: bool = False) -> SubjectConfig:
        folder = tmp_path / family
        tiny_model(family, vocab_size=n_rows).save_pretrained(folder)
        tokenizer: PreTrainedTokenizerFast = bytelevel_tokenizer(eos_token="</s>")
        if pads:
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        tokenizer.save_pretrained(folder)
        return SubjectConfig(model=str(folder), device="cpu")

    return save


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama"])
def test_padding_without_an_embedding_changes_nothing_of_what_is_read(
    family: str, saved_subject: Callable[..., SubjectConfig], saved_coder: Callable[..., Path]
) -> None:
    sources = load_sources(saved_subject(family, pads=True), [CoderConfig(path=str(saved_coder()))])
    text, mask = [[3, 1, 4, 1], [5, 9, 0, 0]], torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    padded = torch.tensor(text).masked_fill(mask == 0, sources.subject.tokenizer.pad_token_id)
    assert padded.max() == n_embedded(sources.subject) == 257
    torch.testing.assert_close(_read(sources, padded, mask), _read(sources, torch.tensor(text), mask), rtol=0, atol=0)


def test_a_token_of_the_text_without_an_embedding_is_named(
    saved_subject: Callable[..., SubjectConfig], saved_coder: Callable[..., Path]
) -> None:
    sources = load_sources(saved_subject(pads=True), [CoderConfig(path=str(saved_coder()))])
    ids = torch.tensor([[3, 257]])
    with pytest.raises(SubjectError, match=r"embedding of 257 rows, none for the token '\[PAD\]' \(257\)"):
        _read(sources, ids, torch.ones_like(ids))


def test_an_added_token_without_an_embedding_is_no_error_until_a_text_has_it(
    saved_subject: Callable[..., SubjectConfig],
) -> None:
    check_text(load_subject(saved_subject(pads=True)), N_POSITIONS)


def test_a_tokenizer_of_another_model_is_named_by_its_size(saved_subject: Callable[..., SubjectConfig]) -> None:
    subject = load_subject(saved_subject(n_rows=200))
    with pytest.raises(SubjectError, match=r"gpt2 has 257 tokens, and its embedding 200 rows: none for '.+' \(200\)"):
        check_text(subject, N_POSITIONS)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_block_longer_than_the_learnt_positions_is_an_error(
    family: str, saved_subject: Callable[..., SubjectConfig], saved_coder: Callable[..., Path]
) -> None:
    sources = load_sources(saved_subject(family), [CoderConfig(path=str(saved_coder()))])
    check_text(sources.subject, N_POSITIONS)
    with pytest.raises(SubjectError, match=r"has 64 positions, and a block 65: set corpus\.block_length to 64 or less"):
        check_text(sources.subject, N_POSITIONS + 1)
    ids = torch.zeros((1, N_POSITIONS + 1), dtype=torch.long)
    with pytest.raises(SubjectError, match="has 64 positions, and a block 65"):
        _read(sources, ids, torch.ones_like(ids))


def test_a_block_longer_than_the_texts_of_training_is_told_where_positions_are_computed(
    saved_subject: Callable[..., SubjectConfig], caplog: pytest.LogCaptureFixture
) -> None:
    subject = load_subject(saved_subject("llama"))
    check_text(subject, N_POSITIONS)
    assert not caplog.records
    check_text(subject, N_POSITIONS + 1)
    assert "corpus.block_length = 65, and the config of the model llama says that it reads 64" in caplog.text


def _read(sources: Sources, token_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    (read,) = sources.read_counted(token_ids, mask, mask.bool())
    return read
