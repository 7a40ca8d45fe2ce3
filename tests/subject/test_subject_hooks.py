import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from autointerp.errors import SubjectError
from autointerp.subject.hooks import read_hooks, resolve_hook
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


@pytest.mark.parametrize("name", ["blocks.3.hook_resid_post", "blocks.0.hook_q", "resid", "blocks.x.hook_resid_pre"])
def test_an_unknown_hook_is_an_error_that_lists_the_known_ones(name: str, tiny_model: Callable[[str], Any]) -> None:
    with pytest.raises(SubjectError, match=r"N from 0 to 2 and HOOK one of hook_resid_pre, hook_resid_post") as caught:
        resolve_hook(subject_of(tiny_model("gpt2")), name)
    assert name in caught.value.problem
    assert "hook_normalized_resid_post" not in caught.value.remedy


def test_a_family_that_is_not_mapped_is_an_error_that_lists_those_that_are(tiny_model: Callable[[str], Any]) -> None:
    with pytest.raises(SubjectError, match=r"'opt'.*bert, gemma2"):
        resolve_hook(subject_of(tiny_model("opt")), "blocks.0.hook_resid_post")


@pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated")
@pytest.mark.parametrize("centers", [False, True])
def test_gpt2_equals_saelens_hooked_transformer(centers: bool, tiny_model: Callable[[str], Any]) -> None:
    """SAELens' own model, made from the same weights, with TransformerLens' weight processing on or off."""
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import HookedSAETransformer
        from transformer_lens.config.hooked_transformer_config import HookedTransformerConfig
        from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    model = tiny_model("gpt2")
    with_head = transformers.GPT2LMHeadModel(model.config)
    with_head.transformer.load_state_dict(model.state_dict())
    config = HookedTransformerConfig(
        n_layers=3, d_model=16, n_ctx=64, d_head=8, n_heads=2, d_mlp=64, d_vocab=50, act_fn="gelu_new",
        normalization_type="LN", eps=model.config.layer_norm_epsilon, default_prepend_bos=False,
    )  # fmt: skip
    hooked = HookedSAETransformer(config)
    hooked.load_and_process_state_dict(
        convert_gpt2_weights(with_head, config),
        fold_ln=centers,
        center_writing_weights=centers,
        center_unembed=False,
        fold_value_biases=False,
    )
    subject = subject_of(model)
    names = [f"blocks.{i}.{name}" for i in range(3) for name in
             ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post")]  # fmt: skip
    _, cache = hooked.run_with_cache(TOKENS, return_type=None)
    ours = read_hooks(
        subject,
        [resolve_hook(subject, name, center_writing_weights=centers) for name in names],
        TOKENS,
        torch.ones_like(TOKENS),
    )
    for name, value in zip(names, ours, strict=True):
        torch.testing.assert_close(value, cache[name], rtol=1e-4, atol=1e-5, msg=name)


def test_centring_is_without_effect_where_readers_do_not_subtract_the_mean(tiny_model: Callable[[str], Any]) -> None:
    subject = subject_of(tiny_model("llama"))
    plain = resolve_hook(subject, "blocks.1.hook_resid_pre")
    asked = resolve_hook(subject, "blocks.1.hook_resid_pre", center_writing_weights=True)
    assert torch.equal(read_hooks(subject, [plain], TOKENS, MASK)[0], read_hooks(subject, [asked], TOKENS, MASK)[0])
