"""A feature can be looked at as soon as the pass over the corpus has ended: before contexts, labels and scores."""

import json
import shutil
from pathlib import Path

import pytest

from autointerp import open_run, run_pipeline
from autointerp.cli import main
from tests.run.planted import DEAD, Planted


@pytest.fixture(scope="module")
def collected(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled")
    file = folder / "p.toml"
    file.write_text(planted.toml("p", folder / "runs"), encoding="utf-8")
    return run_pipeline(file, ("corpus", "collect")).folder.path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    printed = capsys.readouterr()
    assert caught.value.code == (1 if printed.err else 0)
    return printed.err or printed.out


def test_show_has_statistics_neighbors_and_contexts(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "show", str(collected), "7")
    assert "\n  ' piano'" in text
    assert "close decoders" in text
    assert "no label: nobody asked for one yet" in text
    assert text.count("«piano»  ") + text.count("«piano» ") >= 8
    assert "no label: it is dead: it never fires" in said(capsys, "show", str(collected), str(DEAD))


def test_as_many_contexts_are_shown_as_are_asked_for(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = open_run(collected).contexts(7)
    assert len(every) > 60
    page = json.loads(said(capsys, "show", str(collected), "7", "--contexts", "50", "--json"))
    assert [context["context_id"] for context in page["contexts"]] == [c.context_id for c in every[:50]]
    lowest = said(capsys, "show", str(collected), "7", "--contexts", "5", "--quantile", "0", "--kind", "quantile")
    assert lowest.count("(quantile, ") == 5
    assert "no context is as asked for" in said(capsys, "show", str(collected), "7", "--split", "score")
    assert "there is no kind 'tops': kinds are top, " in said(capsys, "show", str(collected), "7", "--kind", "tops")


def test_python_gives_each_context_with_its_tokens_and_activations(collected: Path) -> None:
    run = open_run(collected)
    every = run.contexts("7")
    assert len({context.block_index for context in every}) == len(every), "one of a block"
    strengths = [context.max_activation for context in every]
    assert strengths == sorted(strengths, reverse=True)
    for context in every:
        assert len(context.tokens) == len(context.activations) == len(context.token_ids)
        assert context.tokens[context.peak].strip() == "piano"
        assert context.activations[context.peak] == context.max_activation > 0
        assert context.split is None
    assert {context.quantile for context in every} == set(range(10))
    assert run.contexts(7, 3) == every[:3]
    assert run.contexts(DEAD) == []
    assert [near.space for near in run.feature(7).neighbors[:1]] == ["decoder"]
    assert run.neighbors(7, space="decoder", top_k=2)[0].label == ""
    assert run.to_pandas()["label"].isna().all()


def test_contexts_that_were_built_come_once_beside_those_that_no_stage_took(
    planted: Planted, collected: Path, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(planted.toml("p", tmp_path / "runs", "[features]", 'indices = "7"'), encoding="utf-8")
    shutil.copytree(collected, tmp_path / "runs" / "p")
    before = open_run(collected).contexts(7)
    run = open_run(run_pipeline(file, ("contexts",)).folder.path)
    built = run.feature(7).contexts
    every = run.contexts(7)
    assert {context.context_id for context in built} <= {context.context_id for context in every}
    active = [context for context in every if context.is_active]
    assert {context.block_index for context in active} == {context.block_index for context in before}
    assert len(active) == len(before)
    assert {context.split for context in active} == {"explain", "score", None}
    shutil.rmtree(run.reader.path.parent / "collect")
    (run.reader.path.parent / "run.json").unlink()
    alone = open_run(run.reader.path)
    assert {c.context_id for c in alone.contexts(7)} == {c.context_id for c in built}, "a copy of the store alone"


def test_a_text_that_says_the_same_over_and_over_ends_with_reasons_and_not_with_a_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "Ships sail from the harbour when the wind turns north, and the captain counts the barrels before dusk.\n"
    (tmp_path / "notes.txt").write_text(line * 150, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--runs", str(tmp_path / "runs"), "--text", str(tmp_path / "notes.txt")])
    told = capsys.readouterr()
    assert caught.value.code == 0, "all that is missing tells of the text"
    assert "features without a label: " in told.err
    assert "RepeatedContexts: " in told.err
    assert "autointerp status " in told.out
    assert "autointerp search " not in told.out, "there is nothing to find"
    with pytest.raises(SystemExit):
        main(["search", str(tmp_path / "runs" / "demo-text"), "ships"])
    assert "`autointerp status` says why it wrote none" in capsys.readouterr().err
