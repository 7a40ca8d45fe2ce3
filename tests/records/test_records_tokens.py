"""How telling tokens are: hand-worked measures, and orders in which common words and chance come last."""

import math
from dataclasses import replace

import pytest

from autointerp.records import FollowingToken, InputToken, TokenCount, input_tokens, next_tokens
from autointerp.records.tokens import in_order, input_pmi, most_telling
from tests.store.making import make

# Of 100,000 tokens it fires on 200, a density of 0.002: its own words, and here and there a common one.
PLANTED = replace(
    make.feature(1, density=0.002),
    n_active=200,
    mean_activation=2.0,
    top_tokens=(
        TokenCount(" the", 90, 9.0 / 9, 6000),
        TokenCount(" of", 40, 1.0, 4000),
        TokenCount(" harbour", 30, 6.0, 32),
        TokenCount(" docks", 12, 5.0, 15),
        TokenCount(" zzz", 1, 8.0, 1),
    ),
    n_followed_peaks=10,
    following_tokens=(FollowingToken(" the", 4, 2.0), FollowingToken(" wall", 3, 300.0), FollowingToken("q", 1, 9e4)),
)


def names(tokens: list[InputToken]) -> list[str]:
    return [of.token for of in tokens]


def test_the_measures_of_a_token_are_those_worked_by_hand() -> None:
    harbour = input_tokens(PLANTED)[2]
    expected = 0.002 * 32
    assert harbour == InputToken(
        token=" harbour",
        n_active=30,
        mean_activation=6.0,
        n_occurrences=32,
        recall=0.15,
        mass=30 * 6.0 / 400,
        precision=0.9375,
        pmi=math.log2(30.5 / (expected + 0.5)),
    )
    wall = next_tokens(PLANTED)[1]
    assert wall.recall == 0.3
    assert wall.pmi == pytest.approx(math.log2(3.5 / 0.51))


def test_a_feature_on_common_words_is_told_by_its_own() -> None:
    tokens = input_tokens(PLANTED)
    assert names(in_order(tokens, "count"))[:2] == [" the", " of"]
    assert names(in_order(tokens, "pmi"))[:2] == [" harbour", " docks"]
    assert [of.token for of in most_telling(PLANTED.top_tokens, 0.002)][:2] == [" harbour", " docks"]


def test_a_token_seen_once_is_first_by_precision_only() -> None:
    tokens = input_tokens(PLANTED)
    assert names(in_order(tokens, "precision"))[0] == " zzz"
    unshrunk = {of.token: math.log2((of.precision or 0) / 0.002) for of in tokens}
    assert max(unshrunk, key=lambda token: unshrunk[token]) == " zzz"
    assert names(in_order(tokens, "pmi")).index(" zzz") > 1
    assert [of.token for of in in_order(next_tokens(PLANTED), "pmi")] == [" wall", "q", " the"]
    assert [of.token for of in in_order(next_tokens(PLANTED), "count")] == [" the", " wall", "q"]


@pytest.mark.parametrize(
    ("n_active", "n_occurrences", "bits"), [(1, 1, 1.58), (8, 20, 4.03), (90, 90, 7.26), (10, 10_000, 0.0)]
)
def test_what_the_module_says_of_a_feature_that_fires_on_a_thousandth_holds(
    n_active: int, n_occurrences: int, bits: float
) -> None:
    assert input_pmi(TokenCount("x", n_active, 1.0, n_occurrences), 0.001) == pytest.approx(bits, abs=0.01)


def test_where_nobody_counted_occurrences_only_shares_are_known_and_the_order_stays() -> None:
    before = replace(PLANTED, top_tokens=tuple(replace(of, n_occurrences=None) for of in PLANTED.top_tokens))
    tokens = input_tokens(before)
    assert {(of.precision, of.pmi) for of in tokens} == {(None, None)}
    assert [of.recall for of in tokens] == [0.45, 0.2, 0.15, 0.06, 0.005]
    assert names(in_order(tokens, "pmi")) == names(list(tokens))
    assert most_telling(before.top_tokens, 0.002) == []


def test_a_dead_feature_has_no_tokens() -> None:
    dead = make.feature(3, 0.0, "dead")
    assert (input_tokens(dead), next_tokens(dead)) == ((), ())
