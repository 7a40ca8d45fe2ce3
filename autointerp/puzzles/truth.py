"""What a label is truly worth: computed over every window, never written down.

A planted feature fires on the pieces of whole blocks; a label is held against what a window shows. Both are known of
every window, so sensitivity, precision and base rate are counts, without a judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from autointerp.identity import hash_key, keyed_hash
from autointerp.puzzles.predicate import Rule
from autointerp.puzzles.text import RowText


@dataclass(frozen=True, slots=True)
class Truth:
    """How a label and a feature agree over windows.

    Attributes:
        n_windows: All of them.
        n_firing: Windows in which the feature fires.
        n_said: Windows that the label describes.
        n_both: Windows of both.
    """

    n_windows: int
    n_firing: int
    n_said: int
    n_both: int

    @property
    def base_rate(self) -> float:
        """Share of windows in which the feature fires."""
        return self.n_firing / self.n_windows

    @property
    def sensitivity(self) -> float | None:
        """Share of firing windows that the label describes; None where there are none."""
        return self.n_both / self.n_firing if self.n_firing else None

    @property
    def precision(self) -> float | None:
        """Share of the windows that the label describes in which the feature fires; None where there are none."""
        return self.n_both / self.n_said if self.n_said else None

    @property
    def false_alarm_rate(self) -> float | None:
        """Share of silent windows that the label describes; None where there are none."""
        n_silent = self.n_windows - self.n_firing
        return (self.n_said - self.n_both) / n_silent if n_silent else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of sensitivity and precision; None where there is nothing to find and nothing is said."""
        n = self.n_firing + self.n_said
        return 2 * self.n_both / n if n else None


def measure_truth(firing: Bool[np.ndarray, " window"], windows: RowText, means: Rule) -> Truth:
    """Hold a label against a feature.

    Args:
        firing: Whether the feature fires in each window.
        windows: What each window shows.
        means: What the label says.
    """
    assert firing.shape == (windows.n_rows,), "one flag a window"
    said = windows.any_by_row(means.holds(windows))
    return Truth(firing.size, int(firing.sum()), int(said.sum()), int((firing & said).sum()))


def planted_activations(fires: Rule, blocks: RowText, key: str) -> Float32[np.ndarray, " piece"]:
    """A planted feature's activation on each piece: in (1, 2] where it fires, else 0.

    How strong it is there is drawn by hash, so that quantiles of activation are of like text.

    Args:
        fires: Where it fires.
        blocks: Whole blocks.
        key: Of the draw, for example the puzzle's name.
    """
    place: Int64[np.ndarray, " piece"] = np.arange(blocks.n_pieces, dtype=np.int64)
    uniform = (keyed_hash(hash_key(0, key), place) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.where(fires.holds(blocks), 2.0 - uniform, 0.0).astype(np.float32)


def describes(
    means: Rule, tokens: Sequence[Sequence[str]], marked: Sequence[Sequence[int]]
) -> Bool[np.ndarray, " window"]:
    """Whether a label is right about each window: about any token that is shown, or about most of the marked ones.

    Args:
        means: What the label says.
        tokens: Pieces of each window.
        marked: Offsets of each window's marked pieces; none where all of the window is asked about.
    """
    holds = means.holds(RowText.join(tokens))
    of_windows = np.split(holds, np.cumsum([len(row) for row in tokens])[:-1])
    right = [2 * of[list(at)].sum() > len(at) if at else of.any() for of, at in zip(of_windows, marked, strict=True)]
    return np.array(right, dtype=np.bool_)
