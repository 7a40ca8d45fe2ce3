from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats

from autointerp.library.contrast.design import Pairs, TwoSets, joined
from autointerp.library.contrast.effects import Effects, measure_effects, student
from autointerp.library.contrast.largest import (
    LEVEL,
    Deviations,
    RankedValues,
    compare_features,
    skewed,
    unskewed,
)
from autointerp.library.contrast.ranks import centred_ranks
from autointerp.score.paired import auroc_difference
from tests.score.world import UNHURRIED

KINDS = ("lognormal", "cauchy", "few huge", "equal")


def two_sets(n_1: int, n_2: int) -> TwoSets:
    return TwoSets(np.arange(n_1), np.arange(n_2))


def fired(rng: np.random.Generator, n_texts: int, density: np.ndarray, kind: str = "lognormal") -> sparse.csr_array:
    shape = (n_texts, density.size)
    match kind:
        case "lognormal":
            strength = rng.lognormal(0, 1, shape)
        case "cauchy":
            strength = np.abs(rng.standard_cauchy(shape))
        case "few huge":
            strength = np.where(rng.random(shape) < 0.02, 1e9, rng.random(shape))
        case _:
            strength = np.ones(shape)
    return sparse.csr_array((rng.random(shape) < density) * strength)


def densities(rng: np.random.Generator, n_features: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(0.005), np.log(0.5), n_features))


def ranked_values(first: sparse.csr_array, second: sparse.csr_array, design: TwoSets | Pairs) -> RankedValues:
    return RankedValues(sparse.csc_array(sparse.vstack([first, second])), first.shape[0], design)


def contrasted(
    first: sparse.csr_array, second: sparse.csr_array, design: TwoSets | Pairs, n_tried: int = 200, seed: int = 0
) -> tuple[Deviations, Effects]:
    ranked = ranked_values(first, second, design)
    tested = compare_features(ranked, n_tried, seed)
    return tested, measure_effects(ranked, tested, np.arange(tested.feature.size))


@UNHURRIED
@given(st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.5, -1.0]), min_size=5, max_size=5), min_size=1))
def test_ranks_are_those_of_all_texts_less_that_of_a_zero(rows: list[list[float]]) -> None:
    values = np.array(rows)
    found = centred_ranks(sparse.csc_array(values.astype(np.float32))).toarray()
    with_a_zero = stats.rankdata(np.vstack([values, np.zeros(5)]), axis=0)
    of_zero = with_a_zero[-1] - ((values == 0).sum(axis=0) > 0) * 0.0
    for column in range(5):
        ranks = stats.rankdata(values[:, column])
        zeros = values[:, column] == 0
        usual = ranks[zeros][0] if zeros.any() else of_zero[column] - 0.5
        assert found[:, column] == pytest.approx(ranks - usual)


def test_the_effect_and_the_deviation_are_mann_and_whitneys() -> None:
    rng = np.random.default_rng(1)
    first, second = (fired(rng, n, np.full(20, 0.6), "equal") for n in (30, 30))
    first, second = first + fired(rng, 30, np.full(20, 0.3)), second + fired(rng, 30, np.full(20, 0.3))
    tested, effects = contrasted(first, second, two_sets(30, 30))
    for place, feature in enumerate(tested.feature):
        of = [matrix.toarray()[:, feature] for matrix in (first, second)]
        whitney = stats.mannwhitneyu(*of, method="asymptotic", use_continuity=False)
        assert effects.auroc[place] == pytest.approx(whitney.statistic / 900)
        # Its variance has n + 1 where that over all divisions has n.
        assert abs(tested.z[place]) == pytest.approx(stats.norm.isf(whitney.pvalue / 2), rel=0.03, abs=1e-3)


def test_of_few_texts_all_divisions_are_tried_and_the_p_value_is_the_share_of_them() -> None:
    values = np.array([[3.0, 1.0], [2.0, 0.0], [4.0, 5.0], [0.0, 2.0], [1.0, 0.5], [0.0, 0.0], [0.0, 3.0], [0.5, 4.0]])
    first, second = sparse.csr_array(values[:3]), sparse.csr_array(values[3:])
    tested, _ = contrasted(first, second, two_sets(3, 5), 1000)
    assert tested.n_tried == comb(8, 3)
    ranks = stats.rankdata(values, axis=0)
    deviations = []
    for chosen in combinations(range(8), 3):
        sums = ranks[list(chosen)].sum(axis=0) - 3 * ranks.mean(axis=0)
        error = np.sqrt(15 / 8 * ranks.var(axis=0, ddof=1))
        deviations.append(unskewed(sums / error, tested.skewness))
    of_all = np.abs(np.array(deviations))
    assert tested.z == pytest.approx(deviations[0], abs=1e-4)
    expected = [(of_all.max(axis=1) >= seen - 1e-3).mean() for seen in of_all[0]]
    assert tested.p_value == pytest.approx(expected)


def test_of_few_pairs_all_exchanges_are_tried() -> None:
    rng = np.random.default_rng(2)
    first, second = (sparse.csr_array(rng.random((7, 3))) for _ in range(2))
    tested, _ = contrasted(first, second, Pairs(np.arange(7)), 1000)
    ranks = stats.rankdata(np.vstack([first.toarray(), second.toarray()]), axis=0)
    differs = ranks[:7] - ranks[7:]
    deviations = np.array([np.array(signs) @ differs for signs in product((1, -1), repeat=7)])
    of_all = np.abs(deviations) / np.sqrt((differs**2).sum(axis=0))
    expected = [(of_all.max(axis=1) >= seen - 1e-3).mean() for seen in of_all[0]]
    assert tested.n_tried == 2**7
    assert tested.p_value == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_1", "n_2", "is_paired"), [(30, 30, False), (12, 300, False), (40, 40, True)])
def test_between_equal_sets_nothing_is_found(kind: str, n_1: int, n_2: int, is_paired: bool) -> None:
    rng = np.random.default_rng(3)
    n_trials, n_found = 120, 0
    for seed in range(n_trials):
        density = densities(rng, 150)
        design = Pairs(np.arange(n_1)) if is_paired else two_sets(n_1, n_2)
        ranked = ranked_values(fired(rng, n_1, density, kind), fired(rng, n_2, density, kind), design)
        n_found += bool(compare_features(ranked, 100, seed).is_found.any())
    # At most 5 % of trials; 14 of 120 or more would happen once in a thousand suites.
    assert n_found < 14


def test_texts_of_one_group_are_exchanged_together_and_copies_find_nothing() -> None:
    rng = np.random.default_rng(4)
    unit = np.repeat(np.arange(10), 8)
    n_alone = n_grouped = 0
    for seed in range(60):
        density = densities(rng, 80)
        first, second = (sparse.csr_array(fired(rng, 10, density).toarray().repeat(8, axis=0)) for _ in range(2))
        n_alone += bool(contrasted(first, second, two_sets(80, 80), 100, seed)[0].is_found.any())
        n_grouped += bool(contrasted(first, second, TwoSets(unit, unit), 100, seed)[0].is_found.any())
    assert n_alone > 50
    assert n_grouped < 9


@pytest.mark.parametrize("is_paired", [False, True])
def test_a_planted_difference_is_found_and_its_interval_leaves_out_a_half(is_paired: bool) -> None:
    rng = np.random.default_rng(5)
    density = np.full(300, 0.1)
    more = density.copy()
    more[:3] = 0.7
    first, second = fired(rng, 80, more), fired(rng, 80, density)
    tested, effects = contrasted(first, second, Pairs(np.arange(80)) if is_paired else two_sets(80, 80))
    assert tested.feature[tested.is_found].tolist() == [0, 1, 2]
    leaves_out = (effects.auroc_low > 0.5) | (effects.auroc_high < 0.5)
    assert np.array_equal(leaves_out, tested.is_found)
    assert np.all(effects.auroc[tested.is_found] == pytest.approx(0.8, abs=0.1))
    assert np.all(effects.difference_low[tested.is_found] > 0)


@pytest.mark.parametrize(
    ("n_1", "n_2", "is_paired"), [(25, 25, False), (15, 200, False), (200, 15, False), (40, 40, True)]
)
def test_an_interval_leaves_out_a_half_only_where_the_feature_is_found(n_1: int, n_2: int, is_paired: bool) -> None:
    rng = np.random.default_rng(6)
    density = densities(rng, 300)
    other = np.where(rng.random(300) < 0.3, np.minimum(0.95, density * 5), density)
    unit = np.minimum(np.arange(n_1), n_1 - 4)  # the last ones are of one group
    design = Pairs(unit) if is_paired else TwoSets(unit, np.arange(n_2))
    tested, effects = contrasted(fired(rng, n_1, density), fired(rng, n_2, other), design)
    leaves_out = (effects.auroc_low > 0.5) | (effects.auroc_high < 0.5)
    assert tested.is_found.any()
    assert np.array_equal(leaves_out, tested.is_found)
    assert np.all((effects.auroc_low <= effects.auroc) & (effects.auroc <= effects.auroc_high))


def test_intervals_hold_the_truth_of_all_features_at_once() -> None:
    rng = np.random.default_rng(7)
    n_auroc = n_mean = 0
    for seed in range(60):
        density = densities(rng, 150)
        other = np.where(np.arange(150) % 10 == 0, np.minimum(0.95, density * 5), density)
        tested, effects = contrasted(
            fired(rng, 20, other, "equal"), fired(rng, 200, density, "equal"), two_sets(20, 200), seed=seed
        )
        truth = (other - density)[tested.feature]
        n_auroc += bool(np.all((effects.auroc_low <= 0.5 + truth / 2) & (0.5 + truth / 2 <= effects.auroc_high)))
        n_mean += bool(np.all((effects.difference_low <= truth) & (truth <= effects.difference_high)))
    # Of 95 %, 49 of 60 or fewer would be seen once in a thousand suites.
    assert n_auroc > 49
    assert n_mean > 49


def test_a_feature_is_left_out_by_how_many_texts_it_fires_in_and_not_by_which() -> None:
    rng = np.random.default_rng(8)
    values = fired(rng, 60, densities(rng, 200)).toarray()
    shuffled = values[rng.permutation(60)]
    there, here = (
        contrasted(sparse.csr_array(of[:30]), sparse.csr_array(of[30:]), two_sets(30, 30))[0]
        for of in (values, shuffled)
    )
    assert there.feature.tolist() == here.feature.tolist()
    assert 0 < there.n_left_out < 200
    left_out = np.setdiff1d(np.arange(200), there.feature)
    assert (values[:, left_out] > 0).sum(axis=0).max() < (values[:, there.feature] > 0).sum(axis=0).min()


def test_a_feature_that_is_the_same_in_every_text_is_left_out() -> None:
    values = np.ones((40, 2))
    values[:, 1] = np.arange(40)
    tested, _ = contrasted(sparse.csr_array(values[:20]), sparse.csr_array(values[20:]), two_sets(20, 20))
    assert tested.feature.tolist() == [1]


def test_the_result_is_that_of_the_seed_and_turns_round_with_the_sets() -> None:
    rng = np.random.default_rng(9)
    first, second = fired(rng, 30, np.full(50, 0.4)), fired(rng, 30, np.full(50, 0.3))
    one, again, other = (contrasted(first, second, two_sets(30, 30), seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(one.p_value, again.p_value)
    assert one.critical == again.critical != other.critical
    there, back = (contrasted(*of, two_sets(30, 30))[1] for of in ((first, second), (second, first)))
    assert back.auroc == pytest.approx(1 - there.auroc)
    assert back.hedges_g == pytest.approx(-there.hedges_g)


def test_a_huge_value_weighs_no_more_than_the_largest() -> None:
    rng = np.random.default_rng(10)
    first, second = fired(rng, 30, np.full(10, 0.5)).toarray(), fired(rng, 30, np.full(10, 0.5)).toarray()
    huge = first.copy()
    huge[np.arange(10) % 30, np.arange(10)] = first.max() * 2
    same, huger = (
        contrasted(sparse.csr_array(of), sparse.csr_array(second), two_sets(30, 30))[0]
        for of in (huge, np.where(huge == huge.max(), 1e30, huge))
    )
    assert huger.z == pytest.approx(same.z)


def test_hedges_g_and_shares_are_of_the_values() -> None:
    rng = np.random.default_rng(11)
    first, second = fired(rng, 12, np.full(3, 0.9)).toarray(), fired(rng, 15, np.full(3, 0.9)).toarray()
    _, effects = contrasted(sparse.csr_array(first), sparse.csr_array(second), two_sets(12, 15))
    spread = np.sqrt((11 * first.var(axis=0, ddof=1) + 14 * second.var(axis=0, ddof=1)) / 25)
    assert effects.hedges_g == pytest.approx(
        (first.mean(axis=0) - second.mean(axis=0)) / spread * (1 - 3 / 99), rel=1e-5
    )
    assert effects.share_1 == pytest.approx((first > 0).mean(axis=0))


def test_the_smallest_p_value_is_that_of_the_most_extreme_division() -> None:
    n_firing = np.array([0, 1, 3, 6, 10])
    of_all = comb(10, 4)
    # All that fire in the first, or in the second, whichever is rarer; of 6 all in the second, which is one division.
    expected = [1.0, comb(9, 3) / of_all, comb(7, 1) / of_all, 1 / of_all, 1 / of_all]
    assert two_sets(4, 6).least_p_values(n_firing) == pytest.approx(expected)
    assert two_sets(3, 3).least_p_values(np.array([3])) == pytest.approx([2 / 20])
    assert Pairs(np.arange(9)).least_p_values(np.array([0, 1, 5])) == pytest.approx([1, 1, 2 / 32])


def test_a_skewed_deviation_comes_back() -> None:
    skewness = np.array([0.0, 0.4, -1.2, 2.0])
    for z in (-1.0, 0.5, 3.5):
        assert unskewed(skewed(z, skewness), skewness)[:3] == pytest.approx([z] * 3)
    # A count of 4 where .25 are expected, of Poisson's distribution, is as rare as 3.65 standard deviations.
    assert unskewed(np.array([(4 - 0.25) / 0.5]), np.array([2.0]))[0] == pytest.approx(3.65, abs=0.25)


def test_a_deviation_over_divisions_is_as_far_out_as_students_t() -> None:
    # Of 20 texts t with 18 degrees of freedom is r of a correlation, and the deviation r times the root of 19.
    t = 4.0
    deviation = np.sqrt(19 * t**2 / (18 + t**2))
    assert student(deviation, np.array([18.0]), 20)[0] == pytest.approx(t, rel=0.01)
    far = stats.t.isf(stats.norm.sf(3.5), 8)
    assert student(3.5, np.array([8.0]), 10**6)[0] == pytest.approx(far, rel=0.03)
    assert np.isinf(student(4.5, np.array([8.0]), 20)[0])


def test_the_variance_of_an_auroc_is_delongs() -> None:
    rng = np.random.default_rng(12)
    truth = np.arange(400) < 200
    scores = rng.random(400) + 0.4 * truth
    first, second = sparse.csr_array(scores[:200, None]), sparse.csr_array(scores[200:, None])
    tested, effects = contrasted(first, second, two_sets(200, 200), 1000)
    delong = auroc_difference(truth, np.zeros(400), scores)
    assert delong is not None
    half = (delong.high - delong.low) / 2 * tested.critical / 1.96
    assert effects.auroc_high[0] - effects.auroc[0] == pytest.approx(half, rel=0.1)


def test_pairs_that_share_a_group_on_either_side_are_one_unit() -> None:
    assert joined(np.array([0, 1, 2, 0, 3]), np.array([0, 1, 1, 2, 3])).tolist() == [0, 1, 1, 0, 2]


def test_no_more_is_found_than_one_in_twenty_allows() -> None:
    rng = np.random.default_rng(13)
    tested, _ = contrasted(fired(rng, 30, np.full(50, 0.4)), fired(rng, 30, np.full(50, 0.3)), two_sets(30, 30), 400)
    assert np.array_equal(tested.is_found, np.abs(tested.z) > tested.critical)
    assert np.array_equal(tested.is_found, tested.p_value <= LEVEL)
