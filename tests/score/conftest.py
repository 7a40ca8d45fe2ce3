import numpy as np
import pytest

from autointerp.contexts.pool import PoolTiles
from tests.score.world import ANIMALS, BLOCK, COLOURS, FILLER, N_BLOCKS, WORDS, World
from tests.subject.conftest import make_coder, saved_model

__all__ = ["make_coder", "saved_model"]


@pytest.fixture(scope="session")
def world() -> World:
    """Feature 0 fires on one animal, feature 1 on all colours, feature 2 on nearly every word."""
    rng = np.random.default_rng(11)
    weight = np.array([0.002] * len(COLOURS) + [0.004] * len(ANIMALS) + [1.0] * len(FILLER))
    weight[8:] *= (1 - weight[:8].sum()) / weight[8:].sum()
    ids = rng.choice(len(WORDS), size=(N_BLOCKS, BLOCK), p=weight).astype(np.int32)
    return World(ids, (("cat",), COLOURS, COLOURS + ANIMALS + FILLER))


@pytest.fixture(scope="session")
def pool(world: World) -> PoolTiles:
    return world.pool_tiles()
