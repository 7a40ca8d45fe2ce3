"""Files of labels as other tools and people write them, and all that is wrong with one told at once."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autointerp.errors import PipelineError
from autointerp.explain.label_files.read import read_labels

Seen = list[tuple[str | None, int, str, str | None]]
SOURCE = "gpt2-small@6-res-jb"
EXPLANATION = {"modelId": "gpt2-small", "layer": "6-res-jb", "index": "650", "authorId": "x", "typeName": "np_max-act"}
OF_MONTHS = {"description": "names of months", "explanationModelName": "gpt-4o-mini"}
MONTHS: Seen = [(SOURCE, 650, "names of months", "gpt-4o-mini")]


def seen(path: Path, author: str | None = None) -> Seen:
    labels = read_labels(path, author).labels
    return [(label.source_id, label.feature_index, label.label, label.author) for label in labels]


def file(folder: Path, name: str, content: Any) -> Path:
    """A file of a text, or of JSON."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "index,description\n4,months\n7,rivers\n",
        "feature_index,label\r\n4,months\r\n7,rivers\r\n",
        " Feature , LABEL \n 4 , months \n7.0,  rivers\n",
        "\ufefffeature,label\n4,months\n\n7,rivers",
        "feature\tlabel\n4\tmonths\n7\trivers\n",
        "feature;label\n4;months\n7;rivers\n",
        'row,feature,label,note\n0,4,"months",a\n1,7,"riv\u200bers"\n'.replace("\u200b", ""),
        'feature,label\n4,"mon\r\nths"\n7,rivers\n'.replace("mon\r\nths", "\r\nmonths\r\n"),
        "feature,label\n4,months\n7,rivers\n4,months\n",
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
def test_tables_are_read_however_they_are_written(tmp_path: Path, text: str, name: str) -> None:
    assert seen(file(tmp_path, name, text)) == [(None, 4, "months", None), (None, 7, "rivers", None)]


def test_a_source_s_name_is_taken_as_it_is(tmp_path: Path) -> None:
    path = file(tmp_path, "labels.csv", "feature,label\nmodel-2.0@1.00-x:4,months\nm@s:x:7,rivers\n")
    assert seen(path) == [("model-2.0@1.00-x", 4, "months", None), ("m@s:x", 7, "rivers", None)]


def test_a_spreadsheet_s_utf_16_and_compressed_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("feature\tlabel\n4\t熱\n", encoding="utf-16")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress('{"feature": 4, "label": "熱"}\n'.encode()))
    assert seen(tmp_path / "a.csv") == seen(tmp_path / "b.jsonl.gz") == [(None, 4, "熱", None)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("batch-0.jsonl", json.dumps(EXPLANATION | OF_MONTHS | {"embedding": [0.1]}) + "\n"),
        ("list.json", [EXPLANATION | OF_MONTHS]),
        ("export.json", {"explanationsCount": 1, "explanations": [EXPLANATION | OF_MONTHS]}),
        ("page.json", {**EXPLANATION, "vector": [0.1], "explanations": [OF_MONTHS | {"scores": []}]}),
        ("pages.jsonl", json.dumps({**EXPLANATION, "explanations": [OF_MONTHS]}) + "\n"),
        ("search.json", {"results": [EXPLANATION | OF_MONTHS], "hasMore": False}),
        (
            "upload.json",
            {
                "modelId": "gpt2-small",
                "source": "6-res-jb",
                "features": [
                    {"index": 650, "explanations": [{"text": "names of months", "modelName": "gpt-4o-mini"}]},
                    {"index": 651, "explanations": []},
                ],
            },
        ),
    ],
)
def test_neuronpedia_s_files_name_source_feature_and_author(tmp_path: Path, name: str, content: Any) -> None:
    assert seen(file(tmp_path, name, content)) == MONTHS


@pytest.mark.parametrize(
    "content",
    [
        [{"feature": 4, "label": "months"}, {"feature": "7", "label": "rivers"}],
        {"4": "months", "7": "rivers"},
        {"4": {"label": "months"}, "7": {"explanation": "rivers"}},
        {"features": [{"index": 4, "label": "months"}, {"index": 7, "description": "rivers"}]},
    ],
)
def test_json_holds_labels_as_a_list_or_by_feature(tmp_path: Path, content: Any) -> None:
    assert seen(file(tmp_path, "labels.json", content)) == [(None, 4, "months", None), (None, 7, "rivers", None)]


def test_a_folder_of_delphi_s_explanations_is_read(tmp_path: Path) -> None:
    for index, label in ((12, "rivers"), (4, "months"), (5, "Explanation could not be parsed.")):
        file(tmp_path, f"layers.5.mlp_latent{index}.txt", label if isinstance(label, list) else json.dumps(label))
    file(tmp_path, "notes.md", "")
    assert seen(tmp_path) == [(None, 4, "months", None), (None, 12, "rivers", None)]
    file(tmp_path, "layers.5.mlp_latent4.txt", json.dumps("names of months"))
    assert seen(tmp_path)[0] == (None, 4, "names of months", None), "a file that was changed is read again"
    file(tmp_path, "layers.6.mlp_latent4.txt", json.dumps("months"))
    with pytest.raises(PipelineError, match=r"of 2 hook points \(layers\.5\.mlp, layers\.6\.mlp\)"):
        seen(tmp_path)


@pytest.mark.parametrize("label", [".", "{", '"$", "_"', "none", "N/A", "7", "熱", "…", "I can't help with that", "🙂"])
def test_what_a_label_says_is_not_judged(tmp_path: Path, label: str) -> None:
    rows = [{"feature": 4, "label": label}]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame(rows).to_parquet(tmp_path / "labels.parquet")
    for path in (tmp_path / "labels.csv", tmp_path / "labels.parquet", file(tmp_path, "labels.json", rows)):
        assert seen(path) == [(None, 4, label, None)]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "feature,label\n4,a\nx7,b\n5,\n4,c\n6,d,e\n"
    with pytest.raises(PipelineError) as raised:
        seen(file(tmp_path, "labels.csv", text))
    assert raised.value.problem == f"{tmp_path / 'labels.csv'} has 4 faults"
    assert raised.value.faults == (
        "line 3: the feature is 'x7': give an index such as 650, or model@source:650",
        "line 4: the label is empty: mend that row, or leave it out",
        "line 6: more cells than the header has: put text with commas into double quotes",
        "line 2 and line 5: two labels for feature 4: leave one of them",
    )
    assert pickle.loads(pickle.dumps(raised.value)).faults == raised.value.faults
    assert str(raised.value).count("\n") == 4


def test_of_many_faults_the_first_twenty_are_told_and_the_number_of_all(tmp_path: Path) -> None:
    lines = ['{"feature": 4, "label": "a"}', *(["{", "[]", '{"feature": 4}', '{"label": "a", "index": -1}'] * 1000)]
    with pytest.raises(PipelineError) as raised:
        seen(file(tmp_path, "labels.jsonl", "\n".join(lines)))
    assert raised.value.problem.endswith("has 4,000 faults")
    assert len(raised.value.faults) == 21
    assert raised.value.faults[-1] == "and 3,980 more"
    assert [fault.partition(":")[0] for fault in raised.value.faults[:3]] == ["line 2", "line 3", "line 4"]


def test_labels_that_fit_no_source_are_told_together(tmp_path: Path) -> None:
    path = file(tmp_path, "labels.csv", "feature,label\n0,a\nother:4,b\n9,c\n")
    with pytest.raises(PipelineError) as raised:
        read_labels(path, None).by_source({"one": 8})
    assert [fault.partition(": leave")[0] for fault in raised.value.faults] == [
        "line 3: the label is of another source, other",
        "line 4: one has no feature 9: its features are 0 to 7",
    ]
