import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32

from autointerp.config import CollectConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.splits import group_split
from autointerp.records import Pool
from tests.contexts.world import COLLECT, CONTEXTS, SOURCE, BagOfWords, NumberedWords, World, make_world

ALL_TILES = CONTEXTS.model_copy(update={"n_pool_tiles": 10_000})
seeds = st.integers(0, 30)


def spans(tiles: PoolTiles) -> list[tuple[int, int, int]]:
    ends = tiles.start + tiles.length
    return list(zip(tiles.block_index.tolist(), tiles.start.tolist(), ends.tolist(), strict=True))


def one_block_world(n_counted: int) -> World:
    """One block of 40 positions that counts positions 1 to `n_counted`; feature 0 fires on position 3 alone."""
    positions = np.arange(40)
    dense = np.zeros((1, 40, 2), dtype=np.float32)
    dense[0, 3, 0] = 2.5
    return World(
        positions[None, :].astype(np.int32), ((positions >= 1) & (positions <= n_counted))[None, :], ("d",), dense
    )


@pytest.mark.parametrize(
    ("n_counted", "expected"),
    [
        (32, [(0, 1, 9), (0, 9, 17), (0, 17, 25), (0, 25, 33)]),
        (30, [(0, 1, 9), (0, 9, 17), (0, 17, 25), (0, 23, 31)]),
        (9, [(0, 1, 9), (0, 2, 10)]),
        (8, [(0, 1, 9)]),
        (5, [(0, 1, 6)]),
        (0, []),
    ],
)
def test_windows_are_full_wherever_the_block_allows_and_the_last_one_ends_with_it(
    n_counted: int, expected: list[tuple[int, int, int]]
) -> None:
    world = one_block_world(n_counted)
    if n_counted == 0:
        world = dataclasses.replace(world, dense=np.zeros_like(world.dense))
    tiles = world.tiles(ALL_TILES)
    assert spans(tiles) == expected
    assert (tiles.n_tiles, tiles.n_blocks) == (len(expected), 1)


def test_a_tile_knows_its_text_tokens_document_and_activations() -> None:
    tiles = one_block_world(8).tiles(ALL_TILES)
    assert tiles.texts == ["w1 w2 w3 w4 w5 w6 w7 w8"]
    assert tiles.document_ids == ("d",)
    assert tiles.activations(0, 0).tolist() == [0, 0, 2.5, 0, 0, 0, 0, 0]
    context = tiles.context(0, 0)
    assert (context.kind, context.start, context.peak, context.max_activation) == ("pool", 1, 2, 2.5)
    assert context.split == tiles.split(0) == group_split("d", 0, CONTEXTS.explain_share)
    assert context.source_id == SOURCE
    assert tiles.holds(3).tolist() == [True]
    assert tiles.holds(9).tolist() == [False]
    assert tiles.holds(0).tolist() == [False]


def test_a_tile_is_silent_only_if_its_whole_block_is() -> None:
    tiles = one_block_world(32).tiles(ALL_TILES)
    assert tiles.peaks(0).tolist() == [2.5, 0, 0, 0]
    assert tiles.block_is_silent(0).tolist() == [False] * 4
    assert tiles.block_is_silent(1).tolist() == [True] * 4
    with pytest.raises(AssertionError, match="fires"):
        tiles.context(0, 0, "silent_random")


def test_the_margin_of_a_tile_counts_the_tokens_up_to_the_nearest_firing_of_its_block() -> None:
    world = make_world(4, densities=(0.0, 0.03, 0.2, 1.0), n_documents=40)
    tiles = world.tiles(ALL_TILES)
    for feature in range(4):
        expected = []
        for block, start, end in spans(tiles):
            firing = np.flatnonzero(world.dense[block, :, feature])
            gaps = np.maximum(start - firing - 1, firing - end)
            inside = ((firing >= start) & (firing < end)).any()
            expected.append(-1 if inside else min([COLLECT.context_length // 2, *gaps.tolist()]))
        assert tiles.silent_margin(feature).tolist() == expected


def test_a_context_may_be_the_first_tokens_of_a_tile() -> None:
    tiles = one_block_world(32).tiles(ALL_TILES)
    context = tiles.context(0, 0, "silent_window", n_tokens=2)
    assert (context.tokens, context.activations, context.start) == ((" w1", " w2"), (0.0, 0.0), 1)
    assert context.context_id != tiles.context(0, 0, "pool").context_id


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_every_counted_token_of_the_pool_lies_in_one_window_or_in_the_last_two(seed: int) -> None:
    world = make_world(seed)
    tiles = world.tiles(ALL_TILES)
    pool = world.pool()
    covered = np.zeros_like(world.counted, dtype=np.int64)
    for block, start, end in spans(tiles):
        covered[block, start:end] += 1
    in_pool = np.zeros((world.n_blocks, 1), dtype=np.bool_)
    in_pool[pool.block_index] = True
    assert np.array_equal(covered > 0, world.counted & in_pool)
    assert covered.max() <= 2
    span = world.counted.sum(axis=1)
    assert np.array_equal(tiles.length, np.minimum(span[tiles.block_index], COLLECT.context_length))
    assert tiles.n_tiles == np.ceil(span[pool.block_index] / COLLECT.context_length).sum()


def test_a_firing_on_which_two_tiles_meet_is_known_in_both() -> None:
    world = one_block_world(9)
    tiles = world.tiles(ALL_TILES)
    assert tiles.peaks(0).tolist() == [2.5, 2.5]
    assert [tiles.activations(tile, 0).tolist().index(2.5) for tile in (0, 1)] == [2, 1]


@given(seeds, st.sampled_from([1, 2, CONTEXTS.n_pool_tiles]))
@settings(max_examples=30, deadline=None)
def test_what_tiles_say_of_features_is_what_the_activations_say_however_few_there_are(seed: int, n_tiles: int) -> None:
    world = make_world(seed)
    tiles = world.tiles(CONTEXTS.model_copy(update={"n_pool_tiles": n_tiles}))
    for feature in range(world.dense.shape[2]):
        expected = [world.dense[block, start:end, feature] for block, start, end in spans(tiles)]
        assert tiles.peaks(feature).tolist() == [row.max() for row in expected]
        assert tiles.masses(feature).tolist() == [row.sum() for row in expected]
        silent = world.dense[tiles.block_index, :, feature].max(axis=1) == 0
        assert np.array_equal(tiles.block_is_silent(feature), silent)
        for tile in range(0, tiles.n_tiles, 13):
            assert tiles.activations(tile, feature).tolist() == expected[tile].tolist()


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_silent_tiles_are_the_same_contexts_made_together_as_one_by_one(seed: int) -> None:
    world = make_world(seed)
    tiles = world.tiles()
    for feature in range(world.dense.shape[2]):
        silent, firing = np.flatnonzero(tiles.peaks(feature) == 0), np.flatnonzero(tiles.peaks(feature) > 0)
        assert tiles.silent_contexts(silent, feature) == [tiles.context(t, feature) for t in silent.tolist()]
        if firing.size:
            with pytest.raises(AssertionError, match=f"feature {feature} fires"):
                tiles.silent_contexts(np.append(silent, firing[0]), feature)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_fewer_tiles_are_a_part_of_more_tiles(seed: int) -> None:
    world = make_world(seed)
    few = world.tiles(CONTEXTS.model_copy(update={"n_pool_tiles": 20}))
    assert few.n_tiles == 20
    assert set(spans(few)) < set(spans(world.tiles()))
    assert spans(few) == sorted(spans(few))


def test_another_seed_draws_other_tiles() -> None:
    world = make_world(0)
    assert spans(world.tiles(seed=1)) != spans(world.tiles())
    assert spans(world.tiles()) == spans(world.tiles())


def test_tiles_are_drawn_evenly_from_long_and_short_documents() -> None:
    world = make_world(4, n_documents=400)
    collect = CollectConfig(context_length=8, n_pool_blocks=10_000)
    every = world.tiles(ALL_TILES, collect)
    drawn = world.tiles(CONTEXTS.model_copy(update={"n_pool_tiles": every.n_tiles // 2}), collect)
    is_short = {
        span: length < COLLECT.context_length for span, length in zip(spans(every), every.length.tolist(), strict=True)
    }
    n_short = sum(is_short.values())
    n_drawn = sum(is_short[span] for span in spans(drawn))
    # Half of them, within four standard deviations of a hypergeometric draw.
    assert n_short > 40
    assert abs(n_drawn - n_short / 2) < 4 * np.sqrt(n_short) / 2


def test_background_is_text_of_the_explain_split_alone_spread_over_it() -> None:
    tiles = make_world(0).tiles()
    background = tiles.background
    explain = [text for text, is_explain in zip(tiles.texts, tiles.is_explain, strict=True) if is_explain]
    assert 1 < len(background) <= len(explain)
    assert (background[0], background[-1]) == (explain[0], explain[-1])
    assert set(background) <= set(explain)
    assert dataclasses.replace(tiles, is_select=~tiles.is_score).background == ()


def test_texts_are_embedded_once_for_all_features() -> None:
    tiles, embedder = make_world(0).tiles(), BagOfWords()
    first = tiles.embeddings(embedder)
    assert tiles.embeddings(embedder) is first
    assert embedder.n_embedded == tiles.n_tiles
    assert np.allclose(np.linalg.norm(first, axis=1), 1.0)


def test_two_embedders_of_one_name_have_each_their_own_vectors() -> None:
    class Backwards(BagOfWords):
        def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text dim"]:
            return -super().embed(texts)

    tiles, embedder, other = make_world(0).tiles(), BagOfWords(), Backwards()
    np.testing.assert_array_equal(tiles.embeddings(other), -tiles.embeddings(embedder))
    np.testing.assert_array_equal(tiles.embeddings(other), -tiles.embeddings(embedder))
    assert embedder.n_embedded == other.n_embedded == tiles.n_tiles


def test_a_pool_without_any_firing_is_silent_everywhere() -> None:
    world = make_world(0)
    none = world.pool()
    silent = Pool(
        none.block_index, np.zeros_like(none.offsets), none.feature[:0], none.position[:0], none.activation[:0]
    )
    tiles = PoolTiles.build(
        PoolBlocks.read(silent, world), NumberedWords(), CONTEXTS, COLLECT, seed=0, source_id=SOURCE
    )
    assert tiles.block_is_silent(2).all()
    assert not tiles.peaks(2).any()


def test_a_feature_beyond_the_last_one_that_fired_is_silent() -> None:
    tiles = make_world(0).tiles()
    assert tiles.block_is_silent(1_000_000).all()
