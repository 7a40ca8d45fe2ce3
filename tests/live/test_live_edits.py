"""Edits of features: what is added to the stream is the edit's own difference, and nothing else."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autointerp.config import CoderConfig, SubjectConfig
from autointerp.errors import SubjectError
from autointerp.live.edits import direction, edited, writing_hook
from autointerp.records.live import Edit, Push
from autointerp.subject.forward import read_hooks
from autointerp.subject.hooks import resolve_hook
from autointerp.subject.source import Source, load_sources

LAYER = 1
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
EVERYWHERE = torch.ones_like(IDS, dtype=torch.bool)


@pytest.fixture
def make_source(saved_model: Callable[..., Path], saved_coder: Callable[..., Path]) -> Callable[..., Source]:
    """Makes a source of a small random model and coder."""

    def make(
        architecture: str = "standard",
        hook: str = f"blocks.{LAYER}.hook_resid_post",
        family: str = "gpt2",
        **settings: Any,
    ) -> Source:
        coder = CoderConfig(path=str(saved_coder(architecture, hook, **settings)))
        return load_sources(SubjectConfig(model=str(saved_model(family)), device="cpu"), [coder]).sources[0]

    return make


def stream(source: Source, edits: Sequence[Sequence[Edit | Push]] = ((), ()), where: Tensor = EVERYWHERE) -> Tensor:
    """The residual stream after the coder's layer, under edits."""
    with torch.inference_mode(), edited(source, edits, where):
        return read(source)


def read(source: Source) -> Tensor:
    hook = resolve_hook(source.subject, f"blocks.{LAYER}.hook_resid_post")
    (hidden,) = read_hooks(source.subject, [hook], IDS, torch.ones_like(IDS))
    return hidden


def test_what_is_added_is_the_value_times_the_direction(make_source: Callable[..., Source]) -> None:
    source = make_source()
    change = stream(source, ((Edit(7, "add", 2.5),), ())) - stream(source)
    torch.testing.assert_close(change[0], (2.5 * source.coder.decoder[7]).expand(5, -1), atol=1e-5, rtol=1e-4)
    assert torch.equal(change[1], torch.zeros_like(change[1])), "a text without edits stays as it is, to the bit"


def test_edits_of_one_text_add_up(make_source: Callable[..., Source]) -> None:
    source = make_source()
    change = stream(source, ((Edit(7, "add", 1.0), Edit(9, "add", -2.0)), ())) - stream(source)
    expected = source.coder.decoder[7] - 2 * source.coder.decoder[9]
    torch.testing.assert_close(change[0], expected.expand(5, -1), atol=1e-5, rtol=1e-4)


def test_a_direction_that_is_no_feature_is_added_beside_one_that_is(make_source: Callable[..., Source]) -> None:
    source = make_source()
    vector = torch.linspace(-1, 1, source.coder.decoder.shape[1])
    change = stream(source, ((), (Push(vector.numpy(), 2.0), Edit(7, "add", 1.0)))) - stream(source)
    expected = 2 * vector + source.coder.decoder[7]
    torch.testing.assert_close(change[1], expected.expand(5, -1), atol=1e-5, rtol=1e-4)
    assert torch.equal(change[0], torch.zeros_like(change[0]))


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu"])
def test_a_pinned_feature_moves_by_what_it_lacks(make_source: Callable[..., Source], architecture: str) -> None:
    source = make_source(architecture)
    plain = stream(source)
    now = source.coder.encode(plain)
    feature = int((now > 0).sum(dim=(0, 1)).argmax())
    change = stream(source, ((Edit(feature, "pin", 3.0),), (Edit(feature, "pin", 0.0),))) - plain
    missing = torch.stack([3.0 - now[0, :, feature], -now[1, :, feature]])
    expected = missing[..., None] * direction(source.coder, feature)
    torch.testing.assert_close(change, expected, atol=1e-5, rtol=1e-4)


def test_pinned_to_what_it_is_nothing_changes(make_source: Callable[..., Source]) -> None:
    source = make_source()
    silent = int((source.coder.encode(stream(source)) == 0).all(dim=(0, 1)).nonzero()[0])
    assert torch.equal(stream(source, ((Edit(silent, "pin", 0.0),),) * 2), stream(source))


def test_positions_that_are_not_edited_stay_as_they_are(make_source: Callable[..., Source]) -> None:
    source = make_source()
    where = EVERYWHERE.clone()
    where[:, 2] = False
    change = stream(source, ((Edit(7, "add", 1.0),),) * 2, where) - stream(source)
    assert torch.equal(change[:, 2], torch.zeros_like(change[:, 2]))
    assert bool((change[:, [0, 1, 3, 4]].abs().sum(dim=-1) > 0).all())


def test_after_the_block_the_model_is_as_before(make_source: Callable[..., Source]) -> None:
    source = make_source()
    before = stream(source)
    stream(source, ((Edit(7, "add", 9.0),),) * 2)
    assert torch.equal(stream(source), before)


def test_another_thread_runs_the_model_unedited(make_source: Callable[..., Source]) -> None:
    source = make_source()
    plain, seen = stream(source), list[Tensor]()

    def run() -> None:
        seen.append(read(source))

    with edited(source, ((Edit(7, "add", 9.0),),) * 2, EVERYWHERE):
        other = threading.Thread(target=run)
        other.start()
        other.join()
    assert torch.equal(seen[0], plain)


@pytest.mark.parametrize(
    ("family", "hook"),
    [
        (family, hook)
        for family in ("gpt2", "llama", "gemma2", "gpt_neox")
        for hook in ("hook_resid_pre", "hook_resid_mid", "hook_mlp_out", "hook_attn_out")
        # Its attention and its MLP both read what comes in, so there is no stream between them.
        if (family, hook) != ("gpt_neox", "hook_resid_mid")
    ],
)
def test_a_feature_is_edited_where_its_coder_reads_in_every_family(
    make_source: Callable[..., Source], family: str, hook: str
) -> None:
    source = make_source("standard", f"blocks.{LAYER}.{hook}", family)
    change = stream(source, ((Edit(7, "add", 4.0),), ())) - stream(source)
    assert float(change[0].abs().max()) > 1e-3
    assert torch.equal(change[1], torch.zeros_like(change[1]))


def test_a_coder_that_rescales_its_input_writes_in_proportion(make_source: Callable[..., Source]) -> None:
    source = make_source("standard", normalize_activations="constant_norm_rescale")
    plain = stream(source)
    change = stream(source, ((Edit(7, "add", 1.0),),) * 2) - plain
    expected = plain.norm(dim=-1, keepdim=True) / 4 * source.coder.decoder[7]
    torch.testing.assert_close(change, expected, atol=1e-4, rtol=1e-3)


def test_a_coder_of_unit_directions_adds_one_unit(make_source: Callable[..., Source]) -> None:
    source = make_source("topk", k=4, rescale_acts_by_decoder_norm=True)
    assert float(direction(source.coder, 3).norm()) == pytest.approx(1.0)


def test_a_transcoder_is_edited_where_it_writes(make_source: Callable[..., Source]) -> None:
    source = make_source(
        "transcoder",
        f"blocks.{LAYER}.mlp.hook_in",
        apply_b_dec_to_input=False,
        d_out=16,
        metadata={"hook_name_out": f"blocks.{LAYER}.hook_mlp_out"},
    )
    assert writing_hook(source).name == f"blocks.{LAYER}.hook_mlp_out"
    now_edits = ((Edit(7, "pin", 2.0),), ())
    change = stream(source, now_edits) - stream(source)
    along = change[0] @ direction(source.coder, 7) / direction(source.coder, 7).norm() ** 2
    torch.testing.assert_close(change[0], along[:, None] * direction(source.coder, 7), atol=1e-4, rtol=1e-3)


def test_a_transcoder_that_does_not_say_where_it_writes_is_an_error(make_source: Callable[..., Source]) -> None:
    source = make_source("transcoder", f"blocks.{LAYER}.mlp.hook_in", apply_b_dec_to_input=False, d_out=16)
    with pytest.raises(SubjectError, match="does not say at which hook point it writes"):
        writing_hook(source)


def test_a_coder_of_a_normalised_point_is_an_error(make_source: Callable[..., Source]) -> None:
    source = make_source("standard", f"blocks.{LAYER}.ln2.hook_normalized")
    with pytest.raises(SubjectError, match="is not what the model passes on"):
        writing_hook(source)


def test_of_several_pins_of_one_feature_the_last_counts(make_source: Callable[..., Source]) -> None:
    source = make_source()
    both = stream(source, ((Edit(7, "pin", 9.0), Edit(7, "pin", 2.5)), ()))
    assert torch.equal(both, stream(source, ((Edit(7, "pin", 2.5),), ())))
