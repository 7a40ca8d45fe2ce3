"""How far labels have the very words of a query."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64


class WordMatches:
    """Compares queries with labels by their words: runs of letters and digits, in lower case.

    Args:
        labels: One a row.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        # A third of a second to import, which only this needs.
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._lowered = pc.utf8_lower(pa.array(labels, pa.string()))
        self._vectorizer = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True, dtype=np.float64)
        has_words = any(re.search(r"\w", label) for label in labels)
        self._matrix = self._vectorizer.fit_transform(labels) if has_words else None

    def of(self, query: str) -> Float64[np.ndarray, " row"]:
        """Cosine of TF-IDF vectors, in which rare words weigh more; 1 where a label has the whole query as a phrase."""
        if self._matrix is None:
            return np.zeros(len(self._lowered))
        matches: Float64[np.ndarray, " row"] = (self._matrix @ self._vectorizer.transform([query]).T).toarray()[:, 0]
        words = query.strip().lower()
        phrase = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)")
        for row in np.flatnonzero(pc.match_substring(self._lowered, words).to_numpy(zero_copy_only=False)):
            if phrase.search(self._lowered[int(row)].as_py()):
                matches[row] = 1.0
        return matches
