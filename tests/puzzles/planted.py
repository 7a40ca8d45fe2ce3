"""Puzzles planted on a corpus, with the truth about every token and window."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.corpus import TokenPieces
from autointerp.puzzles.load import Puzzle
from autointerp.puzzles.text import RowText
from autointerp.puzzles.truth import Truth, measure_truth, planted_activations
from autointerp.records import BlockShard

WINDOW = 32


@dataclass(frozen=True, eq=False)
class Planted:
    """A corpus on which feature i fires as puzzle i says.

    Attributes:
        puzzles: The planted features.
        shard: The blocks.
        dense: Every activation, 0 where nothing is counted.
        pieces: Of the tokenizer.
        windows: The blocks, cut one after the other into windows.
        firing: Whether each feature fires in each window.
    """

    puzzles: tuple[Puzzle, ...]
    shard: BlockShard
    dense: Float32[np.ndarray, "block position feature"]
    pieces: TokenPieces
    windows: RowText
    firing: Bool[np.ndarray, "feature window"]

    @classmethod
    def plant(cls, puzzles: tuple[Puzzle, ...], shard: BlockShard, pieces: TokenPieces) -> "Planted":
        rows = [pieces.pieces(ids[inside].tolist()) for ids, inside in zip(shard.token_ids, shard.counted, strict=True)]
        blocks = RowText.join(rows)
        windows = RowText.join([row[i : i + WINDOW] for row in rows for i in range(0, len(row), WINDOW)])
        dense = np.zeros((*shard.token_ids.shape, len(puzzles)), dtype=np.float32)
        firing = []
        for feature, puzzle in enumerate(puzzles):
            activations = planted_activations(puzzle.fires, blocks, puzzle.name)
            dense[shard.counted, feature] = activations
            firing.append(windows.any_by_row(activations > 0))
        return cls(puzzles, shard, dense, pieces, windows, np.array(firing, dtype=bool))

    def truths(self, feature: int) -> dict[str, Truth]:
        """What each label of a feature is truly worth, by fault."""
        labels = self.puzzles[feature].labels
        return {label.fault: measure_truth(self.firing[feature], self.windows, label.means) for label in labels}
