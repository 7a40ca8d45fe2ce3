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
from datetime import UTC, datetime

from autointerp.config import ExplainConfig
from autointerp.embedder import QUOTES
from autointerp.explain.words import BaseRates, firing_words, stem
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.records import Context, Explanation, Failure, FeatureEvidence

NAME = "keywords"


def keywords_fingerprint(config: ExplainConfig) -> str:
    """Fingerprint of the number of words; base rates are those of a source's contexts, which have one of their own."""
    return fingerprint(NAME, 1, config.n_keywords)


class KeywordsExplainer:
    """An `Explainer` that lists words; see the module's steps.

    Args:
        base_rates: Of the source's corpus, counted on the explain split.
        config: With the number of words.
    """

    def __init__(self, base_rates: BaseRates, config: ExplainConfig) -> None:
        self._base_rates = base_rates
        self._n_keywords = config.n_keywords
        self._fingerprint = fingerprint(keywords_fingerprint(config), base_rates.fingerprint)

    @property
    def name(self) -> str:
        """`keywords`."""
        return NAME

    @property
    def fingerprint(self) -> str:
        """Of the number of words and the base rates."""
        return self._fingerprint

    async def explain(self, evidence: FeatureEvidence) -> Explanation | Failure:
        """Write a label; `NoContexts` where no context of the explain split holds a firing word."""
        words = telling_words(evidence.active, self._base_rates)[: self._n_keywords]
        if not words:
            return Failure(
                stage="explain",
                source_id=evidence.source_id,
                feature_index=evidence.feature_index,
                error_type="NoContexts",
                message="no context of the explain split holds a word on which the feature fires",
                raw=None,
                retry=False,
                created_at=datetime.now(UTC),
                fingerprint=self._fingerprint,
            )
        feature = feature_id(evidence.source_id, evidence.feature_index)
        return Explanation(
            explanation_id=stable_uuid(f"{feature}/{self._fingerprint}"),
            source_id=evidence.source_id,
            feature_index=evidence.feature_index,
            label=render_label(words),
            explainer=NAME,
            model="local",
            prompt_sha256=None,
            cost_usd=0.0,
            created_at=datetime.now(UTC),
            fingerprint=self._fingerprint,
        )


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
