"""Activations on scales on which features can be compared: percentiles, and surprise.

Features are not on one scale, and those that fire on every line break or first token are the largest. So an activation
is also told by what it is for its own feature, from the exact counts over the corpus.

1. The *percentile* of an activation is the share of the feature's own firings in the corpus that are below it, times
   100. Counts are known by bins whose edges are powers of two; inside a bin they are taken to lie evenly, from its
   lower edge (0 of the first bin) to its upper one, or to the feature's largest activation where that is lower. The
   error is at most the share of the firings that lie in that bin (`percentile_error` has the bound for each).
2. The *surprise* of an activation is -log10 of the chance that a token drawn from the corpus has the feature at least
   this active: `density * (1 - percentile / 100)`, with one token added to both sides of the share, so that it is
   finite also of a feature that fired nowhere. 3 is one token in a thousand.
3. That a feature fires on n of the text's tokens is surprising by -log10 of the chance that so many do, or more, of as
   many tokens drawn from the corpus (binomial). Tokens that stand together are alike, so this orders features, and is
   no test.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Shaped

from autointerp.records.live import ActivationHistograms


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales of some features of one source.

    Attributes:
        histograms: How active they are over the corpus.
    """

    histograms: ActivationHistograms

    def percentile(
        self, feature: Int[np.ndarray, " firing"], activation: Float[np.ndarray, " firing"]
    ) -> Float64[np.ndarray, " firing"]:
        """Share of the feature's firings that are below an activation, times 100; 100 of one that never fired.

        Args:
            feature: Indices, all among those of the histograms.
            activation: Of each, above 0.
        """
        below, n_active = self._below(feature, activation)[0], self._of(feature, self.histograms.n_active)
        share: Float64[np.ndarray, " firing"] = np.where(n_active > 0, below / np.maximum(n_active, 1), 1.0)
        return 100 * share

    def at_percentile(self, feature: int, percentile: float) -> float:
        """The activation that a share of the feature's firings is below, inside a bin as `percentile` reads it.

        Args:
            feature: One of those of the histograms, which fires.
            percentile: That share, times 100; from 0 to 100.
        """
        (row,) = self._rows(np.array([feature]))
        counts, edges = self.histograms.counts[row], self.histograms.edges
        largest = float(self.histograms.max_activation[row])
        n_below = percentile / 100 * counts.sum()
        summed = counts.cumsum()
        place = int(np.searchsorted(summed, n_below, side="left"))
        while not counts[place]:  # of none of the firings, the lowest bin that has any
            place += 1
        low = 0.0 if place == 0 else float(edges[place])
        high = largest if place == len(counts) - 1 else min(float(edges[place + 1]), largest)
        share = (n_below - (summed[place] - counts[place])) / counts[place]
        return float(low + share * max(0.0, high - low))

    def percentile_error(
        self, feature: Int[np.ndarray, " firing"], activation: Float[np.ndarray, " firing"]
    ) -> Float64[np.ndarray, " firing"]:
        """The most by which a percentile can be wrong."""
        _, in_bin, share = self._below(feature, activation)
        n_active = self._of(feature, self.histograms.n_active)
        error: Float64[np.ndarray, " firing"] = in_bin * np.maximum(share, 1 - share) / np.maximum(n_active, 1)
        return 100 * error

    def surprise(
        self, feature: Int[np.ndarray, " firing"], activation: Float[np.ndarray, " firing"]
    ) -> Float64[np.ndarray, " firing"]:
        """-log10 of the chance that a token of the corpus has the feature at least this active."""
        n_least = self._of(feature, self.histograms.n_active) - self._below(feature, activation)[0]
        # The corpus's own largest activation is one of those that are at least as large.
        is_known = activation <= self._of(feature, self.histograms.max_activation)
        n_least = np.maximum(n_least, is_known)
        surprise: Float64[np.ndarray, " firing"] = np.log10((self.histograms.n_tokens + 1) / (n_least + 1))
        return surprise

    def expected_surprise(self, feature: Int[np.ndarray, " fired"]) -> Float64[np.ndarray, " fired"]:
        """What a token of the corpus brings of a feature's surprise in the mean, 0 where it is silent."""
        density = self.density(feature)
        expected: Float64[np.ndarray, " fired"] = density * (np.log10(np.e) - np.log10(density))
        return expected

    def count_surprise(
        self, feature: Int[np.ndarray, " fired"], n_fired: Int[np.ndarray, " fired"], n_counted: int
    ) -> Float64[np.ndarray, " fired"]:
        """-log10 of the chance that a feature fires on so many tokens, or more, of a text of `n_counted`."""
        from scipy.stats import binom  # slow to import

        tail = binom.logsf(n_fired - 1, n_counted, self.density(feature))
        surprise: Float64[np.ndarray, " fired"] = np.maximum(0.0, -tail / np.log(10))
        return surprise

    def density(self, feature: Int[np.ndarray, " fired"]) -> Float64[np.ndarray, " fired"]:
        """Share of the corpus's tokens on which a feature fires, one token added to both."""
        n_active = self._of(feature, self.histograms.n_active)
        density: Float64[np.ndarray, " fired"] = (n_active + 1) / (self.histograms.n_tokens + 1)
        return density

    def _below(
        self, feature: Int[np.ndarray, " firing"], activation: Float[np.ndarray, " firing"]
    ) -> tuple[Float64[np.ndarray, " firing"], Float64[np.ndarray, " firing"], Float64[np.ndarray, " firing"]]:
        """Firings of the corpus below an activation; those in its bin; and the share of these that are below it."""
        edges, rows = self.histograms.edges, self._rows(feature)
        n_bins = len(edges) - 1
        place = np.clip(np.searchsorted(edges, activation, side="right") - 1, 0, n_bins - 1)
        summed = np.concatenate([np.zeros((len(self.histograms.counts), 1)), self.histograms.counts.cumsum(axis=1)], 1)
        low = np.where(place == 0, 0.0, edges[place])
        largest = self.histograms.max_activation[rows]
        # The last bin has no upper edge but the largest activation.
        high = np.where(place == n_bins - 1, largest, np.minimum(edges[place + 1], largest))
        # A bin without width is one whose lower edge is the largest activation.
        width = np.where(high > low, high - low, 1.0)
        share = np.where(high > low, np.clip((activation - low) / width, 0.0, 1.0), activation > low)
        in_bin = self.histograms.counts[rows, place].astype(np.float64)
        return summed[rows, place] + in_bin * share, in_bin, share

    def _of(
        self, feature: Int[np.ndarray, " firing"], values: Shaped[np.ndarray, " feature"]
    ) -> Shaped[np.ndarray, " firing"]:
        found: Shaped[np.ndarray, " firing"] = values[self._rows(feature)]
        return found

    def _rows(self, feature: Int[np.ndarray, " firing"]) -> Int64[np.ndarray, " firing"]:
        rows: Int64[np.ndarray, " firing"] = np.searchsorted(self.histograms.feature_index, feature)
        assert np.array_equal(self.histograms.feature_index[rows], feature), "a feature without a histogram"
        return rows
