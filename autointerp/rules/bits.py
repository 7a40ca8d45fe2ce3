"""What a rule saves in telling where a feature fires, and what it costs to write it down; both in bits."""

import math

import numpy as np
from jaxtyping import Float64

from autointerp.rules.rule import (
    CLASSES,
    PLACES,
    SCRIPTS,
    Affixed,
    Class,
    Condition,
    Forms,
    Place,
    Root,
    Rule,
    Side,
    Words,
)

# How far, and on which side, something may stand by.
REACHES: tuple[tuple[Side, int], ...] = (
    *(("after", 1), ("before", 1), ("after", 3), ("before", 3)),
    *(("near", 6), ("near", 12)),
)
# What a part costs, in bits: which kind it is, and which of the choices that the kind has.
_KIND_BITS = 3.0
_LETTER_BITS = 4.0
_CLASS_BITS = math.log2(len(CLASSES) + len(SCRIPTS))
_PLACE_BITS = math.log2(len(PLACES))
_REACH_BITS = math.log2(len(REACHES))


def rule_bits(rule: Rule, n_words: int) -> float:
    """What it takes to write a rule down.

    Args:
        rule: The rule.
        n_words: Size of the vocabulary that words are chosen from.
    """
    parts = [*rule.roots, *([rule.unless] if rule.unless is not None else [])]
    return sum(root_bits(root, n_words) for root in parts) + sum(_condition_bits(of, n_words) for of in rule.where)


def root_bits(root: Root, n_words: int) -> float:
    """What it takes to write down one of a rule's roots, or what stands by.

    Args:
        root: The root.
        n_words: As in `rule_bits`.
    """
    match root:
        case Words() | Forms():
            return _KIND_BITS + len(root.words) * math.log2(n_words)
        case Affixed():
            return _KIND_BITS + sum(1 + _LETTER_BITS * len(part) for part in root.parts)
        case Class():
            return _KIND_BITS + _CLASS_BITS


def _condition_bits(condition: Condition, n_words: int) -> float:
    if isinstance(condition, Place):
        return _KIND_BITS + _PLACE_BITS
    return _KIND_BITS + _REACH_BITS + root_bits(condition.root, n_words)


def bits_saved(
    both: Float64[np.ndarray, "..."] | float,
    alarms: Float64[np.ndarray, "..."] | float,
    fires: float,
    silent: float,
) -> Float64[np.ndarray, "..."]:
    """How much is saved, n times mutual information in bits, by knowing where a rule holds; signed.

    Below 0 where the feature fires less often where a rule holds than elsewhere.

    Args:
        both: Units on which a rule holds and the feature fires.
        alarms: Units on which it holds alone.
        fires: Units on which the feature fires.
        silent: Units on which it is silent.
    """
    a, b = np.asarray(both, dtype=np.float64), np.asarray(alarms, dtype=np.float64)
    n, said = fires + silent, a + b

    total = (
        _term(a, said, fires / n)
        + _term(b, said, silent / n)
        + _term(fires - a, n - said, fires / n)
        + _term(silent - b, n - said, silent / n)
    )
    signed: Float64[np.ndarray, ...] = np.where(a * n >= said * fires, total, -total)
    return signed


def _term(
    count: Float64[np.ndarray, "..."], of: Float64[np.ndarray, "..."], share: float
) -> Float64[np.ndarray, "..."]:
    part: Float64[np.ndarray, ...] = np.where(
        count > 0, count * np.log2(np.maximum(count, 1e-300) / np.maximum(of * share, 1e-300)), 0.0
    )
    return part
