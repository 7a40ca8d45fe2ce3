"""Each hook name of each family against TransformerLens on the same weights, with and without weight processing."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subject.forward import read_hooks
from autointerp.subject.hooks import WeightProcessing, resolve_hook
from autointerp.subject.model import Subject

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sae_lens import HookedSAETransformer
    from transformer_lens import HookedEncoder
    from transformer_lens.config.hooked_transformer_config import HookedTransformerConfig
    from transformer_lens.pretrained import weight_conversions

pytestmark = [
    pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated"),
    pytest.mark.filterwarnings("ignore:HookedEncoder is deprecated"),
]

N_LAYERS = 3
TOKENS = torch.tensor([[3, 14, 15, 9, 2, 6], [5, 35, 8, 9, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}

# Families, the settings of their small model, and TransformerLens' converter of their weights.
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gpt2": ("gpt2", {}, "convert_gpt2_weights"),
    "gpt_neox": ("gpt_neox", {}, "convert_neox_weights"),
    "gpt_neox, not parallel": ("gpt_neox", {"use_parallel_residual": False}, "convert_neox_weights"),
    "llama": ("llama", GROUPED, "convert_llama_weights"),
    "mistral": ("mistral", GROUPED, "convert_mistral_weights"),
    "qwen2": ("qwen2", GROUPED, "convert_qwen2_weights"),
    "qwen3": ("qwen3", GROUPED, "convert_qwen3_weights"),
    "gemma": ("gemma", GROUPED, "convert_gemma_weights"),
    "gemma2": ("gemma2", GROUPED, "convert_gemma_weights"),
    "gemma3_text": (
        "gemma3_text",
        GROUPED | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        "convert_gemma_weights",
    ),
}
IN_EVERY_LAYER = [
    "hook_resid_pre", "hook_resid_post", "hook_resid_mid", "hook_attn_out", "hook_mlp_out", "hook_mlp_in",
    "attn.hook_z", "ln1.hook_normalized", "ln2.hook_normalized", "mlp.hook_in", "mlp.hook_post",
]  # fmt: skip
PROCESSINGS = {
    "none": WeightProcessing(),
    "centred": WeightProcessing(center_writing_weights=True),
    "norms folded": WeightProcessing(fold_ln=True),
    "value biases folded": WeightProcessing(fold_value_biases=True),
    "TransformerLens' default": WeightProcessing(fold_ln=True, center_writing_weights=True, fold_value_biases=True),
}


def subject_of(model: Any) -> Subject:
    return Subject("tiny", model, None, torch.device("cpu"), torch.float32, model.config.model_type)


def hook_names(model: Any) -> list[str]:
    """All that can be mapped in a model that normalises before attention and MLP."""
    is_parallel = getattr(model.config, "use_parallel_residual", False)
    in_layer = [name for name in IN_EVERY_LAYER if not (is_parallel and name == "hook_resid_mid")]
    return ["hook_embed", *(f"blocks.{layer}.{name}" for layer in range(N_LAYERS) for name in in_layer)]


def hooked_config(config: Any) -> HookedTransformerConfig:
    """TransformerLens' configuration, as its `from_pretrained` makes it for the large models of the family."""
    family, d_head = config.model_type, getattr(config, "head_dim", None) or 8
    described: dict[str, Any] = {
        "n_layers": N_LAYERS,
        "d_model": config.hidden_size,
        "n_ctx": 64,
        "d_head": d_head,
        "n_heads": config.num_attention_heads,
        "d_mlp": 4 * config.hidden_size if family == "gpt2" else config.intermediate_size,
        "d_vocab": config.vocab_size,
        "default_prepend_bos": False,
    }
    if family == "gpt2":
        return HookedTransformerConfig(
            **described, act_fn="gelu_new", normalization_type="LN", eps=config.layer_norm_epsilon
        )
    described |= {"positional_embedding_type": "rotary", "rotary_adjacent_pairs": False}
    if family == "gpt_neox":
        return HookedTransformerConfig(
            **described,
            act_fn="gelu",
            normalization_type="LN",
            eps=config.layer_norm_eps,
            rotary_dim=round(config.rope_parameters["partial_rotary_factor"] * d_head),
            parallel_attn_mlp=config.use_parallel_residual,
        )
    described |= {
        "normalization_type": "RMS",
        "eps": config.rms_norm_eps,
        "rotary_dim": d_head,
        "n_key_value_heads": config.num_key_value_heads,
        "gated_mlp": True,
        "final_rms": True,
        "act_fn": "gelu_pytorch_tanh" if family.startswith("gemma") else "silu",
        "use_qk_norm": family in ("qwen3", "gemma3_text"),
    }
    if family in ("gemma2", "gemma3_text"):
        described |= {
            "use_normalization_before_and_after": True,
            "use_attn_scale": True,
            "attn_scale": config.query_pre_attn_scalar**0.5,
            "use_local_attn": True,
            "window_size": config.sliding_window,
            "attn_types": [{"sliding_attention": "local"}.get(kind, "global") for kind in config.layer_types],
        }
    if family == "gemma2":
        described["attn_scores_soft_cap"] = config.attn_logit_softcapping
    if family == "gemma3_text":
        described |= {"rotary_base": 1_000_000, "rotary_base_local": 10_000}
    return HookedTransformerConfig(**described)


def hooked_model(model: Any, converter: str, processing: WeightProcessing) -> Any:
    """SAELens' own model, made from the same weights, processed by TransformerLens."""
    with_head = transformers.AutoModelForCausalLM.from_config(model.config)
    with_head.base_model.load_state_dict(model.state_dict())
    config = hooked_config(model.config)
    hooked = HookedSAETransformer(config)
    weights = {
        name: value.detach().clone()
        for name, value in getattr(weight_conversions, converter)(with_head, config).items()
    }
    hooked.load_and_process_state_dict(
        weights,
        fold_ln=processing.fold_ln,
        center_writing_weights=processing.center_writing_weights,
        center_unembed=True,
        fold_value_biases=processing.fold_value_biases,
        refactor_factored_attn_matrices=processing.refactor_factored_attn_matrices,
    )
    hooked.set_use_hook_mlp_in(True)
    return hooked.eval()


def run_hooked(hooked: Any, **masks: Tensor) -> dict[str, Tensor]:
    """Everything that TransformerLens sees on `TOKENS`, by name, and what its MLPs read."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Tensor]) -> None:
            seen[name] = args[0]

        return hook

    for layer, block in enumerate(hooked.blocks):
        block.mlp.register_forward_pre_hook(keep(f"blocks.{layer}.mlp.hook_in"))
    with torch.inference_mode():
        _, cache = hooked.run_with_cache(TOKENS, return_type=None, **masks)
    return {name: value.flatten(2) for name, value in (dict(cache) | seen).items() if value.ndim >= 3}


def check_equal(ours: list[Tensor], names: list[str], theirs: dict[str, Tensor], mask: Tensor) -> None:
    for name, value in zip(names, ours, strict=True):
        expected = theirs[name][mask.bool()]
        close = 1e-5 * float(expected.abs().max())
        difference = float((value[mask.bool()] - expected).abs().max())
        assert difference <= close, f"{name} differs by {difference}"


@pytest.mark.parametrize("processing", PROCESSINGS.values(), ids=PROCESSINGS)
@pytest.mark.parametrize("case", MODELS)
def test_every_hook_equals_saelens_hooked_transformer(
    case: str, processing: WeightProcessing, tiny_model: Callable[..., Any]
) -> None:
    family, settings, converter = MODELS[case]
    model = tiny_model(family, **settings)
    theirs = run_hooked(hooked_model(model, converter, processing))
    names = hook_names(model)
    subject, everywhere = subject_of(model), torch.ones_like(TOKENS)
    ours = read_hooks(subject, [resolve_hook(subject, name, processing) for name in names], TOKENS, everywhere)
    check_equal(ours, names, theirs, everywhere)


@pytest.mark.parametrize("case", MODELS)
def test_padding_on_the_right_changes_no_token_in_either(case: str, tiny_model: Callable[..., Any]) -> None:
    family, settings, converter = MODELS[case]
    model, processing = tiny_model(family, **settings), PROCESSINGS["TransformerLens' default"]
    theirs = run_hooked(hooked_model(model, converter, processing), attention_mask=MASK)
    subject, names = subject_of(model), hook_names(model)
    ours = read_hooks(subject, [resolve_hook(subject, name, processing) for name in names], TOKENS, MASK)
    check_equal(ours, names, theirs, MASK)


@pytest.mark.parametrize("mask", [torch.ones_like(MASK), MASK], ids=["unpadded", "padded"])
def test_bert_equals_transformer_lens_encoder(mask: Tensor, tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("bert")
    with_heads = transformers.BertForPreTraining(model.config)
    with_heads.bert.load_state_dict(model.state_dict())
    config = HookedTransformerConfig(
        n_layers=N_LAYERS, d_model=16, n_ctx=64, d_head=8, n_heads=2, d_mlp=24, d_vocab=50, act_fn="gelu",
        eps=model.config.layer_norm_eps, attention_dir="bidirectional", normalization_type="LN",
    )  # fmt: skip
    encoder = HookedEncoder(config)
    encoder.load_state_dict(weight_conversions.convert_bert_weights(with_heads, config), strict=False)
    theirs = run_hooked(encoder.eval(), one_zero_attention_mask=mask)
    for layer in range(N_LAYERS):  # the sum before the last norm, in TransformerLens' older model only
        theirs[f"blocks.{layer}.hook_resid_post"] = theirs[f"blocks.{layer}.hook_normalized_resid_post"]
    missing = {"hook_resid_mid", "hook_mlp_in"}
    names = [
        f"blocks.{layer}.{name}"
        for layer in range(N_LAYERS)
        for name in [*IN_EVERY_LAYER, "hook_normalized_resid_post"]
        if name not in missing
    ]
    hooks = [resolve_hook(subject_of(model), name) for name in names]
    check_equal(read_hooks(subject_of(model), hooks, TOKENS, mask), names, theirs, mask)


def test_processed_weights_are_refused_for_bert_of_which_transformer_lens_encoder_processes_none(
    tiny_model: Callable[..., Any],
) -> None:
    processing = WeightProcessing(fold_ln=True, fold_value_biases=True)
    with pytest.raises(SubjectError, match=r"fold_ln, fold_value_biases, which can't be redone for type 'bert'"):
        resolve_hook(subject_of(tiny_model("bert")), "blocks.1.hook_resid_post", processing)


def test_refactored_attention_changes_only_z_which_is_refused(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("gpt2")
    processing = WeightProcessing(fold_ln=True, fold_value_biases=True, refactor_factored_attn_matrices=True)
    theirs = run_hooked(hooked_model(model, "convert_gpt2_weights", processing))
    subject, everywhere = subject_of(model), torch.ones_like(TOKENS)
    names = [name for name in hook_names(model) if not name.endswith("hook_z")]
    ours = read_hooks(subject, [resolve_hook(subject, name, processing) for name in names], TOKENS, everywhere)
    check_equal(ours, names, theirs, everywhere)
    with pytest.raises(SubjectError, match="refactor_factored_attn_matrices, which can't be redone"):
        resolve_hook(subject, "blocks.1.attn.hook_z", processing)


def test_the_text_part_of_gemma_3_with_vision_is_read_like_gemma_3_without(tiny_model: Callable[..., Any]) -> None:
    text = tiny_model("gemma3_text")
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=text.config, vision_config=vision, mm_tokens_per_image=4, image_token_index=49
    )
    both = transformers.Gemma3Model(config).eval()
    both.language_model.load_state_dict(text.state_dict())
    names = hook_names(text)
    expected, ours = (
        read_hooks(subject, [resolve_hook(subject, name) for name in names], TOKENS, MASK)
        for subject in (subject_of(text), subject_of(both))
    )
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one[MASK.bool()], other[MASK.bool()])


@pytest.mark.parametrize(
    ("hook", "d_in", "processing"),
    [
        ("blocks.1.attn.hook_z", 32, PROCESSINGS["value biases folded"]),
        ("blocks.1.ln2.hook_normalized", 16, PROCESSINGS["none"]),
        ("blocks.2.hook_resid_mid", 16, PROCESSINGS["TransformerLens' default"]),
    ],
)
def test_features_equal_those_of_a_coder_in_saelens_model(
    hook: str, d_in: int, processing: WeightProcessing, tiny_model: Callable[..., Any], make_coder: Callable[..., Any]
) -> None:
    model = tiny_model("qwen2", **GROUPED)
    reshape = "hook_z" if hook.endswith("hook_z") else "none"
    coder = make_coder("standard", d_in=d_in, metadata={"hook_name": hook}, reshape_activations=reshape)
    subject = subject_of(model)
    rows = read_hooks(subject, [resolve_hook(subject, hook, processing)], TOKENS, torch.ones_like(TOKENS))[0]
    with torch.inference_mode():
        _, cache = hooked_model(model, "convert_qwen2_weights", processing).run_with_cache_with_saes(
            TOKENS, saes=[coder], return_type=None
        )
        coder.turn_off_forward_pass_hook_z_reshaping()  # what we read is flat already
        ours = coder.encode(rows)
    expected = cache[f"{hook}.hook_sae_acts_post"]
    assert 0.05 < (expected > 0).float().mean() < 0.95
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
