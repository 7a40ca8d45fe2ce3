"""A query's vector without torch, beside the whole embedder's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import BertConfig, BertModel, BertTokenizerFast

from autointerp.config import EmbedderConfig
from autointerp.embedder import Embedder
from autointerp.query_bert import MOST_TOKENS, load_query_bert
from autointerp.query_embedder import QueryEmbedder
from autointerp.usual_bert import EMBEDDED_MODEL

QUERIES = [
    "error handling", "a", "words about the months of a year", "Schrödinger 方程式 is 線形", "[SEP] it [MASK]", "🙂",
    "", "a\x00b\u200b", "привет, мир", "\ud800 lone", "word " * (MOST_TOKENS - 2), "word " * MOST_TOKENS, "word " * 400,
]  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> Embedder:
    return Embedder(EmbedderConfig())


def test_vectors_are_those_of_the_whole_embedder_up_to_rounding(whole: Embedder) -> None:
    found = QueryEmbedder(whole, EMBEDDED_MODEL).embed(QUERIES)
    np.testing.assert_allclose(found, whole.embed(QUERIES), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found.dtype == np.float32


def test_a_vector_does_not_depend_on_what_is_embedded_with_it(whole: Embedder) -> None:
    queries = QueryEmbedder(whole, EMBEDDED_MODEL)
    together = queries.embed(QUERIES)
    for query, vector in zip(QUERIES, together, strict=True):
        np.testing.assert_array_equal(queries.embed([query])[0], vector)
    assert queries.embed([]).shape == (0, 384)


def test_a_query_needs_no_torch() -> None:
    code = """if True:
        import sys
        from autointerp.config import EmbedderConfig
        from autointerp.embedder import Embedder
        from autointerp.query_embedder import QueryEmbedder

        config = EmbedderConfig()
        QueryEmbedder(Embedder(config), config.model).embed(["error handling"])
        print("torch" in sys.modules)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


def test_a_model_of_another_layout_is_left_to_the_whole_embedder(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef"]))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    small = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(small).save_pretrained(tmp_path)
    assert load_query_bert(str(tmp_path)) is None
    assert load_query_bert(str(tmp_path / "nowhere")) is None
    assert load_query_bert("a/name-on-the-hub") is None
    whole = Embedder(EmbedderConfig(model=str(tmp_path), device="cpu"))
    np.testing.assert_array_equal(QueryEmbedder(whole, str(tmp_path)).embed(["a b"]), whole.embed(["a b"]))
