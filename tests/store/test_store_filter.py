"""Search, which filters columns, and export, which filters records, mean the same by a filter."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.records import FeatureFilter
from autointerp.store.label_table import LabelTable
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.store.making import SOURCE, make

OTHER = "tiny@2-res-64"
N_FEATURES = 6


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Two sources; a feature has no label, one or two, of two explainers, with scores of none, one or two scorers."""
    writer = Writer(tmp_path_factory.mktemp("filtered"))
    labels = []
    for place, source in enumerate((SOURCE, OTHER)):
        writer.add_source(replace(make.source(N_FEATURES), source_id=source))
        writer.add_features([replace(make.feature(i, i / 10), source_id=source) for i in range(N_FEATURES)])
        for index in range(1, N_FEATURES):
            for n, explainer in enumerate(("keywords", "examples")[: 1 + (index + place) % 2]):
                label = make.explanation(index, fingerprint=f"{source}/{n}")
                labels.append(replace(label, source_id=source, explainer=explainer))
    writer.add_explanations(labels)
    writer.add_scores([make.graded(e, value=0.25 * (i % 5)) for i, e in enumerate(labels) if i % 4])
    writer.add_scores([make.graded(e, "recall", 0.25 * (i % 3)) for i, e in enumerate(labels) if i % 3])
    writer.add_label_embeddings([e.explanation_id for e in labels], "mini", np.eye(len(labels), 4, dtype=np.float32))
    return Reader(writer.path)


@pytest.fixture(scope="module")
def table(reader: Reader) -> LabelTable:
    return reader.label_table("mini")


@st.composite
def filters(draw: st.DrawFn) -> FeatureFilter:
    share = st.sampled_from([0.0, 0.2, 0.3, 0.5, 1.0])
    low, high = sorted((draw(share), draw(share)))
    least: Mapping[str, float] = draw(st.dictionaries(st.sampled_from(["detection", "recall"]), share))
    return FeatureFilter(
        sources=draw(st.none() | st.lists(st.sampled_from([SOURCE, OTHER]))),
        features=draw(st.none() | st.lists(st.integers(0, N_FEATURES - 1))),
        min_score=least,
        min_density=low,
        max_density=high,
        explainer=draw(st.sampled_from([None, "keywords", "examples"])),
        labelled=draw(st.sampled_from([None, True])),
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(where=filters())
def test_the_same_labels_pass_in_columns_as_in_records(reader: Reader, table: LabelTable, where: FeatureFilter) -> None:
    found = [one.explanation.explanation_id for one in reader.labelled_features(where) if one.explanation]
    assert [table.explanation_ids[row] for row in np.flatnonzero(table.passing(where))] == found


def test_no_row_of_the_table_is_without_a_label(table: LabelTable) -> None:
    assert not table.passing(FeatureFilter(labelled=False)).any()
    assert table.passing(FeatureFilter()).all()


def test_features_without_a_label_are_listed_where_nothing_of_a_label_is_asked_for(reader: Reader) -> None:
    found = [one.feature for one in reader.labelled_features(FeatureFilter(labelled=False))]
    assert [(feature.source_id, feature.feature_index) for feature in found] == [(SOURCE, 0), (OTHER, 0)]
