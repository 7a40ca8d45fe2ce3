"""What a document belongs to: its source file, or what a column says."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from autointerp.config import CorpusConfig
from autointerp.corpus import iter_documents
from autointerp.corpus.reader import ShardReader
from autointerp.corpus.shard_files import load_shard, save_shard
from autointerp.errors import CorpusError
from tests.corpus.test_corpus_reader import shard

SPEAKERS: list[Any] = ["Ada", None, "Ada", " ", "Bob"]
LONG = "\n\n".join("The river flows past the old town, and on to the sea. " * 12 for _ in range(8))


def groups(**settings: Any) -> list[str]:
    return [document.group_id for document in iter_documents(CorpusConfig(**settings))]


def write(folder: Path, kind: str, values: list[Any]) -> dict[str, str]:
    rows = [{"text": f"text {i}", "speaker": value} for i, value in enumerate(values)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        return {"kind": kind, "path": str(folder / "a.parquet")}
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"kind": kind, "path": str(folder if kind == "huggingface" else folder / "a.jsonl")}


def test_definitions_of_one_module_are_one_group() -> None:
    for document in islice(iter_documents(CorpusConfig()), 200):
        assert document.group_id == document.document_id.split(":")[0]


def test_sections_of_a_file_are_one_group_unless_it_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LONG)
    alone = groups(kind="text", path=str(tmp_path))
    assert len(set(alone)) == len(alone) > 1
    (tmp_path / "b.txt").write_text("short")
    assert set(groups(kind="text", path=str(tmp_path))) == {"a.txt", "b.txt"}
    apart = groups(kind="text", path=str(tmp_path), groups="document")
    assert len(set(apart)) == len(apart) > 2


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_rows_are_grouped_by_a_column_and_one_without_a_value_is_a_group_of_its_own(tmp_path: Path, kind: str) -> None:
    own = groups(**write(tmp_path, kind, SPEAKERS))
    found = groups(**write(tmp_path, kind, SPEAKERS), group_column="speaker")
    assert len(set(own)) == 5
    assert found == ["speaker=Ada", own[1], "speaker=Ada", own[3], "speaker=Bob"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_a_missing_group_column_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CorpusError, match=r"has no 'who'.*set corpus.group_column to one of text, speaker"):
        groups(**write(tmp_path, kind, SPEAKERS), group_column="who")


def test_a_list_names_no_group(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"line 1: 'speaker' is a list, which names no group"):
        groups(**write(tmp_path, "jsonl", [["Ada"]]), group_column="speaker")


def test_a_source_without_columns_takes_no_group_column() -> None:
    with pytest.raises(ValidationError, match=r"corpus.group_column needs the kind jsonl or parquet or huggingface"):
        CorpusConfig(kind="text", path="a.txt", group_column="speaker")


def test_a_shard_keeps_the_group_of_each_document(tmp_path: Path) -> None:
    grouped = replace(shard(0, 0, 4), group_ids=("one", "the other"))
    save_shard(grouped, tmp_path / "a.npz")
    assert load_shard(tmp_path / "a.npz").group_ids == ("one", "the other")
    assert ShardReader(tmp_path).read(np.array([3, 0, 1])).group_ids == ("the other", "one", "one")
