"""Shards of an index on Ray answer as one index."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import SearchError
from autointerp.records import EVERY_FEATURE, FeatureFilter
from autointerp.run.workers.ray_index import index_on_ray
from autointerp.search.indexes.folder import LabelsInFolder
from autointerp.search.indexes.manifest import read_manifest
from autointerp.search.indexes.shards import share_out
from autointerp.search.indexes.update import index_folder, update_index
from autointerp.store.reader import Reader
from tests.search.large_store import RandomEmbedder, large_store


def test_rows_are_shared_out_equally_and_none_is_left_out() -> None:
    assert share_out(10, 4) == [(0, 2), (2, 5), (5, 7), (7, 10)]
    assert share_out(2, 4) == [(0, 1), (1, 2)]


@pytest.mark.slow
def test_four_shards_answer_as_one_index(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    reader, embedder = Reader(large_store(tmp_path, 3000)), RandomEmbedder()
    manifest = update_index(reader, embedder.name)
    folder = index_folder(reader.path, embedder.name)
    one = LabelsInFolder(folder, manifest)
    with index_on_ray(folder, manifest, 4) as shards:
        four = LabelsInFolder(folder, manifest, shards)
        for where in (EVERY_FEATURE, FeatureFilter(min_score={"detection": 0.5}), FeatureFilter(features=[2999])):
            for query in ("word1 word20", "word7", "word300 word12 word5"):
                (vector,) = embedder.embed([query])
                expected = one.closest(vector, 10, one.passing(where))
                found = four.closest(vector, 10, four.passing(where))
                np.testing.assert_array_equal(found.rows, expected.rows)
                np.testing.assert_array_equal(found.similarity, expected.similarity)
    assert read_manifest(folder) == manifest


@pytest.mark.slow
def test_a_shard_without_the_folder_is_told(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    reader = Reader(large_store(tmp_path, 50))
    manifest = update_index(reader, RandomEmbedder.name)
    folder = index_folder(reader.path, RandomEmbedder.name)
    shutil.rmtree(folder)
    (vector,) = RandomEmbedder().embed(["word1"])
    with (
        index_on_ray(folder, manifest, 2) as shards,
        pytest.raises(SearchError, match="a shard of the index does not answer"),
    ):
        shards.closest(vector, 10)
