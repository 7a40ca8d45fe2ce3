import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from autointerp import Feature, FeatureGroup
from autointerp.errors import CompareError, SearchError
from autointerp.library.contrast.matrices import contrast_matrices

SOURCE = "m@0-res-8"


def read(n_texts: int, density: Sequence[float], seed: int, source: str = SOURCE) -> dict[str, sparse.csr_array]:
    rng = np.random.default_rng(seed)
    shape = (n_texts, len(density))
    return {source: sparse.csr_array((rng.random(shape) < np.array(density)) * rng.lognormal(0, 1, shape))}


FIRST, SECOND = read(60, [0.8, 0.3, 0.3, 0.1, 0.0, 0.3], 1), read(80, [0.3, 0.8, 0.3, 0.7, 0.0, 0.3], 2)


def labelled(names: Sequence[str]) -> list[Feature]:
    return [
        Feature(
            source_id=name.rpartition(":")[0],
            index=int(name.rpartition(":")[2]),
            label=f"about {name.rpartition(':')[2]}",
            explanation_id="e",
            explainer="keywords",
            scores={},
            intervals={},
            density=0.1,
            relevance=None,
            n_alike=None,
            run="runs/demo",
        )
        for name in names
    ]


def test_features_stronger_in_either_set_come_best_first() -> None:
    found = contrast_matrices(FIRST, SECOND, lookup=labelled)
    assert [of.feature.id for of in found.dataset_1] == [f"{SOURCE}:0"]
    assert [of.feature.label for of in found.dataset_2] == ["about 3", "about 1"]
    ends = [of.auroc_interval[1] for of in found.dataset_2]
    assert ends == sorted(ends)
    assert ends[-1] < 0.5
    assert (found.n_found_1, found.n_found_2, found.n_compared, found.n_left_out) == (1, 2, 5, 1)
    assert not found.found_nothing


def test_a_contrast_is_a_pair_of_groups() -> None:
    first, second = contrast_matrices(FIRST, SECOND, lookup=labelled)
    assert isinstance(first, FeatureGroup)
    assert [feature.index for feature in second] == [3, 1]


def test_each_feature_has_its_effect_its_interval_and_n() -> None:
    (of,) = contrast_matrices(FIRST, SECOND).dataset_1
    values = [matrix[SOURCE].toarray()[:, 0] for matrix in (FIRST, SECOND)]
    assert (of.n_1, of.n_2) == (60, 80)
    assert (of.share_1, of.share_2) == tuple((value > 0).mean() for value in values)
    assert (of.mean_1, of.mean_2) == pytest.approx([value.mean() for value in values])
    above = (values[0][:, None] > values[1]).mean() + (values[0][:, None] == values[1]).mean() / 2
    assert of.auroc == pytest.approx(above)
    assert of.auroc_interval[0] < of.auroc < of.auroc_interval[1]
    assert of.difference_interval[0] < of.difference < of.difference_interval[1]
    assert of.p_value == 0.001


def test_top_k_is_of_either_side_and_counts_of_all() -> None:
    found = contrast_matrices(FIRST, SECOND, 1)
    assert [of.feature.index for of in found.dataset_2] == [3]
    assert found.n_found_2 == 2
    every = contrast_matrices(FIRST, SECOND, None)
    assert [of.feature.index for of in every.leading_2] == [3, 1]
    many = contrast_matrices(FIRST, SECOND, 1000)
    assert len(many.leading_1) + len(many.leading_2) == 5
    assert len(many.dataset_2) == 2


@pytest.mark.parametrize("top_k", [0, -1, 2.5, True, "3"])
def test_a_top_k_that_is_no_number_of_features_is_refused(top_k: int) -> None:
    with pytest.raises(SearchError, match="top_k"):
        contrast_matrices(FIRST, SECOND, top_k)


def test_several_sources_are_corrected_together_and_keep_their_names() -> None:
    two = [{**of, **{"m@1-res-2": matrix[SOURCE][:, :2]}} for of, matrix in ((FIRST, FIRST), (SECOND, SECOND))]
    found = contrast_matrices(two[0], two[1])
    assert {of.feature.id for of in found.dataset_1} == {f"{SOURCE}:0", "m@1-res-2:0"}
    assert {of.feature.id for of in found.dataset_2} == {f"{SOURCE}:1", f"{SOURCE}:3", "m@1-res-2:1"}
    assert found.n_compared == 7


def test_the_same_texts_in_both_sets_differ_in_nothing() -> None:
    for paired in (False, True):
        found = contrast_matrices(FIRST, FIRST, paired=paired)
        assert found.found_nothing
        assert found.leading_1 == found.leading_2 == ()
        assert "nothing found" in repr(found)


def test_printed_it_tells_what_was_found_with_intervals_and_shares() -> None:
    lines = repr(contrast_matrices(FIRST, SECOND, lookup=labelled)).splitlines()
    assert lines[0] == "<Contrast of 60 texts and 80, mean of a text: 5 features compared, 1 left out as too rare>"
    assert lines[1] == "stronger in dataset 1: 1 found"
    assert " ".join(lines[2].split()) == "feature label AUROC p fires in 1 in 2 mean in 1 in 2"
    assert lines[3].split()[:3] == ["0", "about", "0"]
    assert lines[4] == "stronger in dataset 2: 2 found"


def test_printed_it_shows_what_differs_most_where_nothing_was_found_and_says_so() -> None:
    found = contrast_matrices(read(20, [0.5] * 6, 3), read(20, [0.5] * 6, 4))
    assert "nothing found" in repr(found)
    assert "not found, most different of those stronger in dataset 1:" in repr(found)
    assert tuple(found) == (FeatureGroup(), FeatureGroup())


def test_a_table_has_a_row_for_each_feature_that_is_shown() -> None:
    frame = contrast_matrices(FIRST, SECOND, lookup=labelled).to_pandas()
    assert frame[frame.is_found][["index", "stronger_in"]].values.tolist() == [[0, 1], [3, 2], [1, 2]]
    assert (frame.auroc_low <= frame.auroc).all()
    json.dumps(
        [of.as_plain() for of in contrast_matrices(read(1, [1, 1], 5), read(1, [0, 0], 6)).leading_1], allow_nan=False
    )


@pytest.mark.parametrize(
    ("n_texts", "paired", "said"), [(1, False, "1.00"), (3, False, ".10"), (3, True, ".25"), (5, True, ".06")]
)
def test_of_too_few_texts_nothing_is_found_and_it_is_said_why(n_texts: int, paired: bool, said: str) -> None:
    found = contrast_matrices(read(n_texts, [1.0] * 4, 7), read(n_texts, [0.0] * 4, 8), paired=paired)
    assert found.found_nothing
    assert len(found.leading_1) == 4
    assert found.leading_1[0].auroc_interval == (0.0, 1.0)
    assert f"smallest p-value that they allow is {said}" in found.notes[0]
    assert found.notes[0] in repr(found)


def test_of_too_few_groups_it_is_groups_that_are_asked_for() -> None:
    found = contrast_matrices(FIRST, SECOND, groups=([1] * 60, [2] * 80))
    assert found.notes[0].startswith("no difference between so few groups of texts can be told")
    assert found.notes[0].endswith("give 4 groups of texts of each or more")


def test_six_pairs_are_enough_for_one_feature() -> None:
    found = contrast_matrices(read(6, [1.0], 9), read(6, [0.0], 10), paired=True)
    assert [of.p_value for of in found.dataset_1] == [2 / 64]


def test_where_all_features_are_dead_none_is_compared() -> None:
    found = contrast_matrices(read(20, [0.0] * 4, 1), read(20, [0.0] * 4, 2))
    assert (found.n_compared, found.n_left_out, found.found_nothing) == (0, 4, True)
    assert found.notes == ("no feature fires in enough of the texts to be compared",)


def test_pairs_show_what_texts_apart_do_not() -> None:
    rng = np.random.default_rng(11)
    topic = np.exp(rng.normal(0, 3, (40, 5)))
    first, second = ({SOURCE: sparse.csr_array(topic * factor)} for factor in ([1.3, 1, 1, 1, 1], [1, 1, 1, 1, 1]))
    noise = [
        {SOURCE: sparse.csr_array(of[SOURCE].toarray() * rng.lognormal(0, 0.05, (40, 5)))} for of in (first, second)
    ]
    assert contrast_matrices(noise[0], noise[1]).found_nothing
    assert [of.feature.index for of in contrast_matrices(noise[0], noise[1], paired=True).dataset_1] == [0]


def test_groups_go_as_a_whole() -> None:
    copies = [{SOURCE: sparse.csr_array(np.repeat(of[SOURCE].toarray()[:5], 12, axis=0))} for of in (FIRST, SECOND)]
    groups = [f"{side}{place // 12}" for side in "ab" for place in range(60)]
    alone = contrast_matrices(copies[0], copies[1])
    grouped = contrast_matrices(copies[0], copies[1], groups=(groups[:60], groups[60:]))
    assert not alone.found_nothing
    assert grouped.found_nothing
    assert (grouped.n_1, grouped.n_units_1, grouped.n_units_2) == (60, 5, 5)
    assert "in 5 groups and 5" in repr(grouped)


def test_unequal_sets_are_no_pairs() -> None:
    with pytest.raises(CompareError, match=r"60 texts in dataset 1 and 80 in dataset 2.*leave `paired` out"):
        contrast_matrices(FIRST, SECOND, paired=True)


@pytest.mark.parametrize("empty", [1, 2])
def test_an_empty_set_is_refused(empty: int) -> None:
    sets = [read(0, [1.0] * 6, 1), FIRST] if empty == 1 else [FIRST, read(0, [1.0] * 6, 1)]
    with pytest.raises(CompareError, match=f"dataset {empty} has no texts"):
        contrast_matrices(sets[0], sets[1])


def test_groups_have_to_fit_the_texts() -> None:
    with pytest.raises(CompareError, match="dataset 2 has 80 texts and 3 names of groups"):
        contrast_matrices(FIRST, SECOND, groups=(list(range(60)), [1, 2, 3]))
    lists: Any = [["a"]] * 60
    with pytest.raises(CompareError, match=r"\['a'\] can't name a group"):
        contrast_matrices(FIRST, SECOND, groups=(lists, [1] * 80))
    with pytest.raises(CompareError, match="the group 0 has texts in both datasets"):
        contrast_matrices(FIRST, SECOND, groups=([0] * 60, [0] * 80))


def test_groups_are_of_two_sets() -> None:
    flat: Any = [0] * 140
    with pytest.raises(CompareError, match="groups are given for 140 datasets"):
        contrast_matrices(FIRST, SECOND, groups=flat)


def test_matrices_may_be_of_any_kind() -> None:
    found = contrast_matrices(FIRST, SECOND)
    dense: Any = [{SOURCE: of[SOURCE].toarray()} for of in (FIRST, SECOND)]
    by_column: Any = [{SOURCE: sparse.csc_matrix(of[SOURCE])} for of in (FIRST, SECOND)]
    assert contrast_matrices(dense[0], dense[1]) == found
    assert contrast_matrices(by_column[0], by_column[1]) == found


def test_a_value_that_is_not_finite_is_named() -> None:
    broken = FIRST[SOURCE].toarray()
    broken[3, 2] = np.inf
    with pytest.raises(CompareError, match=f"{SOURCE}:2 is inf in a text of dataset 2"):
        contrast_matrices(SECOND, {SOURCE: sparse.csr_array(broken)})


def test_sets_read_by_other_coders_are_not_compared() -> None:
    with pytest.raises(CompareError, match=r"dataset 1 was read by m@0-res-8, dataset 2 by m@1-res-8"):
        contrast_matrices(FIRST, read(9, [0.5] * 6, 1, "m@1-res-8"))
    with pytest.raises(CompareError, match="has 6 features in dataset 1 and 5 in dataset 2"):
        contrast_matrices(FIRST, read(9, [0.5] * 5, 1))


def test_so_few_divisions_that_nothing_could_be_found_are_refused() -> None:
    with pytest.raises(CompareError, match="try 20 or more"):
        contrast_matrices(FIRST, SECOND, n_divisions=19)


def test_the_same_is_found_for_the_same_seed() -> None:
    one, again = (contrast_matrices(FIRST, SECOND, seed=5) for _ in range(2))
    assert one == again
    assert replace(one, notes=("other",)) != again
