from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from autointerp.errors import SubjectError
from autointerp.subject.forward import read_hooks
from autointerp.subject.hooks import (
    WeightProcessing,
    parse_hook_name,
    resolve_hook,
    trained_hook_name,
    weight_processing,
)
from autointerp.subject.model import Subject

FAMILIES = ["bert", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"]
LAYERS = {"bert": "encoder.layer", "gpt2": "h"}
TOKENS = torch.tensor([[3, 14, 15, 9, 2, 6], [5, 35, 8, 9, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


def subject_of(model: Any) -> Subject:
    return Subject("tiny", model, None, torch.device("cpu"), torch.float32, model.config.model_type)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_residual_stream_is_what_transformers_calls_hidden_states(
    family: str, tiny_model: Callable[[str], Any]
) -> None:
    model = tiny_model(family)
    subject = subject_of(model)
    with torch.inference_mode():
        hidden = model(input_ids=TOKENS, attention_mask=MASK, output_hidden_states=True).hidden_states
    for layer in range(2):  # the last of transformers' hidden states has the final norm on it
        hooks = [resolve_hook(subject, f"blocks.{layer}.{name}") for name in ("hook_resid_pre", "hook_resid_post")]
        before, after = read_hooks(subject, hooks, TOKENS, MASK)
        torch.testing.assert_close(before, hidden[layer])
        torch.testing.assert_close(after, hidden[layer + 1])


@pytest.mark.parametrize("part", ["attn", "mlp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_module_puts_out_what_is_added_but_where_that_is_normalised_first(
    family: str, part: str, tiny_model: Callable[[str], Any]
) -> None:
    subject = subject_of(tiny_model(family))
    hooks = [resolve_hook(subject, f"blocks.1.{name}") for name in (f"{part}.hook_out", f"hook_{part}_out")]
    put_out, added = read_hooks(subject, hooks, TOKENS, MASK)
    if family in ("gemma2", "gemma3_text"):
        norm = "post_attention_layernorm" if part == "attn" else "post_feedforward_layernorm"
        assert not torch.allclose(put_out, added)
        put_out = subject.model.get_submodule(f"layers.1.{norm}")(put_out)
    assert torch.equal(put_out, added)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "bert"])
def test_attention_and_mlp_add_up_to_what_a_layer_adds(family: str, tiny_model: Callable[[str], Any]) -> None:
    subject = subject_of(tiny_model(family))
    names = ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post")
    before, attention, mlp, after = read_hooks(
        subject, [resolve_hook(subject, f"blocks.1.{name}") for name in names], TOKENS, MASK
    )
    torch.testing.assert_close(before + attention + mlp, after)


def test_bert_normalises_the_sum_of_what_a_layer_adds(tiny_model: Callable[[str], Any]) -> None:
    model = tiny_model("bert")
    subject = subject_of(model)
    names = ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post", "hook_normalized_resid_post")
    before, attention, mlp, after, same = read_hooks(
        subject, [resolve_hook(subject, f"blocks.1.{name}") for name in names], TOKENS, MASK
    )
    layer = model.encoder.layer[1]
    with torch.inference_mode():
        middle = layer.attention.output.LayerNorm(before + attention)
        torch.testing.assert_close(layer.output.LayerNorm(middle + mlp), after)
    assert torch.equal(after, same)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_layer_after_the_last_hook_is_computed(family: str, tiny_model: Callable[[str], Any]) -> None:
    model = tiny_model(family)
    subject = subject_of(model)
    layers = model.get_submodule(LAYERS.get(family, "layers"))
    computed: list[int] = []
    for index, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, index=index: computed.append(index))
    read_hooks(subject, [resolve_hook(subject, "blocks.0.hook_resid_post")], TOKENS, MASK)
    read_hooks(subject, [resolve_hook(subject, "blocks.1.hook_resid_pre")], TOKENS, MASK)
    assert computed == [0, 0]
    assert not any(layer._forward_pre_hooks for layer in layers)


def test_hooks_are_read_in_one_pass_in_the_order_asked_for(tiny_model: Callable[[str], Any]) -> None:
    model = tiny_model("gpt2")
    subject = subject_of(model)
    names = ["blocks.2.hook_resid_pre", "blocks.0.hook_mlp_out", "blocks.1.hook_resid_post"]
    n_passes = 0

    def count(*_: Any) -> None:
        nonlocal n_passes
        n_passes += 1

    model.wte.register_forward_hook(count)
    together = read_hooks(subject, [resolve_hook(subject, name) for name in names], TOKENS, MASK)
    assert n_passes == 1
    for name, value in zip(names, together, strict=True):
        assert torch.equal(value, read_hooks(subject, [resolve_hook(subject, name)], TOKENS, MASK)[0])
    assert torch.equal(together[0], together[2])


def test_threads_that_share_a_model_each_read_their_own_activations(tiny_model: Callable[[str], Any]) -> None:
    subject = subject_of(tiny_model("gpt2"))
    hook = resolve_hook(subject, "blocks.2.hook_resid_post")
    batches = [torch.randint(0, 50, (4, 20), generator=torch.Generator().manual_seed(i)) for i in range(12)]

    def read(tokens: torch.Tensor) -> torch.Tensor:
        return read_hooks(subject, [hook], tokens, torch.ones_like(tokens))[0]

    alone = [read(tokens) for tokens in batches]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(read, batches))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)


def test_what_comes_after_a_hook_inside_its_layer_is_not_computed(tiny_model: Callable[[str], Any]) -> None:
    model = tiny_model("llama")
    computed: list[str] = []
    for name in ("self_attn", "self_attn.o_proj", "mlp"):
        model.layers[1].get_submodule(name).register_forward_hook(lambda *_, name=name: computed.append(name))
    hooks = {name: resolve_hook(subject_of(model), f"blocks.1.{name}") for name in ("attn.hook_z", "hook_resid_mid")}
    read_hooks(subject_of(model), [hooks["attn.hook_z"]], TOKENS, MASK)
    assert computed == []
    read_hooks(subject_of(model), [hooks["hook_resid_mid"]], TOKENS, MASK)
    assert computed == ["self_attn.o_proj", "self_attn"]


@pytest.mark.parametrize(
    "name", ["blocks.3.hook_resid_post", "blocks.0.hook_q", "blocks.0.hook_z", "resid", "blocks.x.hook_resid_pre"]
)
def test_an_unknown_hook_is_an_error_that_lists_the_known_ones(name: str, tiny_model: Callable[[str], Any]) -> None:
    with pytest.raises(SubjectError) as caught:
        resolve_hook(subject_of(tiny_model("gpt2")), name)
    assert caught.value.problem == f"the model tiny has no hook point {name!r} that can be mapped"
    assert caught.value.remedy == (
        "use blocks.N.HOOK with N from 0 to 2 and HOOK one of hook_resid_pre, hook_resid_post, hook_resid_mid, "
        "hook_attn_out, hook_mlp_out, hook_mlp_in, attn.hook_z, ln1.hook_normalized, ln2.hook_normalized, "
        "mlp.hook_in, mlp.hook_post, attn.hook_out, mlp.hook_out, or hook_embed"
    )


@pytest.mark.parametrize(
    ("family", "settings", "only_elsewhere"),
    [
        ("bert", {}, ["blocks.0.hook_resid_mid", "blocks.0.hook_mlp_in", "hook_embed"]),
        ("gpt_neox", {}, ["blocks.0.hook_resid_mid", "blocks.0.hook_normalized_resid_post"]),
        ("gpt_neox", {"use_parallel_residual": False}, ["blocks.0.hook_normalized_resid_post"]),
        *(
            (family, {}, ["blocks.0.hook_normalized_resid_post"])
            for family in FAMILIES
            if family[:2] not in ("be", "gp")
        ),
    ],
)
def test_the_names_that_an_error_lists_are_just_those_that_can_be_read(
    family: str, settings: dict[str, Any], only_elsewhere: list[str], tiny_model: Callable[..., Any]
) -> None:
    subject = subject_of(tiny_model(family, **settings))
    for name in only_elsewhere:
        with pytest.raises(SubjectError) as caught:
            resolve_hook(subject, name)
        listed = caught.value.remedy.partition("HOOK one of ")[2].replace(", or hook_embed", "").split(", ")
        hooks = [f"blocks.2.{hook}" for hook in listed] + (
            ["hook_embed"] if "hook_embed" in caught.value.remedy else []
        )
        assert len(hooks) >= 10
        assert not {name.replace("blocks.0.", "blocks.2.") for name in only_elsewhere} & set(hooks)
        assert len(read_hooks(subject, [resolve_hook(subject, hook) for hook in hooks], TOKENS, MASK)) == len(hooks)


def test_a_name_alone_tells_layer_and_kind() -> None:
    assert parse_hook_name("blocks.7.attn.hook_z") == (7, "att")
    assert parse_hook_name("blocks.12.ln2.hook_normalized") == (12, "mlp")
    assert parse_hook_name("hook_embed") == (0, "emb")
    with pytest.raises(SubjectError, match=r"attn\.hook_z, .* or hook_embed"):
        parse_hook_name("blocks.7.hook_z")


def test_what_the_metadata_of_a_coder_does_not_ask_for_was_not_done() -> None:
    assert weight_processing(None) == weight_processing({}) == WeightProcessing()
    asked = {"center_writing_weights": True, "fold_ln": False, "center_unembed": True, "dtype": "bfloat16"}
    assert weight_processing(asked) == WeightProcessing(center_writing_weights=True)


def test_gemma_scope_2_transcoders_read_what_transformers_calls_it() -> None:
    behind_norm = "model.layers.5.pre_feedforward_layernorm.output"
    assert trained_hook_name("blocks.5.hook_mlp_in", behind_norm) == "blocks.5.mlp.hook_in"
    assert trained_hook_name("blocks.5.hook_mlp_in", None) == "blocks.5.hook_mlp_in"
    assert trained_hook_name("blocks.5.hook_resid_post", "model.layers.5.output") == "blocks.5.hook_resid_post"


def test_a_family_that_is_not_mapped_is_an_error_that_lists_those_that_are(tiny_model: Callable[[str], Any]) -> None:
    with pytest.raises(SubjectError, match=r"'opt'.*bert, gemma, gemma2"):
        resolve_hook(subject_of(tiny_model("opt")), "blocks.0.hook_resid_post")


def test_centring_is_without_effect_where_readers_do_not_subtract_the_mean(tiny_model: Callable[[str], Any]) -> None:
    subject = subject_of(tiny_model("llama"))
    plain = resolve_hook(subject, "blocks.1.hook_resid_pre")
    asked = resolve_hook(subject, "blocks.1.hook_resid_pre", WeightProcessing(center_writing_weights=True))
    assert torch.equal(read_hooks(subject, [plain], TOKENS, MASK)[0], read_hooks(subject, [asked], TOKENS, MASK)[0])
