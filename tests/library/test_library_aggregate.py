"""One number for what a feature does on a text, and matrices of them."""

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autointerp.errors import ActivationRangeError, SearchError
from autointerp.library.activations import text_matrix, token_matrix
from autointerp.library.aggregate import Aggregate, by_feature
from autointerp.records.live import TextFirings
from tests.score.world import UNHURRIED

N_FEATURES = 6


def firings(
    *fired: tuple[int, int, float], n_tokens: int = 4, special: tuple[int, ...] = (), n_features: int = N_FEATURES
) -> TextFirings:
    """A text, from firings as (token, feature, activation)."""
    token, feature, activation = zip(*sorted(fired), strict=True) if fired else ((), (), ())
    counted = np.ones(n_tokens, dtype=np.bool_)
    counted[list(special)] = False
    return TextFirings(
        source_id="m@s",
        n_features=n_features,
        token_ids=np.arange(n_tokens, dtype=np.int32),
        tokens=tuple(f"t{i} " for i in range(n_tokens)),
        counted=counted,
        windows=(0,),
        token=np.array(token, dtype=np.int32),
        feature=np.array(feature, dtype=np.int32),
        activation=np.array(activation, dtype=np.float32),
    )


TEXT = firings((0, 2, 4.0), (1, 2, 1.0), (1, 5, 8.0), (3, 0, 2.0))


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("frequency", [0.25, 0.5, 0.25]),
        ("mean", [0.5, 1.25, 2.0]),
        ("max", [2.0, 4.0, 8.0]),
        ("sum", [2.0, 5.0, 8.0]),
    ],
)
def test_an_aggregate_is_over_the_tokens_that_count(aggregate: Aggregate, expected: list[float]) -> None:
    fired, values = by_feature(TEXT.feature, TEXT.activation, TEXT.n_counted, aggregate)
    assert fired.tolist() == [0, 2, 5]
    assert values == pytest.approx(expected)


def dense_aggregate(text: NDArray[np.float64], aggregate: str) -> Any:
    match aggregate:
        case "frequency":
            return (text > 0).mean(axis=0)
        case "mean":
            return text.mean(axis=0)
        case "max":
            return text.max(axis=0)
        case _:
            return text.sum(axis=0)


DENSE = st.integers(1, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0]), min_size=N_FEATURES, max_size=N_FEATURES),
        min_size=n,
        max_size=n,
    )
)


@UNHURRIED
@given(st.lists(DENSE, max_size=4), st.sampled_from(["frequency", "mean", "max", "sum"]), st.permutations(range(6)))
def test_a_matrix_says_what_dense_arrays_say(texts: list[list[list[float]]], by: str, order: list[int]) -> None:
    columns = order[:4]
    sparse = [
        firings(*((t, f, a) for t, row in enumerate(text) for f, a in enumerate(row) if a), n_tokens=len(text))
        for text in texts
    ]
    dense = [np.array(text) for text in texts]
    expected = np.array([dense_aggregate(text, by) for text in dense]).reshape(len(texts), N_FEATURES)
    np.testing.assert_allclose(text_matrix(sparse, N_FEATURES, None, by).toarray(), expected, atol=1e-6)
    np.testing.assert_allclose(text_matrix(sparse, N_FEATURES, columns, by).toarray(), expected[:, columns], atol=1e-6)
    for of, text in zip(sparse, dense, strict=True):
        np.testing.assert_array_equal(token_matrix(of).toarray(), text)
        np.testing.assert_array_equal(token_matrix(of, columns).toarray(), text[:, columns])


def test_a_matrix_has_sorted_columns_and_no_stored_zeros() -> None:
    matrix = text_matrix([TEXT, firings()], N_FEATURES, [5, 2, 0], "max")
    assert matrix.has_sorted_indices
    assert matrix.nnz == 3
    assert matrix.dtype == np.float32
    assert token_matrix(TEXT, [5, 2]).has_sorted_indices


def test_a_text_without_a_token_that_counts_has_an_empty_row_and_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    nothing, special = firings(n_tokens=0), firings(n_tokens=2, special=(0, 1))
    with caplog.at_level(logging.WARNING):
        matrix = text_matrix([TEXT, nothing, special], N_FEATURES, None, "mean")
    assert matrix[[1, 2]].nnz == 0
    assert "2 of 3 texts have no token that counts (the first is text 1)" in caplog.text


def test_what_overflowed_is_an_error_that_names_the_text() -> None:
    with pytest.raises(ActivationRangeError, match="on text 1 are not finite"):
        text_matrix([TEXT, firings((0, 1, np.nan))], N_FEATURES)


def test_an_unknown_aggregate_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SearchError, match="no aggregate 'median'") as told:
        text_matrix([TEXT], N_FEATURES, aggregate_by="median")
    assert "frequency" in told.value.remedy
