"""A filter says what it can't mean when it is made, and passes exactly what has all it asks for."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autointerp.errors import FilterError
from autointerp.records import EVERY_FEATURE, FeatureFilter, KnownNames
from tests.store.making import SOURCE, make

LABEL = make.explanation(3)


def wrong(**settings: Any) -> FeatureFilter:
    """A filter of what no type checker would let through."""
    return FeatureFilter(**settings)


KNOWN = KnownNames({SOURCE: 64}, (), ("keywords",))
SCORES = (make.graded(LABEL, value=0.75).score, make.graded(LABEL, "recall", 0.25).score)


@pytest.mark.parametrize(
    ("make_it", "told"),
    [
        (lambda: FeatureFilter(max_density=5), "max_density = 5 is no share of tokens: give a number from 0 to 1"),
        (
            lambda: FeatureFilter(min_density=-0.1),
            "min_density = -0.1 is no share of tokens: give a number from 0 to 1",
        ),
        (lambda: FeatureFilter(min_density=float("nan")), "min_density = nan is no share of tokens: give a number fr"),
        (lambda: FeatureFilter(min_density=0.5, max_density=0.1), "min_density is above max_density: exchange them"),
        (lambda: FeatureFilter(min_score={"recall": 70}), "no score of 'recall' can be 70: give a number from 0 to 1"),
        (lambda: FeatureFilter(sources=SOURCE), f"sources = '{SOURCE}' is one text, not several: put it into a list"),
        (lambda: FeatureFilter(labelled=False, explainer="keywords"), "features without a label have no score and no"),
        (
            lambda: FeatureFilter(min_score={"f1": 0.5}).check(KNOWN),
            "no label has a score of 'f1': scorers are none yet",
        ),
        (lambda: wrong(min_score={"f1": "high"}), "no score of 'f1' can be 'high': give a number from 0 to 1"),
        (lambda: wrong(min_score=["f1"]), "min_score = ['f1'] names no scorer: write it as {'detection': 0.8}"),
        (lambda: wrong(min_density="a"), "min_density = 'a' is no share of tokens: give a number from 0 to 1"),
        (lambda: wrong(features=[1.5]), "1.5 is no index of a feature"),
        (lambda: FeatureFilter(features=[64]).check(KNOWN), "there is no feature 64: features are 0 to 63"),
        (lambda: FeatureFilter(sources=["x@y"]).check(KNOWN), f"there is no source 'x@y': sources are {SOURCE}"),
        (
            lambda: FeatureFilter(explainer="x").check(KNOWN),
            "no label is of the explainer 'x': explainers are keywords",
        ),
    ],
)
def test_what_no_filter_can_mean_is_told_in_one_line(make_it: Callable[[], object], told: str) -> None:
    with pytest.raises(FilterError) as caught:
        make_it()
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        (EVERY_FEATURE, True),
        (FeatureFilter(sources=[SOURCE], features=[1, 3]), True),
        (FeatureFilter(sources=["another@source"]), False),
        (FeatureFilter(features=[]), False),
        (FeatureFilter(min_density=0.01, max_density=0.01), True),
        (FeatureFilter(min_density=0.011), False),
        (FeatureFilter(max_density=0.009), False),
        (FeatureFilter(min_score={"detection": 0.75, "recall": 0.25}), True),
        (FeatureFilter(min_score={"detection": 0.75, "recall": 0.3}), False),
        (FeatureFilter(min_score={"fuzzing": 0.0}), False),
        (FeatureFilter(explainer="keywords", labelled=True), True),
        (FeatureFilter(explainer="examples"), False),
        (FeatureFilter(labelled=False), False),
    ],
)
def test_a_label_passes_if_it_and_its_feature_have_all_that_is_asked_for(where: FeatureFilter, passes: bool) -> None:
    assert where.admits(make.feature(3, 0.01), LABEL, SCORES) == passes


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        (EVERY_FEATURE, True),
        (FeatureFilter(labelled=False, max_density=0.5), True),
        (FeatureFilter(labelled=True), False),
        (FeatureFilter(min_score={"detection": 0.0}), False),
        (FeatureFilter(explainer="keywords"), False),
    ],
)
def test_a_feature_without_a_label_passes_unless_something_of_a_label_is_asked_for(
    where: FeatureFilter, passes: bool
) -> None:
    assert where.admits(make.feature(3, 0.01), None, ()) == passes


def test_filters_that_ask_for_the_same_are_equal_and_stay_as_they_are_made() -> None:
    indices = [3, 1, 3]
    where = FeatureFilter(features=indices)
    indices.append(5)
    assert where == FeatureFilter(features=(1, 3))
    assert replace(where, features=None) == EVERY_FEATURE


def test_a_filter_is_made_without_loading_a_model_or_a_store() -> None:
    heavy = ("torch", "transformers", "duckdb", "pydantic", "sklearn", "pandas", "pyarrow")
    code = f"import sys\nfor name in {heavy!r}: sys.modules[name] = None\nfrom autointerp import FeatureFilter\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
