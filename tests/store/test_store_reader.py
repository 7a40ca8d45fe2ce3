"""Current rows, summaries, and clear errors."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from autointerp import open_run
from autointerp.errors import AutointerpError, FilterError, SearchError, StoreError, UnknownFeatureError
from autointerp.records import FeatureFilter, Usage
from autointerp.run.missing import find_missing
from autointerp.store import rows, summary
from autointerp.store.reader import Reader
from autointerp.store.results import ScorerSummary, ValueSummary
from autointerp.store.writer import Writer
from tests.store.making import make


@pytest.fixture(scope="module")
def four_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = Writer(tmp_path_factory.mktemp("four_features"))
    writer.add_source(make.source(4))
    writer.add_features([make.feature(i, status="dead" if i == 3 else "ok") for i in range(4)])
    return writer.path


@pytest.fixture
def writer(four_features: Path, tmp_path: Path) -> Writer:
    return Writer(shutil.copy(four_features, tmp_path))


@pytest.fixture
def reader(writer: Writer) -> Reader:
    return Reader(writer.path)


def test_an_unknown_feature_is_told_with_the_valid_range(reader: Reader) -> None:
    for ask in (lambda: reader.feature(4), lambda: reader.contexts(-1), lambda: reader.neighbors(99, "decoder", 1)):
        with pytest.raises(UnknownFeatureError, match="its features are 0 to 3"):
            ask()


def test_an_unknown_source_is_told_with_those_there_are(reader: Reader) -> None:
    with pytest.raises(StoreError, match=f"there is no source 'nobody@1' in the run: it holds {make.source_id}"):
        reader.source("nobody@1")


def test_a_name_that_utf8_cannot_hold_is_a_name_that_is_not_there(reader: Reader) -> None:
    for ask in (
        lambda: reader.source("\ud83d"),
        lambda: reader.trials("\ud83d"),
        lambda: reader.failures(stage="\ud83d"),
    ):
        with pytest.raises(StoreError, match=r"'\\ud83d'"):
            ask()
    with pytest.raises(SearchError, match=r"the space '\\ud83d'"):
        reader.neighbors(1, "\ud83d")
    assert reader.scores(explanation_ids=["\ud83d"]) == []


def test_a_feature_without_its_source_is_told_of_the_sources_where_there_are_several(
    writer: Writer, reader: Reader
) -> None:
    writer.add_source(replace(make.source(4), source_id="tiny@2-res-64"))
    told = (
        "the run holds several sources: tiny@1-res-64, tiny@2-res-64: "
        "name the feature with its source, for example tiny@1-res-64:5, or in Python by source_id="
    )
    for ask in (lambda: reader.source(), lambda: reader.feature(1), lambda: reader.contexts(1)):
        with pytest.raises(StoreError) as caught:
            ask()
        assert str(caught.value) == told
    assert reader.feature(1, make.source_id) == make.feature(1)


def test_a_store_without_a_source_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the run holds no source yet"):
        Reader(Writer(tmp_path).path).source()


def test_labels_of_earlier_settings_stay_but_are_not_mixed(writer: Writer, reader: Reader) -> None:
    old, new = make.explanation(1, "old", "e1"), make.explanation(1, "new", "e2")
    baseline = make.explanation(1, "shuffled", "b1", label_from=2)
    writer.add_explanations([old, new, baseline])
    assert len(reader.explanations()) == 2, "no stage has named its fingerprint yet"
    writer.set_stage("explain", "e2", "running")
    assert reader.explanations() == [new]
    assert reader.explanations(baselines=True) == [new, baseline]
    assert {e.label for e in reader.explanations(superseded=True)} == {"old", "new"}
    assert reader.explanations(fingerprint="e1") == [old]
    assert reader.explanations([1], fingerprint="none of these") == []
    writer.set_stage("baseline", "b2", "running")
    assert reader.explanations(baselines=True) == [new]


def test_scores_trials_failures_and_contexts_of_earlier_settings_are_not_mixed(writer: Writer, reader: Reader) -> None:
    label = make.explanation(1)
    writer.add_explanations([label])
    writer.add_contexts([make.contexts(1)], "c1")
    writer.add_contexts([make.contexts(1), make.contexts(2)], "c2")
    writer.add_scores([make.graded(label, value=0.25, fingerprint="s1")])
    writer.add_scores([make.graded(label, value=0.75, fingerprint="s2")])
    writer.add_failures([make.failure(2, fingerprint="e1"), make.failure(2, fingerprint="e2")])
    writer.set_stage("score:detection", "s2", "done")
    writer.set_stage("contexts", "c2", "done")
    writer.set_stage("explain", "e1", "done")

    assert [score.value for score in reader.scores()] == [0.75]
    assert len(reader.trials(label.explanation_id)) == 2
    assert reader.feature_contexts(range(4)) == [make.contexts(1), make.contexts(2)]
    assert reader.contexts(1) == [*make.contexts(1).contexts, *make.graded(label).contexts]
    assert reader.failures() == [make.failure(2, fingerprint="e1")]


def test_contexts_are_chosen_by_split_and_kind(writer: Writer, reader: Reader) -> None:
    writer.add_contexts([make.contexts(1)], "c1")
    assert [c.kind for c in reader.contexts(1, "score")] == ["quantile", "silent_similar"]
    assert [c.split for c in reader.contexts(1, kind="quantile")] == ["explain", "score"]
    assert reader.contexts(2) == []


def test_what_is_only_counted_makes_no_records(writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [make.explanation(0), make.explanation(1), make.explanation(1, fingerprint="e2")]
    writer.add_explanations([*labels, make.explanation(2, label_from=1)])
    writer.add_failures([make.failure(3)])
    monkeypatch.setattr(rows, "explanations_of", None)
    assert (reader.n_labels(), reader.labelled_indices(make.source_id)) == (3, frozenset({0, 1}))
    assert "4 features of tiny@1-res-64, 3 labels" in repr(open_run(writer.path.parent))
    missing = find_missing(reader, {make.source_id: range(4)}, ("explain",), ())
    assert [(of.error_type, of.n) for of in missing] == [("NotTried", 1), ("Refusal", 1)]
    writer.set_stage("explain", "e2", "done")
    assert (reader.n_labels(), reader.labelled_indices(make.source_id)) == (1, frozenset({1}))
    assert reader.labelled_indices("another@source") == frozenset()


def test_failures_of_a_stage_are_found_without_counting_all_stages(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.add_explanations([make.explanation(1)])
    writer.add_scores([make.graded(make.explanation(1))])
    monkeypatch.setattr(summary, "stage_status", None)
    assert [reader.failures(stage=stage) for stage in ("collect", "explain", "index", "score:detection")] == [[]] * 4
    for unknown in ("baseline", "score:recall", "explian"):
        with pytest.raises(StoreError, match=f"there is no stage '{unknown}': stages are collect, contexts, explain"):
            reader.failures(stage=unknown)
    writer.set_stage("baseline", "b1", "running")
    assert reader.failures(stage="baseline") == []


def test_shuffled_values_are_of_the_features_and_sources_that_are_asked_for(writer: Writer, reader: Reader) -> None:
    shuffled = [make.explanation(i, label_from=(i + 1) % 3) for i in range(3)]
    writer.add_explanations(shuffled)
    writer.add_scores([make.graded(e, value=0.25 * e.feature_index) for e in shuffled])
    of = {(make.source_id, i): {"detection": 0.25 * i} for i in range(3)}
    assert reader.shuffled_values() == of
    some = FeatureFilter(features=[2, 0], sources=[make.source_id])
    assert reader.shuffled_values(some) == {key: of[key] for key in of if key[1] != 1}
    assert reader.shuffled_values(FeatureFilter(features=[])) == {}
    for nowhere in (FeatureFilter(sources=["a\ud800"]), FeatureFilter(features=[2**80])):
        with pytest.raises(FilterError):
            reader.shuffled_values(nowhere)


def test_the_label_space_is_never_said_to_be_missing_and_to_be_there(writer: Writer, reader: Reader) -> None:
    one = np.zeros((1, 1), dtype=np.int32)
    writer.add_neighbors(make.source_id, "decoder", one[0] + 1, one + 2, one.astype(np.float32))
    with pytest.raises(SearchError) as caught:
        reader.neighbors(1, "label")
    assert caught.value.problem == "neighbors in the space 'label' are not stored: they are found by the labels' index"
    with pytest.raises(SearchError, match="no neighbors in the space 'decodr': spaces are label, decoder"):
        reader.neighbors(1, "decodr")


def test_the_summary_sets_true_labels_beside_shuffled_ones(writer: Writer, reader: Reader) -> None:
    labels = [make.explanation(i) for i in range(3)]
    baselines = [make.explanation(i, label_from=(i + 1) % 3) for i in range(2)]
    writer.add_explanations([*labels, *baselines])
    writer.add_scores([make.graded(e, value=v) for e, v in zip(labels, (0.5, 0.75, 1.0), strict=True)])
    writer.add_scores([make.graded(e, value=v) for e, v in zip(baselines, (0.5, 0.25), strict=True)])
    # Feature 0 ties with its baseline (half a win), feature 1 wins: 1.5 of 2. Intervals reach .1 to either side, so
    # those of features 1 and 2 lie wholly above chance, and that of feature 1 above its shuffled label.
    assert reader.score_summary() == [
        ScorerSummary(
            scorer="detection",
            judge="local",
            metric="balanced accuracy",
            chance=0.5,
            true=ValueSummary("true", 3, 0.75, 0.625, 0.75, 0.875, 2 / 3, 0),
            shuffled=ValueSummary("shuffled", 2, 0.375, 0.3125, 0.375, 0.4375, 0.0, 0, 0.5),
            other_nulls=(),
            n_paired=2,
            win_rate=0.75,
            share_above_shuffled=0.5,
        )
    ]


def test_other_nulls_have_summaries_of_their_own_and_are_no_shuffled_labels(writer: Writer, reader: Reader) -> None:
    labels = [make.explanation(i) for i in range(3)]
    shuffled = make.explanation(0, label_from=1)
    token = replace(make.explanation(0, label_from=0), explainer="most_frequent_token")
    withheld = replace(make.explanation(1, label_from=1), explainer="no_label")
    writer.add_explanations([*labels, shuffled, token, withheld])
    values = (0.5, 0.75, 1.0, 0.25, 0.75, 0.5)
    of_all = (*labels, shuffled, token, withheld)
    writer.add_scores([make.graded(e, value=v) for e, v in zip(of_all, values, strict=True)])
    (of,) = reader.score_summary()
    assert of.true is not None
    assert (of.true.n, of.n_paired) == (3, 1)
    assert of.shuffled == ValueSummary("shuffled", 1, 0.25, 0.25, 0.25, 0.25, 0.0, 0, 1.0)
    assert of.other_nulls == (
        ValueSummary("most_frequent_token", 1, 0.75, 0.75, 0.75, 0.75, 1.0, 0, 0.0),
        ValueSummary("no_label", 1, 0.5, 0.5, 0.5, 0.5, 0.0, 0, 1.0),
    )
    assert reader.shuffled_values() == {(make.source_id, 0): {"detection": 0.25}}
    assert reader.n_labels() == 3


def test_of_a_label_made_partly_wrong_is_told_on_how_many_features_it_lies_below_the_true_one(
    writer: Writer, reader: Reader
) -> None:
    labels = [make.explanation(i) for i in range(4)]
    broad = [replace(make.explanation(i, label_from=i), explainer="too_broad") for i in range(4)]
    writer.add_explanations([*labels, *broad])
    writer.add_scores([make.graded(label, value=0.75) for label in labels[:3]])
    low = make.graded(labels[0], value=0.75).score.ci_low
    values = (low - 0.01, low, 0.75, 0.1)  # of the last feature's label there is no score
    writer.add_scores([make.graded(label, value=value) for label, value in zip(broad, values, strict=True)])
    (of,) = reader.score_summary()
    (wrong,) = of.other_nulls
    assert (wrong.kind, wrong.n) == ("too_broad", 4)
    assert wrong.share_below_true == pytest.approx(1 / 3)
    assert of.true is not None
    assert of.true.share_below_true is None


def test_a_null_of_some_scorers_is_pending_only_for_those_that_score_it(writer: Writer, reader: Reader) -> None:
    labels = [make.explanation(i) for i in range(2)]
    narrow = [replace(make.explanation(i, label_from=i), explainer="too_narrow") for i in range(2)]
    writer.add_explanations([*labels, *narrow])
    writer.add_scores([make.graded(label, "detection") for label in labels])
    writer.add_scores([make.graded(label, "embedding") for label in (*labels, narrow[0])])
    pending = {of.stage: of.n_pending for of in reader.status()}
    assert (pending["score:detection"], pending["score:embedding"]) == (0, 1)


def test_a_label_that_is_withheld_is_pending_only_for_those_who_can_be_asked(writer: Writer, reader: Reader) -> None:
    labels = [make.explanation(i) for i in range(2)]
    withheld = [replace(make.explanation(i, label_from=i), explainer="no_label") for i in range(2)]
    writer.add_explanations([*labels, *withheld])
    writer.add_scores([make.graded(label, "embedding") for label in labels])
    writer.add_scores([make.graded(label) for label in (*labels, withheld[0])])
    pending = {of.stage: of.n_pending for of in reader.status()}
    assert pending["score:embedding"] == 0
    assert pending["score:detection"] == 1


def test_a_few_shuffled_labels_far_above_chance_show_in_the_summary_though_their_median_is_chance(
    writer: Writer, reader: Reader
) -> None:
    baselines = [make.explanation(i, label_from=i + 1) for i in range(5)]
    writer.add_explanations(baselines)
    writer.add_scores([make.graded(e, value=v) for e, v in zip(baselines, (0.5, 0.5, 0.5, 0.5, 0.9), strict=True)])
    (of,) = reader.score_summary()
    assert of.true is None
    assert of.shuffled is not None
    assert (of.shuffled.median, of.shuffled.upper_quartile) == (0.5, 0.5)
    assert of.shuffled.mean == pytest.approx(0.58)
    assert of.shuffled.share_above_chance == pytest.approx(0.2)


def test_chance_is_each_features_own_where_a_scorer_tells_it_and_unknown_where_nobody_does(
    writer: Writer, reader: Reader
) -> None:
    labels = [make.explanation(i) for i in range(3)]
    writer.add_explanations(labels)
    # The intervals begin at .2: above a chance of .1, not above one of .3, and of the third nothing is known.
    for label, chance in zip(labels, (0.1, 0.3, None), strict=True):
        graded = make.graded(label, "recall", value=0.3)
        writer.add_scores([replace(graded, score=replace(graded.score, metric="F1", detail={"chance": chance}))])
    (of,) = reader.score_summary()
    assert of.chance == pytest.approx(0.2)
    assert of.true is not None
    assert of.true.share_above_chance == 0.5

    other = make.graded(labels[0], "mine", value=0.9)
    writer.add_scores([replace(other, score=replace(other.score, metric="my own"))])
    mine = next(of for of in reader.score_summary() if of.scorer == "mine")
    assert mine.true is not None
    assert (mine.chance, mine.true.share_above_chance) == (None, None)


def test_labels_on_which_the_judge_gave_one_answer_are_counted(writer: Writer, reader: Reader) -> None:
    own, other = make.explanation(1), make.explanation(1, label_from=2)
    writer.add_explanations([own, other])
    for label, said in ((own, None), (other, "the judge said no to every question")):
        graded = make.graded(label, value=0.5)
        writer.add_scores([replace(graded, score=replace(graded.score, detail={"uninformative": said}))])
    (of,) = reader.score_summary()
    assert [(row.kind, row.n_uninformative) for row in of.rows] == [("true", 0), ("shuffled", 1)]


def test_without_scores_or_without_a_baseline_the_summary_says_so(writer: Writer, reader: Reader) -> None:
    assert reader.score_summary() == []
    writer.add_explanations([make.explanation(1)])
    writer.add_scores([make.graded(make.explanation(1), value=0.5)])
    (of,) = reader.score_summary()
    assert of.rows == (ValueSummary("true", 1, 0.5, 0.5, 0.5, 0.5, 0.0, 0),)
    assert (of.n_paired, of.win_rate, of.share_above_shuffled) == (0, None, None)


def test_best_and_worst_labels_come_with_all_their_scores_and_ties_in_feature_order(
    writer: Writer, reader: Reader
) -> None:
    labels = [make.explanation(i) for i in range(4)]
    writer.add_explanations([*labels, make.explanation(0, label_from=1)])
    writer.add_scores([make.graded(e, value=v) for e, v in zip(labels, (0.5, 0.9, 0.5, 0.7), strict=True)])
    writer.add_scores([make.graded(labels[3], "recall", value=0.1)])
    assert [b.explanation.feature_index for b in reader.best(2, "detection")] == [1, 3]
    assert [w.explanation.feature_index for w in reader.worst(2, "detection")] == [0, 2]
    by_mean = reader.worst(9)
    assert [w.explanation.feature_index for w in by_mean] == [3, 0, 2, 1]
    assert [score.scorer for score in by_mean[0].scores] == ["detection", "recall"]


def test_the_status_counts_done_failed_and_pending_against_the_stage_before(writer: Writer, reader: Reader) -> None:
    writer.add_contexts([make.contexts(i) for i in range(3)], "c1")
    writer.add_explanations([replace(make.explanation(0), cost_usd=0.25), replace(make.explanation(1), cost_usd=0.5)])
    writer.add_failures([make.failure(3, "contexts", "c1"), make.failure(2, fingerprint="old")])
    writer.add_scores([make.graded(make.explanation(0))])
    writer.set_stage("contexts", "c1", "done", n_asked=4)
    writer.set_stage("explain", "e1", "running")
    found = {s.stage: (s.status, s.n_done, s.n_failed, s.n_pending, s.cost_usd) for s in reader.status()}
    assert found == {
        "collect": (None, 4, 0, 0, None),
        "contexts": ("done", 3, 1, 0, None),
        "explain": ("running", 2, 0, 1, 0.75),
        "score:detection": (None, 1, 0, 1, None),
        "index": (None, 0, 0, 2, None),
    }


def test_no_shuffled_label_is_pending_where_a_scorer_is_done_without_any(writer: Writer, reader: Reader) -> None:
    true, shuffled = make.explanation(0), make.explanation(0, "other words", "b1", label_from=1)
    writer.add_explanations([true, shuffled])
    writer.add_scores([make.graded(true), make.graded(true, "coherence")])
    writer.set_stage("score:coherence", "s1", "done", n_asked=1)
    writer.set_stage("score:detection", "s1", "running", n_asked=2)
    assert {s.stage: s.n_pending for s in reader.status() if s.stage.startswith("score")} == {
        "score:coherence": 0,
        "score:detection": 1,
    }
    writer.add_explanations([make.explanation(1)])
    assert {s.stage: s.n_pending for s in reader.status()}["score:coherence"] == 1, "a label came later"


@pytest.mark.parametrize("cost_usd", [0.5, None])
def test_what_a_stage_s_calls_used_comes_back(writer: Writer, reader: Reader, cost_usd: float | None) -> None:
    usage = Usage(n_calls=3, input_tokens=500, cached_input_tokens=20, output_tokens=7, cost_usd=cost_usd)
    writer.set_stage("explain", "e1", "running", usage=usage)
    writer.set_stage("contexts", "c1", "done", n_asked=4, cost_usd=0.0)
    contexts, explain = reader.stages()
    assert (explain.usage, explain.cost_usd, explain.n_asked, explain.finished_at) == (usage, cost_usd, None, None)
    assert (contexts.usage, contexts.cost_usd, contexts.n_asked) == (None, 0.0, 4)
    assert contexts.finished_at is not None


def test_what_another_version_counted_besides_is_passed_over(writer: Writer, reader: Reader) -> None:
    writer.set_stage("explain", "e1", "running", usage=Usage(n_calls=3, output_tokens=7))
    with duckdb.connect(str(reader.path)) as store:
        store.execute("""UPDATE stages SET summary = '{"n_calls": 3, "output_tokens": 7, "n_images": 2}'""")
    (explain,) = reader.stages()
    assert explain.usage == Usage(n_calls=3, output_tokens=7)


def test_one_label_without_a_known_price_makes_the_cost_unknown(writer: Writer, reader: Reader) -> None:
    writer.add_explanations([replace(make.explanation(0), cost_usd=0.25), replace(make.explanation(1), cost_usd=None)])
    assert {s.stage: s.cost_usd for s in reader.status()}["explain"] is None


def test_shuffled_labels_don_t_make_the_cost_of_calls_without_a_label_known(writer: Writer, reader: Reader) -> None:
    writer.add_explanations([make.explanation(1, label_from=2)])
    writer.set_stage("explain", "f2", "done", cost_usd=None)
    assert {s.stage: s.cost_usd for s in reader.status()}["explain"] is None


@pytest.mark.parametrize("n_per_read", [1, 2, 3, 5000])
def test_every_feature_is_listed_once_with_its_labels_or_with_the_reason_for_none(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch, n_per_read: int
) -> None:
    monkeypatch.setattr("autointerp.store.reader._FEATURES_PER_READ", n_per_read)
    label, baseline = make.explanation(1), make.explanation(1, fingerprint="b1", label_from=2)
    writer.add_explanations([label, baseline])
    writer.add_scores([make.graded(label)])
    scoring = make.failure(1, "score:recall", "s1", explanation_id=baseline.explanation_id)
    writer.add_failures([make.failure(2), scoring])
    found = list(reader.labelled_features(baselines=True))
    assert [(f.feature.feature_index, f.explanation, f.scores, f.failures) for f in found] == [
        (0, None, (), ()),
        (1, label, (make.graded(label).score,), ()),
        (1, baseline, (), (scoring,)),
        (2, None, (), (make.failure(2),)),
        (3, None, (), ()),
    ]


def test_a_table_comes_as_a_data_frame_and_nothing_else_does(writer: Writer, reader: Reader) -> None:
    assert reader.dataframe("features")["feature_index"].tolist() == [0, 1, 2, 3]
    assert reader.dataframe("current_explanations").empty
    with pytest.raises(StoreError, match="no table"):
        reader.dataframe("features; DROP TABLE features")


def test_a_session_sees_one_state_and_then_lets_go(writer: Writer, reader: Reader) -> None:
    with reader.session() as session:
        first = session.features()
        with session.session():
            assert session.features() == first
        assert session.features() == first
    writer.add_explanations([make.explanation(1)])
    assert reader.explanations() == [make.explanation(1)]


def test_values_are_bound_never_spelled_into_a_statement(writer: Writer, reader: Reader) -> None:
    hostile = "x' OR '1'='1"
    asks: tuple[Callable[[], list[object]], ...] = (
        lambda: list(reader.scores(scorer=hostile)),
        lambda: list(reader.trials(hostile)),
        lambda: list(reader.failures(stage=hostile)),
    )
    writer.add_explanations([make.explanation(1, hostile)])
    writer.add_scores([make.graded(make.explanation(1))])
    writer.add_failures([make.failure(2)])
    for ask in asks:
        with pytest.raises(AutointerpError, match="x' OR '1'='1"):
            ask()
    assert reader.explanations() == [make.explanation(1, hostile)]
