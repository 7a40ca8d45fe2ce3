"""The subject on texts of today: what it does there is what the pass over a corpus would have seen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.live.subject import LiveSubject
from autointerp.subject.source import load_sources
from tests.run.planted import COLOURS, FEATURES, Planted

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
SOURCE = "planted@0-res-0"


@pytest.fixture(scope="module")
def live(planted: Planted) -> LiveSubject:
    subject = SubjectConfig(model=str(planted.model), name="planted", device="cpu")
    sources = load_sources(subject, [CoderConfig(path=str(planted.coder), name="0-res-0")])
    return LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=256)


def test_a_feature_fires_on_its_words_and_on_no_other(live: LiveSubject) -> None:
    texts = ["we saw a ship on the river", "red and green"]
    read = [live.read_text(text) for text in texts for _ in range(3)]
    features = [FEATURES.index(words) for _ in texts for words in (("ship",), ("river",), COLOURS)]
    found = live.activations(SOURCE, read, features)
    fired = [[t.strip() for t, a in zip(of.tokens, of.activations, strict=True) if a > 0] for of in found]
    assert fired == [["ship"], ["river"], [], [], [], ["red", "green"]]


def test_activations_are_the_coders_own_of_the_models_own(live: LiveSubject) -> None:
    source = live.source(SOURCE)
    read = live.read_text("the red ship and the blue river")
    ids = torch.tensor([read])
    with torch.inference_mode():
        hidden = source.subject.model(input_ids=ids, output_hidden_states=True).hidden_states[0]
    expected = source.coder.sae.encode(hidden[0])[:, FEATURES.index(COLOURS)]
    (found,) = live.activations(SOURCE, [read], [FEATURES.index(COLOURS)])
    assert max(found.activations) > 0
    assert found.activations == pytest.approx(expected.tolist(), abs=1e-6)
    assert "".join(found.tokens).strip() == "the red ship and the blue river"


def test_texts_run_together_do_what_each_does_alone(live: LiveSubject) -> None:
    texts = [f"{'we go ' * n}with the ship" for n in range(1, 24)]
    read = [live.read_text(text) for text in texts]
    together = live.activations(SOURCE, read, [0] * len(read))
    assert any(max(of.activations) > 0 for of in together)
    for of_text, tokens in zip(together, read, strict=True):
        (alone,) = live.activations(SOURCE, [tokens], [0])
        assert of_text.token_ids == alone.token_ids
        assert of_text.activations == pytest.approx(alone.activations, abs=1e-5)


def test_special_tokens_stand_around_a_text_and_do_not_count(live: LiveSubject) -> None:
    (ship,) = live.read_text("ship")
    framed = replace(live, special=replace(NO_SPECIAL, before=(ship,), after=(ship,), uncounted=frozenset({ship})))
    read = framed.read_text("we saw it")
    (found,) = framed.activations(SOURCE, [read], [FEATURES.index(("ship",))])
    assert found.token_ids == read
    assert found.activations == (0.0,) * len(read)
    ids, mask, counted = framed.framed([read], open_ended=True)
    assert ids.tolist() == [[ship, *read]]
    assert mask.tolist() == [[1] * (len(read) + 1)]
    assert counted.tolist() == [[False, *[True] * len(read)]]


def test_a_text_is_cut_to_what_a_block_has_room_for(live: LiveSubject) -> None:
    short = replace(live, block_length=8, special=replace(NO_SPECIAL, before=(1,), after=(2, 2)))
    assert len(short.read_text("we go " * 50)) == 5


def test_a_text_without_a_token_is_an_error(live: LiveSubject) -> None:
    with pytest.raises(SubjectError, match="the text '' has no token for planted"):
        live.read_text("")


def test_a_token_without_an_embedding_is_an_error(
    saved_live_model: Callable[[], SubjectConfig], planted: Planted
) -> None:
    sources = load_sources(saved_live_model(), [CoderConfig(path=str(planted.coder), name="0-res-0")])
    live = LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=256)
    with pytest.raises(SubjectError, match="has no embedding for a token of the text 'a <extra> b'"):
        live.read_text("a <extra> b")


@pytest.fixture
def saved_live_model(planted: Planted, tmp_path: Path) -> Callable[[], SubjectConfig]:
    """Saves the planted model with a tokenizer that has a token more than the model."""

    def save() -> SubjectConfig:
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(planted.model)
        tokenizer.add_tokens(["<extra>"])
        AutoModel.from_pretrained(planted.model).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return SubjectConfig(model=str(tmp_path), name="planted", device="cpu")

    return save
