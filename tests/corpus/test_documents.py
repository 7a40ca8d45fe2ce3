"""Every kind of source, and every way in which one can be wrong."""

import json
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autointerp.config import CorpusConfig
from autointerp.corpus import DocumentCounts, iter_documents
from autointerp.corpus.sources import rows
from autointerp.errors import CorpusError
from autointerp.records import Document
from autointerp.records.corpus import Rejection


def read(**settings: Any) -> list[Document]:
    return list(iter_documents(CorpusConfig(**settings)))


def write_parquet(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def test_a_text_file_is_one_document_named_after_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Grüße\naus Köln", encoding="utf-8")
    assert read(kind="text", path=str(tmp_path / "a.txt")) == [Document("a.txt", "Grüße\naus Köln")]


def test_a_folder_may_mix_formats_and_is_read_in_sorted_order(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "z.md").write_text("last")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n\n{"text": "three"}\n')
    write_parquet(tmp_path / "c.parquet", text=["four", None, "five"])
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "ignored.png").write_bytes(b"\x89PNG")
    assert read(kind="text", path=str(tmp_path)) == [
        Document("a.txt", "one"),
        Document("b.jsonl#1", "two"),
        Document("b.jsonl#3", "three"),
        Document("c.parquet#0", "four"),
        Document("c.parquet#2", "five"),
        Document("notes/z.md", "last"),
    ]


def test_jsonl_and_parquet_take_the_column_they_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "one", "text": "not this"}\n')
    write_parquet(tmp_path / "a.parquet", body=["one"], text=["not this"])
    for kind in ("jsonl", "parquet"):
        texts = [document.text for document in read(kind=kind, path=str(tmp_path), column="body")]
        assert texts == ["one"]


def test_a_parquet_column_whose_name_has_a_dot_is_read_some_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = [{"b": "not this"}] * 40
    pq.write_table(pa.table({"a.b": [f"text {n} " * 50 for n in range(40)], "a": nested}), tmp_path / "a.parquet")
    monkeypatch.setattr(rows, "_BATCH_BYTES", 4000)
    n_rows: list[int] = []
    read = pq.ParquetFile.iter_batches

    def watched(file: pq.ParquetFile, batch_size: int, **settings: Any) -> Any:
        n_rows.append(batch_size)
        return read(file, batch_size, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    config = CorpusConfig(kind="parquet", path=str(tmp_path), column="a.b")
    assert [d.text for d in iter_documents(config)] == [f"text {n} " * 50 for n in range(40)]
    assert 0 < n_rows[0] < 40


def test_a_hugging_face_dataset_folder_is_streamed(tmp_path: Path) -> None:
    rows = [{"text": "Добрый день"}, {"text": ""}, {"text": "お早うございます"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read(kind="huggingface", path=str(tmp_path)) == [
        Document(f"{tmp_path}/train#0", "Добрый день"),
        Document(f"{tmp_path}/train#2", "お早うございます"),
    ]


def test_a_hugging_face_dataset_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"body": "one"}\n')
    with pytest.raises(CorpusError, match=r"has no 'text': set corpus\.column to one of body"):
        read(kind="huggingface", path=str(tmp_path))


def test_a_hugging_face_split_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n')
    with pytest.raises(CorpusError, match="can't be loaded") as raised:
        read(kind="huggingface", path=str(tmp_path), dataset_split="no_such_split")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("line", ['{"text": "two"', '{"text": ' + "[" * 9999, '{"text": ' + "9" * 9999 + "}"])
def test_a_bad_json_line_is_named_by_its_number(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one"}}\n{line}\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl line 2 is not JSON"):
        read(kind="jsonl", path=str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('["one"]', "line 1 is not a JSON object"),
        ('{"body": "one"}', r"set corpus\.column to one of body"),
        ('{"text": 7}', "is int, not text"),
    ],
)
def test_a_json_line_of_another_shape_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(CorpusError, match=problem):
        read(kind="jsonl", path=str(tmp_path / "a.jsonl"))


def test_a_parquet_file_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", body=["one"], id=[1])
    with pytest.raises(CorpusError, match=r"has no 'text': set corpus\.column to one of body, id"):
        read(kind="parquet", path=str(tmp_path / "a.parquet"))


def test_a_parquet_column_of_numbers_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", text=[1, 2])
    with pytest.raises(CorpusError, match="is int, not text"):
        read(kind="parquet", path=str(tmp_path / "a.parquet"))


def write_rows(folder: Path, kind: str, values: list[Any]) -> CorpusConfig:
    """The values as the column `text` of a source of this kind, beside a column of numbers."""
    folder.mkdir()
    if kind == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps({"id": 1, "text": value}) + "\n" for value in values))
    else:
        write_parquet(folder / "a.parquet", id=[1] * len(values), text=values)
    return CorpusConfig.model_validate({"kind": kind, "path": str(folder)})


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_rows_without_text_are_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    counts = DocumentCounts()
    config = write_rows(tmp_path / "rows", kind, ["one", None, "", " \t\n", "two"])
    assert [document.text for document in iter_documents(config, counts=counts)] == ["one", "two"]
    name = {"jsonl": "a.jsonl#2", "parquet": "a.parquet#1", "huggingface": f"{config.path}/train#1"}[kind]
    assert counts.rejections == (Rejection("empty", 3, f"{name} is empty"),)


def test_a_row_of_another_type_or_without_the_column_among_others_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"text": 7}, {"text": "one"}, {"text": ["a", "b"]}, {"body": "two"}, {"text": {"messages": "x"}}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = DocumentCounts()
    config = CorpusConfig(kind="jsonl", path=str(tmp_path / "a.jsonl"))
    assert list(iter_documents(config, counts=counts)) == [Document("a.jsonl#2", "one")]
    assert counts.rejections == (
        Rejection("not text", 3, "a.jsonl#1 is int, not text"),
        Rejection("no such column", 1, "a.jsonl#4 has no 'text'"),
    )


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1, 2], r"none of 2 rows can be used .* is int, not text\): set corpus\.column to the one with the text"),
        ([2.5], r"the one row can't be used .* is float, not text"),
        ([None, None], "holds no text"),
        ([["a"], ["b"]], "is list, not text"),
    ],
)
def test_a_column_in_which_no_row_is_text_is_one_clear_line(
    tmp_path: Path, kind: str, values: list[Any], problem: str
) -> None:
    config = write_rows(tmp_path / "rows", kind, values)
    with pytest.raises(CorpusError, match=problem) as raised:
        list(iter_documents(config))
    assert "\n" not in str(raised.value)


def endless_stream(monkeypatch: pytest.MonkeyPatch, first: list[Any], then: Any) -> CorpusConfig:
    """A dataset of the hub whose rows never end."""
    values = chain(first, repeat(then))
    monkeypatch.setattr(rows, "stream_from_hub", lambda *_: ({"text": value} for value in values))
    return CorpusConfig(kind="huggingface", path="owner/endless")


@pytest.mark.parametrize(
    ("first", "then", "example"),
    [([], 1, "#0 is int, not text"), ([], None, "#0 is empty"), ([""] * 5, 1.5, "#5 is float, not text")],
)
def test_a_stream_in_which_no_row_is_text_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch, first: list[Any], then: Any, example: str
) -> None:
    config = endless_stream(monkeypatch, first, then)
    with pytest.raises(CorpusError, match=f"none of the first 10,000 rows can be used .owner/endless/train{example}"):
        list(iter_documents(config))


def test_a_stream_is_read_on_where_one_row_was_text(monkeypatch: pytest.MonkeyPatch) -> None:
    config = endless_stream(monkeypatch, ["one", *[""] * 10_100], "two")
    assert [document.text for document in islice(iter_documents(config), 3)] == ["one", "two", "two"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_files_are_read_to_their_end_however_many_rows_are_unfit_at_their_beginning(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_rows(tmp_path / "rows", kind, [*[" "] * 10_100, "one"])
    assert [document.text for document in iter_documents(config)] == ["one"]
    (told,) = (message for message in caplog.messages if "rows" in message)
    assert "none of the first 10,000 rows can be used" in told
    assert told.endswith("; reading on to the end")


def test_of_files_without_any_text_all_rows_are_told(tmp_path: Path) -> None:
    config = write_rows(tmp_path / "rows", "parquet", list(range(10_100)))
    with pytest.raises(CorpusError, match="none of 10,100 rows"):
        list(iter_documents(config))


@pytest.mark.parametrize("files", [("train.jsonl",), ("train.parquet",), ("data/train-0.jsonl", "data/train-1.jsonl")])
def test_a_hugging_face_folder_is_read_whatever_its_files(tmp_path: Path, files: tuple[str, ...]) -> None:
    for number, file in enumerate(files):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".parquet":
            write_parquet(path, body=[f"text {number}"], id=[1])
        else:
            path.write_text(json.dumps({"body": f"text {number}", "id": 1}) + "\n")
    texts = [document.text for document in read(kind="huggingface", path=str(tmp_path), column="body")]
    assert texts == [f"text {number}" for number in range(len(files))]
    with pytest.raises(CorpusError, match=r"has no 'text': set corpus\.column to one of body, id$"):
        read(kind="huggingface", path=str(tmp_path))


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("not parquet")
    with pytest.raises(CorpusError, match="not a readable parquet file"):
        read(kind="parquet", path=str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.txt" if kind == "text" else "a.jsonl")
    path.write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(CorpusError, match="is not UTF-8 text"):
        read(kind=kind, path=str(path))


@pytest.mark.parametrize("kind", ["text", "jsonl", "parquet"])
def test_a_missing_path_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CorpusError, match="there is no file or folder"):
        read(kind=kind, path=str(tmp_path / "nowhere"))


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no"):
        read(kind="text", path=str(tmp_path))


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(CorpusError, match="holds no text"):
        read(kind="text", path=str(tmp_path))


@pytest.mark.parametrize("kind", ["jsonl", "text"])
def test_half_a_surrogate_pair_in_a_row_becomes_a_replacement_character_and_is_counted(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "cut \\ud83d"}\n{"text": "whole \\ud83d\\ude00"}\n')
    counts = DocumentCounts()
    config = CorpusConfig.model_validate({"kind": kind, "path": str(tmp_path)})
    assert [document.text for document in iter_documents(config, counts=counts)] == ["cut \ufffd", "whole 😀"]
    assert counts.n_mended == 1


def test_a_file_name_that_is_not_utf8_names_its_documents_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "b\udcff.jsonl").write_text('{"text": "two"}')
    with (tmp_path / "c\udcff.parquet").open("wb") as file:
        pq.write_table(pa.table({"text": ["three"]}), file)
    (tmp_path / "a\udcff.txt").write_text("one")
    assert read(kind="text", path=str(tmp_path)) == [
        Document("a\ufffd.txt", "one"), Document("b\ufffd.jsonl#1", "two"), Document("c\ufffd.parquet#0", "three"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "text"])
def test_a_row_of_parquet_that_is_not_utf8_is_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    not_utf8 = pa.array([b"one", b"Gr\xfc\xdfe"], pa.binary()).view(pa.string())
    write_parquet(tmp_path / "a.parquet", text=not_utf8)
    counts = DocumentCounts()
    config = CorpusConfig.model_validate({"kind": kind, "path": str(tmp_path)})
    assert [document.text for document in iter_documents(config, counts=counts)] == ["one"]
    assert counts.rejections == (Rejection("not UTF-8", 1, "a.parquet#1 is not UTF-8 (invalid start byte)"),)


def test_a_file_that_is_one_json_list_is_told_how_to_become_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps([{"text": "one"}], indent=1))
    with pytest.raises(CorpusError, match=r"line 1 is not JSON .*: write each object of the list on a line of its own"):
        read(kind="jsonl", path=str(tmp_path / "a.jsonl"))
