"""Which features are neighbors of one: which sources, by which measure, in which order, told from which text."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from autointerp.collect.firing_index import FiringIndex, Spans
from autointerp.config import ContextsConfig
from autointerp.contexts.before_after import BeforeAfter, IndexedSource, association, index_explain_firings
from autointerp.contexts.pool_blocks import PoolBlocks
from autointerp.contexts.splits import group_split
from autointerp.corpus.reader import Blocks, make_blocks
from autointerp.records import FiringNeighbors, FiringPlace, Pool
from autointerp.subject.hooks import hook_place

N_BLOCKS, N_POSITIONS, REACH = 20, 50, 4
RESID, ATT, LATER = "blocks.1.hook_resid_pre", "blocks.1.hook_attn_out", "blocks.1.hook_resid_post"
Named = list[tuple[str, int, FiringPlace]]
Cells = Sequence[tuple[int, int]]


def indexed(*features: Cells) -> FiringIndex:
    firings = np.array([(b, p, f) for f, cells in enumerate(features) for b, p in cells], np.int64).reshape(-1, 3)
    span = Spans(np.zeros(N_BLOCKS, np.int32), np.full(N_BLOCKS, N_POSITIONS, np.int32), N_POSITIONS)
    block, position, feature = firings.T
    return FiringIndex.build(block, position, feature.astype(np.int32), span, n_features=len(features), reach=REACH)


def at(position: int, n_blocks: int = N_BLOCKS) -> Cells:
    """Once in each of the first blocks."""
    return [(block, position) for block in range(n_blocks)]


def neighbors(of: tuple[str, int], n: int = 10, **sources: tuple[str, FiringIndex]) -> FiringNeighbors:
    found = BeforeAfter([IndexedSource(name, hook, index) for name, (hook, index) in sources.items()], n)
    return found.of(*of)


def told(found: FiringNeighbors) -> tuple[Named, Named]:
    up, down = ([(n.source_id, n.feature_index, n.place) for n in side] for side in (found.upstream, found.downstream))
    return up, down


def test_a_feature_that_drives_another_has_the_counts_worked_out_by_hand() -> None:
    """Driver at 10 and driven at 12 of each of 20 blocks; of 1,000 tokens 80 have the driver within 4 before them."""
    index = indexed(at(10), at(12))
    found = neighbors(("s", 1), s=(RESID, index))
    (driver,) = found.upstream
    assert (driver.feature_index, driver.place, driver.n_both, driver.n_fired) == (0, "before", 20, 20)
    assert (driver.n_near, driver.n_blocks) == (80, 20)
    assert driver.n_expected == pytest.approx(20 * 80 / 1000)
    assert driver.association == pytest.approx(math.log2((20 + 4) / (1.6 + 4)))
    assert found.downstream == ()
    (driven,) = neighbors(("s", 0), s=(RESID, index)).downstream
    assert (driven.feature_index, driven.place, driven.n_both) == (1, "after", 20)


def test_what_was_met_a_few_times_is_shrunk_and_what_is_met_everywhere_is_expected() -> None:
    assert association(np.array([2]), np.array([0.001])).item() == pytest.approx(math.log2(6 / 4.001))
    assert association(np.array([400]), np.array([100.0])).item() == pytest.approx(math.log2(404 / 104))
    everywhere = [(b, p) for b in range(N_BLOCKS) for p in range(0, N_POSITIONS, 2)]
    seldom = at(11, n_blocks=2)
    in_one_block = [(0, p) for p in range(20, 40)]
    own = [*at(12), *((0, p) for p in range(21, 41))]
    assert told(neighbors(("s", 0), s=(RESID, indexed(own, everywhere, seldom, in_one_block))))[0] == []


def test_a_source_counts_upstream_downstream_or_by_the_text_alone_by_where_it_is_computed() -> None:
    own = indexed(at(12))
    around = indexed(at(10), at(12), at(14))
    found = told(
        neighbors(
            ("own", 0),
            own=(ATT, own),
            early=(RESID, around),
            beside=("blocks.1.attn.hook_z", around),
            late=(LATER, around),
        )
    )
    assert set(found[0]) == {("early", 0, "before"), ("early", 1, "with"), ("beside", 0, "before")}
    assert set(found[1]) == {("late", 2, "after"), ("late", 1, "with"), ("beside", 2, "after")}


def test_ties_go_to_the_source_computed_first_then_to_the_lower_feature_and_only_so_many_are_kept() -> None:
    alike = indexed(*[at(10)] * 50)
    sources = {"z": (RESID, alike), "a": (ATT, alike), "own": (LATER, indexed(at(12)))}
    found, _ = told(neighbors(("own", 0), n=60, **sources))
    assert found[:51] == [*(("z", f, "before") for f in range(50)), ("a", 0, "before")]
    assert len(found) == 60
    assert told(neighbors(("own", 0), n=3, **sources))[0] == found[:3]
    in_another_order = dict(reversed(sources.items()))
    assert told(neighbors(("own", 0), n=60, **in_another_order))[0] == found


def test_one_that_is_near_in_two_ways_is_named_once_for_the_stronger() -> None:
    both = indexed([*at(12), *at(9, n_blocks=10)])
    found, _ = told(neighbors(("own", 0), own=(LATER, indexed(at(12))), early=(RESID, both)))
    assert found == [("early", 0, "with")]


def test_a_feature_that_never_fires_has_no_neighbors() -> None:
    assert neighbors(("s", 0), s=(RESID, indexed((), at(3)))) == FiringNeighbors((), ())


def test_only_blocks_of_the_explain_split_are_counted() -> None:
    documents = tuple(f"d{number}" for number in range(40))
    config = ContextsConfig(explain_share=0.6, select_share=0.3)
    splits = [group_split(name, 5, config.explain_share, config.select_share) for name in documents]
    assert {"explain", "select", "score"} == set(splits)
    feature = np.array([0 if split == "explain" else 1 for split in splits], np.int32)
    n = len(documents)
    blocks = make_blocks(np.zeros((n, 6), np.int32), np.ones((n, 6), np.bool_), documents)
    pool = Pool(np.arange(n), np.arange(n + 1), feature, np.full(n, 2, np.int32), np.ones(n, np.float32))
    made = PoolBlocks.read(pool, Held(blocks))
    index = index_explain_firings(made, config, n_features=2, reach=2, seed=5)
    n_explain = splits.count("explain")
    assert (index.n_fired(0), index.n_fired(1), index.n_tokens) == (n_explain, 0, 6 * n_explain)


class Held:
    """A corpus of some blocks in memory."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.n_blocks = len(blocks.document_ids)

    def read(self, block_indices: np.ndarray) -> Blocks:
        return self._blocks.take(block_indices)


def test_hook_points_stand_in_the_order_in_which_they_are_computed() -> None:
    in_order = (
        "hook_embed", "blocks.0.hook_resid_pre", "blocks.0.attn.hook_z", "blocks.0.hook_resid_mid",
        "blocks.0.ln2.hook_normalized", "blocks.0.hook_resid_post", "blocks.1.hook_attn_out", "blocks.1.mlp.hook_out",
        "blocks.11.hook_resid_pre",
    )  # fmt: skip
    places = [hook_place(name) for name in in_order]
    assert places == sorted(set(places))
    assert hook_place("blocks.3.hook_resid_post") == hook_place("blocks.4.hook_resid_pre")
    assert hook_place("blocks.3.mlp.hook_in") == hook_place("blocks.3.hook_mlp_out")
