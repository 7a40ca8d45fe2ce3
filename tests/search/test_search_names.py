"""What a caller names is read as it was meant, or told with the names that there are: never taken for nothing found."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp import AutointerpError
from autointerp.errors import FilterError, RunError
from autointerp.library.run import Run, open_run
from autointerp.records import FeatureFilter
from autointerp.search.embed_labels import index_labels
from autointerp.store import reader as reader_module
from autointerp.store.query import select_contexts
from autointerp.store.reader import Reader
from autointerp.store.results import RunRecord
from autointerp.store.writer import Writer
from tests.store.making import SOURCE, make


@pytest.fixture
def run(writer: Writer, reader: Reader, embedder: Any) -> Run:
    index_labels(reader, writer, embedder)
    writer.add_contexts([make.contexts(1)], "c1")
    writer.add_failures([make.failure(7)])
    return open_run(writer.path.parent, embedder)


@pytest.mark.parametrize("feature", [1, np.int64(1), np.uint8(1), "1", " 1 ", f"{SOURCE}:1"])
def test_a_feature_is_named_by_any_whole_number_or_its_text(run: Run, feature: Any) -> None:
    assert run.feature(feature).feature.feature_index == 1
    assert run.neighbors(feature, top_k=1) == run.neighbors(1, top_k=1)
    assert run.contexts(feature) == run.contexts(1)
    several: Any = np.array([1, 2])
    assert run.rerank([feature, 2], "heat") == run.rerank(several, "heat")


@pytest.mark.parametrize(
    ("chosen", "n"), [({}, 6), ({"kind": "quantile"}, 2), ({"split": "score", "kind": "quantile"}, 1)]
)
def test_a_feature_s_contexts_are_read_once(
    chosen: dict[str, Any], n: int, run: Run, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.add_explanations([label := make.explanation(1, fingerprint="e3")])
    writer.add_scores([make.graded(label)])
    n_reads = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal n_reads
        n_reads += 1
        return select_contexts(*arguments, **named)

    monkeypatch.setattr(reader_module, "select_contexts", counted)
    assert (len(run.contexts(1, **chosen)), n_reads) == (n, 1)


@pytest.mark.parametrize(
    ("feature", "told"),
    [
        ("x", "'x' is not a feature: give an index such as 650, or model@source:650"),
        ("-1", "'-1' is not a feature"),
        ("\u0661", "is not a feature"),
        (1.0, "1.0 is not a feature"),
        (True, "True is not a feature"),
        (None, "None is not a feature"),
        (b"1", "b'1' is not a feature"),
        ("y" * 1000, "yyy… is not a feature"),
        (-1, "has no feature -1: its features are 0 to 7"),
        (10**30, "its features are 0 to 7"),
        ("a@b:1", f"there is no source 'a@b' in the run: it holds {SOURCE}"),
    ],
)
def test_what_is_no_feature_is_told_by_whoever_is_asked(run: Run, feature: Any, told: str) -> None:
    asks: list[Callable[[], object]] = [
        lambda: run.feature(feature),
        lambda: run.contexts(feature),
        lambda: run.neighbors(feature),
        lambda: run.rerank([feature], "heat"),
        lambda: run.reader.explanations([feature]),
        lambda: run.reader.scores([feature]),
        lambda: run.reader.failures([feature]),
        lambda: run.reader.feature_contexts([feature]),
    ]
    for ask in asks:
        with pytest.raises(AutointerpError) as caught:
            ask()
        assert told in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("top_k", [0, -1, 2.5, None, "3", True, 10_001])
def test_only_a_whole_number_of_results_can_be_asked_for(run: Run, top_k: Any) -> None:
    asks: list[Callable[[], object]] = [lambda: run.search("heat", top_k), lambda: run.neighbors(1, top_k=top_k)]
    for ask in asks:
        with pytest.raises(AutointerpError, match="ask for 1 to 10000"):
            ask()
    two: Any = np.int64(2)
    assert len(run.search("heat", two)) == 2


@pytest.mark.parametrize("query", ["", "  \n", None, 5, ["heat"]])
def test_only_a_text_can_be_searched_for(run: Run, query: Any) -> None:
    asks: list[Callable[[], object]] = [lambda: run.search(query), lambda: run.rerank([1], query)]
    for ask in asks:
        with pytest.raises(AutointerpError, match=r"query is empty|is no text"):
            ask()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (FeatureFilter(sources=["typo"]), f"there is no source 'typo': sources are {SOURCE}"),
        (FeatureFilter(features=[8]), "there is no feature 8: features are 0 to 7"),
        (FeatureFilter(explainer="typo"), "no label is of the explainer 'typo': explainers are keywords"),
        (FeatureFilter(min_score={"typo": 0.5}), "no label has a score of 'typo': scorers are detection"),
    ],
)
def test_a_filter_asks_for_what_there_is(run: Run, where: FeatureFilter, told: str) -> None:
    asks: list[Callable[[], object]] = [
        lambda: run.search("heat", where=where),
        lambda: run.rerank([1], "heat", where=where),
        lambda: run.rerank([], "heat", where=where),
        lambda: run.neighbors(1, where=where),
        lambda: run.to_pandas(where),
        lambda: list(run.reader.labelled_features(where)),
    ]
    for ask in asks:
        with pytest.raises(AutointerpError) as caught:
            ask()
        assert str(caught.value) == told


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda run: run.reader.best(1, "typo"), "there is no scorer 'typo': scorers are detection"),
        (lambda run: run.reader.scores(scorer="typo"), "there is no scorer 'typo'"),
        (lambda run: run.reader.worst(0), "n can't be 0: ask for 1 or more"),
        (lambda run: run.reader.trials("typo"), "the store has no explanation 'typo'"),
        (lambda run: run.reader.failures(stage="typo"), "there is no stage 'typo': stages are collect, contexts,"),
        (lambda run: run.reader.explanations(source_id="typo"), "there is no source 'typo' in the run"),
        (lambda run: run.reader.neighbors(1, "typo"), "no neighbors in the space 'typo': spaces are label"),
        (lambda run: run.contexts(1, split="typo"), "there is no split 'typo': splits are explain, select, score"),
        (lambda run: run.contexts(1, kind="typo"), "there is no kind 'typo': kinds are top, quantile"),
        (lambda run: run.contexts(1, 0), "n can't be 0: ask for 1 or more"),
        (lambda run: run.contexts(1, quantile=10), "there is no quantile 10: quantiles are 9"),
    ],
)
def test_a_name_that_the_store_does_not_know_is_told(run: Run, ask: Callable[[Run], object], told: str) -> None:
    with pytest.raises(AutointerpError) as caught:
        ask(run)
    assert told in str(caught.value)


def test_a_filter_is_a_filter(run: Run) -> None:
    wrong: Any = {"min_score": {"detection": 0.7}}
    asks: list[Callable[[], object]] = [lambda: run.search("heat", where=wrong), lambda: run.to_pandas(wrong)]
    for ask in asks:
        with pytest.raises(AutointerpError, match="is no filter: give a FeatureFilter"):
            ask()


def test_a_run_is_opened_by_a_text_or_a_path_also_from_home(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run.reader.path.parent
    monkeypatch.setenv("HOME", str(folder.parent))
    for named in (folder, str(folder), f"~/{folder.name}", run.reader.path):
        assert open_run(named).feature(1) == run.feature(1)
    with pytest.raises(AutointerpError, match="home folder of nobody known"):
        open_run("~nobody-of-this-name/run")


def test_several_threads_may_ask_one_run(run: Run) -> None:
    def ask(index: int) -> tuple[object, ...]:
        return run.search("heat", 2), run.feature(index % 8), run.neighbors(1, top_k=1)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(16))) == [ask(index) for index in range(16)]


def test_what_is_shown_of_a_run_and_its_records_is_short(run: Run, tmp_path: Path) -> None:
    assert repr(run) == f"<Run {run.reader.path.parent}: 8 features of {SOURCE}, 6 labels, scored by detection>"
    view = run.feature(1)
    assert "label 'heat law' (keywords), detection 0.60" in repr(view)
    assert "6 contexts" in repr(view)
    shown = [run, view, view.feature, view.contexts[0], run.search("heat", 1)[0]]
    assert all(len(repr(one)) < 400 for one in shown)
    run.reader.path.unlink()
    assert "there is no store" in repr(run), "what shows a run never fails"


def test_a_run_is_carried_to_another_process_and_reads_there_for_itself(run: Run) -> None:
    carried: Run = pickle.loads(pickle.dumps(run))
    assert carried.feature(1) == run.feature(1)
    assert carried.search("heat", 2) == run.search("heat", 2)


def test_a_data_frame_has_corrected_values_where_any_score_has(run: Run, writer: Writer) -> None:
    assert not [name for name in run.to_pandas() if "corrected" in name]
    label = replace(make.explanation(1, "court", fingerprint="e2"), explainer="examples")
    graded = make.graded(label)
    detail = {"corrected": 0.9, "corrected_interval": {"low": 0.7, "high": 1.0}}
    writer.add_explanations([label])
    writer.add_scores([replace(graded, score=replace(graded.score, detail=detail))])
    frame = run.to_pandas()
    names = [name for name in frame if "corrected" in name]
    assert names == ["detection_corrected", "detection_corrected_ci_low", "detection_corrected_ci_high"]
    assert frame[names].dropna().to_numpy().tolist() == [[0.9, 0.7, 1.0]]


def test_one_data_frame_has_features_labels_scores_and_what_is_missing(run: Run, writer: Writer) -> None:
    shuffled = make.explanation(1, "music", fingerprint="b1", label_from=3)
    writer.add_explanations([shuffled, replace(make.explanation(1, "court", fingerprint="e2"), explainer="examples")])
    writer.add_scores([make.graded(shuffled, value=0.25)])
    frame = run.to_pandas()
    assert frame["feature_index"].tolist() == [0, 1, 1, 2, 3, 4, 5, 6, 7]
    assert sorted(frame["label"][frame["feature_index"] == 1]) == ["court", "heat law"]
    assert frame["label"].isna().tolist()[-2:] == [True, True]
    assert (frame["detection"].isna().sum(), frame["detection"].max()) == (4, 0.9)
    assert frame["detection_shuffled"][frame["feature_index"] == 1].tolist() == [0.25, 0.25]
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert (kinds["feature_index"], kinds["detection"], kinds["detection_n_trials"]) == ("Int64", "float64", "Int64")
    assert (kinds["label"], kinds["created_at"]) == ("string", "datetime64[us, UTC]")
    assert "Refusal" in frame["failures"].iloc[-1]
    one = run.to_pandas(FeatureFilter(features=[1], sources=[make.source_id]))
    assert one["detection_shuffled"].tolist() == [0.25, 0.25]
    with pytest.raises(FilterError, match="there is no feature"):
        run.to_pandas(FeatureFilter(features=[2**80]))
    assert run.to_pandas(FeatureFilter(min_score={"detection": 0.8}))["feature_index"].tolist() == [0, 2]
    none = run.to_pandas(FeatureFilter(min_density=1.0))
    assert (len(none), list(none.columns), list(none.dtypes)) == (0, list(frame.columns), list(frame.dtypes))


def test_the_embedder_of_another_version_is_told_in_one_line(run: Run, writer: Writer) -> None:
    writer.set_run(RunRecord("p", {"embedder": {"later": 1}}, "9", datetime.now(UTC)))
    with pytest.raises(RunError, match=r"is of another version of autointerp \(there is no key `later`\)"):
        open_run(run.reader.path).search("heat")
