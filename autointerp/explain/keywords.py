"""The explainer `keywords`: the words that set a feature's contexts apart from the corpus. Local, no language model.

1. Each active context of the explain split is cut into whole words. A word's mass is its activation over the context's
   peak, once per context: a feature that fires on pieces of a word is shown the word.
2. A word's evidence is `mass x ln(share of the mass / base rate)`: how much more often than by chance the feature
   fires on it, weighted by how often it does (the pointwise Kullback-Leibler divergence that Tomokiyo and Hurst 2003
   rank phrases by). A base rate of one more than counted keeps rare words from winning on no evidence.
3. Words that fire in two contexts or more go before those of one context only, which follow by evidence too: they
   say what else is meant, and leaving them out cost more than their oddity does.
4. Inflections are merged (deque, deques): the first of them stands for all.
5. The first `n_keywords` are the label, apart by commas.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from autointerp.config import ExplainConfig
from autointerp.explain.base import BaseExplainer, Tools
from autointerp.explain.word_rates import BaseRates, firing_words
from autointerp.records import Context, Explanation, Failure, FeatureEvidence
from autointerp.words import QUOTES, stem


class KeywordsExplainer(BaseExplainer):
    """An explainer that lists words; see the module's steps.

    Args:
        tools: With the base rates of the source's corpus, counted on the explain split.
    """

    name = "keywords"
    version = 2

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._base_rates = tools.base_rates()

    @classmethod
    def settings(cls, config: ExplainConfig) -> Sequence[Any]:
        """The number of words; base rates are those of a source's contexts, which have a fingerprint of their own."""
        return (config.n_keywords,)

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label; `NoContexts` where no context of the explain split holds a firing word."""
        words = telling_words(evidence.active, self._base_rates)[: self.config.n_keywords]
        if not words:
            message = "no context of the explain split holds a word on which the feature fires"
            return self.failure(evidence, "NoContexts", message)
        return self.explanation(evidence, render_label(words))


def telling_words(active: Sequence[Context], base_rates: BaseRates) -> list[str]:
    """The words that a feature fires on, most evidence first, inflections merged; see steps 1 to 4 of the module.

    Args:
        active: Contexts in which it fires.
        base_rates: How common words are.

    Returns:
        Words in lower case, ties in alphabetic order; none with evidence against it (rarer than by chance).
    """
    mass: defaultdict[str, float] = defaultdict(float)
    n_contexts: Counter[str] = Counter()
    for context in active:
        strongest: defaultdict[str, float] = defaultdict(float)
        for word, activation in firing_words(context):
            if activation > 0:
                strongest[word] = max(strongest[word], activation / context.max_activation)
        for word, share in strongest.items():
            mass[word] += share
            n_contexts[word] += 1
    total = sum(mass.values()) + 1.0
    evidence = {word: m * math.log(m / total / base_rates.rate(word)) for word, m in mass.items()}
    ranked = sorted(
        (word for word, e in evidence.items() if e > 0), key=lambda word: (n_contexts[word] < 2, -evidence[word], word)
    )
    by_stem: dict[str, str] = {}
    for word in ranked:
        by_stem.setdefault(stem(word), word)
    return list(by_stem.values())


def render_label(words: Sequence[str]) -> str:
    """Words apart by commas; punctuation marks in quotes, so that `embedder.label_words` reads the same words back."""
    return ", ".join(_render(word) for word in words)


def _render(word: str) -> str:
    if word[0].isalnum():
        return word
    return f"'{word}'" if word in QUOTES else f'"{word}"'
