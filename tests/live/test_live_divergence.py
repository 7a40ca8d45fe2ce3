"""How far edits move the next token: the layers above them by themselves give what the whole model gives."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.live.divergence import DivergenceMeter, MeteredTexts
from autointerp.live.edits import edited
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit, Push
from autointerp.subject.source import load_sources

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
EDITS: tuple[tuple[Edit | Push, ...], ...] = (
    (Edit(7, "add", 3.0),),
    (),
    (Edit(3, "pin", 2.0), Edit(9, "add", -1.0)),
    (Push(np.linspace(-1, 1, 16, dtype=np.float32)),),
)
FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma3_text")


def texts_of(n_texts: int, length: int) -> MeteredTexts:
    """Random ones of unlike length; the first token of each does not count."""
    draw = np.random.default_rng(0)
    token_ids = draw.integers(0, 50, (n_texts, length))
    mask = np.arange(length) < draw.integers(length // 2, length + 1, n_texts)[:, None]
    counted = mask.copy()
    counted[:, 0] = False
    return MeteredTexts(np.where(mask, token_ids, 0), mask, counted)


@pytest.fixture
def make_live(saved_model: Callable[..., Path], saved_coder: Callable[..., Path]) -> Callable[..., LiveSubject]:
    def make(family: str = "gpt2", hook: str = "blocks.1.hook_resid_post", n_tokens_at_once: int = 64) -> LiveSubject:
        subject = SubjectConfig(model=str(saved_model(family, tie_word_embeddings=True)), name="tiny", device="cpu")
        sources = load_sources(subject, [CoderConfig(path=str(saved_coder("standard", hook)), name="s")])
        pieces = TokenPieces(sources.subject.tokenizer)
        return LiveSubject(sources, NO_SPECIAL, pieces, 64, n_tokens_at_once=n_tokens_at_once)

    return make


def one_by_one(live: LiveSubject, texts: MeteredTexts, edits: Sequence[Edit | Push]) -> np.ndarray:
    """By the whole model, a text at a time, by the definition."""
    source, head = live.source("tiny@s"), find_head(live.sources.subject)
    found = []
    for ids, mask, counted in zip(texts.token_ids, texts.mask, texts.counted, strict=True):
        read = torch.from_numpy(ids[mask])[None]
        with torch.inference_mode():
            plain = head.log_probs(live.sources.subject.model(input_ids=read).last_hidden_state[0])
            with edited(source, [edits], torch.ones_like(read, dtype=torch.bool)):
                after = head.log_probs(live.sources.subject.model(input_ids=read).last_hidden_state[0])
        kl = torch.nn.functional.kl_div(plain, after, log_target=True, reduction="none").sum(dim=1)
        found.append(kl.numpy()[counted[mask]])
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("family", "hook"),
    [
        *((family, "blocks.1.hook_resid_post") for family in FAMILIES),
        ("gpt2", "blocks.0.hook_resid_pre"),
        ("llama", "blocks.2.hook_mlp_out"),
        ("gemma2", "blocks.1.hook_attn_out"),
    ],
)
def test_the_layers_above_by_themselves_give_what_the_whole_model_gives(
    make_live: Callable[..., LiveSubject], family: str, hook: str
) -> None:
    live, texts = make_live(family, hook), texts_of(7, 12)
    meter = DivergenceMeter(live, "tiny@s", texts)
    assert meter.replays
    assert meter.n_tokens == texts.counted.sum()
    for edits, found in zip(EDITS, meter.measure(EDITS), strict=True):
        np.testing.assert_allclose(found, one_by_one(live, texts, edits), atol=1e-4, rtol=1e-3)
    assert max(found.max() for found in meter.measure(EDITS)) > 0.01
    assert meter.measure([()])[0].max() < 1e-5


def test_an_edit_of_the_embedding_runs_the_whole_model(make_live: Callable[..., LiveSubject]) -> None:
    live, texts = make_live("gpt2", "hook_embed"), texts_of(3, 9)
    meter = DivergenceMeter(live, "tiny@s", texts)
    assert not meter.replays
    for edits, found in zip(EDITS, meter.measure(EDITS), strict=True):
        np.testing.assert_allclose(found, one_by_one(live, texts, edits), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("length", [1, 40, 64])
def test_long_texts_and_many_edits_are_measured_in_parts(make_live: Callable[..., LiveSubject], length: int) -> None:
    live, texts = make_live("llama"), texts_of(30, 64)
    texts = MeteredTexts(texts.token_ids[:, :length], texts.mask[:, :length], texts.mask[:, :length])
    meter = DivergenceMeter(live, "tiny@s", texts)
    many = [(Edit(index, "add", 2.0),) for index in range(5)]
    together = meter.measure(many)
    for edits, found in zip(many, together, strict=True):
        np.testing.assert_allclose(found, meter.measure([edits])[0], atol=1e-5)
        few = meter.measure([edits], n_tokens=1)[0]
        np.testing.assert_allclose(few, found[: len(few)], atol=1e-5)
    assert len(few) == (meter.n_tokens if length == 1 else len(few) < meter.n_tokens and len(few))


def test_a_model_without_a_head_is_told(make_live: Callable[..., LiveSubject]) -> None:
    with pytest.raises(SubjectError, match="type bert has no language-model head"):
        DivergenceMeter(make_live("bert"), "tiny@s", texts_of(2, 5))
