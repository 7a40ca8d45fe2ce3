"""Who has the nearest labels, and who the same."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32

from autointerp.score import others
from autointerp.score.others import OtherFeatures
from tests.score.world import UNHURRIED


class Counting:
    """Embeds texts of letters by how many there are of each; counts the texts."""

    name = "letters"

    def __init__(self) -> None:
        self.n_embedded = 0

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        self.n_embedded += len(texts)
        rows = np.array([[text.count(letter) + 0.1 for letter in "abc"] for text in texts], dtype=np.float32)
        unit: Float32[np.ndarray, "text dim"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def of(labels: dict[int, str], embedder: Counting | None = None) -> OtherFeatures:
    return OtherFeatures(lambda: labels, lambda feature: None, embedder or Counting())


@UNHURRIED
@given(
    st.dictionaries(st.integers(0, 99), st.text("abc", min_size=1, max_size=4), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([1, 7, 1 << 24]),
)
def test_the_nearest_are_those_of_all_pairs_however_the_labels_are_cut_into_blocks(
    labels: dict[int, str], n: int, most_cells: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(others, "_MOST_CELLS", most_cells)
        known = of(labels)
        nearest = {feature: known.nearest(feature, n) for feature in labels}
    vectors = dict(zip(labels, Counting().embed(list(labels.values())), strict=True))
    for feature, near in nearest.items():
        cosines = {f: round(float(vectors[f] @ vectors[feature]), 4) for f in labels if f != feature}
        assert len({of.feature_index for of in near}) == len(near) == min(n, len(cosines))
        assert [of.similarity for of in near] == pytest.approx(sorted(cosines.values(), reverse=True)[:n], abs=2e-4)
        assert [of.similarity for of in near] == pytest.approx([cosines[of.feature_index] for of in near], abs=2e-4)


def test_labels_are_near_by_what_they_mean_and_not_by_the_head_and_the_quotes_that_they_share() -> None:
    known = of({0: 'words such as "a", "aa"', 1: 'words such as "b", "c"', 2: "aaa", 3: 'the word "ab"'})
    assert [near.feature_index for near in known.nearest(0, 3)] == [2, 3, 1]
    assert known.nearest(0, 1)[0].similarity == pytest.approx(1.0, abs=0.01)


def test_of_many_equal_labels_no_feature_is_the_nearest_of_all() -> None:
    known = of(dict.fromkeys(range(40), "a"))
    first = [known.nearest(feature, 3)[0].feature_index for feature in range(40)]
    assert len(set(first)) > 10


def test_labels_are_the_same_whatever_their_case_and_spacing() -> None:
    known = of({1: "a b", 2: "A  b", 3: "a c", 4: " a b "})
    assert known.equal(1) == [2, 4]
    assert known.equal(3) == []
    assert known.equal(99) == []


def test_a_feature_without_a_label_has_no_nearest_and_one_alone_has_none() -> None:
    assert of({1: "a", 2: "b"}).nearest(3, 2) == []
    assert of({1: "a"}).nearest(1, 2) == []


def test_nothing_is_read_or_embedded_before_it_is_asked_for_and_no_text_twice() -> None:
    embedder = Counting()
    n_read = 0

    def read() -> dict[int, str]:
        nonlocal n_read
        n_read += 1
        return {1: "a", 2: "a", 3: "b"}

    known = OtherFeatures(read, lambda feature: None, embedder)
    assert (n_read, embedder.n_embedded) == (0, 0)
    for feature in (1, 2, 3):
        known.nearest(feature, 2)
    assert (n_read, embedder.n_embedded) == (1, 2)
