"""Puzzles planted on a corpus."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from autointerp.corpus import TokenPieces
from autointerp.puzzles.load import Puzzle
from autointerp.puzzles.text import RowText
from autointerp.puzzles.truth import Truth, measure_truth, planted_activations
from autointerp.records import BlockShard
from tests.contexts.world import World

WINDOW = 32


@dataclass(frozen=True, eq=False)
class Planted:
    """A corpus on which feature i fires as puzzle i says.

    Attributes:
        puzzles: The planted features.
        world: Blocks with every activation.
        pieces: Of the tokenizer.
        blocks: The counted pieces of each block.
        windows: The blocks, cut one after the other into windows.
        firing: Whether each feature fires in each window.
    """

    puzzles: tuple[Puzzle, ...]
    world: World
    pieces: TokenPieces
    blocks: RowText
    windows: RowText
    firing: Bool[np.ndarray, "feature window"]

    @classmethod
    def plant(cls, puzzles: tuple[Puzzle, ...], shards: Sequence[BlockShard], pieces: TokenPieces) -> "Planted":
        token_ids = np.concatenate([shard.token_ids for shard in shards])
        counted = np.concatenate([shard.counted for shard in shards])
        documents = tuple(shard.document_ids[i] for shard in shards for i in shard.document_index.tolist())
        groups = tuple(shard.group_ids[i] for shard in shards for i in shard.document_index.tolist())
        rows = [pieces.pieces(ids[inside].tolist()) for ids, inside in zip(token_ids, counted, strict=True)]
        blocks = RowText.join(rows)
        windows = RowText.join([row[i : i + WINDOW] for row in rows for i in range(0, len(row), WINDOW)])
        dense = np.zeros((*token_ids.shape, len(puzzles)), dtype=np.float32)
        firing = []
        for feature, puzzle in enumerate(puzzles):
            activations = planted_activations(puzzle.fires, blocks, puzzle.name)
            dense[counted, feature] = activations
            firing.append(windows.any_by_row(activations > 0))
        world = World(token_ids, counted, documents, dense, groups)
        return cls(puzzles, world, pieces, blocks, windows, np.array(firing, dtype=bool))

    def truths(self, feature: int) -> dict[str, Truth]:
        """What each label of a feature is truly worth, by fault."""
        labels = self.puzzles[feature].labels
        return {label.fault: measure_truth(self.firing[feature], self.windows, label.means) for label in labels}
