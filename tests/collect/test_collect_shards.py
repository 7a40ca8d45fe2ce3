"""Files of parts, and what is told from what was collected: neighbors."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import SafetensorError
from safetensors.numpy import load_file

from autointerp.collect.merge import ShardPart
from autointerp.collect.neighbors import coactivation_neighbors, decoder_neighbors
from autointerp.collect.runs import as_unsigned, stable_order
from autointerp.collect.shards import load_part, save_part
from autointerp.errors import DiskFullError, ShardError
from autointerp.records import Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts
from tests.collect.cases import Case, assert_identical, cases


def make_part(n_features: int = 5, n_rows: int = 7, exponent: int = 0) -> ShardPart:
    """A part with large numbers in it; activations are multiples of `2**exponent`, or any where it is 0."""
    rng = np.random.default_rng(3)

    def activations(*shape: int) -> np.ndarray:
        drawn: np.ndarray = rng.integers(1, 128, shape) * 2.0**exponent if exponent else rng.random(shape) + 1e-3
        return drawn.astype(np.float32)

    window = activations(n_rows, 600) * (rng.random((n_rows, 600)) < 0.02)
    window[:, [300, 500]] = 200 * 2.0**exponent  # of equal peaks the first is the peak
    row, offset = np.nonzero(window)
    window_start = rng.integers(0, 900, n_rows).astype(np.int32)
    sampled = SampledWindows(
        context_length=600,
        feature=np.sort(rng.integers(0, n_features, n_rows)).astype(np.int32),
        block_index=rng.integers(0, 2**40, n_rows),
        peak_position=window_start + np.int32(300),
        peak=window.max(axis=1),
        window_start=window_start,
        n_entries=np.bincount(row, minlength=n_rows).astype(np.int32),
        entry_offset=offset.astype(np.uint16),
        entry_activation=window[row, offset],
    )
    return ShardPart(
        4,
        Collected(
            statistics=FeatureStatistics(
                n_tokens=100,
                n_blocks=9,
                n_active=rng.integers(0, 9, n_features),
                n_active_blocks=rng.integers(0, 9, n_features),
                activation_sum=rng.random(n_features),
                max_activation=rng.random(n_features, np.float32),
                histogram=rng.integers(0, 9, (n_features, 3)),
                bin_edges=np.array([0.5, 1, 2, 4]),
            ),
            token_counts=TokenCounts(
                np.array([0, 2], np.int32), np.array([70_000, 1], np.int32), np.array([3, 1]), np.array([0.5, 2]),
                np.array([0, 0, 300, 0, 2**33]),
            ),
            top=sampled,
            fired=sampled,
            pool=Pool(
                np.array([3, 8]), np.array([0, 0, 2]), np.array([1, 4], np.int32), np.array([0, 5], np.int32),
                np.array([0.25, 3], np.float32),
            ),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("n_rows", [7, 0])
def test_a_part_comes_back_from_its_file_unchanged(n_rows: int, tmp_path: Path) -> None:
    part = make_part(n_rows=n_rows)
    save_part(tmp_path / "part.safetensors", part, "made-so")
    assert_identical(load_part(tmp_path / "part.safetensors", "made-so"), part)
    assert [p.name for p in tmp_path.iterdir()] == ["part.safetensors"]


@settings(max_examples=40, deadline=None)
@given(cases())
def test_whatever_was_collected_comes_back_from_its_file_unchanged(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for part in [ShardPart(shard.shard_index, case.part(shard)) for shard in case.shards]:
            save_part(Path(folder) / "part.safetensors", part, "made-so")
            assert_identical(load_part(Path(folder) / "part.safetensors", "made-so"), part)


@pytest.mark.parametrize("exponent", [-130, -3, 90])
def test_activations_of_a_bfloat16_coder_come_back_unchanged_from_half_the_bytes(exponent: int, tmp_path: Path) -> None:
    for name, part in (("exact", make_part()), ("half", make_part(exponent=exponent))):
        save_part(tmp_path / name, part, "made-so")
        assert_identical(load_part(tmp_path / name), part)
    exact, half = load_file(tmp_path / "exact"), load_file(tmp_path / "half")
    for name in ("top.entry_activation", "fired.entry_activation"):
        assert (exact[name].itemsize, half[name].itemsize) == (4, 2)


def test_equal_parts_are_equal_files(tmp_path: Path) -> None:
    save_part(tmp_path / "one", make_part(), "made-so")
    save_part(tmp_path / "other", make_part(), "made-so")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_file_cut_short_is_an_error(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    save_part(path, make_part(), "made-so")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ShardError, match="cut short or damaged"):
        load_part(path)


def test_a_file_whose_header_was_damaged_is_an_error_or_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    part = make_part(n_features=1, n_rows=1)
    save_part(path, part, "made-so")
    content = path.read_bytes()
    n_errors = 0
    for place in range(8 + int.from_bytes(content[:8], "little")):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        try:
            loaded = load_part(path, "made-so")
        except ShardError:
            n_errors += 1
        else:
            assert loaded.shard_index == part.shard_index
            assert_identical(loaded.collected, part.collected)
    assert n_errors > 100


def test_a_file_with_one_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    save_part(path, make_part(), "made-so")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match="checksum"):
        load_part(path)


def test_a_missing_file_and_one_of_other_settings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="there is no file"):
        load_part(tmp_path / "part.safetensors")
    save_part(tmp_path / "part.safetensors", make_part(), "made-so")
    with pytest.raises(ShardError, match="other settings"):
        load_part(tmp_path / "part.safetensors", "made-otherwise")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("kind", ["of the system", "of safetensors"])
def test_a_full_disk_is_an_error_that_leaves_nothing_behind(
    number: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        if kind == "of the system":
            raise OSError(number, os.strerror(number))
        raise SafetensorError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")

    monkeypatch.setattr("autointerp.whole_file.os.fsync", full)
    with pytest.raises(DiskFullError, match="no space left"):
        save_part(tmp_path / "part.safetensors", make_part(), "made-so")
    assert list(tmp_path.iterdir()) == []


@given(
    hnp.arrays(np.uint64, st.shared(st.integers(0, 40), key="n"), elements=st.integers(0, 2**64 - 1)),
    hnp.arrays(np.int32, st.shared(st.integers(0, 40), key="n"), elements=st.integers(0, 2)),
)
def test_the_radix_order_is_lexsorts(minor: np.ndarray, major: np.ndarray) -> None:
    assert np.array_equal(stable_order(minor, as_unsigned(major)), np.lexsort((minor, major)))


@pytest.mark.parametrize("chunk", [1, 40, 8_000_000])
def test_decoder_neighbors_are_those_of_the_whole_cosine_matrix(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.collect.neighbors._CHUNK", chunk)
    decoder = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    decoder[5] = 0
    decoder[9] = 3 * decoder[8]
    lists = decoder_neighbors(decoder, 4)
    cosine = torch.nn.functional.normalize(decoder, dim=1)
    similarity = (cosine @ cosine.T).fill_diagonal_(-2).numpy()
    for feature in range(30):
        expected = np.sort(similarity[feature])[::-1][:4]
        assert lists.similarity[feature] == pytest.approx(expected, abs=1e-6)
        assert similarity[feature, lists.feature[feature]] == pytest.approx(expected, abs=1e-6)
    assert lists.feature[8, 0] == 9
    assert lists.feature[9, 0] == 8


def test_a_dictionary_of_one_feature_has_no_neighbors() -> None:
    lists = decoder_neighbors(torch.ones(1, 4), 3)
    assert lists.feature.tolist() == [[-1, -1, -1]]
    assert lists.similarity.tolist() == [[0, 0, 0]]


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6))), st.integers(1, 30))
def test_coactivation_neighbors_are_those_of_a_loop_over_pairs(fires: np.ndarray, chunk: int) -> None:
    _, position, feature = np.nonzero(fires)
    pool = Pool(
        block_index=np.arange(len(fires)) * 3,
        offsets=np.append(0, np.cumsum(fires.sum(axis=(1, 2)))),
        feature=feature.astype(np.int32),
        position=position.astype(np.int32),
        activation=np.ones(len(feature), np.float32),
    )
    n_features = fires.shape[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autointerp.collect.neighbors._CHUNK", chunk)
        lists = coactivation_neighbors(pool, n_features, 3)
    flat = fires.reshape(-1, n_features)
    for f in range(n_features):
        expected = []
        for g in range(n_features):
            n_both = int((flat[:, f] & flat[:, g]).sum())
            if g != f and n_both:
                expected.append((-n_both / np.sqrt(flat[:, f].sum() * flat[:, g].sum()), g))
        expected = sorted(expected)[:3]
        assert lists.feature[f].tolist() == [g for _, g in expected] + [-1] * (3 - len(expected))
        assert lists.similarity[f, : len(expected)] == pytest.approx([-s for s, _ in expected])


def test_collect_and_subject_import_without_ray_duckdb_pydantic_and_sae_lens() -> None:
    script = """
import importlib, pkgutil, sys
blocked = ["ray", "duckdb", "pydantic", "sae_lens", "transformer_lens"]
for name in blocked:
    sys.modules[name] = None
import autointerp.collect, autointerp.subject
for package in (autointerp.collect, autointerp.subject):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"autointerp.collect.stream", "autointerp.subject.coder"} <= set(done.stdout.split())
