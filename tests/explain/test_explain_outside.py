"""The explainer `outside`: labels from a file, and what is told of a file that is wrong."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import ExplainConfig
from autointerp.errors import PipelineError
from autointerp.explain.explainers.outside import OutsideExplainer
from autointerp.explain.label_files.read import OutsideLabels, read_labels
from autointerp.records import Explanation, Failure, FeatureEvidence
from tests.explain.explaining import tools

SOURCE = "planted@0-res"
ROWS: list[dict[str, Any]] = [
    {"feature": 4, "label": "names of months", "author": "Ada"},
    {"feature": f"{SOURCE}:12", "label": "the word 'river', or a  river's\nname", "author": "Ada"},
]


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """A file of labels in the format of its ending."""
    path = folder / name
    table = pd.DataFrame(rows)
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        if "feature" in table:
            table["feature"] = table["feature"].astype("str")
        table.to_parquet(path)
    return path


def explain(path: Path, feature_index: int, *, author: str | None = None) -> Explanation | Failure:
    config = ExplainConfig(explainer="outside", labels=str(path), author=author)
    evidence = FeatureEvidence(SOURCE, feature_index, 0.01, 3.0, (), (), ())
    return asyncio.run(OutsideExplainer(tools(config)).explain(evidence))


def seen(labels: OutsideLabels) -> list[tuple[str | None, int, str, str | None]]:
    return [(label.source_id, label.feature_index, label.label, label.author) for label in labels.labels]


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet", "LABELS.CSV"])
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    if name == "LABELS.CSV":
        write(tmp_path, "labels.csv", ROWS).rename(tmp_path / name)
        path = tmp_path / name
    else:
        path = write(tmp_path, name, ROWS)
    assert seen(read_labels(path, None)) == [
        (None, 4, "names of months", "Ada"),
        (SOURCE, 12, "the word 'river', or a river's name", "Ada"),
    ]


def test_a_label_is_recorded_as_its_author_s(tmp_path: Path) -> None:
    path = write(tmp_path, "labels.csv", ROWS)
    explanation = explain(path, 4)
    assert isinstance(explanation, Explanation)
    assert (explanation.label, explanation.explainer, explanation.model) == ("names of months", "outside", "Ada")
    assert (explanation.prompt_sha256, explanation.cost_usd) == (None, 0.0)
    assert explanation.detail == {"file": "labels.csv", "place": "line 2"}
    named = explain(path, 12)
    assert isinstance(named, Explanation)
    assert named.label == "the word 'river', or a river's name"


def test_a_label_of_nobody_is_one_of_an_unknown_author(tmp_path: Path) -> None:
    path = write(tmp_path, "labels.jsonl", [{"feature": 4, "label": "months", "score": 0.5}])
    explanation = explain(path, 4)
    assert isinstance(explanation, Explanation)
    assert explanation.model == "unknown author"


def test_a_feature_that_is_not_in_the_file_has_no_label(tmp_path: Path) -> None:
    failure = explain(write(tmp_path, "labels.csv", ROWS), 5)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.error_type, failure.retry) == ("explain", "NoLabel", False)
    assert "labels.csv has no label for it" in failure.message


def test_an_author_is_chosen_among_several(tmp_path: Path) -> None:
    rows = [*ROWS, {"feature": 4, "label": "dates", "author": "Bo"}, {"feature": 9, "label": "", "author": None}]
    path = write(tmp_path, "labels.csv", rows)
    explanation = explain(path, 4, author="Bo")
    assert isinstance(explanation, Explanation)
    assert (explanation.label, explanation.model) == ("dates", "Bo")
    with pytest.raises(PipelineError, match="line 6: the label is empty"):
        read_labels(path, None)


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet"])
def test_a_refusal_in_words_is_a_label_all_the_same(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, [{"feature": 4, "label": "I cannot help with that"}])
    assert [label.label for label in read_labels(path, None).labels] == ["I cannot help with that"]


def test_a_parquet_column_of_numbers_and_missing_authors_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"feature": [4.0, 7.0], "label": ["a", "b"], "author": [None, None]}).to_parquet(path)
    assert seen(read_labels(path, None)) == [(None, 4, "a", None), (None, 7, "b", None)]


def test_half_a_surrogate_pair_in_a_label_becomes_a_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(r'{"feature": 1, "label": "emoji \ud83d", "author": "A \ude00"}')
    explanation = explain(path, 1)
    assert isinstance(explanation, Explanation)
    assert (explanation.label, explanation.model) == ("emoji \ufffd", "A \ufffd")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    for name, text in (("a.csv", "feature,label\n4,a\n"), ("a.jsonl", '{"feature": 4, "label": "a"}\n\n')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert seen(read_labels(tmp_path / name, None)) == [(None, 4, "a", None)]


def fingerprint_of(path: Path, author: str | None = None) -> str:
    config = ExplainConfig(explainer="outside", labels=str(path), author=author)
    return OutsideExplainer.settings_fingerprint(config)


def test_the_fingerprint_is_of_what_the_used_rows_say(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    whole = fingerprint_of(write(tmp_path, "labels.csv", ROWS))
    assert fingerprint_of(write(tmp_path / "elsewhere", "other.parquet", ROWS[::-1])) == whole
    others = [*ROWS, {"feature": 3, "label": "dates", "author": "Bo"}]
    assert fingerprint_of(write(tmp_path, "more.jsonl", others), "Ada") == whole
    assert fingerprint_of(tmp_path / "more.jsonl", "Bo") != whole
    for changed in ({"label": "a month"}, {"feature": 5}, {"author": "Ida"}):
        rows = [{**ROWS[0], **changed}, {**ROWS[1], "author": changed.get("author", "Ada")}]
        assert fingerprint_of(write(tmp_path, "changed.csv", rows)) != whole


def test_a_file_that_is_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "labels.csv", ROWS)
    before = fingerprint_of(path)
    write(tmp_path, "labels.csv", [{**ROWS[0], "label": "names of the months"}])
    assert fingerprint_of(path) != before


CSV_PROBLEMS = {
    "feature,text\n4,a\n": r"there is no column 'label': name a column so; there are: feature, text",
    "": "there is no column 'feature'",
    "feature,label\n": "holds no labels",
    "feature,label\n4,a\nx7,b\n": "line 3: the feature is 'x7': give an index such as 650",
    "feature,label\n-4,a\n": "line 2: the feature is '-4'",
    "feature,label\n4.5,a\n": "line 2: the feature is '4.5'",
    "feature,label\n,a\n": "line 2: the feature is nothing",
    "feature,label\n4,a\n5,b\n4,c\n": "line 2 and line 4: two labels for feature 4: leave one of them",
    "feature,label\nm@s:4,a\nm@s:4,b\n": "line 2 and line 3: two labels for m@s:4",
    "feature,label\n4,a\n5,  \n": "line 3: the label is empty",
    "feature,label\n4\n": "line 2: the label is empty",
    f'feature,label\n4,"{"word " * 2001}"\n': "line 2: the label has 10,004 characters; at most 10,000",
    "feature,label\n4,\u200b\n": "line 2: the label is empty",
    "feature,label,label\n4,a,b\n": "two columns are named 'label': leave one of them",
    "feature,source_id,label\nm@s:4,m@t,a\n": "line 2: the feature is m@s:4, the source m@t: leave one of them",
    "feature,label\n4,rivers, lakes\n": "line 2: more cells than the header has: put text with commas into double",
    'feature,label\n4,"rivers" and lakes\n': "line 2: no valid CSV",
    "feature,label,author\n4,a,Ada\n5,b,Bo\n": r"labels of 2 authors \(Ada, Bo\): choose one with explain.author",
    "feature,label,author\n4,a,Ada\n4,b,\n": r"labels of 2 authors \(Ada, unknown author\)",
}


@pytest.mark.parametrize("text", CSV_PROBLEMS)
def test_what_is_wrong_with_a_csv_file_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(PipelineError, match=CSV_PROBLEMS[text]) as raised:
        read_labels(tmp_path / "labels.csv", None)
    assert str(raised.value).startswith(str(tmp_path / "labels.csv"))
    assert "\n" not in str(raised.value)


JSON_PROBLEMS = {
    '{"feature": 4, "label": "a"}\n{"feature": 5, "label": ': "line 2: no valid JSON",
    '{"feature": 4, "label": "a"}\n[5, "b"]\n': "line 2: not a JSON object",
    '{"feature": 4, "label": "a"}\n\n{"feature": 5}\n': "line 3: there is no column 'label'",
    '{"feature": true, "label": "a"}\n': "line 1: the feature is True",
    '{"feature": 4, "label": 7}\n': "line 1: the label is 7, which is no text",
    '{"feature": 4, "label": null}\n': "line 1: the label is empty",
    '{"feature": 4, "label": "a", "author": 7}\n': "line 1: the author is 7, which is no text",
    '{"feature": null, "label": "a"}\n': "line 1: the feature is nothing",
    "\n": "holds no labels",
}


@pytest.mark.parametrize("text", JSON_PROBLEMS)
def test_what_is_wrong_with_a_file_of_json_lines_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.jsonl").write_text(text)
    with pytest.raises(PipelineError, match=JSON_PROBLEMS[text]) as raised:
        read_labels(tmp_path / "labels.jsonl", None)
    assert "\n" not in str(raised.value)


def test_what_is_wrong_with_a_parquet_file_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    path.write_bytes(b"PAR1 and no more of it PAR1")
    with pytest.raises(PipelineError, match="is no valid Parquet file") as raised:
        read_labels(path, None)
    assert "\n" not in str(raised.value)
    write(tmp_path, "labels.parquet", [{"feature": "4", "name": "a"}])
    with pytest.raises(PipelineError, match="there is no column 'label'"):
        read_labels(path, None)
    write(tmp_path, "labels.parquet", [{"feature": "4", "label": "a"}, {"feature": "4", "label": "b"}])
    with pytest.raises(PipelineError, match="row 1 and row 2: two labels for feature 4"):
        read_labels(path, None)


def test_what_is_no_readable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"gone\.csv can't be read \(No such file or directory\)"):
        read_labels(tmp_path / "gone.csv", None)
    with pytest.raises(PipelineError, match="is not a file"):
        read_labels(tmp_path, None)
    (tmp_path / "labels.xlsx").write_bytes(b"")
    with pytest.raises(PipelineError, match=r"ends with \.xlsx: labels are read from \.csv, \.tsv, \.json, "):
        read_labels(tmp_path / "labels.xlsx", None)
    for name in ("latin.csv", "latin.jsonl"):
        (tmp_path / name).write_bytes(b"feature,label\n4,caf\xe9\n" if name == "latin.csv" else b'{"label": "\xe9"}\n')
        with pytest.raises(PipelineError, match="not UTF-8"):
            read_labels(tmp_path / name, None)


def test_an_author_who_wrote_nothing_is_told_with_those_who_did(tmp_path: Path) -> None:
    path = write(tmp_path, "labels.csv", ROWS)
    with pytest.raises(PipelineError, match=r"no labels of 'Bo': set explain\.author to one of: Ada"):
        read_labels(path, "Bo")
    nobodys = write(tmp_path, "nobodys.jsonl", [{"feature": 4, "label": "a"}])
    with pytest.raises(PipelineError, match=r"no labels of 'Bo': set explain\.author to one of: unknown author"):
        read_labels(nobodys, "Bo")


def by_source(folder: Path, rows: list[dict[str, Any]], **n_features: int) -> dict[str, dict[int, str]]:
    found = read_labels(write(folder, "labels.csv", rows), None).by_source(n_features)
    return {source: {index: label.label for index, label in of.items()} for source, of in found.items()}


def test_labels_go_to_the_run_s_sources(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"feature": 4, "label": "a"}, {"feature": "one:7", "label": "b"}]
    assert by_source(tmp_path, rows, one=8) == {"one": {4: "a", 7: "b"}}
    rows = [{"feature": "two:4", "label": "a"}, {"feature": "one:4", "label": "b"}]
    assert by_source(tmp_path, rows, one=8, two=5, three=1) == {"one": {4: "b"}, "two": {4: "a"}, "three": {}}


@pytest.mark.parametrize(
    ("feature", "sources", "said"),
    [
        ("other:4", {"one": 8}, "line 3: the label is of another source, other: leave in the file only labels of one"),
        ("8", {"one": 8}, "line 3: one has no feature 8: its features are 0 to 7"),
        ("4", {"one": 8, "two": 8}, "line 3: feature 4 could be of any of 2 sources: name it as one:4"),
        ("0", {"one": 8}, "line 2 and line 3: two labels for feature 0"),
    ],
)
def test_a_label_that_fits_no_source_of_the_run_is_told(
    tmp_path: Path, feature: str, sources: dict[str, int], said: str
) -> None:
    rows = [{"feature": "one:0", "label": "a"}, {"feature": feature, "label": "b"}]
    with pytest.raises(PipelineError, match=said):
        by_source(tmp_path, rows, **sources)


@given(
    st.dictionaries(
        st.integers(0, 10**7),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: f"x{text}"),
        min_size=1,
        max_size=8,
    )
)
def test_any_text_comes_through_every_format_on_one_line(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[int, str]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    rows = [{"feature": index, "label": label} for index, label in labels.items()]
    expected = [(None, index, " ".join(label.split()), None) for index, label in labels.items()]
    for name in ("labels.csv", "labels.jsonl", "labels.parquet"):
        assert seen(read_labels(write(folder, name, rows), None)) == expected, name
