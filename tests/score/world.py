"""A small world with planted features: random text of known words, the truth about every token, and readers of labels.

A label here is a list of words. `Reader` judges as a person would who takes it by its word, so what a label is worth
is known: the true one lists the feature's lexicon, a broad one more, a narrow one less.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import settings
from jaxtyping import Float32, Int64

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.pool_windows import PoolWindows
from autointerp.contexts.splits import group_split
from autointerp.contexts.windows import make_context
from autointerp.corpus.reader import Blocks
from autointerp.identity import fingerprint, stable_uuid
from autointerp.records import Context, ContextKind, Explanation, Failure, FeatureContexts, Pool, ScoreWithTrials
from autointerp.score.calibration import Calibrated
from autointerp.score.judge import Answer, Answers, Case, Judge, Question, Task
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import ScoreContexts

COLOURS = ("red", "green", "blue", "black", "white")
ANIMALS = ("cat", "dog", "horse")
_FILLER_TEXT = """
the of a to and in is on it that was for with as by at from this be are have not or one had an they but he she
you we all were when your can there use each which do how if will up other about out many then these so
"""
FILLER = tuple(_FILLER_TEXT.split())
WORDS = COLOURS + ANIMALS + FILLER
SOURCE = "toy@world"
N_BLOCKS, BLOCK, WINDOW = 1500, 32, 16
SEED = 3
UNHURRIED = settings(deadline=None)  # other processes share this machine


def scored(work: Coroutine[Any, Any, ScoreWithTrials | Failure]) -> ScoreWithTrials:
    result = asyncio.run(work)
    assert isinstance(result, ScoreWithTrials), result
    return result


def failed(work: Coroutine[Any, Any, ScoreWithTrials | Failure]) -> Failure:
    result = asyncio.run(work)
    assert isinstance(result, Failure), result
    return result


def tools(
    judge: Judge,
    config: ScoreConfig | None = None,
    seed: int = 0,
    contexts_fingerprint: str = "",
    calibrated: Calibrated | None = None,
) -> ScoreTools:
    return ScoreTools(
        config or ScoreConfig(), seed, lambda: judge, BagOfWords, contexts_fingerprint, calibrated=calibrated
    )


class Pieces:
    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        return [f" {WORDS[i]}" for i in token_ids]


@dataclass(frozen=True)
class World:
    """Text, and features planted on it: feature i fires on the words of `lexicons[i]`, more on the later ones."""

    token_ids: np.ndarray[Any, np.dtype[np.int32]]
    lexicons: tuple[tuple[str, ...], ...]

    n_blocks = N_BLOCKS

    def read(self, block_indices: Int64[np.ndarray, " block"]) -> Blocks:
        n = block_indices.size
        return Blocks(
            token_ids=self.token_ids[block_indices],
            counted=np.ones((n, BLOCK), dtype=bool),
            span_start=np.zeros(n, dtype=np.int32),
            span_end=np.full(n, BLOCK, dtype=np.int32),
            document_ids=tuple(f"doc{i}" for i in block_indices),
            group_ids=tuple(f"doc{i}" for i in block_indices),
        )

    def activations(self, feature: int) -> Float32[np.ndarray, "block position"]:
        strength = np.zeros(len(WORDS), dtype=np.float32)
        for rank, word in enumerate(self.lexicons[feature]):
            strength[WORDS.index(word)] = 1.0 + rank
        activations: Float32[np.ndarray, "block position"] = strength[self.token_ids]
        return activations

    def pool_tiles(self) -> PoolTiles:
        config, collect = ContextsConfig(n_pool_tiles=1000), CollectConfig(context_length=WINDOW)
        return PoolTiles.build(self._pool_blocks(), Pieces(), config, collect, seed=SEED, source_id=SOURCE)

    def windows_of(self, feature: int) -> PoolTiles | None:
        """Windows that end with a word on which a feature fires, or begin with their block."""
        block = np.flatnonzero(self.activations(feature).any(axis=1))
        if block.size == 0:
            return None
        start = np.clip(self.activations(feature)[block].argmax(axis=1) - WINDOW + 1, 0, BLOCK - WINDOW)
        drawn = PoolWindows(block.astype(np.int32), start.astype(np.int32), np.full(block.size, WINDOW, np.int32))
        return PoolTiles.of_windows(
            drawn, self._pool_blocks(), Pieces(), ContextsConfig(), WINDOW, seed=SEED, source_id=SOURCE
        )

    def _pool_blocks(self) -> PoolBlocks:
        rows = []
        for feature in range(len(self.lexicons)):
            block, position = np.nonzero(self.activations(feature))
            value = self.activations(feature)[block, position]
            rows.append(np.stack([block, position, np.full(block.size, feature), value], axis=1))
        firing = np.concatenate(rows)
        firing = firing[np.lexsort((firing[:, 2], firing[:, 1], firing[:, 0]))]
        offsets = np.searchsorted(firing[:, 0], np.arange(N_BLOCKS + 1)).astype(np.int64)
        pool = Pool(
            block_index=np.arange(N_BLOCKS, dtype=np.int64),
            offsets=offsets,
            feature=firing[:, 2].astype(np.int32),
            position=firing[:, 1].astype(np.int32),
            activation=firing[:, 3].astype(np.float32),
        )
        return PoolBlocks.read(pool, self)

    def contexts(self, feature: int, n: int = 20) -> FeatureContexts:
        """n firing and n silent contexts of each split; quantiles by the rank of the peak."""
        chosen: list[Context] = []
        activations = self.activations(feature)
        for split in ("explain", "score"):
            blocks = [b for b in range(N_BLOCKS) if group_split(f"doc{b}", SEED, 0.5) == split]
            firing = sorted([b for b in blocks if activations[b].any()][:n], key=lambda b: activations[b].max())
            silent = [b for b in blocks if not activations[b].any()][:n]
            for rank, block in enumerate(firing):
                start = min(max(0, int(activations[block].argmax()) - 12), BLOCK - WINDOW)
                chosen.append(self._context(feature, "quantile", block, start, quantile=10 * rank // len(firing)))
            for rank, block in enumerate(silent):
                kind: ContextKind = "silent_similar" if rank % 2 else "silent_random"
                chosen.append(self._context(feature, kind, block, 0, quantile=None))
        return FeatureContexts(SOURCE, feature, tuple(chosen))

    def _context(self, feature: int, kind: ContextKind, block: int, start: int, quantile: int | None) -> Context:
        ids = self.token_ids[block, start : start + WINDOW].tolist()
        activations = self.activations(feature)[block, start : start + WINDOW].tolist()
        # Another feature could be any that fires on one word: here the words take turns.
        silent = [offset for offset, activation in enumerate(activations) if activation == 0]
        turn = block % max(1, len(silent))
        return make_context(
            ids,
            activations,
            source_id=SOURCE,
            feature_index=feature,
            kind=kind,
            split=group_split(f"doc{block}", SEED, 0.5),
            quantile=quantile,
            document_id=f"doc{block}",
            block_index=block,
            start=start,
            tokens=Pieces().pieces(ids),
            decoy=(*silent[turn:], *silent[:turn]),
        )

    def given(self, feature: int, pool: PoolTiles, n: int = 20) -> ScoreContexts:
        density = float((self.activations(feature) > 0).mean())
        return ScoreContexts(feature=self.contexts(feature, n), pool=pool, density=density)


@dataclass(frozen=True)
class Scripted:
    """A judge that answers by a function of the label, the task and the question."""

    says: Callable[[str, Task, Question], Answer]
    name: str = "scripted"
    made_of: str = "scripted"
    is_free: bool = True

    def fingerprint(self, task: Task) -> str:
        return f"{self.made_of} {task.name}"

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        for case in cases:
            assert not {q.context.text for q in case.questions} & set(case.background)
        return [Answers([self.says(case.label, task, question) for question in case.questions]) for case in cases]


def read(label: str, task: Task, question: Question) -> Answer:
    """Take the label by its word: is one of its words in the text, or are most marked words among its words?"""
    words = [token.strip() for token in question.context.tokens]
    named = [label == "any text" or word in label.split() for word in words]
    if task.name == "detection":
        return Answer(verdict=any(named))
    return Answer(verdict=sum(named[i] for i in question.marked) > len(question.marked) / 2)


class BagOfWords:
    """An embedder whose vectors are the words of a text."""

    name = "bag-of-words"
    fingerprint = "bag-of-words"

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
        rows = np.full((len(texts), len(WORDS)), 1e-3, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                if word in COLOURS + ANIMALS:
                    row[WORDS.index(word)] += 1.0
        unit: Float32[np.ndarray, "text dim"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def similarity(self, label: str, texts: Sequence[str]) -> Float32[np.ndarray, " text"]:
        similarity: Float32[np.ndarray, " text"] = self.embed(texts) @ self.embed([label])[0]
        return similarity

    def learn_words(self, texts: Sequence[str]) -> None:
        """There is nothing to learn."""


def explanation_of(feature: int, label: str, source: str = SOURCE) -> Explanation:
    made_of = fingerprint("test", feature, label)
    return Explanation(
        explanation_id=stable_uuid(f"{source}:{feature}/{made_of}"),
        source_id=source,
        feature_index=feature,
        label=label,
        explainer="test",
        model="local",
        prompt_sha256=None,
        cost_usd=0.0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        fingerprint=made_of,
    )
