"""Exports read back equal, in every format; nothing vanishes; a file is there whole or not at all."""

import csv
import errno
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from autointerp.errors import DiskFullError, ExportError, FilterError, StoreError
from autointerp.export.export import Exported, export_run
from autointerp.export.options import ExportOptions
from autointerp.export.token_lists import token_lists
from autointerp.identity import stable_uuid
from autointerp.records import FeatureFilter, TokenCount
from autointerp.store.export_rows.columns import flat_columns
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.export.row_by_row import flat_rows
from tests.store.making import make

LABEL = replace(make.explanation(1, '=HYPERLINK("x"), "quoted";\nsecond line — 熱'), cost_usd=None)
BASELINE = make.explanation(1, "shuffled", fingerprint="b1", label_from=2)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four features: 0 failed, 1 has a label and a baseline, 2 an unscored label, 3 is dead."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    writer = Writer(folder)
    writer.set_run(RunRecord("small", {}, "0.1.0", make.moment))
    writer.add_source(make.source(4))
    writer.add_features([*(make.feature(i, density=i / 100) for i in range(3)), make.feature(3, 0.0, "dead")])
    writer.add_contexts([make.contexts(1)], "c1")
    writer.add_explanations([LABEL, BASELINE, make.explanation(2, "plain")])
    writer.add_scores([make.graded(LABEL), make.graded(LABEL, "recall", 0.5), make.graded(BASELINE, value=0.25)])
    writer.add_failures([make.failure(0)])
    return folder


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_json_lines_hold_every_field_of_the_records(run: Path, tmp_path: Path) -> None:
    exported = export_run(run, tmp_path / "out" / "labels.jsonl")
    assert exported == Exported(tmp_path / "out" / "labels.jsonl", "jsonl", 4)
    lines = read_lines(exported.path)
    as_json = {"created_at": make.moment.isoformat()}
    feature = asdict(make.feature(1, 0.01)) | token_lists(make.feature(1, 0.01))
    assert lines[1] == {
        "feature_id": "tiny@1-res-64:1",
        "feature_uuid": stable_uuid("tiny@1-res-64:1"),
        "label": LABEL.label,
        "source": asdict(make.source(4)),
        "feature": json.loads(json.dumps(feature)),
        "explanation": {**asdict(LABEL), **as_json},
        "tier": "input (output not asked)",
        "is_disputed": None,
        "scores": [asdict(make.graded(LABEL).score), asdict(make.graded(LABEL, "recall", 0.5).score)],
        "failures": [],
        "run": "small",
        "program_version": "0.1.0",
    }
    assert lines[1]["feature"]["top_tokens_n_missed"] == 2
    assert (lines[0]["label"], lines[0]["failures"]) == (None, [{**asdict(make.failure(0)), **as_json}])
    assert [line["feature"]["status"] for line in lines] == ["ok", "ok", "ok", "dead"]


def test_an_export_read_in_parts_is_the_one_read_at_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = export_run(run, tmp_path / "at_once.jsonl")
    monkeypatch.setattr("autointerp.export.jsonl._FEATURES_AT_ONCE", 2)
    in_parts = export_run(run, tmp_path / "in_parts.jsonl")
    assert in_parts.path.read_bytes() == at_once.path.read_bytes()


def test_contexts_go_into_json_lines_where_asked_for(run: Path, tmp_path: Path) -> None:
    path = export_run(run, tmp_path / "x.jsonl", options=ExportOptions(contexts=True)).path
    contexts = [line["contexts"] for line in read_lines(path)]
    assert contexts == [[], json.loads(json.dumps([asdict(c) for c in make.contexts(1).contexts])), [], []]
    with pytest.raises(ExportError, match="no room for contexts"):
        export_run(run, tmp_path / "x.csv", options=ExportOptions(contexts=True))


def test_parquet_reads_back_as_typed_rows(run: Path, tmp_path: Path) -> None:
    options = ExportOptions(baselines=True)
    rows = list(flat_rows(Reader(run), baselines=True))
    table = pq.read_table(export_run(run, tmp_path / "x.parquet", options=options).path)
    assert table.select(list(flat_columns(Reader(run).scorers()))).to_pylist() == rows
    assert [str(table.schema.field(n).type) for n in ("feature_index", "recall", "created_at")] == [
        "int64",
        "double",
        "timestamp[us, tz=UTC]",
    ]
    assert rows[1]["label"] == LABEL.label
    assert (rows[1]["detection"], rows[1]["detection_n_unanswered"], rows[1]["recall"]) == (0.75, 1, 0.5)
    assert (rows[2]["label_from"], rows[2]["detection"], rows[2]["recall"]) == (2, 0.25, None)
    assert rows[0]["failures"] == "explain: Refusal: the model would not answer"


@pytest.mark.parametrize("format_name", ["csv", "parquet"])
def test_what_is_said_of_a_label_besides_its_text_has_columns(run: Path, tmp_path: Path, format_name: str) -> None:
    detail = {"chosen_by": "detection — 氷"}
    told = replace(make.explanation(3), side="output", n_contexts=20, excludes="ice — 氷", detail=detail)
    Writer(run).add_explanations([told])
    path = export_run(run, tmp_path / "x", format_name).path
    if format_name == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        rows = pq.read_table(path).to_pylist()
    names = ("side", "n_contexts", "excludes")
    assert [str(rows[3][name]) for name in names] == ["output", "20", "ice — 氷"]
    assert json.loads(rows[3]["explanation_detail"]) == detail
    assert [rows[1][name] or None for name in (*names, "explanation_detail")] == [None] * 4


@pytest.mark.parametrize("format_name", ["jsonl", "csv", "parquet"])
def test_the_file_s_name_need_not_be_utf8(run: Path, tmp_path: Path, format_name: str) -> None:
    path = tmp_path / f"x\udcff.{format_name}"
    assert export_run(run, path).n_rows > 0
    assert path.stat().st_size > 0


def test_parquet_has_the_feature_s_tokens_and_logits_as_lists(run: Path, tmp_path: Path) -> None:
    table = pq.read_table(export_run(run, tmp_path / "x.parquet").path)
    names = ["histogram", "top_tokens", "following_tokens", "top_logits", "bottom_logits"]
    feature = json.loads(json.dumps(asdict(make.feature(1, 0.01)) | token_lists(make.feature(1, 0.01))))
    assert table.column_names[-5:] == names
    assert table.select(names).to_pylist()[1] == {name: feature[name] for name in names}
    assert table.select(names).to_pylist()[3]["following_tokens"] == []
    assert table.column("top_tokens_n_missed").to_pylist() == [2, 2, 2, 0]


@pytest.mark.parametrize("format_name", ["jsonl", "parquet"])
def test_every_token_goes_with_its_measures_and_the_telling_ones_into_a_flat_column(
    tmp_path: Path, format_name: str
) -> None:
    writer = Writer(tmp_path / "run")
    writer.add_source(make.source(4))
    tokens = (TokenCount(" the", 60, 1.0, 5000), TokenCount(" Wärme", 30, 1.5, 40))
    writer.add_features([replace(make.feature(1), top_tokens=tokens), make.feature(2)])
    path = export_run(tmp_path / "run", tmp_path / f"x.{format_name}").path
    of_features = (
        pq.read_table(path).to_pylist() if format_name == "parquet" else [of["feature"] for of in read_lines(path)]
    )
    common, own = of_features[0]["top_tokens"]
    assert (common["token"], own["token"]) == (" the", " Wärme")
    assert [own[name] for name in ("n_active", "n_occurrences", "precision", "recall")] == [30, 40, 0.75, 0.3]
    assert own["mass"] == 0.4
    assert own["pmi"] == pytest.approx(math.log2(30.5 / 0.9))
    assert common["pmi"] < own["pmi"]
    assert [of["pmi"] for of in of_features[1]["top_tokens"]] == [None, None]
    with export_run(tmp_path / "run", tmp_path / "x.csv").path.open(encoding="utf-8", newline="") as file:
        assert [row["telling_tokens"] for row in csv.DictReader(file)] == ['[" Wärme", " the"]', ""]


def test_csv_reads_back_equal_with_formulas_disarmed(run: Path, tmp_path: Path) -> None:
    rows = list(flat_rows(Reader(run)))
    with export_run(run, tmp_path / "x.csv").path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    readers: dict[str, Callable[[str], Any]] = {"int64": int, "double": float, "bool": bool, "string": str}
    kinds = {name: str(column.kind) for name, column in flat_columns(Reader(run).scorers()).items()}

    def typed(name: str, cell: str) -> Any:
        if cell == "":
            return None
        if kinds[name].startswith("timestamp"):
            return datetime.fromisoformat(cell).astimezone(UTC)
        return readers[kinds[name]](cell.removeprefix("'"))

    assert found[1]["label"] == f"'{LABEL.label}"
    assert [{name: typed(name, cell) for name, cell in row.items()} for row in found] == rows


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_text_cell_begins_like_a_formula(run: Path, tmp_path: Path, text: str) -> None:
    Writer(run).add_explanations([make.explanation(3, text)])
    with export_run(run, tmp_path / "x.csv").path.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file))[3]["label"] == f"'{text}"


def test_filters_choose_lines(run: Path, tmp_path: Path) -> None:
    def chosen(options: ExportOptions) -> list[tuple[int, bool]]:
        rows = read_lines(export_run(run, tmp_path / "x.jsonl", options=options).path)
        flat = csv_rows(export_run(run, tmp_path / "x.csv", options=options).path)
        assert [row["feature_id"] for row in flat] == [row["feature_id"] for row in rows]
        return [(row["feature"]["feature_index"], row["explanation"] is not None) for row in rows]

    assert chosen(ExportOptions()) == [(0, False), (1, True), (2, True), (3, False)]
    assert chosen(ExportOptions(baselines=True)) == [(0, False), (1, True), (1, True), (2, True), (3, False)]
    assert chosen(ExportOptions(FeatureFilter(labelled=True))) == [(1, True), (2, True)]
    assert chosen(ExportOptions(FeatureFilter(labelled=False))) == [(0, False), (3, False)]
    assert chosen(ExportOptions(FeatureFilter(min_score={"detection": 0.75}))) == [(1, True)]
    assert chosen(ExportOptions(FeatureFilter(min_score={"detection": 0.76}))) == []
    assert chosen(ExportOptions(FeatureFilter(min_density=0.01, max_density=0.01))) == [(1, True)]
    assert chosen(ExportOptions(FeatureFilter(features=[3, 1]))) == [(1, True), (3, False)]
    assert chosen(ExportOptions(FeatureFilter(explainer="shuffled"), baselines=True)) == [(1, True)]
    with pytest.raises(FilterError, match="there is no source 'another@source': sources are tiny@1-res-64"):
        chosen(ExportOptions(FeatureFilter(sources=["another@source"])))
    with pytest.raises(FilterError, match="no label is of the explainer 'shuffled': explainers are keywords"):
        chosen(ExportOptions(FeatureFilter(explainer="shuffled")))


def test_a_filter_on_a_scorer_that_graded_nothing_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FilterError, match="scorers are detection, recall"):
        export_run(run, tmp_path / "x.csv", options=ExportOptions(FeatureFilter(min_score={"f1": 0.5})))
    assert not (tmp_path / "x.csv").exists()


def test_the_format_is_named_or_taken_from_the_suffix(run: Path, tmp_path: Path) -> None:
    assert export_run(run, tmp_path / "x.txt", "csv").format == "csv"
    assert export_run(Reader(run), tmp_path / "x.PARQUET").format == "parquet"
    for path, name in (("x.xlsx", None), ("x.csv", "xlsx"), ("x", None)):
        with pytest.raises(ExportError, match="jsonl, csv, parquet"):
            export_run(run, tmp_path / path, name)


@pytest.mark.parametrize("format_name", ["jsonl", "csv", "parquet"])
def test_an_export_that_fails_leaves_the_earlier_file_and_no_other(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    target = tmp_path / "out" / "x"
    export_run(run, target, format_name)
    before = target.read_bytes()

    whole = Reader.export_rows

    def fail_midway(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        yield from whole(*arguments, **(keywords | {"n_features": 2}))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Reader, "export_rows", fail_midway)
    with pytest.raises(DiskFullError, match="no space left"):
        export_run(run, target, format_name)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_a_place_that_can_t_be_written_is_told(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is in the way"):
        export_run(run, tmp_path / "file" / "x.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ExportError, match="is a folder, and a file is needed"):
        export_run(run, tmp_path / "folder.csv")


def test_a_run_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        export_run(tmp_path / "nothing", tmp_path / "x.csv")
