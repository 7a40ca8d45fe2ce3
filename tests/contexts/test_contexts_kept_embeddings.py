"""The file of a pool's embeddings: read where it is right, made anew where it is not."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from autointerp.contexts.kept_embeddings import KeptEmbeddings
from tests.contexts.world import BagOfWords

TEXTS = ["a ship on a river", "bread and candles", ""]


def test_what_was_written_is_read_to_the_last_bit_and_not_embedded_again(tmp_path: Path) -> None:
    embedder = BagOfWords()
    kept = KeptEmbeddings(tmp_path / "pool" / "embeddings.safetensors", "one run", embedder)
    computed = kept.of(TEXTS, embedder)
    np.testing.assert_array_equal(kept.of(TEXTS, embedder), computed)
    assert embedder.n_embedded == len(TEXTS)
    assert [file.name for file in kept.file.parent.iterdir()] == [kept.file.name], "a temporary file was left"


@pytest.mark.parametrize(
    ("made_of", "texts"), [("another run", TEXTS), ("one run", TEXTS[::-1]), ("one run", TEXTS[:2])]
)
def test_a_file_of_other_texts_or_another_run_is_made_anew(tmp_path: Path, made_of: str, texts: list[str]) -> None:
    file = tmp_path / "embeddings.safetensors"
    first, embedder = BagOfWords(), BagOfWords()
    KeptEmbeddings(file, "one run", first).of(TEXTS, first)
    for _ in range(2):
        found = KeptEmbeddings(file, made_of, embedder).of(texts, embedder)
        np.testing.assert_array_equal(found, BagOfWords().embed(texts))
    assert embedder.n_embedded == len(texts)


class TwiceBagOfWords(BagOfWords):
    """Another embedder of the same name."""

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        return 2 * super().embed(texts)


class NamedOtherwise(TwiceBagOfWords):
    name = "twice-bag-of-words"


@pytest.mark.parametrize("other", [TwiceBagOfWords(), NamedOtherwise()], ids=lambda other: other.name)
def test_another_embedder_gets_its_own_vectors_and_leaves_the_file_as_it_is(tmp_path: Path, other: BagOfWords) -> None:
    embedder = BagOfWords()
    kept = KeptEmbeddings(tmp_path / "embeddings.safetensors", "one run", embedder)
    np.testing.assert_array_equal(kept.of(TEXTS, other), 2 * BagOfWords().embed(TEXTS))
    assert not kept.file.exists()
    computed = kept.of(TEXTS, embedder)
    whole = kept.file.read_bytes()
    np.testing.assert_array_equal(kept.of(TEXTS, other), 2 * computed)
    assert kept.file.read_bytes() == whole


def test_a_file_of_an_embedder_of_another_name_is_made_anew(tmp_path: Path) -> None:
    file, embedder, other = tmp_path / "embeddings.safetensors", BagOfWords(), NamedOtherwise()
    computed = KeptEmbeddings(file, "one run", embedder).of(TEXTS, embedder)
    np.testing.assert_array_equal(KeptEmbeddings(file, "one run", other).of(TEXTS, other), 2 * computed)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_one_bit_changed(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize("damage", [cut_short, with_one_bit_changed, lambda _: b"", lambda _: b"no such format" * 9])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    embedder = BagOfWords()
    kept = KeptEmbeddings(tmp_path / "embeddings.safetensors", "one run", embedder)
    computed = kept.of(TEXTS, embedder)
    whole = kept.file.read_bytes()
    kept.file.write_bytes(damage(whole))
    np.testing.assert_array_equal(kept.of(TEXTS, embedder), computed)
    assert kept.file.read_bytes() == whole
    assert embedder.n_embedded == 2 * len(TEXTS)


def test_where_no_file_can_be_written_texts_are_embedded_each_time(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text("a file where the folder should be")
    embedder = BagOfWords()
    kept = KeptEmbeddings(tmp_path / "pool" / "embeddings.safetensors", "one run", embedder)
    for _ in range(2):
        np.testing.assert_array_equal(kept.of(TEXTS, embedder), BagOfWords().embed(TEXTS))
    assert embedder.n_embedded == 2 * len(TEXTS)
