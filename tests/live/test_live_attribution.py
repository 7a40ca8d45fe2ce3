"""What pushes a token: known in the planted model, held against single features taken out, and against what is left."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autointerp.corpus.special import SpecialTokens
from autointerp.errors import SubjectError
from autointerp.live.attribution import attribute
from autointerp.live.edits import edited
from autointerp.live.next_token import find_head
from autointerp.live.subject import LiveSubject
from autointerp.records.attribution import AskedToken, TokenAttribution
from autointerp.records.live import Edit
from tests.live.test_live_next_token import live_of
from tests.run.planted import COLOURS, FEATURES, Planted

TEXT = "the ship is red and the river is blue by the window and the piano was green"
SHIP, COLOUR = FEATURES.index(("ship",)), FEATURES.index(COLOURS)


@pytest.fixture(scope="module")
def live(planted: Planted) -> LiveSubject:
    return live_of(planted.model, planted.coder)


@pytest.fixture
def made(tmp_path: Path, planted: Planted, saved_coder: Callable[..., Path]) -> Callable[..., LiveSubject]:
    """A small random model of a family, with the planted model's tokenizer and a small random coder."""

    def make(family: str, hook: str, architecture: str = "standard", **settings: Any) -> LiveSubject:
        import transformers as t

        tokenizer = t.AutoTokenizer.from_pretrained(planted.model)
        size = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
        gated = size | {"intermediate_size": 24, "max_position_embeddings": 64}
        configs = {
            "gpt2": lambda: t.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=3, n_head=2, n_positions=64),
            "gpt_neox": lambda: t.GPTNeoXConfig(**gated),
            "llama": lambda: t.LlamaConfig(num_key_value_heads=1, **gated),
            "gemma2": lambda: t.Gemma2Config(num_key_value_heads=1, head_dim=8, final_logit_softcapping=None, **gated),
        }
        torch.manual_seed(0)
        model = t.AutoModelForCausalLM.from_config(configs[family]())
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(0.2 * torch.randn_like(weights))
        model.save_pretrained(tmp_path / "made")
        tokenizer.save_pretrained(tmp_path / "made")
        return live_of(tmp_path / "made", saved_coder(architecture, hook, **settings))

    return make


def plain(live: LiveSubject, found: TokenAttribution, edits: tuple[Edit, ...] = (), at: int | None = None) -> float:
    """The difference of two tokens' log-probabilities, by the model's own forward pass."""
    ids = torch.tensor([found.token_ids[:-1]])
    where = torch.zeros_like(ids, dtype=torch.bool)
    where[0, slice(None) if at is None else at] = True
    with torch.inference_mode(), edited(live.source(found.source_id), [edits], where):
        model: Any = live.sources.subject.model
        log_probs = find_head(live.sources.subject).log_probs(model(input_ids=ids).last_hidden_state[:, -1])[0]
    other = 0.0 if found.instead_of is None else float(log_probs[found.instead_of])
    return float(log_probs[found.token_ids[-1]]) - other


def test_the_direct_effect_in_the_planted_model_is_its_embeddings_product(live: LiveSubject) -> None:
    """By hand: activation times W_dec, centred, times the norm's weight and over its divisor, times W of two tokens."""
    found = attribute(live, "m@s", TEXT, AskedToken(index=4, instead_of="river"))
    model: Any = live.sources.subject.model
    seen: list[torch.Tensor] = []
    handle = model.ln_f.register_forward_pre_hook(lambda _, args: seen.append(args[0][0, -1].double()))
    with torch.inference_mode():
        model(input_ids=torch.tensor([found.token_ids[:4]]))
    handle.remove()
    by = (seen[0].var(unbiased=False) + model.ln_f.eps).sqrt()
    towards = (model.wte.weight[found.token_ids[4]] - model.wte.weight[found.instead_of]).double()
    row = live.source("m@s").coder.decoder[COLOUR].double()
    per_unit = float(((row - row.mean()) * model.ln_f.weight.double() / by) @ towards)
    (place,) = np.flatnonzero((found.token == 3) & (found.feature == COLOUR))
    assert found.tokens[3] == " red"
    assert found.direct[place] == pytest.approx(found.activation[place] * per_unit, rel=1e-4)
    assert not found.direct[found.token < 3].any(), "no feature of an earlier token acts directly"


def test_the_measure_is_the_models_own(live: LiveSubject) -> None:
    for asked in (AskedToken(index=7), AskedToken(index=7, instead_of="ship")):
        found = attribute(live, "m@s", TEXT, asked)
        assert found.value == pytest.approx(plain(live, found), abs=1e-5)
    logit = attribute(live, "m@s", TEXT, AskedToken(index=7, measure="logit"))
    assert logit.log_prob == pytest.approx(plain(live, logit), abs=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("hook", ["blocks.0.hook_resid_pre", "blocks.2.hook_resid_post", "blocks.1.hook_mlp_out"])
def test_direct_shares_add_up_to_the_logits_difference(
    made: Callable[..., LiveSubject], family: str, hook: str
) -> None:
    live = made(family, hook)
    found = attribute(live, "m@s", "the river is red", AskedToken(index=3, instead_of=7))
    of = found.of_direct
    assert of is not None
    assert of.rest is not None
    assert sum((of.features, of.bias, of.error, of.special, of.rest)) == pytest.approx(found.value, abs=1e-4)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("topk", {}),
        ("jumprelu", {"normalize_activations": "constant_norm_rescale"}),
        ("standard", {"normalize_activations": "layer_norm"}),
    ],
)
def test_a_small_push_moves_the_measure_by_the_gradient(
    made: Callable[..., LiveSubject], architecture: str, settings: dict[str, str]
) -> None:
    """A finite difference of the model's own forward pass, with a little more of one activation at one token."""
    live = made("llama", "blocks.1.hook_resid_post", architecture, **settings)
    found = attribute(live, "m@s", TEXT, AskedToken(index=6, instead_of=7))
    most = np.argsort(-np.abs(found.gradient))[:5].tolist()
    for place in most:
        by = 0.02 * float(found.activation[place])
        sides = [
            plain(live, found, (Edit(int(found.feature[place]), "add", sign * by),), int(found.token[place]))
            for sign in (1, -1)
        ]
        assert (sides[0] - sides[1]) / (2 * by) == pytest.approx(
            found.gradient[place] / found.activation[place], rel=0.05, abs=1e-3
        )


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("topk", {}), ("standard", {"normalize_activations": "layer_norm"})],
)
def test_integrated_gradients_add_up_to_what_all_features_do(
    made: Callable[..., LiveSubject], architecture: str, settings: dict[str, str]
) -> None:
    live = made("llama", "blocks.1.hook_resid_post", architecture, **settings)
    few, many = (
        attribute(live, "m@s", TEXT, AskedToken(index=6, instead_of=7, n_steps=n_steps)) for n_steps in (2, 40)
    )
    assert many.completeness_gap == pytest.approx(0, abs=1e-3)
    assert float(many.integrated.sum()) == pytest.approx(many.value - many.value_removed, abs=1e-3)
    assert few.completeness_gap is not None
    assert abs(few.completeness_gap) < abs(few.value - few.value_removed - few.gradient.sum())
    assert np.abs(many.integrated - many.gradient).max() > 0.05, "else nothing is told by them"
    plain = attribute(live, "m@s", TEXT, AskedToken(index=6, instead_of=7))
    assert np.isnan(plain.integrated).all()
    assert plain.completeness_gap is None
    assert np.array_equal(plain.gradient, many.gradient)


def test_one_firing_s_integrated_gradient_is_what_taking_it_out_does(live: LiveSubject) -> None:
    found = attribute(live, "m@s", "ship and", AskedToken(index=1, instead_of="river", n_removed=5, n_steps=40))
    assert len(found.integrated) == 1
    assert abs(found.removed[0]) > 0.05
    assert found.integrated[0] == pytest.approx(found.removed[0], rel=0.01)
    assert found.gradient[0] != pytest.approx(found.removed[0], rel=0.05)


def test_gradients_tell_what_taking_a_feature_out_does(live: LiveSubject) -> None:
    gradients, removed = [], []
    for index in (4, 6, 9, 11, 15):
        found = attribute(live, "m@s", TEXT, AskedToken(index=index, instead_of="said", n_removed=20))
        for place in np.flatnonzero(np.isfinite(found.removed)).tolist():
            edit = Edit(int(found.feature[place]), "pin", 0.0)
            pinned = plain(live, found) - plain(live, found, (edit,), int(found.token[place]))
            assert found.removed[place] == pytest.approx(pinned, abs=1e-4), "as an edit takes it out"
            gradients.append(found.gradient[place])
            removed.append(pinned)
    assert len(gradients) > 20
    # Its features make up most of their tokens' stream, which bends what the norms do.
    assert np.corrcoef(gradients, removed)[0, 1] > 0.7
    large = np.abs(removed) > 0.2 * np.abs(removed).max()
    assert (np.sign(gradients)[large] == np.sign(removed)[large]).all()


def test_all_features_taken_out_is_what_edits_that_pin_them_do(live: LiveSubject) -> None:
    found = attribute(live, "m@s", TEXT, AskedToken(instead_of="said"))
    pins = tuple(Edit(feature, "pin", 0.0) for feature in range(len(FEATURES)))
    assert found.value_removed == pytest.approx(plain(live, found, pins), abs=1e-4)
    assert found.value_removed != pytest.approx(found.value, abs=1e-3)


def test_error_and_bias_have_their_shares(made: Callable[..., LiveSubject]) -> None:
    live = made("llama", "blocks.1.hook_resid_post", apply_b_dec_to_input=False)
    found = attribute(live, "m@s", TEXT, AskedToken(instead_of=7))
    source, shares = live.source("m@s"), found.of_gradient
    assert shares.features == pytest.approx(float(found.gradient.sum()))
    assert shares.special == 0.0
    # A bias that takes up the error: of one token there is one that leaves nothing unexplained.
    short = attribute(live, "m@s", TEXT, AskedToken(index=1, instead_of=7))
    with torch.no_grad():
        stream = short_stream(live, short)
        features = source.coder.encode(stream)
        source.coder.sae.b_dec.copy_(stream - features @ source.coder.decoder)
    again = attribute(live, "m@s", TEXT, AskedToken(index=1, instead_of=7))
    assert again.of_gradient.error == pytest.approx(0.0, abs=1e-4)
    assert again.of_gradient.bias == pytest.approx(short.of_gradient.bias + short.of_gradient.error, abs=1e-4)


def short_stream(live: LiveSubject, found: TokenAttribution) -> torch.Tensor:
    """What the coder reads at the text's only token before the one asked about."""
    ids = torch.tensor([found.token_ids[:1]])
    (rows,) = live.sources.read_counted(ids, torch.ones_like(ids), torch.ones_like(ids, dtype=torch.bool))
    return rows[0].clone()


def test_a_transcoders_features_act_where_it_writes(made: Callable[..., LiveSubject]) -> None:
    live = made(
        "llama",
        "blocks.1.mlp.hook_in",
        "transcoder",
        d_out=16,
        apply_b_dec_to_input=False,
        metadata={"hook_name_out": "blocks.1.hook_mlp_out"},
    )
    found = attribute(live, "m@s", TEXT, AskedToken(index=6, instead_of=7, n_removed=3))
    of = found.of_direct
    assert of is not None
    assert of.rest is not None
    assert sum((of.features, of.bias, of.error, of.special, of.rest)) == pytest.approx(found.value, abs=1e-4)
    for place in np.flatnonzero(np.isfinite(found.removed)).tolist():
        pinned = plain(live, found, (Edit(int(found.feature[place]), "pin", 0.0),), int(found.token[place]))
        assert found.removed[place] == pytest.approx(found.value - pinned, abs=1e-4)


def test_special_tokens_have_no_rows_and_a_share(planted: Planted) -> None:
    live = live_of(planted.model, planted.coder)
    (the,) = live.read_text("the")
    special = SpecialTokens((the,), (), frozenset({the}), 0, "as a BOS")
    found = attribute(replace(live, special=special), "m@s", "ship and river", AskedToken(index=2))
    assert found.tokens == (" ship", " and", " river")
    assert set(found.token.tolist()) <= {0, 1}
    assert found.of_gradient.special != 0.0
    unframed = attribute(live, "m@s", "the ship and river", AskedToken(index=3))
    assert found.value == pytest.approx(unframed.value, abs=1e-5), "the model reads the same"
    with pytest.raises(SubjectError, match="before the token at 0 stands none on which a feature is read"):
        attribute(replace(live, special=special), "m@s", "ship and river", AskedToken(index=0))


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (AskedToken(index=0), "nothing stands before the text's first token"),
        (AskedToken(index=17), "the text has 17 tokens, and none at 17"),
        (AskedToken(index=-18), "none at -18"),
        (AskedToken(index=True), "none at True"),
        (AskedToken(index="first"), "none at 'first'"),
        (AskedToken(instead_of="ship river"), "is no single token of m, but 2: ' ship', ' river'"),
        (AskedToken(instead_of=""), "is no single token of m, but 0: none"),
        (AskedToken(instead_of=10**6), "1000000 is no token of m"),
    ],
)
def test_what_can_not_be_asked_is_an_error_that_says_so(live: LiveSubject, asked: AskedToken, problem: str) -> None:
    with pytest.raises(SubjectError, match=problem):
        attribute(live, "m@s", TEXT, asked)


def test_places_from_the_end_and_the_last_token(live: LiveSubject) -> None:
    last = attribute(live, "m@s", TEXT, AskedToken())
    assert (last.index, last.tokens[-1]) == (16, " green")
    assert attribute(live, "m@s", TEXT, AskedToken(index=-1)).value == last.value
    assert attribute(live, "m@s", TEXT, AskedToken(index=np.int64(-16))).index == 1


def test_more_than_the_model_reads_at_once_is_an_error(live: LiveSubject) -> None:
    with pytest.raises(SubjectError, match="behind more than the 64 tokens that the model reads at once"):
        attribute(live, "m@s", "ship and river " * 30, AskedToken())


def test_a_model_without_a_head_is_an_error(saved_model: Callable[..., Path], saved_coder: Callable[..., Path]) -> None:
    live = live_of(saved_model("bert"), saved_coder("standard"))
    with pytest.raises(SubjectError, match="a model of type bert has no language-model head"):
        attribute(live, "m@s", "a ship", AskedToken())
