"""The corpus stage on a real model and coder: what its manifest says, and the smallest documents there are."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.config import Pipeline
from autointerp.corpus import load_shard
from autointerp.errors import CorpusError, RunError, SubjectError
from autointerp.records.corpus import Rejection, SpecialToken, SpecialTokenRule
from autointerp.run.on_disk.folder import read_pipeline, read_run_file
from autointerp.run.on_disk.manifest import CorpusManifest, has_manifest, read_manifest, write_manifest
from tests.run.planted import FEATURES, Planted

RULE = SpecialTokenRule(
    setting="tokenizer",
    coder_prepends_bos=True,
    reason="the coder was trained behind a BOS token",
    before=(SpecialToken(5, "<s>"),),
    after=(),
    counts_special=False,
    uncounted=(SpecialToken(5, "<s>"), SpecialToken(6, "▁終")),
)
MANIFEST = CorpusManifest(
    digest="ab",
    n_tokens=7,
    n_blocks=2,
    shards=("shard-00000.npz",),
    n_documents=2,
    n_tails=1,
    rejections=(Rejection("too short", 3, "a.txt has 1 of 8 tokens"),),
    special_tokens=RULE,
)


def planted_pipeline(planted: Planted, folder: Path, rows: list[Any], *overrides: str) -> Pipeline:
    """A pipeline over the planted model and these rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "mine.toml").write_text(planted.toml("mine", folder / "runs"), encoding="utf-8")
    return load_pipeline(str(folder / "mine.toml"), (f"corpus.path={folder / 'rows.jsonl'}", *overrides))


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(MANIFEST, tmp_path)
    assert read_manifest(tmp_path) == MANIFEST


def test_a_manifest_of_an_earlier_version_is_read_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    old = {"digest": "ab", "n_tokens": 7, "n_blocks": 2, "shards": ["shard-00000.npz"]}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    assert read_manifest(tmp_path) == dataclasses.replace(
        MANIFEST, n_documents=None, n_tails=None, rejections=None, special_tokens=None
    )
    (tmp_path / "shard-00000.npz").touch()
    assert has_manifest(tmp_path)


@pytest.mark.parametrize("content", ['{"digest": "ab"', "[]", '{"digest": "ab"}', "\ufeff", "[" * 9999])
def test_a_damaged_manifest_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="can't be read: the run is damaged; start it again with --no-resume"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 5}', "[" * 9999, "\x00\x01"])
def test_a_damaged_run_file_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"run\.json can't be read: the run is damaged"):
        read_run_file(tmp_path)


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ({"name": "p", "later": 1}, "there is no key `later`"),
        ({}, "the key `name` is missing"),
        (None, ""),
    ],
)
def test_a_run_whose_pipeline_has_other_keys_is_one_of_another_version(
    tmp_path: Path, pipeline: object, said: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"settings": {}, "pipeline": pipeline}), encoding="utf-8")
    with pytest.raises(RunError, match=rf"run\.json is of another version of autointerp \(.*{said}") as caught:
        read_pipeline(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_manifest_records_the_rule_and_what_became_of_each_conversation(planted: Planted, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "the ship and the river"}, {"role": "assistant", "content": "the tiger it is"}]
    image = [{"role": "user", "content": [{"type": "image", "url": "x"}]}]
    short = [{"role": "user", "content": "ship"}]
    rows = [{"messages": value} for value in (turns, short, image, None, turns, image)]
    (tmp_path / "chat.jinja").write_text("{% for m in messages %} {{ m.content }}{% endfor %}")
    pipeline = planted_pipeline(
        planted, tmp_path, rows, "corpus.chat=true", f"corpus.chat_template={tmp_path / 'chat.jinja'}"
    )
    run_pipeline(pipeline, stages=("corpus",))
    manifest = read_manifest(pipeline.run_folder / "corpus")
    assert (manifest.n_documents, manifest.n_blocks, manifest.n_tokens, manifest.n_tails) == (2, 2, 18, 0)
    assert manifest.rejections == (
        Rejection("content that is not text", 2, "rows.jsonl#3 has content of the type image in message 1"),
        Rejection("empty", 1, "rows.jsonl#4 is empty"),
        Rejection("too short", 1, "rows.jsonl#2 has 1 of 8 tokens"),
    )
    assert manifest.special_tokens == SpecialTokenRule(
        setting="none",
        coder_prepends_bos=None,
        reason='corpus.special_tokens = "none"',
        before=(),
        after=(),
        counts_special=False,
        uncounted=(),
    )


def test_documents_of_one_token_are_collected_where_one_token_is_enough(planted: Planted, tmp_path: Path) -> None:
    words = ["ship", "river", "ship", "", "tiger", "ship"]
    rows = [{"text": word} for word in words]
    pipeline = planted_pipeline(planted, tmp_path, rows, "corpus.min_block_tokens=1")
    run_pipeline(pipeline, stages=("corpus", "collect"))
    manifest = read_manifest(pipeline.run_folder / "corpus")
    assert (manifest.n_blocks, manifest.n_tokens) == (5, 5)
    features = open_run(pipeline.run_folder).reader.features()
    assert [feature.n_active for feature in features] == [sum(word in known for word in words) for known in FEATURES]


def test_a_corpus_of_documents_of_one_token_names_the_setting_that_takes_them(planted: Planted, tmp_path: Path) -> None:
    pipeline = planted_pipeline(planted, tmp_path, [{"text": "ship"}, {"text": "river"}])
    with pytest.raises(CorpusError, match=r"the longest of 2 has 1\): give more text, or lower corpus\.min_block_tok"):
        run_pipeline(pipeline, stages=("corpus",))
    assert not has_manifest(pipeline.run_folder / "corpus")


def test_the_corpus_of_an_earlier_version_is_used_as_it_is(planted: Planted, tmp_path: Path) -> None:
    pipeline = planted_pipeline(planted, tmp_path, [{"text": "the ship and the river and the tiger too"}])
    run_pipeline(pipeline, stages=("corpus",))
    folder = pipeline.run_folder / "corpus"
    old = json.loads((folder / "manifest.json").read_text())
    for key in ("n_documents", "n_tails", "rejections", "special_tokens"):
        del old[key]
    (folder / "manifest.json").write_text(json.dumps(old))
    before = load_shard(folder / old["shards"][0])
    run_pipeline(pipeline, stages=("corpus", "collect"))
    assert np.array_equal(load_shard(folder / old["shards"][0]).token_ids, before.token_ids)
    assert read_manifest(folder).rejections is None


def test_an_embedder_that_cannot_be_had_is_told_before_anything_is_collected(planted: Planted, tmp_path: Path) -> None:
    pipeline = planted_pipeline(planted, tmp_path, [{"text": "a boat"}], "embedder.device='cdua'")
    with pytest.raises(SubjectError, match="there is no kind of device called 'cdua'"):
        run_pipeline(pipeline)
    assert not has_manifest(pipeline.run_folder / "corpus")
