"""Names, fingerprints and keyed hashes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import FilterError, PipelineError, UnknownFeatureError
from autointerp.explain.label_files.columns import Cells
from autointerp.identity import (
    feature_id,
    fingerprint,
    hash_key,
    in_keyed_order,
    keyed_hash,
    parse_feature_id,
    read_index,
    stable_uuid,
)
from autointerp.records import FeatureFilter
from autointerp.store.known import feature_keys


def test_a_feature_is_named_as_neuronpedia_names_it() -> None:
    assert feature_id("all-minilm-l6-v2@3-res-2k", 650) == "all-minilm-l6-v2@3-res-2k:650"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("650", (None, 650)), ("m@s:7", ("m@s", 7)), ("m@s:", None), ("m@s", None), ("-3", None), ("٣", None)],
)
def test_feature_ids_are_parsed(text: str, expected: tuple[str | None, int] | None) -> None:
    assert parse_feature_id(text) == expected


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [2, None]}) == fingerprint({"b": [2, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_identities_are_the_same_on_every_machine() -> None:
    assert stable_uuid("m@s:1") == "468afaee-d53b-5227-afc3-46d77bbc3e95"
    assert keyed_hash(1, np.array([0, 1])).tolist() == [10451216379200822465, 13757245211066428519]


@given(st.integers(0, 2**63), st.integers(1, 300))
def test_one_key_never_gives_two_indices_the_same_hash(seed: int, n: int) -> None:
    hashes = keyed_hash(hash_key(seed, "choice"), np.arange(n))
    assert len(set(hashes.tolist())) == n


def test_what_is_drawn_of_some_is_drawn_of_all_whatever_else_there_is() -> None:
    key, some = hash_key(0, "draw"), np.array([3, 8, 20, 41])
    of_all = in_keyed_order(key, np.arange(50)).tolist()
    assert sorted(of_all) == list(range(50))
    assert of_all != sorted(of_all)
    assert in_keyed_order(key, some).tolist() == [index for index in of_all if index in some]


def test_hashes_of_pairs_broadcast_and_look_uniform() -> None:
    hashes = keyed_hash(hash_key(0, "x"), np.arange(200)[:, None], np.arange(100)[None, :])
    assert hashes.shape == (200, 100)
    assert len(np.unique(hashes)) == hashes.size
    assert abs((hashes / 2**64).mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("value", "index"),
    [
        *((650, 650), (np.int32(650), 650), (np.uint64(650), 650), ("650", 650), ("007", 7), (-1, -1)),
        *((True, None), (np.True_, None), (6.0, None), (None, None), (b"6", None)),
        *(("", None), ("-1", None), ("+1", None), (" 1", None), ("1_0", None), ("\u0663", None), ("9" * 5000, None)),
    ],
)
def test_one_reading_says_what_an_index_is(value: object, index: int | None) -> None:
    assert read_index(value) == index
    assert parse_feature_id(value) == (None if index is None else (None, index))


@pytest.mark.parametrize("value", [True, "9" * 5000])
def test_what_is_no_index_is_told_wherever_one_is_named(value: Any) -> None:
    with pytest.raises(UnknownFeatureError, match="is not a feature"):
        feature_keys(value, None)
    with pytest.raises(FilterError, match="is no index of a feature"):
        FeatureFilter(features=[value])
    with pytest.raises(PipelineError, match="the feature is"):
        Cells.read({"feature": value, "label": "ships"}).feature()
