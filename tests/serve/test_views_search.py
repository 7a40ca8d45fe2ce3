"""What the page of search says."""

import math
from pathlib import Path

import pytest

import autointerp
from autointerp.errors import FilterError
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from autointerp.serve.views.search import SearchAsked, search_view
from tests.serve.asking import SOURCE


@pytest.fixture(scope="module")
def serving(planted_runs: Path) -> Serving:
    """The run, nothing of it loaded."""
    return Serving(autointerp.open(planted_runs / "runs/demo"), Limits())


def test_what_is_found_has_its_label_scores_with_intervals_and_a_context(serving: Serving) -> None:
    view = search_view(serving, SearchAsked(q="river", n=3))
    first = view.found[0]
    assert (view.is_searched, view.is_about, view.is_filtered) == (True, True, False)
    assert (first.id, first.label, first.path) == (f"{SOURCE}:1", "river", "/planted/0-res-12/1")
    assert [chip.scorer for chip in first.chips] == ["detection", "embedding", "fuzzing", "recall"]
    assert all((chip.low or 0.0) <= chip.value <= (chip.high or 0.0) for chip in first.chips)
    assert first.snippet is not None
    fired = {token for token, value in zip(first.snippet.tokens, first.snippet.activations, strict=True) if value}
    assert fired == {" river"}
    assert first.snippet.activations[first.snippet.peak] == first.snippet.max_activation


def test_filters_come_before_the_limit(serving: Serving) -> None:
    every = search_view(serving, SearchAsked(q="river", n=200))
    least = sorted(chip.value for of in every.found for chip in of.chips if chip.scorer == "detection")[-3]
    some = search_view(serving, SearchAsked(q="river", n=200, min_score=(f"detection:{least}", "")))
    assert some.is_filtered
    assert some.least == {"detection": least}
    assert {of.id for of in some.found} == {
        of.id for of in every.found if any(c.scorer == "detection" and c.value >= least for c in of.chips)
    }
    rare = min(of.density for of in every.found if of.density is not None)
    few = search_view(serving, SearchAsked(q="river", n=1, density_to=rare))
    assert [of.density for of in few.found] == [rare]


def test_a_page_without_a_query_searches_for_nothing_and_offers_what_there_is(serving: Serving) -> None:
    view = search_view(serving, SearchAsked(q="  \n"))
    assert (view.is_searched, view.found) == (False, ())
    assert view.options.sources == (SOURCE,)
    assert view.options.explainers == ("outside",)


def test_where_no_label_is_about_the_query_the_nearest_are_told_apart(serving: Serving) -> None:
    view = search_view(serving, SearchAsked(q="parliamentary elections in Portugal"))
    assert view.is_about is False
    assert len(view.found) > 1


def test_where_filters_leave_nothing_there_is_nothing(serving: Serving) -> None:
    view = search_view(serving, SearchAsked(q="river", density_from=1.0))
    assert (view.is_about, view.found) == (False, ())


@pytest.mark.parametrize(
    "asked",
    [
        SearchAsked(q="river", density_from=-0.5),
        SearchAsked(q="river", density_from=0.5, density_to=0.1),
        SearchAsked(q="river", min_score=("detection",)),
        SearchAsked(q="river", min_score=("detection:two",)),
        SearchAsked(q="river", min_score=(":0.5",)),
        SearchAsked(q="river", min_score=("nobody:0.5",)),
        SearchAsked(q="river", source="nowhere"),
        SearchAsked(q="river", explainer="nobody"),
    ],
)
def test_filters_that_make_no_sense_are_told_in_one_line(serving: Serving, asked: SearchAsked) -> None:
    with pytest.raises(FilterError) as error:
        search_view(serving, asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("query", ["<script>alert(1)</script>", "\ud83d", "a\0b", "مرحبا", "river " * 2_000, "🎹"])
def test_any_query_is_answered(serving: Serving, query: str) -> None:
    view = search_view(serving, SearchAsked(q=query, n=2))
    assert view.is_searched
    assert not math.isnan(sum(of.relevance or 0.0 for of in view.found))
    assert view.model_dump_json()
