"""The map of labels: what means the like lies together, under a name; made once, and held against the labels of now."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32, Int32

from autointerp.errors import FileError, SearchError
from autointerp.library.run import Run
from autointerp.records.label_map import LabelMap, LabelPoints, MapPlan
from autointerp.search.embed_labels import index_labels
from autointerp.search.maps import layout
from autointerp.search.maps.clusters import describe_clusters, find_clusters
from autointerp.search.maps.file import map_path, read_map, write_map
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.command import complaint, printed
from tests.search.large_store import RandomEmbedder
from tests.store.making import MOMENT, SOURCE, make

TOPICS = ("rivers water bank", "court law judge", "music song piano", "error exception raise")
N_OF_TOPIC = 24


def label_of(index: int) -> str:
    """Labels of a topic's words, most of them, and of one of their own."""
    words = TOPICS[index % len(TOPICS)].split()
    del words[index % 3]
    return " ".join([*words, f"own{index}"])


def make_store(folder: Path, n_labels: int) -> Run:
    writer = Writer(folder)
    writer.add_source(make.source(n_labels + 8))
    writer.add_features([make.feature(i) for i in range(n_labels + 8)])
    writer.add_explanations([make.explanation(i, label_of(i)) for i in range(n_labels)])
    index_labels(Reader(writer.path), writer, RandomEmbedder())
    return Run(folder, RandomEmbedder())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, LabelMap]:
    """A run of four topics, with its map."""
    run = make_store(tmp_path_factory.mktemp("mapped"), N_OF_TOPIC * len(TOPICS))
    assert run.label_map() is None
    return run, run.make_label_map()


def topics(of: LabelMap) -> Int32[np.ndarray, " point"]:
    return of.feature_index % len(TOPICS)


def test_labels_that_mean_the_like_lie_together(made: tuple[Run, LabelMap]) -> None:
    _, of = made
    apart = np.linalg.norm(of.xy[:, None] - of.xy, axis=2)
    closest = np.argsort(apart, axis=1)[:, 1:6]
    assert (topics(of)[closest] == topics(of)[:, None]).mean() > 0.9
    assert of.xy.min() >= 0
    assert of.xy.max() <= 1
    assert np.ptp(of.xy, axis=0).max() == pytest.approx(1, abs=1e-5)


def test_clusters_are_called_by_the_words_of_their_topic(made: tuple[Run, LabelMap]) -> None:
    _, of = made
    assert len(of.clusters) >= len(TOPICS)
    for number, cluster in enumerate(of.clusters):
        (topic, *others) = set(topics(of)[of.cluster == number].tolist())
        assert others == []
        assert set(cluster.words[:2]) <= set(TOPICS[topic].split())
        assert cluster.n == np.count_nonzero(of.cluster == number)


def test_a_map_is_read_as_it_was_made_and_made_once(made: tuple[Run, LabelMap]) -> None:
    run, of = made
    read = run.label_map()
    assert read is not None
    assert (read.plan, read.clusters, read.n_unplaced, read.n_gone) == (of.plan, of.clusters, 0, 0)
    np.testing.assert_array_equal(read.xy, of.xy)
    assert run.make_label_map().plan.made_at == of.plan.made_at


def test_the_same_labels_and_seed_give_the_same_map(made: tuple[Run, LabelMap]) -> None:
    run, of = made
    again = run.make_label_map(fresh=True)
    np.testing.assert_array_equal(again.xy, of.xy)
    assert again.plan.made_at > of.plan.made_at


def test_labels_that_came_or_went_since_are_told_and_a_new_map_keeps_its_shape(tmp_path: Path) -> None:
    n_labels = N_OF_TOPIC * len(TOPICS)
    run = make_store(tmp_path, n_labels)
    first = run.make_label_map()
    writer = Writer(tmp_path)
    new = [make.explanation(i, label_of(i)) for i in range(n_labels, n_labels + 8)]
    writer.add_explanations([*new, make.explanation(0, "court law judge", fingerprint="another")])
    writer.add_scores([make.graded(make.explanation(0, "", fingerprint="another"))])  # of the two it has it is the best
    read = run.label_map()
    assert read is not None
    assert (read.n_unplaced, read.n_gone, len(read)) == (9, 1, n_labels - 1)
    assert 0 not in read.feature_index
    index_labels(run.reader, writer, RandomEmbedder())
    second = run.make_label_map()
    assert len(second) == n_labels + 8
    moved = np.linalg.norm(second.xy[1:n_labels] - first.xy[1:], axis=1)
    assert moved.mean() < 0.1
    apart = np.linalg.norm(second.xy[:, None] - second.xy, axis=2)
    assert (topics(second)[np.argsort(apart[n_labels:], axis=1)[:, 1]] == topics(second)[n_labels:]).mean() > 0.7


@pytest.mark.parametrize("n_labels", [1, 2, 3])
def test_few_labels_have_a_map_without_clusters(tmp_path: Path, n_labels: int) -> None:
    of = make_store(tmp_path, n_labels).make_label_map()
    assert (len(of), of.clusters) == (n_labels, ())
    assert np.isfinite(of.xy).all()


def test_equal_labels_have_places(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(12))
    writer.add_features([make.feature(i) for i in range(12)])
    writer.add_explanations([make.explanation(i, "heat") for i in range(12)])
    index_labels(Reader(writer.path), writer, RandomEmbedder())
    of = Run(tmp_path, RandomEmbedder()).make_label_map()
    assert np.isfinite(of.xy).all()


def test_without_embedded_labels_there_is_nothing_to_lay_out(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(2))
    with pytest.raises(SearchError, match="no labels embedded"):
        Run(tmp_path, RandomEmbedder()).make_label_map()


_PLAN = MapPlan(SOURCE, "random", 0, 15, 0.1, MOMENT, "0", "0")


def small_map(digest: Sequence[int] = (5, 6)) -> LabelMap:
    n = len(digest)
    return LabelMap(
        plan=_PLAN,
        feature_index=np.arange(n, dtype=np.int32),
        digest=np.array(digest, np.uint64),
        xy=np.linspace(0, 1, 2 * n, dtype=np.float32).reshape(n, 2),
        cluster=np.full(n, -1, np.int32),
        clusters=(),
    )


def test_a_damaged_file_is_told_in_one_line_and_made_anew(tmp_path: Path) -> None:
    run = make_store(tmp_path, 3)
    run.make_label_map()
    path = map_path(run.reader.path, SOURCE)
    whole = path.read_bytes()
    for broken in (b"", b"no zip", whole[: len(whole) // 2], whole.replace(b"plan", b"nalp")):
        path.write_bytes(broken)
        with pytest.raises(SearchError, match="autointerp map") as told:
            run.label_map()
        assert "\n" not in str(told.value)
    assert len(run.make_label_map()) == 3
    assert run.label_map() is not None


def test_a_file_whose_parts_do_not_fit_is_damaged(tmp_path: Path, made: tuple[Run, LabelMap]) -> None:
    _, of = made
    whole = of.only(np.arange(len(of)) < 3, 0)
    wrong = [
        replace(whole, xy=np.full((3, 2), np.nan, np.float32)),
        replace(whole, cluster=np.full(3, 99, np.int32)),
        replace(whole, feature_index=np.arange(2, dtype=np.int32)),
    ]
    for place, one in enumerate(wrong):
        path = tmp_path / f"{place}/map.npz"
        path.parent.mkdir()
        write_map(path, one)
        with pytest.raises(SearchError, match="damaged"):
            read_map(path)


def test_a_map_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    run = make_store(tmp_path, 3)
    (tmp_path / "map").write_text("in the way")
    with pytest.raises(FileError):
        run.make_label_map()


def unit_vectors(n: int, seed: int = 0) -> Float32[np.ndarray, "label dim"]:
    drawn = np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32)
    vectors: Float32[np.ndarray, "label dim"] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vectors


def test_the_nearest_of_many_are_those_that_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.concatenate([unit_vectors(600), unit_vectors(3), unit_vectors(3)])  # some are there three times
    exact = layout.nearest(vectors, 10, 0)
    monkeypatch.setattr(layout, "_COMPARED_BELOW", 0)
    found = layout.nearest(vectors, 10, 0)
    for of in (exact, found):
        np.testing.assert_array_equal(of.rows[:, 0], np.arange(len(vectors)))
        assert (np.diff(of.distances, axis=1) >= 0).all()
    np.testing.assert_allclose(found.distances, exact.distances, atol=1e-5)


def test_clusters_of_many_are_those_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    from autointerp.search.maps import clusters

    draw = np.random.default_rng(0)
    centres = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])
    xy = (centres[np.arange(600) % 3] + draw.normal(scale=0.02, size=(600, 2))).astype(np.float32)
    monkeypatch.setattr(clusters, "_SAMPLED", 150)
    number = find_clusters(xy, 0)
    for group in range(3):
        own = number[np.arange(600) % 3 == group]
        assert (own != -1).mean() > 0.3
        assert not set(own[own >= 0].tolist()) & set(number[np.arange(600) % 3 != group].tolist())


def test_a_name_has_each_word_in_one_form_and_says_what_others_do_not() -> None:
    labels = ["river, rivers, water", "river, water", "court, water", "court, courts"]
    of = describe_clusters(labels, np.array([0, 0, 1, 1], np.int32), np.zeros((4, 2), np.float32))
    assert [cluster.words for cluster in of] == [("river", "water"), ("court", "water")]


def test_labels_of_scripts_and_marks_have_names() -> None:
    labels = ["قاعدة البيانات", "数据库", "{}", "🦊"]
    of = describe_clusters(labels, np.array([0, 0, 1, 1], np.int32), np.zeros((4, 2), np.float32))
    assert all(cluster.words for cluster in of)


def test_only_labels_of_most_of_an_earlier_map_begin_there() -> None:
    vectors = unit_vectors(8)
    points = LabelPoints(np.arange(8, dtype=np.int32), np.arange(8, dtype=np.uint64), ["a"] * 8)
    near = layout.nearest(vectors, 4, 0)
    few, most = small_map([0, 1, 2]), small_map([1, 2, 3, 4, 5])
    assert len(layout.beginning(vectors, points, near, few).known) == 0
    begin = layout.beginning(vectors, points, near, most)
    assert begin.known.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(begin.places[begin.known], most.xy)


def test_the_command_tells_what_lies_on_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: tuple[Run, LabelMap]
) -> None:
    run, of = made
    monkeypatch.setattr(Run, "embedder_name", RandomEmbedder.name)
    said = printed(capsys, "map", run.name)
    assert f"{len(of)} labels, {len(of.clusters)} clusters" in said
    assert max(of.clusters, key=lambda cluster: cluster.n).name in said
    assert "/tiny/1-res-64/map" in said
    assert "no source" in complaint(capsys, "map", run.name, "--source", "nowhere@1")
    make_store(tmp_path / "bare", 0)
    assert "no labels embedded" in complaint(capsys, "map", str(tmp_path / "bare"))
