"""Labels found through an index folder, beside all of them compared one by one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import FilterError, SearchError
from autointerp.records import EVERY_FEATURE, FeatureFilter, SearchHit
from autointerp.search.embed_labels import index_labels
from autointerp.search.engine import SearchEngine
from autointerp.search.indexes import update
from autointerp.search.indexes.folder import LabelsInFolder, open_folder
from autointerp.search.indexes.manifest import MANIFEST, UnusableIndexError
from autointerp.search.indexes.update import index_folder, update_index
from autointerp.store.reader import Reader
from autointerp.store.writer import Writer
from tests.search.large_store import RandomEmbedder, add_labels, large_store
from tests.store.making import make

FILTERS = (
    EVERY_FEATURE,
    FeatureFilter(min_score={"detection": 0.9}),
    FeatureFilter(max_density=0.005),
    FeatureFilter(features=range(100, 120), explainer="keywords"),
    FeatureFilter(features=[5999]),
)
QUERIES = ("word1 word20", "word7", "word300 word12 word5", "word3 nothing")


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 3000 labels with an index folder."""
    store = large_store(tmp_path_factory.mktemp("large"), 3000)
    update_index(Reader(store), RandomEmbedder.name)
    return store.parent


@pytest.fixture
def run(indexed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(indexed, tmp_path / "run"))


def exact(run: Path) -> SearchEngine:
    return SearchEngine(Reader(run), RandomEmbedder())


def by_index(run: Path) -> SearchEngine:
    return SearchEngine(Reader(run), RandomEmbedder(), exact_below=0)


def assert_same(hits: list[SearchHit], expected: list[SearchHit]) -> None:
    """Hits are the same, up to what float16 vectors lose of their relevance, and to the order that this leaves.

    Those that are alike are counted among the labels close to the query, which an index does not have all of.
    """
    assert [hit.relevance for hit in hits] == pytest.approx([hit.relevance for hit in expected], abs=1e-3)
    known = {hit.feature_index: replace(hit, relevance=0.0, n_alike=None) for hit in expected}
    least = expected[-1].relevance + 1e-3 if expected else 0.0
    for hit in hits:
        if hit.relevance > least:
            assert replace(hit, relevance=0.0, n_alike=None) == known[hit.feature_index]


def assert_all_same(run: Path) -> None:
    for where in FILTERS:
        for query in QUERIES:
            assert_same(by_index(run).search(query, 10, where), exact(run).search(query, 10, where))


def test_an_index_finds_what_comparing_all_finds(indexed: Path) -> None:
    assert_all_same(indexed)


def test_neighbors_are_those_of_comparing_all(indexed: Path) -> None:
    for group in ([5], [7, 8, 9]):
        assert_same(by_index(indexed).neighbors(group), exact(indexed).neighbors(group))


def test_more_than_there_are_are_all_that_there_are(indexed: Path) -> None:
    assert len(by_index(indexed).search("word1", 10_000)) == 3000
    assert len(by_index(indexed).search("word1", 10_000, FeatureFilter(features=range(50)))) == 50


def test_a_filter_is_held_against_the_names_of_the_store(indexed: Path) -> None:
    with pytest.raises(FilterError, match="no label has a score of 'f1': scorers are detection"):
        by_index(indexed).search("word1", where=FeatureFilter(min_score={"f1": 0.5}))


def test_an_index_is_extended_by_what_came_and_is_then_as_if_made_anew(run: Path) -> None:
    reader = Reader(run)
    folder = index_folder(reader.path, RandomEmbedder.name)
    codes = sorted(path.name for path in folder.glob("codes-*"))
    add_labels(Writer(run), 3000, 3500)
    assert_all_same(run)
    assert sorted(path.name for path in folder.glob("codes-*")) == codes, "it was extended, not made anew"
    extended = by_index(run).search("word9", 200)
    shutil.rmtree(folder)
    update_index(reader, RandomEmbedder.name)
    assert_same(by_index(run).search("word9", 200), extended)


def test_centroids_are_made_anew_once_there_are_twice_as_many_labels(run: Path) -> None:
    add_labels(Writer(run), 3000, 6000)
    assert update_index(Reader(run), RandomEmbedder.name).n_trained == 3000
    writer = Writer(run)
    writer.add_explanations([make.explanation(0, "word1 word2 word3", fingerprint="e2")])
    writer.add_source(replace(make.source(9), source_id="tiny@other"))
    labels = [
        replace(make.explanation(1, "word8"), source_id="tiny@other", explanation_id=f"other{n}") for n in range(9)
    ]
    writer.add_explanations(labels)
    index_labels(Reader(run), writer, RandomEmbedder())
    manifest = update_index(Reader(run), RandomEmbedder.name)
    assert manifest.n_trained == manifest.n_coded == manifest.n_rows == 6010
    assert_all_same(run)


def test_labels_of_earlier_settings_are_found_no_more_and_again_with_these_settings(run: Path) -> None:
    writer = Writer(run)
    index = by_index(run)
    before = index.search("word1", 5)
    writer.add_explanations([make.explanation(2999, "word1", fingerprint="e2")])
    index_labels(Reader(run), writer, RandomEmbedder())
    writer.set_stage("explain", "e2", "done")
    assert [(hit.feature_index, hit.label) for hit in index.search("word1", 5)] == [(2999, "word1")]
    writer.set_stage("explain", before_fingerprint(run), "done")
    assert index.search("word1", 5) == before


def before_fingerprint(run: Path) -> str:
    return Reader(run).explanations([0], superseded=True)[0].fingerprint


def test_scores_of_new_settings_take_the_place_of_earlier_ones(run: Path) -> None:
    writer, index = Writer(run), by_index(run)
    label = Reader(run).explanations([0])[0]
    graded = make.graded(label, value=0.125)
    writer.add_scores([replace(graded, score=replace(graded.score, fingerprint="new", scorer="other"))])
    writer.add_scores([replace(graded, score=replace(graded.score, fingerprint="new"))])
    writer.set_stage("score:detection", "new", "done")
    (hit,) = index.search(label.label, 1, FeatureFilter(features=[0]))
    assert hit.scores == {"detection": 0.125, "other": 0.125}
    (hit,) = index.search(label.label, 1, FeatureFilter(features=[2]), min_relevance=0)
    assert hit.scores == {}
    assert [hit.feature_index for hit in index.search(label.label, 9, FeatureFilter(min_score={"detection": 0}))] == [0]


def damage(folder: Path, how: str) -> None:
    vectors = folder / "vectors.f16"
    if how == "a missing file":
        vectors.unlink()
    elif how == "a shorter file":
        vectors.write_bytes(vectors.read_bytes()[:-5])
    elif how == "an empty end":
        vectors.write_bytes(vectors.read_bytes()[:100_000].ljust(vectors.stat().st_size, b"\0"))
    elif how == "no words":
        shutil.rmtree(folder / "words")
    elif how == "fewer words":
        for path in (folder / "words").glob("*.term"):
            path.unlink()
    elif how == "half a manifest":
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:50])
    elif how == "another format":
        kept = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(kept | {"format": 0}))
    elif how == "no manifest":
        (folder / MANIFEST).unlink()


@pytest.mark.parametrize(
    "how",
    [
        "a missing file",
        "a shorter file",
        "an empty end",
        "no words",
        "fewer words",
        "half a manifest",
        "another format",
        "no manifest",
    ],
)
def test_a_half_copied_folder_is_told_and_not_searched_and_made_anew(
    run: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(run)
    damage(index_folder(reader.path, RandomEmbedder.name), how)
    with pytest.raises(UnusableIndexError, match=r"autointerp index|made anew"):
        open_folder(reader, RandomEmbedder.name)
    assert by_index(run).search("word1") == exact(run).search("word1")
    assert "labels are compared" in caplog.text
    update_index(reader, RandomEmbedder.name)
    assert isinstance(open_folder(reader, RandomEmbedder.name), LabelsInFolder)
    assert_all_same(run)


def test_an_index_of_another_store_is_not_used(run: Path, tmp_path: Path) -> None:
    other = large_store(tmp_path / "other", 3000).parent
    writer = Writer(other)
    writer.add_explanations([make.explanation(0, "word1 word1", fingerprint="e9")])
    shutil.copytree(run / "index", other / "index")
    store = tmp_path / "third"
    third = Writer(store)
    third.add_source(make.source(6000))
    third.add_features([make.feature(i) for i in range(6000)])
    add_labels(third, 3000, 6000)
    shutil.copytree(run / "index", store / "index")
    with pytest.raises(UnusableIndexError, match="belongs to another store: run `autointerp index`"):
        open_folder(Reader(store), RandomEmbedder.name)
    update_index(Reader(store), RandomEmbedder.name)
    assert_all_same(store)


def test_a_store_without_a_usable_index_and_too_large_to_do_without_is_told(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.search.open_labels.MOST_IN_MEMORY", 1000)
    shutil.rmtree(run / "index")
    with pytest.raises(SearchError, match=r"there is no index at .*: run `autointerp index`"):
        by_index(run).search("word1")


def test_an_extension_that_was_killed_leaves_the_index_of_before(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_labels(Writer(run), 3000, 3200)
    reader = Reader(run)

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(update, "write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            update_index(reader, RandomEmbedder.name)
    assert_all_same(run)
    assert update_index(reader, RandomEmbedder.name).n_rows == 3200


def test_many_labels_that_say_the_same_come_in_the_order_of_their_features(tmp_path: Path) -> None:
    writer = Writer(large_store(tmp_path, 3000))
    same = [make.explanation(index, "word5 word6 word7") for index in range(3000, 5000)]
    writer.add_explanations(same)
    index_labels(Reader(tmp_path), writer, RandomEmbedder())
    update_index(Reader(tmp_path), RandomEmbedder.name)
    hits = by_index(tmp_path).search("word5 word6 word7", 40)
    assert [hit.feature_index for hit in hits] == [
        hit.feature_index for hit in exact(tmp_path).search("word5 word6 word7", 40)
    ]


def test_ties_and_unknown_densities_and_vectors_of_zero(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add_source(make.source(400))
    labels = [make.explanation(index, f"word{index % 7}") for index in range(400)]
    writer.add_explanations(labels)
    vectors = np.zeros((400, 8), np.float32)
    vectors[10:] = np.eye(8, dtype=np.float32)[np.arange(390) % 3]
    writer.add_label_embeddings([label.explanation_id for label in labels], "random", vectors)
    manifest = update_index(Reader(tmp_path), "random")
    found = LabelsInFolder(index_folder(Reader(tmp_path).path, "random"), manifest)
    allowed = found.passing(FeatureFilter(min_density=0.1))
    assert allowed is not None
    assert not allowed.any()
    rows, similarity = found.closest(np.eye(8, dtype=np.float32)[1], 5, None)
    assert rows[similarity == 1.0].tolist()[:3] == [11, 14, 17]
