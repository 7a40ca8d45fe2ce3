"""The rows that DuckDB makes in bulk are those that Python makes of the records one by one."""

import csv
import io
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from autointerp.export.export import export_run
from autointerp.export.options import ExportOptions
from autointerp.records import EVERY_FEATURE, FeatureFilter, FollowingToken, ScoreWithTrials, TokenCount
from autointerp.store.export_rows.columns import flat_columns
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.export.row_by_row import flat_rows, nested_rows
from tests.store.making import make

TEXTS = (
    "plain", "two\nlines", "=1+1", "'=1", "\t", "\r\n", "🙂 and 熱 and العربية", "\x00nul", "\x1b[2J",
    'a "quoted", one', "", "half \ud83d of one", "\\u00e9 is no escape", "é", "{}", "null",
)  # fmt: skip
N_FEATURES = len(TEXTS) + 4
FILTERS = {
    "every": EVERY_FEATURE,
    "sources": FeatureFilter(sources=["tiny@1-res-64"]),
    "features": FeatureFilter(features=[0, 3, N_FEATURES - 1]),
    "score": FeatureFilter(min_score={"detection": 0.7}),
    "two scores": FeatureFilter(min_score={"detection": 0.3, "promotion": 0.5}),
    "density": FeatureFilter(min_density=0.002, max_density=0.01),
    "explainer": FeatureFilter(explainer="keywords"),
    "labelled": FeatureFilter(labelled=True),
    "unlabelled": FeatureFilter(labelled=False),
    "nothing": FeatureFilter(min_score={"detection": 1.0}),
}


def scored(label: Any, scorer: str, value: float, **detail: Any) -> ScoreWithTrials:
    made = make.graded(label, scorer, value)
    return replace(made, score=replace(made.score, detail=detail, metric=detail.pop("metric", "balanced accuracy")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has every kind of value that a cell can hold, and features without a label at its end."""
    folder = tmp_path_factory.mktemp("rows") / "run"
    writer = Writer(folder)
    writer.set_run(RunRecord("=small", {}, "0.1.0", make.moment))
    writer.add_source(make.source(N_FEATURES))
    tokens = (TokenCount(" the", 60, 1.0, 5000), TokenCount("\x01\n", 30, 1.5, 40), TokenCount("=", 1, 0.5, None))
    tied = tuple(TokenCount(f"t{i}", 2, 1e-7, 9) for i in range(7))
    features = [make.feature(i, density=i / 1000 / 3) for i in range(N_FEATURES - 1)]
    features[1] = replace(features[1], top_tokens=tokens, following_tokens=(FollowingToken("=x", 3, 1e20),))
    features[2] = replace(features[2], top_tokens=tied, mean_activation=1 / 3, max_activation=1e22)
    writer.add_features([*features, make.feature(N_FEATURES - 1, 0.0, "dead")])
    labels = [make.explanation(index, text) for index, text in enumerate(TEXTS)]
    told = {"chosen_by": "detection — 氷", "n": 1.5e-7, "none": None, "at": [1, {"b": "\\u00e9"}]}
    labels[0] = replace(
        labels[0],
        detail=told,
        side="output",
        n_contexts=20,
        excludes="@ice — 氷",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        cost_usd=1e-5,
        prompt_sha256="-f",
    )
    baselines = [make.explanation(i, f"shuffled {i}", fingerprint="b1", label_from=i + 1) for i in range(4)]
    null = replace(make.explanation(1, "the", fingerprint="b2", label_from=1), explainer="most_frequent_token")
    writer.add_explanations([*labels, *baselines, null])
    rule = {
        "referee": '=the words "a", "b"', "referee_precision": 0.9, "referee_recall": 0.8, "n_referee_windows": 9,
        "referee_agreement": 1 / 3, "referee_agreement_interval": {"low": 0.2, "high": 0.5}, "n_referee_agreement": 30,
    }  # fmt: skip
    kinder = rule | {"referee": "another", "referee_agreement_interval": {"low": 0.9, "high": 0.97}}
    corrected = {"corrected": 0.8, "corrected_interval": {"low": 0.7, "high": 0.9}}
    writer.add_scores(
        [
            scored(labels[0], "detection", 0.9, **rule, **corrected),
            scored(labels[0], "embedding", 0.95, **kinder, metric="AUROC"),
            scored(labels[0], "promotion", 0.7, side="output"),
            scored(labels[1], "detection", 0.55, **kinder),
            scored(labels[1], "promotion", 0.9, side="output", chance=0.95),
            scored(labels[2], "promotion", 0.9, side="output", chance=None),
            scored(labels[3], "detection", 0.9, corrected=0.8, corrected_interval=None),
            scored(labels[4], "recall", 0.9, metric="recall"),
            scored(labels[5], "intruder", 0.9, side="none"),
            scored(baselines[0], "detection", 0.85),
            scored(baselines[1], "detection", 0.2),
            scored(null, "detection", 0.99),
        ]
    )
    writer.add_failures(
        [
            make.failure(N_FEATURES - 2),
            replace(make.failure(N_FEATURES - 2, "contexts"), message="=none\n\x00"),
            make.failure(0, "score:recall", explanation_id=labels[0].explanation_id),
            make.failure(1, "score:recall", explanation_id=baselines[1].explanation_id),
            make.failure(2, "score:recall", explanation_id="of an earlier setting"),
        ]
    )
    return folder


@pytest.mark.parametrize("baselines", [False, True])
@pytest.mark.parametrize("where", FILTERS.values(), ids=FILTERS.keys())
def test_every_format_says_what_the_records_say(
    run: Path, tmp_path: Path, where: FeatureFilter, baselines: bool
) -> None:
    reader, options = Reader(run), ExportOptions(where, baselines=baselines)
    rows = list(flat_rows(reader, where, baselines=baselines))
    columns = list(flat_columns(reader.scorers()))
    table = pq.read_table(export_run(run, tmp_path / "x.parquet", options=options).path)
    assert table.select(columns).to_pylist() == rows
    nested = list(nested_rows(reader, where, baselines=baselines))
    lines = export_run(run, tmp_path / "x.jsonl", options=options).path.read_bytes().decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == nested
    assert table.select(["histogram", "top_tokens", "following_tokens"]).to_pylist() == [
        {name: row["feature"][name] for name in ("histogram", "top_tokens", "following_tokens")} for row in nested
    ]
    assert export_run(run, tmp_path / "x.csv", options=options).path.read_bytes() == as_csv(columns, rows)


def as_csv(columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    """Rows as Python's own writer has them, each cell by itself made harmless."""

    def cell(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, str) and value.lstrip("'")[:1] in {"=", "+", "-", "@", "\t", "\r"}:
            return f"'{value}"
        return value

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def test_the_made_run_has_what_is_hard(run: Path) -> None:
    rows = list(flat_rows(Reader(run)))
    assert [row["tier"] for row in rows[:6]] == [
        "both", "neither", "output (input not asked)", "input (output not asked)", "neither (output not asked)", None,
    ]  # fmt: skip
    assert [row["is_disputed"] for row in rows[:3]] == [True, False, None]
    assert (rows[0]["referee"], rows[0]["referee_agreement"]) == ('=the words "a", "b"', 1 / 3)
    assert json.loads(rows[2]["telling_tokens"]) == ["t0", "t1", "t2", "t3", "t4"]
    assert rows[11]["label"] == "half \ufffd of one"
    assert rows[7]["label"] == "\x00nul"
    assert rows[-2]["failures"] == "contexts: Refusal: =none\n\x00\nexplain: Refusal: the model would not answer"
    assert math.isclose(rows[1]["density"], 1 / 3000)


def test_a_run_with_an_apostrophe_and_a_quote_in_its_scorers_name_is_exported(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "run")
    writer.add_source(make.source(2))
    writer.add_features([make.feature(0), make.feature(1)])
    label = make.explanation(0, "months")
    writer.add_explanations([label])
    writer.add_scores([make.graded(label, 'it\'s "mine"', 0.5)])
    reader = Reader(tmp_path / "run")
    table = pq.read_table(export_run(reader, tmp_path / "x.parquet").path)
    assert table.select(list(flat_columns(reader.scorers()))).to_pylist() == list(flat_rows(reader))


def test_a_run_without_labels_or_without_features_is_exported(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "run")
    writer.add_source(make.source(2))
    assert export_run(tmp_path / "run", tmp_path / "x.parquet").n_rows == 0
    writer.add_features([make.feature(0), make.feature(1)])
    table = pq.read_table(export_run(tmp_path / "run", tmp_path / "x.parquet").path)
    assert table.column("label").to_pylist() == [None, None]
    assert export_run(tmp_path / "run", tmp_path / "x.csv").n_rows == 2
