"""How relevant a label is to a query, and from where on a label is about it at all.

1. A convex combination of meaning and words, which Bruch, Gai and Ingber ("An Analysis of Fusion Functions for Hybrid
   Retrieval", TOIS 2023) found to beat fusing by rank:

       relevance = (1 - word_weight) cosine(query, label) + word_weight words(query, label)

   where `words` is the cosine of TF-IDF vectors, and 1 where the label holds the whole query as a phrase.
2. A label that scored low loses by it, if that is asked for: relevance is multiplied by
   1 - score_weight (1 - mean of its scores).
3. Where not even the best label reaches `min_relevance`, no label is about the query. That is asked of a query of one
   word. A whole question is close to no list of words, not even to its own, so of it is asked sqrt(c) times as much,
   c the cosine of the query and the centroid of its own words.
The defaults stand in `config.SearchConfig`, and what each step is worth in `benchmarks/search_quality.md`.
"""

import numpy as np
from jaxtyping import Float32, Float64

from autointerp.embedder import TextEmbedder
from autointerp.search.word_matches import words_of_query

_MOST_OWN_WORDS = 32


def fuse(
    meaning: Float64[np.ndarray, " candidate"], words: Float64[np.ndarray, " candidate"], word_weight: float
) -> Float64[np.ndarray, " candidate"]:
    """Relevance of candidates, larger is closer, at most 1: step 1.

    Args:
        meaning: Cosine of the query's and each label's embedding.
        words: How far each label has the query's words, 0 to 1.
        word_weight: Share of the words.
    """
    relevance: Float64[np.ndarray, " candidate"] = (1 - word_weight) * meaning + word_weight * words
    return relevance


def weigh_scores(
    relevance: Float64[np.ndarray, " candidate"], scores: Float64[np.ndarray, " candidate"], score_weight: float
) -> Float64[np.ndarray, " candidate"]:
    """Take off what labels lose that scored low: step 2.

    Args:
        relevance: Of each candidate.
        scores: Mean score of each; NaN where it has none, which counts as the mean of the others.
        score_weight: How much is lost at a score of 0.
    """
    known = scores[np.isfinite(scores)]
    lost = 1 - np.where(np.isfinite(scores), scores, known.mean() if known.size else 1.0)
    weighed: Float64[np.ndarray, " candidate"] = relevance * (1 - score_weight * lost)
    return weighed


def share_of_floor(query: str, vector: Float32[np.ndarray, " dim"], embedder: TextEmbedder) -> float:
    """What part of the least relevance is asked of a query: step 3.

    Args:
        query: Its text.
        vector: Its embedding.
        embedder: Which made it.
    """
    own = list(dict.fromkeys(words_of_query(query)))[:_MOST_OWN_WORDS]
    if not own:
        return 1.0
    centroid = embedder.embed(own).mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(centroid))
    return float(np.sqrt(np.clip(vector @ centroid / length, 0.0, 1.0))) if length > 0 else 1.0
