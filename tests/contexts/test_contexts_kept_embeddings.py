"""The file of a pool's embeddings: read where it is right, made anew where it is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autointerp.contexts.kept_embeddings import KeptEmbeddings
from tests.contexts.world import BagOfWords

TEXTS = ["a ship on a river", "bread and candles", ""]


def test_what_was_written_is_read_to_the_last_bit_and_not_embedded_again(tmp_path: Path) -> None:
    kept, embedder = KeptEmbeddings(tmp_path / "pool" / "embeddings.safetensors", "one run"), BagOfWords()
    computed = kept.of(TEXTS, embedder.embed)
    np.testing.assert_array_equal(kept.of(TEXTS, embedder.embed), computed)
    assert embedder.n_embedded == len(TEXTS)
    assert [file.name for file in kept.file.parent.iterdir()] == [kept.file.name], "a temporary file was left"


@pytest.mark.parametrize(
    ("made_of", "texts"), [("another run", TEXTS), ("one run", TEXTS[::-1]), ("one run", TEXTS[:2])]
)
def test_a_file_of_other_texts_or_another_run_is_made_anew(tmp_path: Path, made_of: str, texts: list[str]) -> None:
    file = tmp_path / "embeddings.safetensors"
    KeptEmbeddings(file, "one run").of(TEXTS, BagOfWords().embed)
    embedder = BagOfWords()
    for _ in range(2):
        found = KeptEmbeddings(file, made_of).of(texts, embedder.embed)
        np.testing.assert_array_equal(found, BagOfWords().embed(texts))
    assert embedder.n_embedded == len(texts)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_one_bit_changed(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize("damage", [cut_short, with_one_bit_changed, lambda _: b"", lambda _: b"no such format" * 9])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    kept, embedder = KeptEmbeddings(tmp_path / "embeddings.safetensors", "one run"), BagOfWords()
    computed = kept.of(TEXTS, embedder.embed)
    whole = kept.file.read_bytes()
    kept.file.write_bytes(damage(whole))
    np.testing.assert_array_equal(kept.of(TEXTS, embedder.embed), computed)
    assert kept.file.read_bytes() == whole
    assert embedder.n_embedded == 2 * len(TEXTS)


def test_where_no_file_can_be_written_texts_are_embedded_each_time(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text("a file where the folder should be")
    kept, embedder = KeptEmbeddings(tmp_path / "pool" / "embeddings.safetensors", "one run"), BagOfWords()
    for _ in range(2):
        np.testing.assert_array_equal(kept.of(TEXTS, embedder.embed), BagOfWords().embed(TEXTS))
    assert embedder.n_embedded == 2 * len(TEXTS)
