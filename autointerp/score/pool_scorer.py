"""What scorers share that ask about the pool's windows as they come, the likeliest false alarms of a label first."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from autointerp.contexts.pool import PoolTiles
from autointerp.score.base import BaseScorer
from autointerp.score.judge import Task
from autointerp.score.scorers.detection import DETECTION
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import ScoreContexts


def nearest_first(
    tiles: Int64[np.ndarray, " tile_of_some"], closeness: Float32[np.ndarray, " tile"]
) -> Int64[np.ndarray, " tile_of_some"]:
    """Ascending tiles by falling closeness to a label, ties in their order.

    Args:
        tiles: Some of the pool's.
        closeness: Of the label and each tile of the pool.
    """
    return tiles[np.argsort(-closeness[tiles], kind="stable")]


class PoolScorer(BaseScorer):
    """Asks what detection asks, about windows of the pool too; a judge who is free about each of the score split.

    Args:
        tools: With the embedder that retrieves likely false alarms.
    """

    task: ClassVar[Task] = DETECTION
    classes = ("firing contexts", "pool contexts in which the feature is silent")

    def __init__(self, tools: ScoreTools) -> None:
        self._embedder = tools.embedder()
        super().__init__(tools)

    @property
    def retrieved_by(self) -> str:
        """What tells how close windows are to a label."""
        return self._embedder.fingerprint if self.judge.is_free else self._embedder.name

    def prepare(self, labels: Sequence[str], texts: Sequence[str], pool: PoolTiles) -> None:
        """Learn the words of the tiles, or embed labels and tiles, whichever retrieves."""
        super().prepare(labels, texts, pool)
        if self.judge.is_free:
            self.judge.prepare((), pool.score_texts)
            self._embedder.learn_words([*labels, *pool.score_texts])
        else:
            self._embedder.embed(labels)
            pool.embeddings(self._embedder)

    def closeness(self, label: str, pool: PoolTiles) -> Float32[np.ndarray, " tile"]:
        """How close each tile is to a label; -inf of those of other splits where judging is free.

        All tiles are then compared with the label anyway, word by word. A paid judge's few are chosen by the embeddings
        of whole texts, which cost a run of the model for each tile, and understand prose better.
        """
        if not self.judge.is_free:
            closeness: Float32[np.ndarray, " tile"] = pool.embeddings(self._embedder) @ self._embedder.embed([label])[0]
            return closeness
        closeness = np.full(pool.n_tiles, -np.inf, dtype=np.float32)
        closeness[pool.is_score] = self._embedder.similarity(label, pool.score_texts)
        return closeness

    def texts(self, contexts: ScoreContexts) -> Sequence[str]:
        """Every tile of the score split."""
        return contexts.pool.score_texts
