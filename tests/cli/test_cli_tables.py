"""Tables have the columns of what is stored, whatever scorers there are."""

from autointerp.cli.tables import hit_rows, label_rows
from autointerp.records import SearchHit
from autointerp.store.results import ScoredLabel
from tests.store.making import SOURCE, make


def test_a_scorer_of_any_name_has_a_column_and_one_that_graded_nothing_has_none() -> None:
    hits = [
        SearchHit(SOURCE, 1, "heat", "x", 0.5, 0.25, {"simulation": 0.75}),
        SearchHit(SOURCE, 2, "cold", "y", 0.25, 0.5, {"fuzzing": 0.5}),
    ]
    assert [line.split() for line in hit_rows(hits, with_source=False)] == [
        ["feature", "label", "relevance", "density", "fuzzing", "simulation"],
        ["1", "heat", ".50", "25.00", "%", "-", ".75"],
        ["2", "cold", ".25", "50.00", "%", ".50", "-"],
    ]


def test_labels_stand_beside_the_shuffled_ones_of_the_same_scorer() -> None:
    own, shuffled = make.explanation(1, "heat"), make.explanation(1, "cold", "b1", label_from=2)
    scored = ScoredLabel(own, (make.graded(own, "simulation", 0.75).score,))
    baseline = ScoredLabel(shuffled, (make.graded(shuffled, "simulation", 0.25).score,))
    lines = label_rows([scored], {(SOURCE, 1): baseline}, with_source=False)
    assert [line.split() for line in lines] == [
        ["feature", "label", "simulation"],
        ["1", "heat", ".75", "[.65", ".85]", ".25"],
    ]
