"""The table of a source's features: sorted, filtered and paged where it is stored, with counts by state and a plot."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import FilterError, StoreError
from autointerp.records import FeatureFilter, FeatureStatus
from autointerp.records.feature_table import FeatureState, FeatureTable, TableQuery
from autointerp.store.feature_table import plot_cells
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import SOURCE, make, spoil_score

LABELS = {0: "Heat and fire", 1: "رسالة <script>alert(1)</script>", 2: "heat", 3: "zebra", 8: "no score yet"}
DETECTION = {0: 0.9, 1: 0.25, 2: 0.5, 3: 0.0}
RECALL = {1: 0.75, 2: 0.5}
STATES: dict[int, FeatureState] = {
    0: "scored",
    1: "scored",
    2: "scored",
    3: "scored",
    4: "failed",
    5: "few_contexts",
    6: "dead",
    7: "dense",
    8: "labelled",
    9: "unlabelled",
    10: "few_contexts",
    11: "unlabelled",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Twelve features, one in each state at least; of another source there is one with the same index as a first."""
    writer = Writer(tmp_path_factory.mktemp("table"))
    writer.add_source(make.source(12))
    writer.add_source(replace(make.source(12), source_id="other@1"))
    of_status: dict[int, FeatureStatus] = {6: "dead", 7: "dense", 10: "few_contexts"}
    features = [replace(make.feature(i, 0.01 * (i + 1)), status=of_status.get(i, "ok")) for i in range(12)]
    features[11] = replace(features[11], density=math.nan, max_activation=math.inf)
    writer.add_features([*features, replace(make.feature(0), source_id="other@1")])
    labels = {index: make.explanation(index, text) for index, text in LABELS.items()}
    writer.add_explanations(
        [
            *labels.values(),
            make.explanation(9, "heat", "b1", label_from=0),
            replace(make.explanation(0, "elsewhere"), source_id="other@1", explanation_id="another"),
        ]
    )
    writer.add_scores([make.graded(labels[index], value=value) for index, value in DETECTION.items()])
    writer.add_scores([make.graded(labels[index], "recall", value) for index, value in RECALL.items()])
    spoil_score(writer.path, 3)
    writer.add_failures(
        [
            make.failure(4),
            replace(make.failure(5, "contexts"), error_type="TooFewContexts"),
            make.failure(8, "score:detection", explanation_id=labels[8].explanation_id),
            make.failure(9, "baseline"),
            make.failure(6, "contexts"),
        ]
    )
    return Reader(writer.path)


def indices(table: FeatureTable) -> list[int]:
    return [row.feature_index for row in table.rows]


def test_every_feature_of_the_source_is_in_one_state(reader: Reader) -> None:
    table = reader.feature_table(TableQuery(), SOURCE)
    assert {row.feature_index: row.state for row in table.rows} == STATES
    counts = reader.state_counts(SOURCE)
    assert dict(counts.states) == {state: list(STATES.values()).count(state) for state in counts.states}
    assert sum(counts.states.values()) == table.n_passing == table.n_features == 12
    assert [(of.stage, of.error_type, of.n) for of in counts.reasons] == [
        ("contexts", "Refusal", 1),
        ("contexts", "TooFewContexts", 1),
        ("explain", "Refusal", 1),
        ("score:detection", "Refusal", 1),
    ]


def test_a_row_has_the_label_with_all_its_scores(reader: Reader) -> None:
    row = reader.feature_table(TableQuery(), SOURCE).rows[1]
    assert (row.label, row.explainer, row.density, row.max_activation) == (LABELS[1], "keywords", 0.02, 4.25)
    assert {name: (of.value, of.ci_low, of.ci_high) for name, of in row.scores.items()} == {
        "detection": (0.25, 0.15, 0.35),
        "recall": (0.75, 0.65, 0.85),
    }
    assert reader.feature_table(TableQuery(), "other@1").rows[0].label == "elsewhere"


def test_a_row_says_why_something_is_missing(reader: Reader) -> None:
    rows = reader.feature_table(TableQuery(), SOURCE).rows
    assert rows[4].reasons == ("explain: Refusal: the model would not answer",)
    assert rows[8].reasons == ("score:detection: Refusal: the model would not answer",)
    assert rows[9].reasons == ()  # the failure of a shuffled label is none of the feature's


def test_what_is_not_finite_is_no_value(reader: Reader) -> None:
    rows = reader.feature_table(TableQuery(), SOURCE).rows
    assert (rows[11].density, rows[11].max_activation, rows[3].scores) == (None, None, {})


@pytest.mark.parametrize(
    ("sort", "ascending", "descending"),
    [
        ("feature", [0, 1, 2, 3], [11, 10, 9, 8]),
        ("label", [2, 0, 8, 3, 1, 4, 5], [1, 3, 8, 0, 2, 4, 5]),
        ("density", [0, 1, 2, 3], [10, 9, 8, 7]),
        ("max_activation", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("state", [0, 1, 2, 3, 8, 4, 5, 10, 7, 6, 9, 11], [9, 11, 6, 7, 5, 10, 4, 8, 0]),
        ("score:detection", [1, 2, 0, 3, 4], [0, 2, 1, 3, 4]),
        ("score:recall", [2, 1, 0, 3], [1, 2, 0, 3]),
    ],
)
def test_what_lacks_a_value_comes_last_in_either_direction(
    reader: Reader, sort: str, ascending: list[int], descending: list[int]
) -> None:
    assert indices(reader.feature_table(TableQuery(sort=sort), SOURCE))[: len(ascending)] == ascending
    turned = reader.feature_table(TableQuery(sort=sort, descending=True), SOURCE)
    assert indices(turned)[: len(descending)] == descending


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (TableQuery(words="HEAT"), [0, 2]),
        (TableQuery(words="heat fir"), [0]),
        (TableQuery(words="<script>"), [1]),
        (TableQuery(words="رسالة"), [1]),
        (TableQuery(words="100%"), []),
        (TableQuery(words="_"), []),
        (TableQuery(state="few_contexts"), [5, 10]),
        (TableQuery(reason="Refusal"), [4, 6, 8]),
        (TableQuery(FeatureFilter(min_score={"detection": 0.5})), [0, 2]),
        (TableQuery(FeatureFilter(min_score={"detection": 0.3, "recall": 0.5})), [2]),
        (TableQuery(max_score={"detection": 0.5}), [1, 2]),
        (TableQuery(FeatureFilter(min_density=0.1)), [9, 10]),
        (TableQuery(FeatureFilter(max_density=0.02)), [0, 1]),
        (TableQuery(FeatureFilter(features=[3, 11])), [3, 11]),
        (TableQuery(FeatureFilter(features=[])), []),
        (TableQuery(FeatureFilter(labelled=False)), [4, 5, 6, 7, 9, 10, 11]),
        (TableQuery(FeatureFilter(explainer="keywords"), state="labelled"), [8]),
    ],
)
def test_only_what_passes_is_shown_and_counted(reader: Reader, asked: TableQuery, found: list[int]) -> None:
    table = reader.feature_table(asked, SOURCE)
    assert (indices(table), table.n_passing) == (found, len(found))


def test_pages_follow_each_other_and_count_the_same(reader: Reader) -> None:
    pages = [reader.feature_table(TableQuery(sort="label", first=first, n=5), SOURCE) for first in (0, 5, 10, 15)]
    assert [len(page.rows) for page in pages] == [5, 5, 2, 0]
    assert {page.n_passing for page in pages} == {12}
    assert sorted(index for page in pages for index in indices(page)) == list(range(12))


def test_of_several_labels_the_one_with_the_highest_scores_is_shown(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    labels = [make.explanation(0, text, fingerprint=text) for text in ("worse", "best", "without a score")]
    writer.add_explanations([*labels, replace(make.explanation(1, "other"), explainer="examples")])
    writer.add_scores([make.graded(labels[0], value=0.5), make.graded(labels[1], value=0.75)])
    reader = Reader(writer.path)
    rows = reader.feature_table(TableQuery()).rows
    assert [(row.label, row.state) for row in rows] == [("best", "scored"), ("other", "labelled")]
    assert rows[0].scores["detection"].value == 0.75
    assert indices(reader.feature_table(TableQuery(FeatureFilter(explainer="keywords")))) == [0]
    assert indices(reader.feature_table(TableQuery(max_score={"detection": 0.6}))) == []


@pytest.mark.parametrize(
    "asked",
    [
        TableQuery(sort="score:nobody"),
        TableQuery(max_score={"nobody": 0.5}),
        TableQuery(FeatureFilter(min_score={"nobody": 0.5})),
        TableQuery(FeatureFilter(explainer="nobody")),
        TableQuery(FeatureFilter(features=[12])),
    ],
)
def test_a_name_that_the_run_does_not_know_is_told(reader: Reader, asked: TableQuery) -> None:
    with pytest.raises(FilterError):
        reader.feature_table(asked, SOURCE)


@pytest.mark.parametrize(
    "asked",
    [
        {"sort": "nothing"},
        {"sort": "density; DROP TABLE features"},
        {"first": -1},
        {"first": 1.5},
        {"first": 2**63},
        {"n": 0},
        {"n": 10**9},
        {"words": "a" * 10**7},
        {"words": "a " * 50},
        {"state": "happy"},
        {"max_score": {"detection": math.nan}},
        {"max_score": {"detection": 0.1}, "where": FeatureFilter(min_score={"detection": 0.2})},
    ],
)
def test_a_query_that_makes_no_sense_is_told_in_one_short_line(asked: dict[str, Any]) -> None:
    with pytest.raises(FilterError) as told:
        TableQuery(**asked)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


def test_a_source_has_to_be_named_where_there_are_several(reader: Reader) -> None:
    with pytest.raises(StoreError):
        reader.feature_table(TableQuery())
    with pytest.raises(StoreError):
        reader.state_counts("nowhere@1")


def test_each_feature_is_a_point_of_the_plot(reader: Reader) -> None:
    plot = reader.density_scores("detection", SOURCE)
    assert [(of.feature_index, of.low_density, of.high_score, of.n) for of in plot.cells] == [
        (0, 0.01, 0.9, 1),
        (1, 0.02, 0.25, 1),
        (2, 0.03, 0.5, 1),
    ]
    assert (plot.n, plot.is_binned) == (3, False)
    with pytest.raises(FilterError):
        reader.density_scores("nobody", SOURCE)


def test_of_many_features_a_cell_has_as_many_as_the_table_that_it_opens(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(64))
    writer.add_features([make.feature(i, density=1.1 ** -(i % 16)) for i in range(64)])
    labels = [make.explanation(i) for i in range(64)]
    writer.add_explanations(labels)
    writer.add_scores([make.graded(label, value=(i % 11) / 10) for i, label in enumerate(labels)])
    reader = Reader(writer.path)
    with reader.session(), reader._open() as connection:
        plot = plot_cells(connection, SOURCE, "detection", most_points=10)
    assert plot.is_binned
    assert plot.n == sum(of.n for of in plot.cells) == 64
    assert 10 < len(plot.cells) < 64
    for cell in plot.cells:
        asked = TableQuery(
            FeatureFilter(
                min_score={"detection": cell.low_score}, min_density=cell.low_density, max_density=cell.high_density
            ),
            max_score={"detection": cell.high_score},
        )
        assert reader.feature_table(asked).n_passing == cell.n
