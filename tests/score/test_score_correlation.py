"""The correlation of simulated and true activations: by hand, against NumPy, and how its interval behaves."""

import numpy as np
import pytest
from jaxtyping import Bool, Int64

from autointerp.score.correlation import Simulated

HALVES = np.array([True, True, False, False])


def of(
    simulated: list[list[float]],
    true: list[list[float]],
    fires: Bool[np.ndarray, " context"] = HALVES,
    cluster: Int64[np.ndarray, " context"] | None = None,
) -> Simulated:
    clusters = np.arange(len(true)) if cluster is None else cluster
    return Simulated.join(simulated, true, fires, clusters)


TRUE = [[0.0, 0, 8, 0], [5.0, 0, 0, 3], [0.0, 0, 0, 0], [0.0, 0, 0, 0]]
SEEN = [[1.0, 0, 9, 0], [2.0, 1, 0, 3], [0.0, 4, 0, 0], [0.0, 0, 1, 0]]


def drawn(n: int, seed: int, *, noise: float, per_cluster: int = 1, shared: float = 0.0) -> Simulated:
    """n firing contexts and n silent ones of 16 tokens; noise of which a share is the same throughout a cluster."""
    rng = np.random.default_rng(seed)
    true = np.where(rng.random((2 * n, 16)) < 0.15, rng.gamma(2, 2, (2 * n, 16)), 0)
    true[:n, 0] += 1e-3
    true[n:] = 0
    cluster = np.arange(2 * n) // per_cluster
    quality = np.where(rng.random(2 * n) < shared, (rng.random(2 * n) < 0.5)[cluster], rng.random(2 * n) < 0.5)
    scale = noise * np.where(quality, 1.6, 0.4)[:, None]
    simulated = np.clip(true + scale * rng.normal(size=true.shape), 0, None)
    fires = np.arange(2 * n) < n
    return Simulated.join(simulated.tolist(), true.tolist(), fires, cluster)


def test_equal_halves_of_contexts_of_one_length_give_the_plain_correlation() -> None:
    found = of(SEEN, TRUE)
    flat = np.concatenate(SEEN), np.concatenate(TRUE)
    assert found.correlation() == pytest.approx(np.corrcoef(*flat)[0, 1])
    error = np.mean((flat[0] - flat[1]) ** 2) / np.var(flat[1])
    assert found.explained_variance() == pytest.approx(1 - error)
    assert found.correlation_within_firing() == pytest.approx(np.corrcoef(flat[0][:8], flat[1][:8])[0, 1])


def test_firing_and_silent_contexts_weigh_the_same_however_many_there_are() -> None:
    once = of(SEEN, TRUE)
    often = of(SEEN[:2] + SEEN[2:] * 5, TRUE[:2] + TRUE[2:] * 5, np.array([True] * 2 + [False] * 10))
    assert often.correlation() == pytest.approx(once.correlation())


def test_a_long_context_weighs_as_much_as_a_short_one() -> None:
    short = of([[0.0, 5], [1.0, 0]], [[0.0, 5], [0.0, 0]], np.array([True, False]))
    long = of([[0.0, 5] * 7, [1.0, 0]], [[0.0, 5] * 7, [0.0, 0]], np.array([True, False]))
    assert long.correlation() == pytest.approx(short.correlation())


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_the_truth_on_any_scale_has_a_correlation_of_one_and_an_interval_below(scale: float) -> None:
    found = of([[scale * a for a in context] for context in TRUE], TRUE)
    assert found.correlation() == pytest.approx(1.0)
    low, high = found.interval(400, np.random.default_rng(0))
    assert low < 0.9
    assert high == pytest.approx(1.0)
    assert found.ranked().correlation() == pytest.approx(1.0)


def test_a_simulation_that_is_the_same_everywhere_explains_nothing() -> None:
    found = of([[3.0] * 4] * 4, TRUE)
    assert found.correlation() == found.correlation_within_firing() == found.ranked().correlation() == 0.0
    assert found.explained_variance() < 0
    low, high = found.interval(400, np.random.default_rng(0))
    assert low == 0.0 < high


def test_contexts_of_few_documents_make_the_interval_wider() -> None:
    widths = []
    for per_cluster in (1, 5):
        low, high = drawn(20, 3, noise=2.0, per_cluster=per_cluster, shared=0.5).interval(500, np.random.default_rng(0))
        widths.append(high - low)
    assert widths[1] > 1.3 * widths[0]


@pytest.mark.parametrize(("n", "per_cluster", "shared"), [(20, 1, 0.0), (20, 4, 0.8)])
def test_the_interval_holds_the_correlation_of_many_contexts_about_as_often_as_it_says(
    n: int, per_cluster: int, shared: float
) -> None:
    truth = drawn(20_000, 0, noise=2.0).correlation()
    rng = np.random.default_rng(1)
    intervals = [
        drawn(n, seed, noise=2.0, per_cluster=per_cluster, shared=shared).interval(200, rng) for seed in range(150)
    ]
    assert np.mean([low <= truth <= high for low, high in intervals]) > 0.9
