"""Tokens of a request, estimated on the high side."""

import pytest

from autointerp.assets import asset_folder
from autointerp.llm.tokens import estimated_tokens
from tests.loopback.wordpieces import n_tokens


@pytest.mark.parametrize("prompt", sorted(p.stem for p in asset_folder("prompts").glob("*.txt")))
def test_the_estimate_is_not_below_what_a_small_vocabulary_makes_of_our_prompts(prompt: str) -> None:
    text = (asset_folder("prompts") / f"{prompt}.txt").read_text(encoding="utf-8")
    assert n_tokens(text) <= estimated_tokens(text) < 2 * n_tokens(text)


@pytest.mark.parametrize(("text", "n"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("日本語", 3), ("\ud800", 1)])
def test_a_token_is_three_bytes(text: str, n: int) -> None:
    assert estimated_tokens(text) == n
