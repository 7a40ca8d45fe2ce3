"""A batch that does not fit into memory is done in halves; what is no lack of memory is not taken for one."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.collect.stream import collect_shard
from autointerp.errors import CollectError
from autointerp.records import Collected, RowFirings
from tests.collect.cases import Case, Lookup, LookupSources, assert_identical, cases, plain_case


def fill_the_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def fill_the_host() -> None:
    torch.empty(2**62, dtype=torch.uint8)


@dataclass(frozen=True)
class SmallModel:
    """A model that has memory for so many blocks."""

    inner: LookupSources
    n_blocks: int
    full: Callable[[], None]

    @property
    def sources(self) -> Sequence[Lookup]:
        return self.inner.sources

    def read_counted(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor, counted: torch.Tensor
    ) -> list[torch.Tensor]:
        if len(token_ids) > self.n_blocks:
            self.full()
        return self.inner.read_counted(token_ids, attention_mask, counted)


@dataclass(frozen=True)
class SmallCoder(Lookup):
    """A coder that has memory for so many rows, which it finds out when it has encoded some."""

    n_rows: int = 0

    def encode_firings(self, activations: torch.Tensor) -> Iterator[RowFirings]:
        for number, piece in enumerate(super().encode_firings(activations)):
            if number == 1 and len(activations) > self.n_rows:
                fill_the_gpu()
            yield piece


def collect_in(case: Case, n_blocks: int, full: Callable[[], None]) -> Collected:
    (collected,) = collect_shard(SmallModel(case.sources, n_blocks, full), case.shards[0], [case.settings])
    return collected


CASE = plain_case(np.random.default_rng(0).choice(np.array([0, 0, 1, 2], np.float32), (7, 3, 4)))


def test_the_host_too_says_that_memory_is_full_by_a_runtime_error() -> None:
    with pytest.raises(RuntimeError) as caught:
        fill_the_host()
    assert not isinstance(caught.value, torch.OutOfMemoryError)


@pytest.mark.parametrize("full", [fill_the_gpu, fill_the_host])
@pytest.mark.parametrize("n_blocks", [1, 2, 3, 6])
def test_a_batch_that_does_not_fit_gives_what_an_undisturbed_one_does_with_a_warning(
    n_blocks: int, full: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    case = replace(CASE, settings=replace(CASE.settings, batch_size=7))
    undisturbed = collect_in(case, 7, full)
    assert caplog.records == []
    assert_identical(collect_in(case, n_blocks, full), undisturbed)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings[0] == "a batch of 7 blocks does not fit into memory; it is done in halves"


def test_a_coder_that_runs_out_of_memory_after_some_rows_counts_none_of_them_twice() -> None:
    case = replace(CASE, settings=replace(CASE.settings, batch_size=7))
    small = replace(case, source=SmallCoder(case.source.dense, n_rows=6))
    (both,) = collect_shard(small.sources, case.shards[0], [case.settings])
    assert_identical(both, case.part(case.shards[0]))


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 4))
def test_halving_changes_nothing_in_any_corpus(case: Case, n_blocks: int) -> None:
    small = SmallModel(case.sources, n_blocks, fill_the_gpu)
    for shard in case.shards:
        (collected,) = collect_shard(small, shard, [case.settings])
        assert_identical(collected, case.part(shard))


@pytest.mark.parametrize("full", [fill_the_gpu, fill_the_host])
def test_one_block_that_does_not_fit_is_an_error_of_one_line_that_says_what_to_do(full: Callable[[], None]) -> None:
    with pytest.raises(CollectError, match="one block of 3 tokens does not fit into memory: lower") as caught:
        collect_in(CASE, 0, full)
    assert "\n" not in str(caught.value)


def test_another_error_of_the_model_passes_through_as_it_is() -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        collect_in(CASE, 0, fail)
