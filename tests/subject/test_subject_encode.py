"""The encoder that never makes a dense matrix, against SAELens' own `encode`.

Weights and inputs are small whole numbers where results are compared to the bit: sums of them are exact in any order,
and there are many ties.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from autointerp.records import RowFirings
from autointerp.subject import encode
from autointerp.subject.coder import Coder
from autointerp.subject.coder_build import ARCHITECTURES
from autointerp.subject.encode import firing_encoder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sae_lens

D_IN = 5
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
THRESHOLDED = ("standard", "jumprelu", *TRANSCODERS)
DENSE = ("gated", "abstopk", "matching_pursuit")


def make_coder(architecture: str, n_features: int, *, seed: int = 0, whole: bool = True, **described: Any) -> Coder:
    if "topk" in architecture:
        described.setdefault("k", 9)
    if architecture in TRANSCODERS:
        described |= {"d_out": 3, "apply_b_dec_to_input": False}  # the only way SAELens lets a transcoder be
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sae = sae_lens.SAE.from_dict(
            {"architecture": architecture, "d_in": D_IN, "d_sae": n_features, "device": "cpu", "dtype": "float32"}
            | {"metadata": {"hook_name": "blocks.0.hook_resid_post"}}
            | described
        )
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in sae.named_parameters():
            drawn = torch.randn(weights.shape, generator=draw)
            # Thresholds below zero too: there an activation is cut at zero.
            weights.copy_(drawn.round() if whole else drawn.abs() if name == "threshold" else drawn)
    return Coder(
        sae=sae.eval().requires_grad_(False), origin="made here", architecture=architecture,
        hook_name="blocks.0.hook_resid_post", hook_name_out=None, d_in=D_IN, d_out=sae.W_dec.shape[1],
        n_features=n_features, prepends_bos=None, model_name=None, model_kwargs={}, device=torch.device("cpu"),
    )  # fmt: skip


def whole_rows(n_rows: int, seed: int = 0) -> Tensor:
    return (2 * torch.randn(n_rows, D_IN, generator=torch.Generator().manual_seed(seed))).round()


def fire(coder: Coder, rows: Tensor) -> list[RowFirings]:
    """The encoder's pieces, seen to keep what `RowFirings` promises."""
    pieces = list(firing_encoder(coder)(rows))
    for piece in pieces:
        assert piece.row.dtype == piece.feature.dtype == np.int64
        assert piece.activation.dtype == np.float32
        assert (piece.activation != 0).all()
    places = [place for p in pieces for place in zip(p.row.tolist(), p.feature.tolist(), strict=True)]
    assert places == sorted(set(places)), "entries are not by (row, feature), each once"
    return pieces


def dense(pieces: list[RowFirings], n_rows: int, n_features: int) -> Tensor:
    activations = torch.zeros(n_rows, n_features)
    for piece in pieces:
        activations[piece.row, piece.feature] = torch.from_numpy(piece.activation)
    return activations


def largest_by_hand(coder: Coder, rows: Tensor) -> Tensor:
    """Each row's k largest entries by (value, lower feature), and of them those above zero."""
    sae = coder.sae
    with torch.inference_mode():
        pre = sae.process_sae_in(rows) @ sae.W_enc + sae.b_enc
        if sae.cfg.rescale_acts_by_decoder_norm:
            pre = pre * sae.W_dec.norm(dim=-1)
    kept = torch.zeros(len(rows), coder.n_features)
    for row, values in enumerate(pre.float().tolist()):
        for feature in sorted(range(coder.n_features), key=lambda f: (-values[f], f))[: sae.cfg.k]:
            kept[row, feature] = max(values[feature], 0.0)
    return kept


@dataclass(frozen=True)
class Cut:
    """How small the encoder's pieces are."""

    n_rows: int
    n_groups: int
    group: int

    def __call__(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(encode, "_GROUP", self.group)
        patch.setitem(encode._FEATURES, "cpu", self.n_groups * self.group)
        patch.setitem(encode._ROWS, "cpu", self.n_rows)


cuts = st.builds(Cut, n_rows=st.integers(1, 9), n_groups=st.integers(1, 9), group=st.sampled_from([1, 3, 8, 64]))
seeds = st.integers(0, 2**32)
AS_IT_IS = Cut(512, 512, 64)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(THRESHOLDED), st.integers(1, 150), st.integers(0, 20), st.booleans(), cuts, seeds)
@example("jumprelu", 200, 700, True, AS_IT_IS, 0)
@example("standard", 64, 1, False, AS_IT_IS, 0)
def test_firings_above_a_threshold_are_the_entries_of_saelens_encode(
    architecture: str, n_features: int, n_rows: int, centred: bool, cut: Cut, seed: int
) -> None:
    coder = make_coder(architecture, n_features, seed=seed, apply_b_dec_to_input=centred)
    rows = whole_rows(n_rows, seed)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch)
        pieces = fire(coder, rows)
    assert torch.equal(dense(pieces, n_rows, n_features), coder.encode(rows))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 150), st.integers(0, 12), st.booleans(), st.booleans(), cuts, seeds)
def test_the_k_largest_are_those_of_saelens_encode_with_ties_to_the_lower_feature(
    data: st.DataObject, n_features: int, n_rows: int, rescaled: bool, centred: bool, cut: Cut, seed: int
) -> None:
    k = data.draw(st.integers(1, n_features) | st.integers(1, min(4, n_features)) | st.just(n_features))
    coder = make_coder(
        "topk", n_features, seed=seed, k=k, rescale_acts_by_decoder_norm=rescaled, apply_b_dec_to_input=centred
    )
    rows = whole_rows(n_rows, seed)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch)
        found = dense(fire(coder, rows), n_rows, n_features)
    assert torch.equal(found, largest_by_hand(coder, rows))
    assert torch.equal(found.sort(dim=1).values, coder.encode(rows).sort(dim=1).values)


@pytest.mark.parametrize("k", [1, 30, 1000, 3000])
@pytest.mark.parametrize("n_features", [3000, 3008])
def test_a_wide_coder_is_encoded_right_as_its_pieces_are(
    n_features: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder = make_coder("topk", n_features, k=k)
    rows = whole_rows(30)
    expected = largest_by_hand(coder, rows)
    assert torch.equal(dense(fire(coder, rows), 30, n_features), expected)
    monkeypatch.setitem(encode._FEATURES, "cpu", 640)
    assert torch.equal(dense(fire(coder, rows), 30, n_features), expected)


@pytest.mark.parametrize("normalised", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", [*THRESHOLDED, "topk"])
def test_weights_of_any_values_give_saelens_encode_but_for_rounding(architecture: str, normalised: str) -> None:
    coder = make_coder(architecture, 300, whole=False, normalize_activations=normalised)
    rows = 1 + torch.randn(50, D_IN, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(dense(fire(coder, rows), 50, 300), coder.encode(rows))


@pytest.mark.parametrize("architecture", DENSE)
def test_every_other_coder_gives_what_its_encode_has_above_zero(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder = make_coder(architecture, 70, whole=False)
    rows = torch.randn(50, D_IN, generator=torch.Generator().manual_seed(5))
    expected = coder.encode(rows)
    assert (architecture == "abstopk") == bool((expected < 0).any())
    whole = fire(coder, rows)
    assert torch.equal(dense(whole, 50, 70), expected.clamp(min=0))
    assert len(whole) == 1
    monkeypatch.setattr(encode, "_DENSE_BYTES", 1)
    pieces = fire(coder, rows)
    assert len(pieces) == 4
    torch.testing.assert_close(dense(pieces, 50, 70), expected.clamp(min=0))


def test_every_architecture_that_can_be_loaded_is_tested_here() -> None:
    assert {*THRESHOLDED, *DENSE, "topk"} == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", [*THRESHOLDED, "topk", *DENSE])
@pytest.mark.parametrize("n_rows", [0, 1])
def test_no_row_and_one_row_are_rows_like_any_others(architecture: str, n_rows: int) -> None:
    coder = make_coder(architecture, 70)
    found = dense(fire(coder, whole_rows(n_rows)), n_rows, 70)
    assert torch.equal(found.sort(dim=1).values, coder.encode(whole_rows(n_rows)).clamp(min=0).sort(dim=1).values)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk"])
def test_a_row_with_nothing_above_zero_has_no_firing(architecture: str) -> None:
    coder = make_coder(architecture, 70)
    with torch.no_grad():
        coder.sae.b_enc.fill_(-1000)
    assert sum(len(piece.row) for piece in fire(coder, whole_rows(40))) == 0


@pytest.mark.parametrize("architecture", [*THRESHOLDED, "topk", "gated", "abstopk"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("n_groups", [1, 512])
def test_an_activation_that_is_not_finite_is_among_the_entries(
    architecture: str, value: float, n_groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder = make_coder(architecture, 150)
    with torch.no_grad():
        (coder.sae.b_mag if architecture == "gated" else coder.sae.b_enc)[67] = value
        if architecture == "gated":
            coder.sae.b_gate[67] = 1000
    Cut(512, n_groups, 64)(monkeypatch)
    found = dense(fire(coder, whole_rows(3)), 3, 150)
    assert torch.equal(torch.isfinite(found).all(dim=0).logical_not().nonzero().flatten(), torch.tensor([67]))
    torch.testing.assert_close(found[:, 67], torch.full((3,), value), equal_nan=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("multiplies", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "transcoder"])
def test_a_coder_in_half_precision_gives_saelens_encode_but_for_ties_and_roundings(
    architecture: str, multiplies: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.subject.products.multiplies_natively", lambda *_: multiplies)
    coder = make_coder(architecture, 300, whole=False, dtype=dtype)
    rows = torch.randn(50, D_IN, generator=torch.Generator().manual_seed(5))
    pieces, expected = fire(coder, rows), coder.encode(rows)
    assert str(expected.dtype) == f"torch.{dtype}"
    found = dense(pieces, 50, 300)
    assert torch.equal(found, found.to(expected.dtype).float()), "not all are numbers of the coder's dtype"
    if architecture == "topk":
        # Two entries that are equal in one rounding may not be in the other.
        found, expected = found.sort(dim=1).values, expected.sort(dim=1).values
    torch.testing.assert_close(found, expected.float(), rtol=2**-7, atol=2**-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("multiplies", [True, False])
def test_ties_in_half_precision_go_to_the_lower_feature_too(
    multiplies: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.subject.products.multiplies_natively", lambda *_: multiplies)
    coder = make_coder("topk", 300, dtype=dtype, k=9)
    rows = whole_rows(40)
    assert torch.equal(dense(fire(coder, rows), 40, 300), largest_by_hand(coder, rows))


def test_pieces_are_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    Cut(16, 2, 64)(monkeypatch)
    for architecture in ("standard", "topk"):
        coder = make_coder(architecture, 200)
        pieces = fire(coder, whole_rows(45))
        assert [len(np.unique(piece.row)) for piece in pieces] == [16, 16, 13]
