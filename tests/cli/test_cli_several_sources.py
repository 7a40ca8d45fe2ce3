"""Commands on a run over two coders: whatever a command prints of a feature can be given to the next one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32

from autointerp import open_run
from autointerp.cli.demo import demo_lines
from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.identity import parse_feature_id, stable_uuid
from autointerp.records import Explanation, FeatureContexts
from autointerp.search.embed_labels import index_labels
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.command import complaint, printed
from tests.store.making import SOURCE, make

OTHER = "tiny@2-res-64"
LABELS = {
    SOURCE: ("raising an exception", "winter weather", "musical instruments"),
    OTHER: ("network connections", "errors and exceptions", "winter weather"),
}
# What shuffled labels score, by source and feature.
SHUFFLED = {(SOURCE, 1): 0.21, (OTHER, 1): 0.43}


class OneDirection:
    """To which all texts are the same."""

    name = "one"

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        return np.ones((len(texts), 1), np.float32)


def labelled(source_id: str, index: int) -> Explanation:
    name = stable_uuid(f"{source_id}/{index}")
    return replace(make.explanation(index, LABELS[source_id][index]), source_id=source_id, explanation_id=name)


def context_of(source_id: str, index: int, text: str) -> FeatureContexts:
    name = stable_uuid(f"{source_id}/{index}/context")
    return FeatureContexts(
        source_id, index, (replace(make.context(index, text=text), source_id=source_id, context_id=name),)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of three labelled features each, indexed, with one failure."""
    folder = tmp_path_factory.mktemp("two")
    writer = Writer(folder)
    for source_id in LABELS:
        writer.add_source(replace(make.source(3), source_id=source_id))
        writer.add_features([replace(make.feature(i), source_id=source_id) for i in range(3)])
        labels = [labelled(source_id, index) for index in range(3)]
        writer.add_explanations(labels)
        writer.add_scores([make.graded(label, value=0.9 - label.feature_index / 100) for label in labels])
        shuffled = replace(
            labels[1],
            explanation_id=stable_uuid(f"{source_id}/shuffled"),
            explainer="shuffled",
            fingerprint="b1",
            label_from=2,
        )
        writer.add_explanations([shuffled])
        writer.add_scores([make.graded(shuffled, value=SHUFFLED[source_id, 1])])
    # The label of one is the closer, the context of the other.
    writer.add_contexts(
        [context_of(SOURCE, 1, "cats sit on a mat"), context_of(OTHER, 2, "snow and ice all over")], "c"
    )
    writer.add_failures([replace(make.failure(2), source_id=OTHER)])
    index_labels(Reader(folder), writer, Embedder(EmbedderConfig()))
    return folder


def first_cells(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines()[1:]]


def names(hits: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(hit["source_id"], hit["feature_index"]) for hit in hits]


def test_reranking_orders_the_hits_of_both_sources_together(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("search", str(run), "winter weather", "-k", "2", "--json")
    found = json.loads(printed(capsys, *command))
    assert names(found) == [(SOURCE, 1), (OTHER, 2)], "equal labels, so in the order of the sources"
    closer = json.loads(printed(capsys, *command, "--rerank"))
    assert names(closer) == [(OTHER, 2), (SOURCE, 1)]
    assert closer[0]["relevance"] > closer[1]["relevance"]

    every = json.loads(printed(capsys, "search", str(run), "exceptions", "-k", "6", "--rerank", "--json"))
    assert set(names(every)) == {(source, index) for source in LABELS for index in range(3)}
    relevance = [hit["relevance"] for hit in every]
    assert relevance == sorted(relevance, reverse=True)
    assert {source for source, _ in names(every)[:2]} == {SOURCE, OTHER}


def test_equally_relevant_hits_stay_in_the_order_of_sources(run: Path) -> None:
    opened = open_run(run, OneDirection())
    features = [(OTHER, 0), (SOURCE, 2), (SOURCE, 0)]
    hits = [hit for source, index in features for hit in opened.rerank([index], "x", source)]
    ranked = opened.rerank_hits(hits, "x")
    assert [(hit.source_id, hit.feature_index) for hit in ranked] == [(SOURCE, 0), (SOURCE, 2), (OTHER, 0)]
    assert opened.rerank_hits([], "x") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("search", "winter"), ("search", "winter", "--rerank"), ("neighbors", f"{OTHER}:2")]
)
def test_what_is_printed_of_a_feature_can_be_given_to_show(
    run: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    name, argument, *options = command
    cells = first_cells(printed(capsys, name, str(run), argument, *options))
    assert len(cells) in (2, 6)
    for cell in cells:
        source_id, index = parse_feature_id(cell) or ("", -1)
        assert source_id in LABELS
        text = printed(capsys, "show", str(run), cell)
        assert text.splitlines()[0] == f"{cell}  (ok)"
        assert f"label  {LABELS[source_id][index]}" in text


def test_status_names_the_source_of_a_failure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"feature {OTHER}:2: the model would not answer" in printed(capsys, "status", str(run))


def test_a_run_over_one_coder_prints_bare_indices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(3))
    writer.add_features([make.feature(i) for i in range(3)])
    writer.add_explanations([make.explanation(i, LABELS[SOURCE][i]) for i in range(2)])
    writer.add_failures([make.failure(2)])
    index_labels(Reader(tmp_path), writer, Embedder(EmbedderConfig()))
    assert first_cells(printed(capsys, "search", str(tmp_path), "winter")) == ["1", "0"]
    assert "feature 2: the model would not answer" in printed(capsys, "status", str(tmp_path))


def test_search_and_export_are_filtered_by_the_same_options(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--source", OTHER, "--min-score", "detection=.885", "--explainer", "keywords", "--min-density", "0.005")
    everything = ("--min-relevance", "0", "--json", "--rerank")
    hits = json.loads(printed(capsys, "search", str(run), "winter weather", *everything, *options))
    assert sorted(names(hits)) == [(OTHER, 0), (OTHER, 1)]
    file = tmp_path / "some.jsonl"
    assert "Wrote 2 rows" in printed(capsys, "export", str(run), str(file), *options)
    labels = [json.loads(line)["label"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert labels == list(LABELS[OTHER][:2])
    assert "no labelled feature passes" in printed(capsys, "search", str(run), "winter", "--min-density", "0.9")
    commands: tuple[tuple[str, ...], ...] = (
        ("search", str(run), "x"),
        ("export", str(run), str(file)),
        ("neighbors", str(run), f"{OTHER}:1"),
    )
    for command in commands:
        assert "explainers are keywords" in complaint(capsys, *command, "--explainer", "nobody")
        assert "scorers are detection" in complaint(capsys, *command, "--min-score", "typo=.5")
        if command[0] != "neighbors":
            assert f"sources are {SOURCE}, {OTHER}" in complaint(capsys, *command, "--source", "tiny@3")
        assert complaint(capsys, *command, "--max-density", "7").endswith(
            "is no share of tokens: give a number from 0 to 1"
        )


@pytest.mark.parametrize("command", ["show", "neighbors"])
def test_a_bare_index_is_answered_with_what_to_write(
    run: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    told = (
        f"the run holds several sources: {SOURCE}, {OTHER}: name the feature with its source, for example {SOURCE}:5, "
        "or in Python by source_id="
    )
    assert complaint(capsys, command, str(run), "1") == f"autointerp: {told}"
    assert complaint(capsys, command, str(run), "tiny@3:1") == (
        f"autointerp: there is no source 'tiny@3' in the run: it holds {SOURCE}, {OTHER}"
    )


def test_the_demos_table_sets_each_label_beside_the_shuffled_one_of_its_own_source(run: Path) -> None:
    lines = demo_lines(open_run(run))
    for (source_id, index), value in SHUFFLED.items():
        line = next(line for line in lines if line.startswith(f"{source_id}:{index} "))
        # The label's own score with its interval, then what the shuffled one gets.
        assert f".89 [.79 .99] .{round(100 * value)}" in line
    unpaired = next(line for line in lines if line.startswith(f"{OTHER}:2 "))
    assert ".88 [.78 .98]   -" in unpaired
