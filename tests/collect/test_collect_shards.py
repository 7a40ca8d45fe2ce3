import errno
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autointerp.collect.merge import ShardPart
from autointerp.collect.neighbors import coactivation_neighbors, decoder_neighbors
from autointerp.collect.runs import as_unsigned, stable_order
from autointerp.collect.shards import load_part, save_part
from autointerp.errors import DiskFullError, ShardError
from autointerp.records import Collected, FeatureStatistics, Pool, SampledWindows, TokenCounts


def make_part(n_features: int = 5, n_rows: int = 7) -> ShardPart:
    rng = np.random.default_rng(3)
    window = rng.random((n_rows, 6), np.float32) * (rng.random((n_rows, 6)) < 0.4)
    sampled = SampledWindows(
        feature=np.sort(rng.integers(0, n_features, n_rows)).astype(np.int32),
        block_index=rng.integers(0, 2**40, n_rows),
        peak_position=rng.integers(0, 9, n_rows).astype(np.int32),
        peak=rng.random(n_rows, np.float32),
        rank_key=rng.integers(0, 2**64 - 1, n_rows, dtype=np.uint64),
        window_start=rng.integers(0, 9, n_rows).astype(np.int32),
        activations=window.astype(np.float32),
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
                np.array([0, 2], np.int32), np.array([7, 1], np.int32), np.array([3, 1]), np.array([0.5, 2])
            ),
            top=sampled,
            fired=sampled,
            pool=Pool(
                np.array([3, 8]), np.array([0, 0, 2]), np.array([1, 4], np.int32), np.array([0, 5], np.int32),
                np.array([0.25, 3], np.float32),
            ),
        ),
    )  # fmt: skip


def assert_identical(one: Any, other: Any) -> None:
    for f in fields(one):
        mine, theirs = getattr(one, f.name), getattr(other, f.name)
        if is_dataclass(mine):
            assert_identical(mine, theirs)
        else:
            assert np.asarray(mine).dtype == np.asarray(theirs).dtype, f.name
            assert np.array_equal(mine, theirs), f.name


@pytest.mark.parametrize("n_rows", [7, 0])
def test_a_part_comes_back_from_its_file_unchanged(n_rows: int, tmp_path: Path) -> None:
    part = make_part(n_rows=n_rows)
    save_part(tmp_path / "part.safetensors", part, "made-so")
    assert_identical(load_part(tmp_path / "part.safetensors", "made-so"), part)
    assert [p.name for p in tmp_path.iterdir()] == ["part.safetensors"]


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_file_cut_short_is_an_error(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    save_part(path, make_part(), "made-so")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ShardError, match="cut short or damaged"):
        load_part(path)


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


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("autointerp.collect.shards.os.fsync", full)
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
def test_decoder_neighbours_are_those_of_the_whole_cosine_matrix(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_dictionary_of_one_feature_has_no_neighbours() -> None:
    lists = decoder_neighbors(torch.ones(1, 4), 3)
    assert lists.feature.tolist() == [[-1, -1, -1]]
    assert lists.similarity.tolist() == [[0, 0, 0]]


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6))), st.integers(1, 30))
def test_coactivation_neighbours_are_those_of_a_loop_over_pairs(fires: np.ndarray, chunk: int) -> None:
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
