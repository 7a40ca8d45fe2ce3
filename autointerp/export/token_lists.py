"""The tokens of a feature as plain values, each with its measures (`records.tokens`), as JSON and Parquet have them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autointerp.records import FeatureRecord, InputToken, NextToken, TokenLogit, input_tokens, next_tokens


def token_lists(feature: FeatureRecord) -> dict[str, list[dict[str, Any]]]:
    """`top_tokens`, `following_tokens`, `top_logits` and `bottom_logits`, in the order in which they are stored."""
    lists: dict[str, Sequence[InputToken | NextToken | TokenLogit]] = {
        "top_tokens": input_tokens(feature),
        "following_tokens": next_tokens(feature),
        "top_logits": feature.top_logits,
        "bottom_logits": feature.bottom_logits,
    }
    return {name: [asdict(token) for token in tokens] for name, tokens in lists.items()}
