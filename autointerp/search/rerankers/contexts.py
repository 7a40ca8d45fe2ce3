"""The local reranker: the query against the label and the strongest contexts together, by the run's embedder.

    relevance = LABEL_WEIGHT (cosine(query, label) + mean cosine(query, each word of the label)) / 2
              + PEAK_WEIGHT mean cosine(query, the word at each context's peak)
              + CONTEXT_WEIGHT mean(the N_CLOSEST largest cosine(query, context))

A list of words has an embedding far from those of its words: they are looked at one by one, too. The word at the peak
is what a feature fires on whatever its label says. Of a feature without contexts the label counts alone.
"""

from collections.abc import Sequence

import numpy as np

from autointerp.records import Context
from autointerp.search.rerankers.base import BaseReranker, ShownLabel
from autointerp.words import label_meaning, label_words, plain_word, words_on_tokens

LABEL_WEIGHT = 0.5
PEAK_WEIGHT = 0.3
CONTEXT_WEIGHT = 0.2
N_CLOSEST = 3


class ContextsReranker(BaseReranker):
    """Compares by the run's embedder."""

    name = "contexts"

    def relevance(self, query: str, labels: Sequence[ShownLabel]) -> list[float]:
        """See the module."""
        texts = {query}
        for shown in labels:
            texts |= {label_meaning(shown.label), *label_words(shown.label), *peak_words(shown.contexts)}
            texts |= {context.text for context in shown.contexts}
        ordered = sorted(texts)
        vectors = self.tools.embedder.embed(ordered)
        to = dict(zip(ordered, (vectors @ vectors[ordered.index(query)]).tolist(), strict=True))

        def mean(some: Sequence[str]) -> float:
            return float(np.mean([to[text] for text in some]))

        found = []
        for shown in labels:
            value = (to[label_meaning(shown.label)] + mean(label_words(shown.label))) / 2
            if shown.contexts:
                value *= LABEL_WEIGHT
                closest = sorted((context.text for context in shown.contexts), key=to.__getitem__)[-N_CLOSEST:]
                value += PEAK_WEIGHT * mean(peak_words(shown.contexts)) + CONTEXT_WEIGHT * mean(closest)
            found.append(value)
        return found


def peak_words(contexts: Sequence[Context]) -> list[str]:
    """The word that each context peaks on, in lower case; the token itself where it is of no word."""
    found = []
    for context in contexts:
        at = [match for match, first, last in words_on_tokens(context.tokens) if first <= context.peak <= last]
        found.append(plain_word(at[0].group()) if at else context.tokens[context.peak].strip())
    return found
